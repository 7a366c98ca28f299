"""GroundingDINO + SAM: boxes from a text, a mask from each box, their union.

The boxes are stored with their token scores and SAM's embedding is stored too, so `segment` costs
SAM's small decoder only, and another threshold costs no detection.

Source: Text2Seg, `predict_dino`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from realitycheck.methods.base import Segmentation
from realitycheck.models.grounding_dino.model import (
    Detection,
    boxes_to_pixels,
    phrase,
    select_boxes,
)


@dataclass(frozen=True)
class GroundedSamVariant:
    """The published code's slip, a switch; it touches the labels of boxes only, never a mask.

    Attributes:
        strip_special: Whether `[CLS]` and `[SEP]` are left out of a label (deviation A2).
    """

    strip_special: bool = False


PUBLISHED = GroundedSamVariant()
REPAIRED = GroundedSamVariant(strip_special=True)
VARIANTS = {"published": PUBLISHED, "repaired": REPAIRED}


class PromptedBoxes(NamedTuple):
    """Boxes that passed, over all prompts.

    Attributes:
        boxes: x_min, y_min, x_max, y_max in pixels, float32, (N, 4), not clipped to the image.
        scores: float32, (N,).
        labels: The words each box stands for, N texts; they remove no box.
        prompts: Index of the prompt behind each box, int64, (N,).
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: tuple[str, ...]
    prompts: np.ndarray


def prompted_boxes(
    detections: Sequence[Detection],
    *,
    image_size_hw: tuple[int, int],
    box_threshold: float = 0.35,
    text_threshold: float = 0.25,
    strip_special: bool = False,
) -> PromptedBoxes:
    """Choose the boxes of all prompts, one prompt after the other, without suppressing overlaps.

    Args:
        detections: One per prompt.
        image_size_hw: Height and width of the image.
        box_threshold: A box is kept if its score is above this, 0 to 1.
        text_threshold: A word belongs to a box's label if its score is above this; it removes no
            box.
        strip_special: See `GroundedSamVariant`.

    Returns:
        The boxes in pixels, with scores and labels.

    Raises:
        ValueError: If the threshold lies below the floor of the stored boxes.
    """
    boxes, scores, labels, prompts = [np.zeros((0, 4), np.float32)], [], [], []
    for index, detection in enumerate(detections):
        chosen = select_boxes(detection, box_threshold=box_threshold)
        boxes.append(boxes_to_pixels(chosen.boxes, image_size_hw=image_size_hw))
        scores.extend(chosen.scores.tolist())
        prompts.extend([index] * len(chosen.boxes))
        labels.extend(
            phrase(
                detection.tokens,
                row,
                text_threshold,
                variant="text2seg",
                strip_special=strip_special,
            )
            for row in chosen.token_scores
        )
    return PromptedBoxes(
        boxes=np.concatenate(boxes),
        scores=np.asarray(scores, np.float32),
        labels=tuple(labels),
        prompts=np.asarray(prompts, np.int64),
    )


def segment(
    detections: Sequence[Detection],
    decode_boxes: Callable[[np.ndarray], np.ndarray],
    *,
    image_size_hw: tuple[int, int],
    box_threshold: float = 0.35,
    text_threshold: float = 0.25,
    strip_special: bool = False,
) -> Segmentation:
    """Unite the masks of all boxes that any prompt found.

    SAM's own prediction of a mask's quality plays no part, nor does a box's area. Where nothing is
    found the mask is empty; the published code fails there (deviation A1).

    Args:
        detections: Stored result of the detector, one per prompt, from `grounding_dino.detect`.
        decode_boxes: SAM's decoder on the image's embedding, from `sam.box_decoder`: boxes (N, 4)
            in pixels to masks, bool, (N, H, W).
        image_size_hw: Height and width of the image in pixels.
        box_threshold: See `prompted_boxes`.
        text_threshold: See `prompted_boxes`.
        strip_special: See `GroundedSamVariant`.

    Returns:
        The union. Its score is that of the best stored box, chosen or not, so that it ranks images
        whatever the threshold; None where no box is stored. Status `no_box` where no box passes,
        `empty` where SAM draws no pixel in those that do.

    Raises:
        ValueError: If there is no prompt, or SAM's masks do not fit boxes and image.
    """
    if not detections:
        raise ValueError("detections: expected one a prompt, found none; give at least one prompt")
    chosen = prompted_boxes(
        detections,
        image_size_hw=image_size_hw,
        box_threshold=box_threshold,
        text_threshold=text_threshold,
        strip_special=strip_special,
    )
    stored = np.concatenate([detection.scores for detection in detections])
    score = float(stored.max()) if len(stored) else None
    if not len(chosen.boxes):
        return Segmentation(np.zeros(image_size_hw, bool), score, 0, "no_box")
    masks = np.asarray(decode_boxes(chosen.boxes))
    if masks.shape != (len(chosen.boxes), *image_size_hw):
        raise ValueError(
            f"SAM masks: expected shape {(len(chosen.boxes), *image_size_hw)}, one a box at the "
            f"size of the image, found {masks.shape}"
        )
    union = masks.any(axis=0)
    return Segmentation(union, score, len(masks), "ok" if union.any() else "empty")
