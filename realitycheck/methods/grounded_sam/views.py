"""Views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.views import (
    View,
    boxes_view,
    list_view,
)
from realitycheck.encoders.detections import stored_detections
from realitycheck.methods.views import _KEPT, _TOO_LOW, Viewer, _by_image, _numbered, _weighed_box
from realitycheck.models.grounding_dino.model import (
    phrase,
    select_boxes,
)


def grounded_sam_viewer(
    boxes: pd.DataFrame, *, prompts: Sequence[str], settings: Mapping[str, Any], floor: float
) -> Viewer:
    """Show GroundingDINO's boxes, kept or not, with their scores and phrases.

    Args:
        boxes: The shard's boxes table.
        prompts: Phrases of the prompt set.
        settings: `switches` and thresholds.
        floor: Floor that the boxes were stored down to.
    """
    of_image = _by_image(boxes)
    switches = settings["switches"]
    limit = settings["box_threshold"]

    def view(row: Any, image: np.ndarray) -> list[View]:
        found = []
        for detection in stored_detections(of_image(row.image_id), prompts, floor=floor):
            kept = set(select_boxes(detection, box_threshold=limit).indices.tolist())
            for index in range(len(detection.scores)):
                label = phrase(
                    detection.tokens,
                    detection.token_scores[index],
                    settings["text_threshold"],
                    variant="text2seg",
                    strip_special=switches["strip_special"],
                )
                style = _KEPT if index in kept else _TOO_LOW
                found.append(_weighed_box(detection, index, label, style, image.shape[:2]))
        candidates = _numbered(found)
        note = (
            f"Stored down to a score of {floor:g}; a box is kept above {limit:g}, and SAM cuts "
            "out what lies in it."
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

    return view
