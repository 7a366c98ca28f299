"""Outlines of masks: exact polygons for other tools, short ones for the screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from realitycheck.core.masks import connected_regions, resize_mask

#: Longer side of the grid that outlines for the screen are drawn on.
SCREEN_SIDE = 320
_COARSEST_SIDE = 40
#: An outline for the screen with more characters is drawn on a coarser grid.
MAX_PATH_LENGTH = 6000
_SMOOTHING_PX = 0.7


@dataclass(frozen=True)
class Region:
    """One connected part of a mask, pixels that touch at a corner included.

    Attributes:
        polygon: Corners (x, y) in pixels, int, shape (K, 2), along the edges of pixels, so that
            pixel (0, 0) has the corners 0 and 1. A hole is joined to the outside by a slit of no
            width, since a polygon of COCO has no holes.
        box: x_min, y_min, width, height in pixels.
        area_px: Number of pixels.
    """

    polygon: np.ndarray
    box: tuple[int, int, int, int]
    area_px: int


def regions_of(mask: np.ndarray) -> Iterator[Region]:
    """Take a mask apart into polygons that give exactly the mask when they are filled again.

    Args:
        mask: bool, shape (H, W).

    Yields:
        Its regions from the top down.
    """
    labels, boxes, sizes = connected_regions(mask)
    for number, (box, area) in enumerate(zip(boxes.tolist(), sizes.tolist(), strict=True), start=1):
        x, y, width, height = box
        window = labels[y : y + height, x : x + width] == number
        outer, *holes = edge_loops(window)
        polygon = outer
        for hole in holes:
            polygon = _joined(polygon, hole)
        yield Region(polygon + (x, y), (x, y, width, height), area)


def edge_loops(region: np.ndarray) -> list[np.ndarray]:
    """Trace the edges of the pixels of one region: the outer loop first, then those of its holes.

    The contour of a mask enlarged twofold runs through the centres of its outermost small pixels;
    halved and rounded up these are the corners of the pixels themselves.

    Args:
        region: bool, shape (H, W), one 8-connected region.

    Returns:
        Corners (x, y), int, shape (K, 2) each.
    """
    doubled = np.repeat(np.repeat(region.astype(np.uint8), 2, axis=0), 2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    is_hole = hierarchy[0][:, 3] >= 0
    loops = [_corners((contour[:, 0, :] + 1) // 2) for contour in contours]
    outer = [loop for loop, hole in zip(loops, is_hole, strict=True) if not hole]
    return outer + [loop for loop, hole in zip(loops, is_hole, strict=True) if hole]


def _corners(points: np.ndarray) -> np.ndarray:
    """Drop repeated points and those within a straight edge."""
    points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    is_reversal = np.all(np.sign(before) == -np.sign(after), axis=1)
    return points[(turns != 0) | is_reversal]


def _joined(polygon: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Join a hole to a polygon by a slit from the hole's first corner; slits may cross."""
    at = int(np.argmin(np.abs(polygon - hole[0]).sum(axis=1)))
    return np.concatenate([polygon[: at + 1], hole, hole[:1], polygon[at:]])


def screen_path(mask: np.ndarray) -> str:
    """Write the outlines of a mask as the data of an SVG path, for a picture of `SCREEN_SIDE`.

    A cell of the grid belongs to the mask if any of its pixels does, so the smallest defect stays
    visible. Outlines that would become very long are drawn on a coarser grid, which thickens them
    but leaves nothing out. Fill by the rule "evenodd".

    Args:
        mask: bool, shape (H, W).

    Returns:
        The path's `d`, empty for an empty mask.
    """
    if not mask.any():
        return ""
    side = SCREEN_SIDE
    while True:
        path = _path_on_grid(mask, side)
        if len(path) <= MAX_PATH_LENGTH or side <= _COARSEST_SIDE:
            return path
        side //= 2


def screen_size(height_px: int, width_px: int, *, side: int = SCREEN_SIDE) -> tuple[int, int]:
    """Height and width of a picture whose longer side is `side`."""
    scale = side / max(height_px, width_px)
    return max(1, round(height_px * scale)), max(1, round(width_px * scale))


def _path_on_grid(mask: np.ndarray, side: int) -> str:
    height, width = screen_size(*mask.shape, side=side)
    grid = np.pad(resize_mask(mask, height, width), 1)
    zoom = SCREEN_SIDE / side
    doubled = np.repeat(np.repeat(grid.astype(np.uint8), 2, axis=0), 2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    parts = []
    for contour in contours:
        loop = _corners((contour[:, 0, :] + 1) // 2 - 1).astype(np.int32)
        smooth = cv2.approxPolyDP(loop[:, None, :], _SMOOTHING_PX, closed=True)[:, 0, :]
        if len(smooth) < 3:
            smooth = loop
        points = np.rint(smooth * zoom).astype(int)
        steps = np.diff(points, axis=0)
        words = " ".join(f"{x} {y}" for x, y in steps)
        parts.append(f"M{points[0][0]} {points[0][1]}l{words}z")
    return "".join(parts).replace(" -", "-")
