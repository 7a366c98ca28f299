"""Views."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from realitycheck.core.masks import mask_like, resize_mask

YELLOW = (255, 221, 0)

_FILL_OPACITY = 0.45

DARK = (20, 20, 20)


def draw_overlay(
    image: np.ndarray, mask: np.ndarray, *, size_px: tuple[int, int] | None = None
) -> np.ndarray:
    """Lay a mask over its image: yellow and half transparent, outlined in yellow and dark.

    The image is resized by area, the mask so that any cell it touches keeps it: a defect of one
    pixel stays visible. The outline is drawn after resizing, so it has the same width on every
    image, and its dark rim shows it on bright parts and in black and white.

    Args:
        image: Image, uint8 RGB, shape (H, W, 3).
        mask: Mask, bool, shape (H, W).
        size_px: Height and width of the result; the image's own if not given.

    Returns:
        The overlay, uint8 RGB, of the size asked for.

    Raises:
        ValueError: If the image is not uint8 RGB or the mask is not bool of the same size.
    """
    check_drawable(image, mask)
    height, width = size_px or image.shape[:2]
    small = _resize(image, height, width)
    if not mask.any():
        return small
    covered = resize_mask(mask, height, width)
    blend = small.astype(np.float32)
    blend[covered] += _FILL_OPACITY * (np.array(YELLOW, dtype=np.float32) - blend[covered])
    drawn = np.ascontiguousarray(blend.round().astype(np.uint8))
    thickness = max(1, round(min(height, width) / 220))
    contours, _ = cv2.findContours(covered.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, contours, -1, DARK, thickness + 2)
    cv2.drawContours(drawn, contours, -1, YELLOW, thickness)
    return drawn


def _resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image.copy()
    is_smaller = height * width < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if is_smaller else cv2.INTER_NEAREST
    return cv2.resize(image, (width, height), interpolation=method)


def check_drawable(image: np.ndarray, mask: np.ndarray) -> None:
    """Refuse an image that is not uint8 RGB, and a mask that is not bool of its size."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"an image must be uint8 RGB (H, W, 3), but is {image.dtype} {image.shape}"
        )
    if mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        raise ValueError(
            f"a mask must be bool {image.shape[:2]} like its image, but is {mask.dtype} "
            f"{mask.shape}"
        )


#: Candidates that a list names one by one; the others are counted.
N_LISTED = 12

PLOT_YELLOW = tuple(channel / 255 for channel in YELLOW)


@dataclass(frozen=True)
class BoxStyle:
    """How boxes of one fate are drawn.

    Attributes:
        name: What the legend calls them.
        colour: A colour of matplotlib.
        is_dashed: Thin and dashed instead of thick and solid.
    """

    name: str
    colour: Any
    is_dashed: bool = True


@dataclass(frozen=True)
class Candidate:
    """Something that a method weighed: a box, or a mask.

    Attributes:
        number: As it is called in the picture and in the list.
        score: What it was weighed by.
        text: What it stands for.
        is_kept: Whether the method went on with it.
        box: x_min, y_min, x_max, y_max in pixels; None for a mask.
        style: Of its box.
    """

    number: int
    score: float
    text: str
    is_kept: bool
    box: tuple[float, float, float, float] | None = None
    style: BoxStyle | None = None


@dataclass(frozen=True)
class View:
    """One part of a panel.

    Attributes:
        title: Heading.
        picture: uint8 RGB, or a map, float, of any size; it fills the extent. None for a list.
        extent_hw: Height and width of the image in pixels, for what is drawn on the picture.
        note: Text below.
        boxes: Boxes to draw, those that matter most last.
        labels: Texts at places (x, y) in pixels.
        points: Places for SAM (x, y) in pixels and whether they are positive.
        contours: Outlines: a mask, bool, of any size, a colour, and a name for the legend.
        threshold: Level marked in a map's scale, or in a list.
        candidates: Lines of a list, best first.
    """

    title: str
    picture: np.ndarray | None = None
    extent_hw: tuple[int, int] = (1, 1)
    note: str = ""
    boxes: tuple[Candidate, ...] = ()
    labels: tuple[tuple[float, float, str], ...] = ()
    points: tuple[tuple[float, float, bool], ...] = ()
    contours: tuple[tuple[np.ndarray, Any, str], ...] = ()
    threshold: float | None = None
    candidates: tuple[Candidate, ...] = field(default=())


# ------------------------------------------------------------------------------------ making views


def image_view(image: np.ndarray, *, title: str = "Image", note: str = "") -> View:
    """Show an image as it is.

    Args:
        image: uint8 RGB, (H, W, 3).
        title: Heading.
        note: Text below.
    """
    return View(title, _display(image), image.shape[:2], note)


def mask_view(image: np.ndarray, mask: np.ndarray, *, title: str, note: str = "") -> View:
    """Lay a mask over its image, in yellow.

    Args:
        image: uint8 RGB, (H, W, 3).
        mask: bool, of any size; brought to the image by nearest neighbour.
        title: Heading.
        note: Text below.
    """
    height, width = image.shape[:2]
    picture = draw_overlay(image, mask_like(image, mask), size_px=display_size((height, width)))
    return View(title, picture, (height, width), note)


def boxes_view(
    image: np.ndarray, candidates: Sequence[Candidate], *, title: str, note: str = ""
) -> View:
    """Draw every box that was kept, and of the others those that a list names.

    Args:
        image: uint8 RGB, (H, W, 3).
        candidates: With boxes and styles, best first.
        title: Heading.
        note: Text below.
    """
    others = [each for each in candidates if not each.is_kept][:N_LISTED]
    kept = [each for each in candidates if each.is_kept]
    n_left = len(candidates) - len(kept) - len(others)
    left = f" Not drawn: {n_left} rejected with lower scores." if n_left else ""
    shown = (*reversed(others), *reversed(kept))
    return View(title, _display(image), image.shape[:2], note + left, boxes=shown)


