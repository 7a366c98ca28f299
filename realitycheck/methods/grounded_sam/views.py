"""What GroundingDINO + SAM saw: boxes, kept or not, with their scores and labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from realitycheck.core.views import View, boxes_view, list_view
from realitycheck.methods.grounded_sam.segmenter import GroundedSam
from realitycheck.methods.views import KEPT, TOO_LOW, numbered, weighed_box
from realitycheck.models.grounding_dino.model import phrase, select_boxes


def views(
    segmenter: GroundedSam, row: Any, image: np.ndarray, truth: np.ndarray | None
) -> list[View]:
    """Show GroundingDINO's boxes, kept or not, with their scores and labels."""
    settings, floor = segmenter.settings, segmenter.floor
    limit = settings["box_threshold"]
    found = []
    for detection in segmenter.detections(row):
        kept = set(select_boxes(detection, box_threshold=limit).indices.tolist())
        for index in range(len(detection.scores)):
            label = phrase(
                detection.tokens,
                detection.token_scores[index],
                settings["text_threshold"],
                variant="text2seg",
                strip_special=settings["switches"]["strip_special"],
            )
            style = KEPT if index in kept else TOO_LOW
            found.append(weighed_box(detection, index, label, style, image.shape[:2]))
    candidates = numbered(found)
    note = (
        f"Stored down to a score of {floor:g}; a box is kept above {limit:g}, and SAM cuts out "
        "what lies in it."
    )
    return [
        boxes_view(image, candidates, title="Boxes of the detector", note=note),
        list_view(
            candidates,
            title="Score, words (prompt)",
            threshold=limit,
            note=f"Words of the prompt that score above {settings['text_threshold']:g}."
            if candidates
            else f"No box has a score above {floor:g}.",
        ),
    ]
