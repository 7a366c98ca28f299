"""Intersection over union of a predicted mask and the ground truth."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from realitycheck.core.masks import BACKGROUND, DEFECT, UNDECIDED

BORDER_RULES = ("ignore", "foreground", "background")


class MaskScore(NamedTuple):
    """The score of one mask; every count is over the scored pixels of one image.

    Attributes:
        iou: Intersection over union, 0 to 1; NaN where it is undefined (`union_px` is 0).
        intersection_px: Pixels that are predicted and defective.
        union_px: Pixels that are predicted or defective.
        truth_px: Defective pixels.
        predicted_px: Predicted pixels.
    """

    iou: float
    intersection_px: int
    union_px: int
    truth_px: int
    predicted_px: int


def score_mask(
    predicted: np.ndarray, truth: np.ndarray, *, ignore_border: str = "ignore"
) -> MaskScore:
    """Score one predicted mask against the ground truth of its image.

    IoU = |A and B| / |A or B|, with A the predicted and B the defective pixels.

    An empty prediction on a defective image has IoU 0. If both masks are empty (a good image that
    the method leaves alone) the quotient is 0 / 0: the IoU is NaN, not 1, because a perfect score
    for finding nothing would lift the mean of every method that never finds anything. A good
    image with a predicted region has IoU 0.

    Source: section 4.1, equation 1 of the study. How it treats the undecided border of the pet
    trimaps is not published, hence `ignore_border`.

    Args:
        predicted: Predicted mask, bool, shape (H, W).
        truth: Ground truth, uint8, shape (H, W): 0 background, 128 undecided, 255 defect.
        ignore_border: What an undecided pixel counts as: "ignore" leaves it out of every count,
            of `predicted_px` too; "foreground" makes it defective; "background" makes it good.

    Returns:
        The IoU and the four pixel counts; union = truth + predicted - intersection always holds.

    Raises:
        ValueError: If shapes, types or values are not as described.
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.dtype != np.bool_:
        raise ValueError(
            f"the predicted mask must be bool, but is {predicted.dtype}; compare it with its "
            "threshold first"
        )
    if truth.dtype != np.uint8:
        raise ValueError(
            f"the ground truth must be uint8 (0, 128 undecided, 255), but is {truth.dtype}"
        )
    if predicted.ndim != 2 or predicted.shape != truth.shape:
        raise ValueError(
            "the predicted mask and the ground truth must both be (H, W), but have the shapes "
            f"{predicted.shape} and {truth.shape}; bring the mask to the size of its image"
        )
    if ignore_border not in BORDER_RULES:
        raise ValueError(
            f"ignore_border must be one of {', '.join(BORDER_RULES)}, but is {ignore_border!r}"
        )
    defect = truth == DEFECT
    undecided = truth == UNDECIDED
    n_known = np.count_nonzero(truth == BACKGROUND) + int(defect.sum()) + int(undecided.sum())
    if n_known != truth.size:
        strange = np.setdiff1d(np.unique(truth), (BACKGROUND, UNDECIDED, DEFECT))
        raise ValueError(
            "the ground truth must hold only 0, 128 (undecided) and 255, but "
            f"{truth.size - n_known} of {truth.size} pixels do not (first value: {strange[0]})"
        )
    if ignore_border == "foreground":
        defect |= undecided
    elif ignore_border == "ignore":
        predicted = predicted & ~undecided
    truth_px, predicted_px = int(defect.sum()), int(predicted.sum())
    intersection_px = int((predicted & defect).sum())
    union_px = truth_px + predicted_px - intersection_px
    iou = intersection_px / union_px if union_px else float("nan")
    return MaskScore(iou, intersection_px, union_px, truth_px, predicted_px)


def with_lost_truth(score: MaskScore, lost_px: int) -> MaskScore:
    """Count defective pixels that lie beyond the image, where nothing can be predicted.

    Args:
        score: Score within the image.
        lost_px: Defective pixels beyond it.

    Returns:
        The score with them in truth and union, and an IoU that is lower accordingly.
    """
    union_px = score.union_px + lost_px
    return score._replace(
        iou=score.intersection_px / union_px if union_px else score.iou,
        union_px=union_px,
        truth_px=score.truth_px + lost_px,
    )


def pooled_iou(intersection_px: Sequence[float], union_px: Sequence[float]) -> float:
    """Pool the IoU over images, so that each pixel weighs the same instead of each image.

    pooled IoU = sum of intersections / sum of unions

    Source: the class-wise Jaccard index of Everingham et al. (2010), the PASCAL VOC paper,
    section 4.1.3, with the confusion counted over all images.

    Args:
        intersection_px: Intersection of each image, shape (N,).
        union_px: Union of each image, shape (N,).

    Returns:
        The pooled IoU, 0 to 1; NaN if no image has a predicted or defective pixel, or N is 0.

    Raises:
        ValueError: If the shapes differ, or a value is missing or impossible.
    """
    intersection = np.asarray(intersection_px, dtype=np.float64)
    union = np.asarray(union_px, dtype=np.float64)
    if intersection.ndim != 1 or intersection.shape != union.shape:
        raise ValueError(
            "intersections and unions must be two lists of one length, but have the shapes "
            f"{intersection.shape} and {union.shape}"
        )
    is_valid = (intersection >= 0) & (intersection <= union) & np.isfinite(union)
    if not is_valid.all():
        first = int(np.flatnonzero(~is_valid)[0])
        raise ValueError(
            "0 <= intersection <= union must hold, but does not for "
            f"{int((~is_valid).sum())} of {len(union)} images (first: position {first}, "
            f"intersection {intersection[first]}, union {union[first]})"
        )
    total = union.sum()
    return float(intersection.sum() / total) if total else float("nan")
