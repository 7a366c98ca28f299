"""Masks in COCO's form: polygons and run lengths, compressed or plain.

Run lengths are unpacked here, since pycocotools believes whatever it is given.

Source: COCO's data format, "object detection", and its format of results.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from realitycheck.datasets.records import Fault
from realitycheck.methods.imported.names import Prediction

#: How far a corner of a polygon may lie outside its image, in pixels: some tools count from 1.
_MOST_BEYOND_PX = 1.0


@dataclass
class CocoImage:
    """What is said of one image.

    Attributes:
        height_px: Height of the picture that the masks lie on.
        width_px: Its width.
        segmentations: Lists of polygons, or run lengths, int32, column by column, first outside.
        scores: Of each of them that has one.
    """

    height_px: int
    width_px: int
    segmentations: list[Any] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height_px, self.width_px

    def mask(self) -> np.ndarray:
        """All segmentations together, bool (H, W)."""
        from pycocotools import mask as coco

        size = self.shape
        mask = np.zeros(size, bool)
        for each in self.segmentations:
            if isinstance(each, np.ndarray):
                values = np.arange(len(each)) % 2 == 1
                mask |= np.repeat(values, each).reshape(size, order="F")
            else:
                filled = coco.merge(coco.frPyObjects(each, *size))
                mask |= coco.decode(filled).astype(bool)
        return mask


def read_coco(
    path: Path, images_path: Path | None, *, threshold: float | None
) -> tuple[list[Prediction], list[Fault]]:
    """Read a file of instances, or an array of results with the list of its images.

    Args:
        path: The JSON file.
        images_path: File whose `images` an array of results is about.
        threshold: Annotations whose score is below this are left out; None: none are.

    Returns:
        A prediction for each image that is listed, with or without annotations, whose content is a
        `CocoImage`; and every fault.
    """
    faults: list[Fault] = []
    found = _json(path, faults)
    listed = found if images_path is None else _json(images_path, faults)
    if faults:
        return [], faults
    if isinstance(found, list) and images_path is None:
        problem = "expected instances with `images` and `annotations`, found an array of results"
        return [], [Fault(path, problem, "set coco_images: the file that lists their images")]
    annotations = found if isinstance(found, list) else _list(found, "annotations", path, faults)
    where = images_path or path
    images = _images(_list(listed, "images", where, faults), where, faults)
    for number, each in enumerate(annotations):
        place = f"annotation {number + 1}"
        if isinstance(each, dict) and "id" in each:
            place += f" (id {each['id']})"
        if problem := _add(each, images, threshold):
            faults.append(Fault(path, f"{place}: {problem}", "correct or remove it"))
    predictions = [
        Prediction((name,), where, f" (image id {key!r})", image)
        for key, (name, image) in images.items()
    ]
    return predictions, faults


def _json(path: Path, faults: list[Fault]) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        problem = f"expected a COCO JSON file, but it cannot be read ({error.strerror})"
        faults.append(Fault(path, problem, "correct the path"))
    except ValueError as error:
        faults.append(Fault(path, f"expected JSON, but {error}", "export it again"))
    return None


def _list(found: Any, key: str, path: Path, faults: list[Fault]) -> list[Any]:
    given = found.get(key) if isinstance(found, dict) else None
    if isinstance(given, list):
        return given
    faults.append(Fault(path, f"expected a list {key!r}, found none", "export it again"))
    return []


def _images(listed: list[Any], path: Path, faults: list[Fault]) -> dict[Any, tuple[str, CocoImage]]:
    """Name and picture of each image by its id."""
    images: dict[Any, tuple[str, CocoImage]] = {}
    for number, each in enumerate(listed, start=1):
        about = each if isinstance(each, dict) else {}
        key, name = about.get("id"), about.get("file_name")
        size = about.get("height"), about.get("width")
        problem = None
        if not isinstance(key, int | str) or not isinstance(name, str) or not name.strip():
            problem = "needs an id and a file_name"
        elif not all(type(side) is int and side > 0 for side in size):
            problem = f"needs width and height in pixels, found {size[1]!r} and {size[0]!r}"
        elif key in images:
            problem = f"has the id {key!r} of another image"
        if problem:
            faults.append(Fault(path, f"image {number} {problem}", "correct or remove it"))
        else:
            images[key] = name, CocoImage(*size)
    return images


def _add(
    each: Any, images: dict[Any, tuple[str, CocoImage]], threshold: float | None
) -> str | None:
    """Add an annotation to its image, or say what is wrong with it."""
    if not isinstance(each, dict):
        return f"expected an object, found {each!r}"
    key, score = each.get("image_id"), each.get("score")
    if not isinstance(key, int | str) or key not in images:
        return f"image_id {key!r} is the id of no image"
    _, image = images[key]
    if score is not None:
        is_number = isinstance(score, int | float) and not isinstance(score, bool)
        if not is_number or not 0 <= score <= 1:
            return f"score must lie in [0, 1], found {score!r}"
        image.scores.append(float(score))
    elif threshold is not None:
        return "has no score, but a threshold is set"
    found, problem = _segmentation(each.get("segmentation"), image)
    if problem is None and (threshold is None or score >= threshold):
        image.segmentations.append(found)
    return problem


def _segmentation(given: Any, image: CocoImage) -> tuple[Any, str | None]:
    """Polygons as they are, or run lengths as numbers; or what is wrong with them."""
    if isinstance(given, dict):
        return _run_lengths(given, image)
    if not isinstance(given, list) or not given:
        return None, "has no segmentation; a box alone is no mask"
    for polygon in given:
        is_flat = isinstance(polygon, list) and all(_is_number(value) for value in polygon)
        if not is_flat or len(polygon) < 6 or len(polygon) % 2:
            return None, "a polygon needs three corners or more, as numbers [x1, y1, x2, y2, …]"
        for values, side, name in (
            (polygon[::2], image.width_px, "x"),
            (polygon[1::2], image.height_px, "y"),
        ):
            if min(values) < -_MOST_BEYOND_PX or max(values) > side + _MOST_BEYOND_PX:
                return None, (
                    f"a polygon lies outside its image: {name} from {min(values):g} to "
                    f"{max(values):g}, expected 0 to {side}"
                )
    return given, None


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _run_lengths(given: dict[str, Any], image: CocoImage) -> tuple[Any, str | None]:
    size = [image.height_px, image.width_px]
    if given.get("size") != size:
        return None, f"run lengths of size {given.get('size')}, expected {size} (height, width)"
    counts = given.get("counts")
    if isinstance(counts, str):
        counts = unpacked(counts)
    is_right = isinstance(counts, list) and all(type(n) is int and n >= 0 for n in counts)
    if not is_right or sum(counts) != size[0] * size[1]:
        return None, f"run lengths do not fill the {size[0] * size[1]} pixels of the image"
    return np.asarray(counts, np.int32), None


def unpacked(text: str) -> list[int] | None:
    """Unpack compressed run lengths; None where the text is none.

    Each number is written in groups of five bits, the lowest first, a sixth bit says that another
    follows; from the fourth number on it is the difference to the last but one.

    Source: `rleFrString` of pycocotools.
    """
    counts: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    return None if shift else counts
