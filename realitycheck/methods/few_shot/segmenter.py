"""Few-shot normality, with a memory bank and a threshold from good training images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from realitycheck.core.files import write_atomically
from realitycheck.core.job import progress
from realitycheck.core.schemas import MANIFEST, TRANSFORMS
from realitycheck.core.tensors import UNSEALED, check_tensors, seal_tensors
from realitycheck.encoders.base import Encodings
from realitycheck.methods.base import Inputs, Run, Segmentation
from realitycheck.methods.few_shot.algorithm import (
    MemoryBank,
    make_bank,
    map_of_grid,
    patch_features,
    score_grid,
)
from realitycheck.methods.thresholds import fit_threshold, peak_level, segment

#: From a row of the transforms table to the features of its patches, (C, G, G).
FeaturesOf = Callable[[Any], np.ndarray]
#: From the same to the score of each patch, float32, (G, G).
GridOf = Callable[[Any], np.ndarray]


def open(inputs: Inputs, run: Run, device: str) -> FewShot:
    """Open the stored scores of the patches, or what they are computed from."""
    if "score_grids" in inputs:
        stored = inputs.score_grids()
        return FewShot(lambda row: stored[row.image_id], inputs.limits(), run.settings)
    manifest = inputs.table("manifest", MANIFEST)
    grid_of = bank_grids(
        dict(zip(manifest["image_id"], manifest["category"], strict=True)),
        read_banks(inputs.path("bank")),
        stored_patches(inputs.encodings("features")),
        settings=run.settings,
    )
    return FewShot(grid_of, inputs.limits(), run.settings)


class FewShot:
    """Few-shot normality.

    Args:
        grid_of: Gives the score of each patch of an image.
        limits: Threshold of each image.
        settings: The method block.
    """

    def __init__(self, grid_of: GridOf, limits: Mapping[str, float], settings: Mapping[str, Any]):
        self._grid_of, self.limits, self.settings = grid_of, limits, settings
        self._last: tuple[str, np.ndarray] | None = None

    def score_grid(self, row: Any) -> np.ndarray:
        """How little each patch looks like any that is remembered, float32, (G, G), 0 to 1."""
        if self._last is None or self._last[0] != row.image_id:
            self._last = row.image_id, self._grid_of(row)
        return self._last[1]

    def score_map(self, row: Any) -> np.ndarray:
        """The same for each pixel, float32, (H, W)."""
        return _map(self.score_grid(row), row, self.settings)

    def segment(self, row: Any) -> Segmentation:
        """Mark what scores above the threshold."""
        limit = self.limits[row.image_id]
        return segment(self.score_map(row), limit, min_area_px=self.settings["min_area_px"])


def stored_patches(features: Encodings) -> FeaturesOf:
    """Give the patch features of an image from its stored feature maps, one for each stage."""

    def patches(row: Any) -> np.ndarray:
        stages = features.of(row.image_id)
        return patch_features([stages[name] for name in sorted(stages)])

    return patches


def bank_grids(
    categories: Mapping[str, str],
    banks: Mapping[str, MemoryBank],
    features_of: FeaturesOf,
    *,
    settings: Mapping[str, Any],
) -> GridOf:
    """Give the score of each patch of an image.

    Args:
        categories: Category of each image.
        banks: Memory bank of each category.
        features_of: Gives patch features.
        settings: The method block.
    """
    weight = settings["position_weight"]
    return lambda row: score_grid(
        features_of(row), banks[categories[row.image_id]], position_weight=weight
    )


def fit(
    inputs: Inputs, run: Run, device: str, outputs: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Remember good training images, and set the threshold by leaving each of them out."""
    train = inputs.table("train", MANIFEST)
    found = remember(
        train,
        inputs.table("transforms", TRANSFORMS),
        stored_patches(inputs.encodings("features")),
        settings=run.settings,
        dataset=run.dataset,
    )
    what = f"{run.dataset}: categories remembered"
    rows = list(progress(found, total=train["category"].nunique(), what=what))
    write_banks({category: bank for category, bank, _ in rows}, outputs["bank"])
    return threshold_rows(
        inputs.table("manifest", MANIFEST),
        {category: peaks for category, _, peaks in rows},
        max_overkill_rate=run.settings["max_overkill_rate"],
    )


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
            grid = score_grid(values, own, position_weight=settings["position_weight"])
            found = _map(grid, row, settings)
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
        f"{category}/{field.name}": np.ascontiguousarray(getattr(bank, field.name))
        for category, bank in banks.items()
        for field in fields(bank)
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
        name: MemoryBank(
            **{field.name: arrays[f"{name}/{field.name}"] for field in fields(MemoryBank)}
        )
        for name in names
    }


def _map(grid: np.ndarray, row: Any, settings: Mapping[str, Any]) -> np.ndarray:
    return map_of_grid(
        grid,
        image_size_hw=(int(row.height_px), int(row.width_px)),
        smoothing_sigma_px=settings["smoothing_sigma_px"],
    )
