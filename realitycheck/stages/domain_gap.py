"""Stage 6: how far each data set lies from the everyday scenes of the small networks' training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from realitycheck.core.pictures import read_aligned
from realitycheck.core.schemas import ENCODINGS, MANIFEST
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_table
from realitycheck.datasets.synthetic.everyday import draw_scene
from realitycheck.encoders.base import keys_of
from realitycheck.metrics.domain_gap import (
    BANK_SIZE,
    FeatureBank,
    frechet_distance,
    make_bank,
    nearest_neighbour_ratio,
)
from realitycheck.models.resnet_features import feature_maps

if TYPE_CHECKING:
    import torch

#: Seed of the bank's scenes, which no training used.
BANK_SEED = 3000
_INPUT_PX = 256


def image_features(model: torch.nn.Module, images: Sequence[np.ndarray]) -> np.ndarray:
    """Compute one feature per image: the mean over its places of every kept channel.

    Args:
        model: The residual network, from `load_saliency`.
        images: uint8 RGB, (H, W, 3).

    Returns:
        float64, (N, D).
    """
    found = []
    for image in images:
        (maps,) = feature_maps(model, [image], input_size_px=_INPUT_PX)
        found.append(np.concatenate([each.astype(np.float64).mean(axis=(1, 2)) for each in maps]))
    return np.array(found)


def everyday_bank(model: torch.nn.Module) -> FeatureBank:
    """Draw the bank's scenes and make the bank of them."""
    scenes = (
        draw_scene(np.random.default_rng([BANK_SEED, index])).image for index in range(BANK_SIZE)
    )
    return make_bank(image_features(model, list(scenes)))


def mask_statistics(indices: Sequence[str | Path]) -> dict[str, float | None]:
    """Sum up SAM's automatic masks of a data set.

    Args:
        indices: Tables of the stored masks, one per shard; none where they were not cut out.

    Returns:
        Masks per image, and the median of the quality that SAM expects of them; None if unknown.
    """
    counts, qualities = [], []
    for index in indices:
        store = EncodingStore(Path(index).parents[1])
        for key in keys_of(read_table(index, schema=ENCODINGS)).values():
            predicted = store.get(key)["predicted_ious"]
            counts.append(len(predicted))
            qualities += predicted.tolist()
    return {
        "masks_per_image": float(np.mean(counts)) if counts else None,
        "median_predicted_iou": float(np.median(qualities)) if qualities else None,
    }


def measured_gap(
    model: torch.nn.Module,
    *,
    manifests: Mapping[str, str | Path],
    image_folders: Mapping[str, str | Path],
    masks: Mapping[str, Sequence[str | Path]],
) -> list[dict[str, Any]]:
    """Measure the gap of every data set.

    Args:
        model: The residual network.
        manifests: Manifest of each data set.
        image_folders: Folder of the aligned images of each.
        masks: Tables of stored automatic masks of each.

    Returns:
        One row per data set, columns of `MEASURED_GAP`.
    """
    bank = everyday_bank(model)
    rows = []
    for dataset, manifest in manifests.items():
        images = read_table(manifest, schema=MANIFEST)["image_id"]
        features = np.concatenate(
            [
                image_features(model, [read_aligned(image_folders[dataset], image_id)])
                for image_id in images
            ]
        )
        rows.append(
            {
                "dataset": dataset,
                "n_images": len(features),
                "frechet_distance": frechet_distance(bank, features) if len(features) > 1 else None,
                "nearest_neighbour_ratio": nearest_neighbour_ratio(bank, features),
                **mask_statistics(masks[dataset]),
            }
        )
    return rows
