"""What views of several methods share: the boxes of the detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from realitycheck.core.views import BoxStyle, Candidate
from realitycheck.models.grounding_dino.model import Detection, boxes_to_pixels

KEPT = BoxStyle("kept", "#ffdd00", is_dashed=False)
TOO_LOW = BoxStyle("score too low", "white")


def weighed_box(
    detection: Detection, index: int, label: str, style: BoxStyle, size: tuple[int, int]
) -> Candidate:
    """A stored box with its label, and how it fared, in an image of a height and width."""
    corners = boxes_to_pixels(detection.boxes[index : index + 1], image_size_hw=size)[0]
    text = f"{label.strip() or 'no word'} ({detection.caption.strip(' .')})"
    box = tuple(map(float, corners))
    return Candidate(0, float(detection.scores[index]), text, style is KEPT, box, style)


def numbered(found: Sequence[Candidate]) -> list[Candidate]:
    """Sort candidates, kept ones first, best first, and number them."""
    ordered = sorted(found, key=lambda each: (not each.is_kept, -each.score))
    return [replace(each, number=number) for number, each in enumerate(ordered, start=1)]
