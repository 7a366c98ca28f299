"""What SAA+ saw: boxes and why they were dropped, saliency, best masks and the anomaly map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from realitycheck.core.masks import decode_mask
from realitycheck.core.views import (
    BoxStyle,
    Candidate,
    View,
    boxes_view,
    list_view,
    map_view,
    masks_view,
)
from realitycheck.encoders.detections import stored_detections
from realitycheck.methods.saa_plus import algorithm as saa_plus
from realitycheck.methods.saa_plus.prompts import captions, prompts_of_category
from realitycheck.methods.saa_plus.segmenter import SaaPlus
from realitycheck.methods.views import KEPT, TOO_LOW, numbered, weighed_box
from realitycheck.models.grounding_dino.model import (
    Detection,
    boxes_to_pixels,
    phrase,
    select_boxes,
)
from realitycheck.models.saliency import resize_saliency

_PRODUCT = BoxStyle("product", "#56b4e9", is_dashed=False)
_TOO_LARGE = BoxStyle("too large", "#ff8c69")
_NAMED_ALIKE = BoxStyle("named like the product", "#56b4e9")

#: Where the threshold of the anomaly map comes from.
_RULE_WORDS = {
    "union": "Every pixel of its masks is marked",
    "f1max": "The threshold is the best one for the truth of the images it is used on (f1max)",
    "fixed": "The threshold is a set share of the range over all images of the category",
    "good": "The threshold was set on good images",
}


def views(segmenter: SaaPlus, row: Any, image: np.ndarray, truth: np.ndarray | None) -> list[View]:
    """Show SAA+'s boxes and why they were dropped, saliency, best masks and anomaly map."""
    settings, floor, size = segmenter.settings, segmenter.floor, image.shape[:2]
    rule, _ = saa_plus.parse_rule(settings["binarise"])
    stored, values = segmenter.stored(row), segmenter.score_map(row)
    told = prompts_of_category(segmenter.told, row.category)
    asked = captions(told, object_comma=settings["switches"]["object_comma"])
    detections = segmenter.detections(row)
    product = stored_detections(detections, [asked.object_caption], floor=floor)[0]
    candidates = numbered(
        _weighed_boxes(
            stored_detections(detections, asked.defect_captions, floor=floor),
            asked.filter_phrases,
            max_area=stored.object_area * told.area_ratio,
            settings=settings,
            size=size,
        )
    )
    shown = boxes_view(
        image,
        candidates,
        title="Boxes of the detector",
        note=f"Product: {100 * stored.object_area:.3g} % of the image, so a defect may take "
        f"{100 * stored.object_area * told.area_ratio:.3g} %.",
    )
    largest = _product_box(product, n_objects=told.n_objects, settings=settings, size=size)
    return [
        replace(shown, boxes=(*largest, *shown.boxes)),
        list_view(
            candidates,
            title="Score, words (prompt)",
            threshold=settings["box_threshold"],
            note=f"Words of the prompt that score above {settings['text_threshold']:g}."
            if candidates
            else f"No box has a score above {floor:g}.",
        ),
        _saliency_view(segmenter, row, n_objects=told.n_objects, size=size),
        _best_masks_view(image, stored, max_masks=told.max_masks),
        map_view(
            values,
            image_size_hw=size,
            title="Anomaly map",
            note=f"Scores of overlapping masks, averaged. {_RULE_WORDS[rule]}.",
            threshold=segmenter.limits[row.image_id],
            above=segmenter.above(values, row),
            truth=truth,
        ),
    ]


def _weighed_boxes(
    detections: Sequence[Detection],
    filter_phrases: Sequence[str],
    *,
    max_area: float,
    settings: Mapping[str, Any],
    size: tuple[int, int],
) -> list[Candidate]:
    """Weigh every stored box as `saa_plus.propose` does, and remember why it was dropped."""
    found = []
    for detection, filter_phrase in zip(detections, filter_phrases, strict=True):
        passed = select_boxes(detection, box_threshold=settings["box_threshold"])
        high = set(passed.indices.tolist())
        areas = detection.boxes[:, 2] * detection.boxes[:, 3]
        for index in range(len(detection.scores)):
            label = phrase(
                detection.tokens, detection.token_scores[index], settings["text_threshold"]
            )
            if index not in high:
                style = TOO_LOW
            elif not 0 < areas[index] < np.float32(max_area):
                style = _TOO_LARGE
            elif filter_phrase and filter_phrase in label:
                style = _NAMED_ALIKE
            else:
                style = KEPT
            found.append(weighed_box(detection, index, label, style, size))
    return found


def _product_box(
    detection: Detection,
    *,
    n_objects: int,
    settings: Mapping[str, Any],
    size: tuple[int, int],
) -> tuple[Candidate, ...]:
    """The largest box of the product, which limits the defects; none where none was found."""
    proposals = saa_plus.propose(
        [detection],
        [""],
        max_area=1.0 / n_objects,
        box_threshold=settings["box_threshold"],
        text_threshold=settings["text_threshold"],
    )
    if not len(proposals.boxes):
        return ()
    index = int((proposals.boxes[:, 2] * proposals.boxes[:, 3]).argmax())
    corners = boxes_to_pixels(proposals.boxes[index : index + 1], image_size_hw=size)[0]
    box = tuple(map(float, corners))
    score = float(proposals.scores[index])
    # Its number lies beyond those that are written into the picture.
    return (Candidate(10**6, score, detection.caption, True, box, _PRODUCT),)


def _saliency_view(segmenter: SaaPlus, row: Any, *, n_objects: int, size: tuple[int, int]) -> View:
    if n_objects > 1:
        return View(
            "Saliency",
            note=f"The {n_objects} products of the image are compared with each other; that map is "
            "not stored.",
        )
    grid = segmenter.saliency().of(row.image_id)["saliency"]
    return map_view(
        resize_saliency(grid, height_px=size[0], width_px=size[1]),
        image_size_hw=size,
        title="Saliency",
        note="Bright: unlike the rest of the image. It raises the score of a mask.",
    )


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
