"""Feature maps of a frozen residual network, for a classifier on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import torch

CELL_PX = 8
"""Finest cell of a stored map, in pixels of the network's input; finer stages are averaged."""

N_CHANNELS = 64
"""Channels that are kept of each stage, the same for every image.

Channels say much the same as each other: a random draw finds defects nearly as well as all do
(Defard et al. 2021, PaDiM, on random dimensionality reduction), and takes a tenth of the disk.
"""

_CHANNEL_SEED = 0
_LARGEST = float(np.finfo(np.float16).max)


def feature_maps(
    model: torch.nn.Module, images: Sequence[np.ndarray], *, input_size_px: int
) -> list[list[np.ndarray]]:
    """Compute the feature maps of the first three stages.

    Each image is brought to mean 0 and standard deviation 1 of its own, so that a brighter lamp or
    a higher gain is no defect.

    Source: section 3.3 of the study, "a pre-trained feature extractor based on a ResNet model"; it
    names neither depth nor stages, which are ours.

    Args:
        model: From `realitycheck.models.saliency.load_saliency`; frozen.
        images: N images, uint8 RGB, (H, W, 3), of any sizes.
        input_size_px: Side of the square they are resized to, a multiple of 16.

    Returns:
        For each image a map for each stage, float16, (C, G, G); C at most `N_CHANNELS`, G is the
        input's side over 8, 8 and 16.

    Raises:
        ValueError: If a value does not fit into float16: the network does not suit the images.
    """
    import torch

    device = next(model.parameters()).device
    finest = input_size_px // CELL_PX
    found = []
    for image in images:
        shrinks = max(image.shape[:2]) > input_size_px
        resized = cv2.resize(
            image,
            (input_size_px, input_size_px),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        ).astype(np.float32)
        scaled = (resized - resized.mean()) / max(float(resized.std()), 1.0)
        pixels = torch.from_numpy(scaled.transpose(2, 0, 1).copy())[None]
        maps = []
        with torch.inference_mode():
            for stage in model(pixels.to(device)):
                kept = stage[:, _channels(stage.shape[1])]
                side = min(finest, kept.shape[-1])
                cells = torch.nn.functional.adaptive_avg_pool2d(kept, side)
                maps.append(cells[0].float().cpu().numpy())
        largest = max(float(np.abs(each).max()) for each in maps)
        if not largest < _LARGEST:
            raise ValueError(
                f"the network's features must be below {_LARGEST:,.0f}, but reach "
                f"{largest:,.0f}; its weights do not suit it: check models.resnet.weights"
            )
        found.append([each.astype(np.float16, order="C") for each in maps])
    return found


def _channels(n: int) -> np.ndarray:
    """Channels that are kept of `n`, in rising order."""
    if n <= N_CHANNELS:
        return np.arange(n)
    return np.sort(np.random.default_rng([_CHANNEL_SEED, n]).choice(n, N_CHANNELS, replace=False))
