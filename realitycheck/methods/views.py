"""Stage 7: what each method saw of an image, as views of its panel; from stored artifacts only.

A viewer is the counterpart of a segmenter: a function from a row of the transforms table and its
image to the views of the panel between the truth and the final mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.files import image_file
from realitycheck.core.masks import decode_mask
from realitycheck.core.pictures import read_warped
from realitycheck.core.views import (
    BoxStyle,
    Candidate,
    View,
    masks_view,
)
from realitycheck.models.grounding_dino.model import (
    Detection,
    boxes_to_pixels,
)

Viewer = Callable[[Any, np.ndarray], list[View]]

_KEPT = BoxStyle("kept", "#ffdd00", is_dashed=False)
_PRODUCT = BoxStyle("product", "#56b4e9", is_dashed=False)
_TOO_LOW = BoxStyle("score too low", "white")
_TOO_LARGE = BoxStyle("too large", "#ff8c69")
_NAMED_ALIKE = BoxStyle("named like the product", "#56b4e9")

#: Where the threshold of SAA+'s anomaly map comes from.
_RULE_WORDS = {
    "union": "Every pixel of its masks is marked",
    "f1max": "The threshold is the best one for the truth of the images it is used on (f1max)",
    "fixed": "The threshold is a set share of the range over all images of the category",
    "good": "The threshold was set on good images",
}


def truth_of(folder: str | Path, image_id: str) -> np.ndarray | None:
    """Warped truth of an image, bool (H, W); None where there is no file."""
    is_drawn = image_file(folder, image_id).is_file()
    return read_warped(folder, image_id) == 255 if is_drawn else None


# -------------------------------------------------------------------------------------------- parts


def _by_image(table: pd.DataFrame) -> Callable[[str], pd.DataFrame]:
    groups = dict(tuple(table.groupby("image_id")))
    nothing = table.iloc[:0]
    return lambda image_id: groups.get(image_id, nothing)


def _weighed_box(
    detection: Detection, index: int, label: str, style: BoxStyle, size: tuple[int, int]
) -> Candidate:
    corners = boxes_to_pixels(detection.boxes[index : index + 1], image_size_hw=size)[0]
    text = f"{label.strip() or 'no word'} ({detection.caption.strip(' .')})"
    box = tuple(map(float, corners))
    return Candidate(0, float(detection.scores[index]), text, style is _KEPT, box, style)


def _numbered(found: Sequence[Candidate]) -> list[Candidate]:
    """Sort candidates, kept ones first, best first, and number them."""
    ordered = sorted(found, key=lambda each: (not each.is_kept, -each.score))
    return [replace(each, number=number) for number, each in enumerate(ordered, start=1)]


def _best_masks_view(image: np.ndarray, stored: Any, *, max_masks: int) -> View:
    """The masks that make up the anomaly map, with their raised scores."""
    size = {"height_px": int(stored.height_px), "width_px": int(stored.width_px)}
    masks = [decode_mask(counts, **size) for counts in stored.mask_rles]
    return masks_view(
        image,
        masks,
        names=[f"{score:.2f}" for score in stored.mask_scores],
        is_selected=[False] * len(masks),
        title="Masks in the anomaly map",
        note=f"Of {stored.n_boxes} kept boxes {len(masks)}, at most {max_masks}; the numbers are "
        "their scores, raised by saliency.",
    )
