"""SAM + CLIP: cut out everything, keep what CLIP finds most like the prompt.

SAM's automatic masks and the CLIP features of their crops know nothing of the prompt and are stored
once per image; `segment` needs those, the prompt's text features and no network at all.

Source: Text2Seg, `predict_CLIP`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from realitycheck.methods.base import Segmentation
from realitycheck.models.clip.model import LOGIT_SCALE, decode_mask, select_masks


@dataclass(frozen=True)
class SamClipVariant:
    """The published code's slips, each a switch; both act on the crops only.

    Attributes:
        swap_canvas: The black canvas has height and width swapped, so that only the top left
            square of side min(H, W) keeps its pixels.
        inclusive_bbox: The last row and column of each mask are cut from its crop.
    """

    swap_canvas: bool
    inclusive_bbox: bool


PUBLISHED = SamClipVariant(swap_canvas=True, inclusive_bbox=True)
REPAIRED = SamClipVariant(swap_canvas=False, inclusive_bbox=False)
VARIANTS = {"published": PUBLISHED, "repaired": REPAIRED}


def segment(
    features: np.ndarray,
    text_features: np.ndarray,
    *,
    masks: Sequence[np.ndarray | Mapping[str, Any]] | np.ndarray,
    image_size_hw: tuple[int, int],
    logit_scale: float = LOGIT_SCALE,
    threshold: float = 0.05,
) -> Segmentation:
    """Unite the automatic masks that any prompt selects.

    See `realitycheck.models.clip.model.select_masks` for the rule, which compares the masks of one
    image with each other: it always selects a mask that is alone.

    Args:
        features: Of the crops, from `realitycheck.models.clip.model.crop_features`, shape (M, D).
        text_features: One row a prompt, of the bare text, shape (K, D).
        masks: The M masks, bool (H, W) or COCO run lengths, in the order of the features.
        image_size_hw: Height and width of the image in pixels.
        logit_scale: Factor before the softmax, without unit.
        threshold: A mask's share of the softmax must lie above it, 0 to 1.

    Returns:
        The union. Its score is the largest share that any mask has for any prompt. Status `no_mask`
        without automatic masks, `nothing_selected` where none lies above the threshold, `empty`
        where the selected ones have no pixel.

    Raises:
        ValueError: If the numbers of features and masks differ, there is no prompt, or a mask has
            another size than the image.
    """
    if len(features) != len(masks):
        raise ValueError(
            f"features: expected one a mask, found {len(features)} for {len(masks)} masks; encode "
            f"the crops of the same proposals"
        )
    if text_features.ndim != 2 or not len(text_features):
        raise ValueError(
            f"text_features: expected shape (K, D) with K at least 1, found {text_features.shape}; "
            f"give at least one prompt"
        )
    union = np.zeros(image_size_hw, bool)
    if not len(masks):
        return Segmentation(union, None, 0, "no_mask")
    selected: set[int] = set()
    score = 0.0
    for text_feature in text_features:
        indices, scores = select_masks(
            features, text_feature, logit_scale=logit_scale, threshold=threshold
        )
        selected.update(indices.tolist())
        score = max(score, float(scores.max()))
    for index in sorted(selected):
        mask = decode_mask(masks[index])
        if mask.shape != union.shape:
            raise ValueError(
                f"mask {index}: expected shape {union.shape} like the image, found {mask.shape}; "
                f"propose the masks of the same image"
            )
        union |= mask
    if not selected:
        return Segmentation(union, score, 0, "nothing_selected")
    return Segmentation(union, score, len(selected), "ok" if union.any() else "empty")
