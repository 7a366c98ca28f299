"""Outlines give the mask back; short ones leave nothing out."""

import re

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from realitycheck.report.page.outlines import (
    MAX_PATH_LENGTH,
    SCREEN_SIDE,
    regions_of,
    screen_path,
    screen_size,
)


def fill(polygon, shape):
    """Fill a polygon by the reference implementation of the format."""
    lists = [polygon.ravel().astype(float).tolist()]
    return coco.decode(coco.merge(coco.frPyObjects(lists, *shape))).astype(bool)


def draw_path(path, shape):
    """Fill an SVG path of relative lines by the rule evenodd."""
    loops = []
    for part in path.split("M")[1:]:
        start, steps = re.fullmatch(r"(.*?)l(.*)z", part).groups()
        numbers = [[int(n) for n in re.findall(r"-?\d+", text)] for text in (start, steps)]
        points = [numbers[0]] + np.reshape(numbers[1], (-1, 2)).tolist()
        loops.append(np.cumsum(points, axis=0).astype(np.int32))
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, loops, 1)
    return canvas.astype(bool)


@pytest.mark.parametrize("density", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_filled_polygons_give_the_mask_back_to_the_pixel(density):
    """Specks, corners that touch, nested holes, borders: an export must not change an area."""
    rng = np.random.default_rng(int(100 * density))
    for _ in range(25):
        shape = tuple(int(n) for n in rng.integers(1, 40, 2))
        mask = rng.random(shape) < density
        filled = np.zeros(shape, bool)
        for region in regions_of(mask):
            own = fill(region.polygon, shape)
            assert own.sum() == region.area_px
            x, y, width, height = region.box
            rows, columns = np.nonzero(own)
            assert (columns.min(), rows.min()) == (x, y)
            assert (columns.max() + 1, rows.max() + 1) == (x + width, y + height)
            filled |= own
        np.testing.assert_array_equal(filled, mask)


def test_a_square_has_four_corners_on_pixel_edges():
    """Small enough to check by hand."""
    mask = np.zeros((6, 8), bool)
    mask[1:3, 2:7] = True
    (region,) = regions_of(mask)
    assert sorted(map(tuple, region.polygon)) == [(2, 1), (2, 3), (7, 1), (7, 3)]
    assert region.box == (2, 1, 5, 2)


def test_smallest_defect_is_visible_on_the_screen():
    """One pixel of two million."""
    mask = np.zeros((1200, 1600), bool)
    mask[600, 800] = True
    height, width = screen_size(*mask.shape)
    drawn = draw_path(screen_path(mask), (height + 1, width + 1))
    rows, columns = np.nonzero(drawn)
    assert len(rows) > 0
    assert abs(rows.mean() - 600 * height / 1200) < 1.5
    assert abs(columns.mean() - 800 * width / 1600) < 1.5


def test_outline_on_the_screen_covers_the_mask():
    """Smoothed by less than a pixel of the screen."""
    mask = np.zeros((640, 800), bool)
    cv2_mask = mask.astype(np.uint8)
    cv2.circle(cv2_mask, (300, 200), 90, 1, -1)
    cv2.circle(cv2_mask, (300, 200), 30, 0, -1)
    mask = cv2_mask.astype(bool)
    shape = screen_size(*mask.shape)
    small = cv2.resize(cv2_mask, shape[::-1], interpolation=cv2.INTER_AREA).astype(bool)
    drawn = draw_path(screen_path(mask), shape)
    assert (small & drawn).sum() / (small | drawn).sum() > 0.9


def test_a_wild_mask_gets_a_short_outline_that_leaves_nothing_out():
    """A method may mark noise; the page must still open."""
    mask = np.random.default_rng(0).random((900, 900)) < 0.2
    path = screen_path(mask)
    assert 0 < len(path) <= MAX_PATH_LENGTH
    drawn = draw_path(path, (SCREEN_SIDE + 1, SCREEN_SIDE + 1))
    assert drawn[:SCREEN_SIDE, :SCREEN_SIDE].mean() > 0.95


def test_empty_mask_has_no_outline():
    """Then nothing is drawn."""
    empty = np.zeros((5, 5), bool)
    assert screen_path(empty) == ""
    assert list(regions_of(empty)) == []
