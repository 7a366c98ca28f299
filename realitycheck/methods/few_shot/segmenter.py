"""Stage 4: few-shot normality, with a memory bank and a threshold from good training images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from realitycheck.core.files import write_atomically
from realitycheck.core.store import EncodingStore
from realitycheck.core.tensors import UNSEALED, check_tensors, seal_tensors
from realitycheck.methods.base import Segmentation
from realitycheck.methods.few_shot.algorithm import MemoryBank, make_bank, patch_features, score_map
from realitycheck.methods.thresholds import fit_threshold, peak_level, segment

#: From a row of the transforms table to the features of its patches, (C, G, G).
FeaturesOf = Callable[[Any], np.ndarray]


def stored_patches(store: EncodingStore, keys: Mapping[str, str]) -> FeaturesOf:
    """Give the patch features of an image from its stored feature maps.

    Args:
        store: Feature maps of images, one a stage.
        keys: Key of each image in the store.
    """

    def features(row: Any) -> np.ndarray:
        stages = store.get(keys[row.image_id])
        return patch_features([stages[name] for name in sorted(stages)])

    return features


def remember(
    train: pd.DataFrame,
    transforms: pd.DataFrame,
    features_of: FeaturesOf,
    *,
    settings: Mapping[str, Any],
    dataset: str,
) -> Iterator[tuple[str, MemoryBank, list[float]]]:
    """Make the memory bank of each category, and score the good training images against it.

    `n_good` images are remembered, drawn by `seed`. Each of them is scored by a bank without it and
    without other views of its part; the others, which no bank holds, by the whole one.

    Args:
        train: Manifest of the training images.
        transforms: Their transforms table.
        features_of: Gives patch features.
        settings: The method block.
        dataset: Name for messages.

    Yields:
        Category, bank, and the peak of each good training image's score map.

    Raises:
        ValueError: If a category has fewer than two independent good training images.
    """
    about = train[train["label"] == "OK"].merge(
        transforms[["image_id", "height_px", "width_px"]],
        on="image_id",
        suffixes=("_given", ""),
    )
    made = {key: settings[key] for key in ("position_weight", "max_patches", "seed")}
    for category, images in about.groupby("category", sort=True):
        images = images.sort_values("image_id")
        groups = images["group"].fillna(images["image_id"]).tolist()
        if len(set(groups)) < 2:
            raise ValueError(
                f"data set {dataset}, category {category}: few_shot remembers good training images "
                f"and sets its threshold by leaving each out, so it needs at least 2 independent "
                f"ones, found {len(set(groups))}; keep some back, for example with "
                f"datasets.{dataset}.split: {{kind: all, train_fraction: 0.2}}, or leave the "
                f"method out with datasets.{dataset}.methods"
            )
        rows = list(images.itertuples())
        order = np.random.default_rng(settings["seed"]).permutation(len(rows))
        kept = set(order[: settings["n_good"]].tolist())
        features = {index: features_of(rows[index]) for index in kept}
        bank = make_bank([features[index] for index in sorted(kept)], **made)
        peaks = []
        for index, row in enumerate(rows):
            others = [f for i, f in sorted(features.items()) if groups[i] != groups[index]]
            if not others:
                continue  # all that is remembered are views of this part
            own = make_bank(others, **made) if len(others) < len(kept) else bank
            values = features[index] if index in kept else features_of(row)
            found = _map(values, own, row, settings)
            peaks.append(peak_level(found, min_area_px=settings["min_area_px"]))
        yield str(category), bank, peaks


def threshold_rows(
    manifest: pd.DataFrame, peaks: Mapping[str, list[float]], *, max_overkill_rate: float
) -> Iterator[dict[str, Any]]:
    """Threshold of every scored image, the same within a category.

    Args:
        manifest: Scored images.
        peaks: Peaks of good training images by category.
        max_overkill_rate: Share of them that the threshold may reject.

    Yields:
        Rows of the thresholds table.

    Raises:
        ValueError: If a category has no good training image.
    """
    limits = {
        category: fit_threshold(own, max_overkill_rate=max_overkill_rate)
        for category, own in peaks.items()
    }
    for row in manifest.itertuples():
        if row.category not in limits:
            raise ValueError(
                f"category {row.category}: few_shot needs good training images of every category, "
                f"found some of {', '.join(limits) or 'none'}; keep some back with split: {{kind: "
                "all, train_fraction: 0.2}"
            )
        yield {
            "dataset": row.dataset,
            "image_id": row.image_id,
            "threshold": limits[row.category],
            "fold": None,
        }


def write_banks(banks: Mapping[str, MemoryBank], path: str | Path) -> None:
    """Write the memory bank of every category into one safetensors file."""
    arrays = {
        f"{category}/{name}": np.ascontiguousarray(value)
        for category, bank in banks.items()
        for name, value in bank._asdict().items()
    }

    def write(temporary: str) -> None:
        save_file(arrays, temporary, metadata=UNSEALED)
        seal_tensors(temporary)

    write_atomically(path, write)


def read_banks(path: str | Path) -> dict[str, MemoryBank]:
    """Read what `write_banks` wrote; a damaged file is refused and removed."""
    check_tensors(path)
    arrays = load_file(str(path))
    names = sorted({key.rsplit("/", 1)[0] for key in arrays})
    return {
        name: MemoryBank(**{field: arrays[f"{name}/{field}"] for field in MemoryBank._fields})
        for name in names
    }


def few_shot_maps(
    manifest: pd.DataFrame,
    banks: Mapping[str, MemoryBank],
    features_of: FeaturesOf,
    *,
    settings: Mapping[str, Any],
) -> Callable[[Any], np.ndarray]:
    """Give the score map of a row of the transforms table, float32 (H, W), 0 to 1.

    Args:
        manifest: Scored images.
        banks: Memory bank of each category.
        features_of: Gives patch features.
        settings: The method block.
    """
    categories = dict(zip(manifest["image_id"], manifest["category"], strict=True))
    return lambda row: _map(features_of(row), banks[categories[row.image_id]], row, settings)


def few_shot_segmenter(
    map_of: Callable[[Any], np.ndarray], table: pd.DataFrame, *, min_area_px: int
) -> Callable[[Any], Segmentation]:
    """Threshold the score map of an image.

    Args:
        map_of: From `few_shot_maps`.
        table: Thresholds of every image.
        min_area_px: Smaller regions are dust.
    """
    limits = dict(zip(table["image_id"], table["threshold"], strict=True))
    return lambda row: segment(map_of(row), limits[row.image_id], min_area_px=min_area_px)


def _map(values: np.ndarray, bank: MemoryBank, row: Any, settings: Mapping[str, Any]) -> np.ndarray:
    return score_map(
        values,
        bank,
        image_size_hw=(int(row.height_px), int(row.width_px)),
        position_weight=settings["position_weight"],
        smoothing_sigma_px=settings["smoothing_sigma_px"],
    )
