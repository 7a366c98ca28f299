"""Few-shot normality: a few good parts are remembered, and what looks like none of them is marked.

Every patch of an image is compared with the patches of good images that a memory bank holds, in
features of a frozen residual network; the distance to the nearest one is its anomaly. Where parts
are aligned, a patch is compared with patches of about its own place.

Source: Roth et al. (2022), "Towards Total Recall in Industrial Anomaly Detection" (PatchCore), on
locally averaged features of middle stages and the nearest neighbour. Ours: channels are scaled by
their spread over good patches, the place is a feature, the bank is thinned by a seeded draw in
place of a coreset, and the distance is not reweighted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from realitycheck.methods.few_shot.neighbours import Neighbours

#: Stages whose features are compared: fine enough for small defects.
N_STAGES = 2
#: Side of the neighbourhood over which a patch's features are averaged, in patches.
_NEIGHBOURHOOD = 3


@dataclass(frozen=True)
class MemoryBank:
    """Patches of good images.

    Attributes:
        features: What is compared: scaled features and place, float32, (N, C + 2).
        mean: Of each channel over good patches, float32, (C,).
        spread: Standard deviation of each channel over good patches, float32, (C,).
    """

    features: np.ndarray
    mean: np.ndarray
    spread: np.ndarray

    @cached_property
    def neighbours(self) -> Neighbours:
        """The features, prepared for the search when it is first asked for."""
        return Neighbours(self.features)


def patch_features(stages: Sequence[np.ndarray]) -> np.ndarray:
    """Join the feature maps of an image, each averaged over a patch's neighbours.

    Args:
        stages: Maps of the first stages, (C, G, G), any number; the first `N_STAGES` are used.

    Returns:
        float32, (C, G, G), at the side of the finest map.
    """
    from scipy.ndimage import uniform_filter

    side = max(stage.shape[-1] for stage in stages[:N_STAGES])
    joined = []
    for stage in stages[:N_STAGES]:
        near = uniform_filter(
            stage.astype(np.float32), size=(1, _NEIGHBOURHOOD, _NEIGHBOURHOOD), mode="nearest"
        )
        if near.shape[-1] != side:
            near = np.stack([cv2.resize(channel, (side, side)) for channel in near])
        joined.append(near)
    return np.concatenate(joined)


def make_bank(
    images: Sequence[np.ndarray], *, position_weight: float, max_patches: int, seed: int
) -> MemoryBank:
    """Remember good images.

    Args:
        images: From `patch_features`, each (C, G, G); at least one.
        position_weight: What a quarter of the image's side counts as, in root mean square
            deviations of the channels; 0 compares with every place alike.
        max_patches: If there are more, so many are drawn.
        seed: Of the draw.

    Raises:
        ValueError: If there is no image.
    """
    if not len(images):
        raise ValueError("memory bank: expected at least one good image, found none")
    flat = np.stack(images).transpose(1, 0, 2, 3).reshape(len(images[0]), -1)
    mean, spread = flat.mean(axis=1), flat.std(axis=1) + np.float32(1e-6)
    features = np.concatenate(
        [_described(image, mean, spread, position_weight=position_weight) for image in images]
    )
    if len(features) > max_patches:
        drawn = np.random.default_rng(seed).choice(len(features), max_patches, replace=False)
        features = features[np.sort(drawn)]
    return MemoryBank(features, mean, spread)


def score_grid(image: np.ndarray, bank: MemoryBank, *, position_weight: float) -> np.ndarray:
    """Score every patch of an image by how little it looks like any that is remembered.

    s = d / (d + 1), d the distance to the nearest patch of the bank in root mean square deviations
    of the channels.

    Args:
        image: From `patch_features`, (C, G, G).
        bank: The memory bank, made with the same `position_weight`.
        position_weight: See `make_bank`.

    Returns:
        float32, (G, G), 0 to 1.

    Raises:
        ValueError: If the image has other channels than the bank.
    """
    if len(image) != len(bank.mean):
        raise ValueError(
            f"image: expected {len(bank.mean)} channels like the memory bank, found {len(image)}; "
            "make both from the same network"
        )
    described = _described(image, bank.mean, bank.spread, position_weight=position_weight)
    distances = bank.neighbours.distances(described).reshape(image.shape[1:])
    return distances / (distances + 1)


def map_of_grid(
    grid: np.ndarray, *, image_size_hw: tuple[int, int], smoothing_sigma_px: float
) -> np.ndarray:
    """Make a map of the image from the scores of its patches: bilinear, then a Gaussian.

    Args:
        grid: From `score_grid`, (G, G).
        image_size_hw: Height and width of the map in pixels.
        smoothing_sigma_px: Standard deviation of the Gaussian in pixels; 0 does not smooth.

    Returns:
        float32, (H, W), 0 to 1.
    """
    height, width = image_size_hw
    scores = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
    if smoothing_sigma_px > 0:
        scores = cv2.GaussianBlur(scores, (0, 0), smoothing_sigma_px)
    return np.clip(scores, 0, 1)


def _described(
    image: np.ndarray, mean: np.ndarray, spread: np.ndarray, *, position_weight: float
) -> np.ndarray:
    """Describe each patch by its scaled features and its place, float32, (G · G, C + 2).

    For `position_weight` see `make_bank`.
    """
    n_channels, height, width = image.shape
    scaled = (image.reshape(n_channels, -1).T - mean) / (spread * np.sqrt(n_channels))
    rows, columns = np.mgrid[:height, :width].reshape(2, -1)
    place = 4 * position_weight * np.stack([rows / height, columns / width], axis=1)
    return np.hstack([scaled, place]).astype(np.float32)
