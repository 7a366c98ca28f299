"""Pieces of scenes around things, cut and scaled on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional


def cut(
    maps: torch.Tensor, boxes: torch.Tensor, *, size_px: int, mode: str = "bilinear"
) -> torch.Tensor:
    """Cut boxes out of maps and squash each to a square; beyond the border it is black.

    Args:
        maps: float, (N, C, H, W).
        boxes: x_min, y_min, x_max, y_max in pixels, float, (N, 4), one a map.
        size_px: Side of the result.
        mode: "bilinear" or "nearest".

    Returns:
        float, (N, C, size_px, size_px).
    """
    height, width = maps.shape[-2:]
    scale = torch.tensor([width, height, width, height], device=boxes.device)
    relative = 2 * boxes / scale - 1
    centre, half = (relative[:, :2] + relative[:, 2:]) / 2, (relative[:, 2:] - relative[:, :2]) / 2
    theta = torch.zeros(len(maps), 2, 3, device=maps.device)
    theta[:, 0, 0], theta[:, 1, 1] = half[:, 0], half[:, 1]
    theta[:, :, 2] = centre
    grid = functional.affine_grid(theta, [len(maps), 1, size_px, size_px], align_corners=False)
    return functional.grid_sample(maps, grid, mode=mode, align_corners=False)


def around(rng: np.random.Generator, box: tuple[int, int, int, int], *, most: float) -> list[float]:
    """Widen a box by chance on each side, by up to `most` of its size."""
    x_min, y_min, x_max, y_max = box
    width, height = x_max - x_min, y_max - y_min
    room = rng.uniform(0, 1) * most
    left, top, right, bottom = rng.uniform(-0.04, room + 0.02, 4)
    return [
        x_min - left * width,
        y_min - top * height,
        x_max + right * width,
        y_max + bottom * height,
    ]
