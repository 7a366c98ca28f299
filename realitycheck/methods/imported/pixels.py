"""Masks and score maps from files, brought onto the aligned image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Picture

from realitycheck.alignment import matrix_of, warp_image, warp_whole_mask
from realitycheck.core.decoding.decoded import ImageError, known_orientation, turned
from realitycheck.core.images import read_stored
from realitycheck.core.masks import (
    DEFECT,
    MaskFacts,
    MaskReading,
    look_at_mask,
    read_truth,
    shape_turned,
)
from realitycheck.datasets.mask_rules import Mask, decide_readings, threshold_of
from realitycheck.datasets.records import Fault
from realitycheck.methods.imported.coco import CocoImage
from realitycheck.methods.imported.names import Prediction, PredictionError

_ORIENTATION = 0x0112


class Canvas(NamedTuple):
    """The picture that a mask or map lies on.

    Attributes:
        path: Its file.
        shape: Height and width; None where they are not known yet.
        orientation: EXIF orientation that turns the stored picture, 1 to 8.
    """

    path: Path
    shape: tuple[int, int] | None
    orientation: int = 1


def canvas_of(row: Any, settings: Mapping[str, Any]) -> Canvas:
    """The image file of a manifest row as it is shown, or, of the aligned geometry, what is known.

    Args:
        row: Row of the manifest.
        settings: The method block.
    """
    path = Path(row.image_path)
    if settings["geometry"] == "aligned":
        return Canvas(path, None)
    is_shown = settings["mask_orientation"] == "shown"
    shape = int(row.height_px), int(row.width_px)
    return Canvas(path, shape, 1 if is_shown else _orientation_of(path))


def values_on(canvas: Canvas, prediction: Prediction, settings: Mapping[str, Any]) -> np.ndarray:
    """Read a mask, bool (H, W), or a score map, float32 (H, W), as it lies on its picture.

    Raises:
        PredictionError: If it cannot be read, has values that are not allowed, or another size.
    """
    content = prediction.content
    try:
        if isinstance(content, CocoImage):
            reading = _reading(_facts(content.shape), prediction, canvas, settings)
            return np.ascontiguousarray(turned(content.mask(), reading.orientation))
        if settings["maps"] is not None:
            values, turn = _score_map(content)
            reading = _reading(_facts(values.shape, turn), prediction, canvas, settings)
            return np.ascontiguousarray(turned(values, reading.orientation))
        facts = look_at_mask(content, threshold=threshold_of(settings["mask_values"]))
        return read_truth(content, _reading(facts, prediction, canvas, settings)) == DEFECT
    except ImageError as error:
        raise PredictionError([Fault(error.path, error.problem, error.remedy)]) from None


def onto_aligned(values: np.ndarray, row: Any, settings: Mapping[str, Any]) -> np.ndarray:
    """Bring what lies on the original image onto the aligned one, as the truth is brought there.

    A mask as `align_truth` does, nearest neighbour; a map bilinearly, 0 beyond the image.

    Args:
        values: From `values_on`.
        row: Row of the transforms table.
        settings: The method block.
    """
    if settings["geometry"] == "aligned" or row.status != "aligned":
        return values
    size = {"height_px": int(row.height_px), "width_px": int(row.width_px)}
    if values.dtype != bool:
        return warp_image(values, matrix_of(row), border="black", **size)
    whole, left, top = warp_whole_mask(values.astype(np.uint8), matrix_of(row), **size)
    return whole[top : top + size["height_px"], left : left + size["width_px"]].astype(bool)


def shape_of(prediction: Prediction) -> tuple[int, int]:
    """Height and width of a mask or map as it is shown, from the head of its file."""
    content = prediction.content
    if isinstance(content, CocoImage):
        return content.shape
    if content.suffix.lower() == ".npy":
        return np.load(content, mmap_mode="r", allow_pickle=False).shape
    with Picture.open(content) as picture:
        turn = known_orientation(picture.getexif().get(_ORIENTATION))
        return shape_turned(picture.height, picture.width, turn)


def size_fault(
    prediction: Prediction, found: tuple[int, int], expected: tuple[int, int], of: str
) -> Fault:
    """Say that a mask or map has another size than its picture."""
    problem = (
        f"expected {expected[1]} x {expected[0]} px (width x height) as {of}, found {found[1]} x "
        f"{found[0]} px"
    )
    swapped = found == expected[::-1]
    remedy = (
        "turn it as the image is turned (EXIF orientation), or set mask_orientation: stored"
        if swapped
        else "export it at the size of the image, or set geometry: aligned if it lies on the "
        "aligned image"
    )
    where = f"{prediction.names[0]!r}{prediction.place}: " if prediction.place else ""
    return Fault(prediction.where, where + problem, remedy)


def _reading(
    facts: MaskFacts, prediction: Prediction, canvas: Canvas, settings: Mapping[str, Any]
) -> MaskReading:
    """How a mask's values are read, and how it is turned; refuses another size."""
    values = settings["mask_values"]
    own = shape_turned(facts.height_px, facts.width_px, facts.orientation)
    is_aligned = canvas.shape is None
    found, faults = decide_readings(
        [
            Mask(
                facts=facts,
                is_good=False,
                image_path=canvas.path,
                image_orientation=facts.orientation if is_aligned else canvas.orientation,
                image_shape=own if is_aligned else canvas.shape,
            )
        ],
        values=values,
        background="auto" if threshold_of(values) is None else "dark",
        orientation=settings["mask_orientation"],
    )
    reading = found[facts.path][0]
    shape = shape_turned(facts.height_px, facts.width_px, reading.orientation)
    if canvas.shape not in (None, shape):
        faults.append(size_fault(prediction, shape, canvas.shape, f"{canvas.path} is shown"))
    if faults:
        raise PredictionError(faults)
    return reading


def _facts(shape: tuple[int, ...], orientation: int = 1) -> MaskFacts:
    """Facts of what has a size, and no values that would have to be told."""
    return MaskFacts(Path(), "", "grey", shape[0], shape[1], orientation, {}, "0", 0, 0, False)


def _score_map(path: Path) -> tuple[np.ndarray, int]:
    """Read a score map, float32 (H, W) as stored, and its EXIF orientation."""
    remedy = "export it as .npy, float TIFF, or PNG of 8 or 16 bits, one value for each pixel"
    orientation = 1
    if path.suffix.lower() == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            problem = f"expected an array, but it cannot be read ({error})"
            raise ImageError(path, problem, remedy) from None
    else:
        _, decoded = read_stored(path)
        values, orientation = decoded.colours, decoded.orientation
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "uif":
        problem = f"expected numbers of shape (H, W), found {values.dtype} {values.shape}"
        raise ImageError(path, problem, remedy)
    if path.suffix.lower() != ".npy" and values.dtype.kind != "f":
        if values.dtype not in (np.uint8, np.uint16):
            raise ImageError(path, f"expected 8 or 16 bits or floats, found {values.dtype}", remedy)
        values = values / np.float32(np.iinfo(values.dtype).max)
    n_bad = int((~np.isfinite(values)).sum())
    if n_bad:
        problem = f"expected finite numbers, found {n_bad} that are none (NaN or infinite)"
        raise ImageError(path, problem, "leave no pixel without a score")
    return values.astype(np.float32), orientation


def _orientation_of(path: Path) -> int:
    """EXIF orientation of an image, from the head of its file where that can be read."""
    try:
        with Picture.open(path) as picture:
            return known_orientation(picture.getexif().get(_ORIENTATION))
    except (OSError, ValueError, Picture.DecompressionBombError):
        return read_stored(path)[1].orientation