def masks_view(
    image: np.ndarray,
    masks: Sequence[np.ndarray],
    *,
    names: Sequence[str],
    is_selected: Sequence[bool],
    title: str,
    note: str = "",
) -> View:
    """Paint masks in colours of their own, and outline the selected ones in yellow.

    Args:
        image: uint8 RGB, (H, W, 3).
        masks: bool, (H, W).
        names: What each is called in the picture; empty for no name.
        is_selected: Which ones the method took.
        title: Heading.
        note: Text below.
    """
    size = display_size(image.shape[:2])
    height, width = size
    grey = cv2.cvtColor(_display(image), cv2.COLOR_RGB2GRAY)
    painted = np.repeat(grey[..., None], 3, axis=2).astype(np.float32)
    # Large ones first, so that small ones lie on top.
    for index in sorted(range(len(masks)), key=lambda i: -int(masks[i].sum())):
        colour = np.array(colorsys.hsv_to_rgb(index * 0.618034 % 1.0, 0.75, 1.0)) * 255
        covered = covered_mask(masks[index], size)
        painted[covered] += 0.5 * (colour - painted[covered])
    scale = image.shape[0] / height, image.shape[1] / width
    labels, contours = [], []
    for mask, name, selected in zip(masks, names, is_selected, strict=True):
        covered = covered_mask(mask, size)
        if selected:
            legend = "" if contours else "selected"
            contours.append((covered, PLOT_YELLOW, legend))
        if name and covered.any():
            x, y = _inside(covered)
            labels.append(((x + 0.5) * scale[1], (y + 0.5) * scale[0], name))
    return View(
        title,
        painted.round().astype(np.uint8),
        image.shape[:2],
        note,
        labels=tuple(labels),
        contours=tuple(contours),
    )


def map_view(
    values: np.ndarray,
    *,
    image_size_hw: tuple[int, int],
    title: str,
    note: str = "",
    threshold: float | None = None,
    above: np.ndarray | None = None,
    truth: np.ndarray | None = None,
) -> View:
    """Show a map with its scale, and where it lies above a threshold.

    Args:
        values: float, (h, w), of any size; it covers the image.
        image_size_hw: Height and width of the image in pixels.
        title: Heading.
        note: Text below.
        threshold: Level marked in the scale; one that is not finite is not.
        above: What passes it, bool, of any size, to outline.
        truth: The true defect, bool, of any size, to outline.
    """
    contours = []
    if truth is not None and truth.any():
        size = display_size(image_size_hw)
        # A little wider than the defect, so as to surround a small one and not to cover it.
        reach = 2 * round(max(size) / 130) + 1
        around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        widened = cv2.dilate(covered_mask(truth, size).astype(np.uint8), around).astype(bool)
        contours.append((widened, "#ff4fd8", "around the true defect"))
    if above is not None and above.any():
        contours.append((above, "white", "above the threshold"))
    return View(
        title,
        _smaller_map(np.asarray(values, np.float32)),
        image_size_hw,
        note,
        contours=tuple(contours),
        threshold=threshold,
    )


def points_view(
    image: np.ndarray, points: np.ndarray, labels: np.ndarray, *, title: str, note: str = ""
) -> View:
    """Draw the places that SAM was given.

    Args:
        image: uint8 RGB, (H, W, 3).
        points: x and y in pixels, (P, 2).
        labels: 1 for "this belongs to it", 0 for "this does not", (P,).
        title: Heading.
        note: Text below.
    """
    places = tuple(
        (float(x), float(y), bool(positive))
        for (x, y), positive in zip(points, labels, strict=True)
    )
    return View(title, _display(image), image.shape[:2], note, points=places)


def list_view(
    candidates: Sequence[Candidate], *, title: str, threshold: float, note: str = ""
) -> View:
    """List the best candidates with their scores as bars, the threshold as a line.

    Args:
        candidates: Best first.
        title: Heading.
        threshold: Level marked across the bars.
        note: Text below.
    """
    n_left = len(candidates) - N_LISTED
    if n_left > 0:
        note = f"{note} The best {N_LISTED} of {len(candidates)} are listed.".strip()
    return View(
        title,
        note=note or ("" if candidates else "There is none."),
        threshold=threshold,
        candidates=tuple(candidates[:N_LISTED]),
    )


def display_size(size_hw: tuple[int, int]) -> tuple[int, int]:
    """Height and width in which a picture is drawn: enough for its place, and no more."""
    height, width = size_hw
    longer = 1600 if height / width < 0.45 else 640
    scale = longer / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _display(image: np.ndarray) -> np.ndarray:
    return draw_overlay(
        image, np.zeros(image.shape[:2], bool), size_px=display_size(image.shape[:2])
    )


def covered_mask(mask: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize a mask so that what it touches stays."""
    height, width = size_hw
    shrinks = height * width < mask.size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    return cv2.resize(mask.astype(np.float32), (width, height), interpolation=how) > 0


def _smaller_map(values: np.ndarray) -> np.ndarray:
    height, width = values.shape
    target = display_size((height, width))
    if target[0] >= height:
        return values
    return cv2.resize(values, target[::-1], interpolation=cv2.INTER_AREA)


def _inside(mask: np.ndarray) -> tuple[int, int]:
    """A place (x, y) well inside a mask."""
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), mask.shape)
    return int(x), int(y)
