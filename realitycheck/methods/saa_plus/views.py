"""Views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.store import EncodingStore
from realitycheck.core.views import (
    Candidate,
    View,
    boxes_view,
    list_view,
    map_view,
)
from realitycheck.encoders.detections import stored_detections
from realitycheck.methods.saa_plus import algorithm as saa_plus
from realitycheck.methods.saa_plus.prompts import captions, prompts_of_category
from realitycheck.methods.saa_plus.segmenter import anomaly_map
from realitycheck.methods.views import (
    _KEPT,
    _NAMED_ALIKE,
    _PRODUCT,
    _RULE_WORDS,
    _TOO_LARGE,
    _TOO_LOW,
    Viewer,
    _best_masks_view,
    _by_image,
    _numbered,
    _weighed_box,
    truth_of,
)
from realitycheck.models.grounding_dino.model import (
    Detection,
    boxes_to_pixels,
    phrase,
    select_boxes,
)
from realitycheck.models.saliency import resize_saliency


def saa_plus_viewer(
    boxes: pd.DataFrame,
    maps: pd.DataFrame,
    *,
    saliency: tuple[EncodingStore, Mapping[str, str]],
    limits: Mapping[str, float],
    wanted: Any,
    settings: Mapping[str, Any],
    truth_folder: str | Path,
    floor: float,
) -> Viewer:
    """Show SAA+'s boxes and why they were dropped, saliency, best masks and anomaly map.

    Args:
        boxes: The shard's boxes table.
        maps: The shard's anomaly maps table.
        saliency: Stored saliency maps for one product an image, and the key of each image's.
        limits: Threshold of each image's anomaly map.
        wanted: The prompt set's prompts of SAA+.
        settings: `switches`, thresholds, `binarise`.
        truth_folder: Folder of the warped truth masks.
        floor: Floor that the boxes were stored down to.
    """
    of_image = _by_image(boxes)
    rows = {row.image_id: row for row in maps.itertuples()}
    switches = settings["switches"]
    rule, _ = saa_plus.parse_rule(settings["binarise"])

    def view(row: Any, image: np.ndarray) -> list[View]:
        size = image.shape[:2]
        stored = rows[row.image_id]
        told = prompts_of_category(wanted, row.category)
        asked = captions(told, object_comma=switches["object_comma"])
        detections = of_image(row.image_id)
        product = stored_detections(detections, [asked.object_caption], floor=floor)[0]
        found = _saa_plus_boxes(
            stored_detections(detections, asked.defect_captions, floor=floor),
            asked.filter_phrases,
            max_area=stored.object_area * told.area_ratio,
            settings=settings,
            size=size,
        )
        candidates = _numbered(found)
        shown = boxes_view(
            image,
            candidates,
            title="Boxes of the detector",
            note=f"Product: {100 * stored.object_area:.3g} % of the image, so a defect may take "
            f"{100 * stored.object_area * told.area_ratio:.3g} %.",
        )
        largest = _product_box(product, n_objects=told.n_objects, settings=settings, size=size)
        shown = replace(shown, boxes=(*largest, *shown.boxes))
        values, truth = anomaly_map(stored), truth_of(truth_folder, row.image_id)
        limit = limits[row.image_id]
        return [
            shown,
            list_view(
                candidates,
                title="Score, words (prompt)",
                threshold=settings["box_threshold"],
                note=f"Words of the prompt that score above {settings['text_threshold']:g}."
                if candidates
                else f"No box has a score above {floor:g}.",
            ),
            _saliency_view(saliency, row.image_id, n_objects=told.n_objects, size=size),
            _best_masks_view(image, stored, max_masks=told.max_masks),
            map_view(
                values,
                image_size_hw=size,
                title="Anomaly map",
                note=f"Scores of overlapping masks, averaged. {_RULE_WORDS[rule]}.",
                threshold=limit,
                above=saa_plus.binarise(values, limit, above=rule in ("union", "good")),
                truth=truth,
            ),
        ]

    return view


def _saa_plus_boxes(
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
                style = _TOO_LOW
            elif not 0 < areas[index] < np.float32(max_area):
                style = _TOO_LARGE
            elif filter_phrase and filter_phrase in label:
                style = _NAMED_ALIKE
            else:
                style = _KEPT
            found.append(_weighed_box(detection, index, label, style, size))
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


def _saliency_view(
    saliency: tuple[EncodingStore, Mapping[str, str]],
    image_id: str,
    *,
    n_objects: int,
    size: tuple[int, int],
) -> View:
    if n_objects > 1:
        return View(
            "Saliency",
            note=f"The {n_objects} products of the image are compared with each other; that map is "
            "not stored.",
        )
    grid = saliency[0].get(saliency[1][image_id])["saliency"]
    return map_view(
        resize_saliency(grid, height_px=size[0], width_px=size[1]),
        image_size_hw=size,
        title="Saliency",
        note="Bright: unlike the rest of the image. It raises the score of a mask.",
    )
