"""IoU of masks, by hand and against pycocotools."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from realitycheck.metrics.iou import MaskScore, pooled_iou, score_mask, with_lost_truth


def _truth(rows):
    return np.array(rows, dtype=np.uint8)


def test_truth_beyond_the_image_is_in_the_union():
    """It is defective, and nothing can be predicted there: 2 of 5 pixels become 2 of 8."""
    score = with_lost_truth(MaskScore(2 / 5, 2, 5, 4, 3), 3)
    assert score == (2 / 8, 2, 8, 7, 3)
    nothing = with_lost_truth(MaskScore(float("nan"), 0, 0, 0, 0), 3)
    assert nothing == (0.0, 0, 3, 3, 0)


def test_iou_of_a_case_small_enough_to_count():
    """Two of three predicted pixels hit two of four defective ones: 2 / 5."""
    predicted = np.array([[1, 1, 0], [0, 0, 1]], dtype=bool)
    truth = _truth([[255, 255, 255], [255, 0, 0]])
    assert score_mask(predicted, truth) == (2 / 5, 2, 5, 4, 3)


def test_empty_prediction_on_a_defective_image_scores_zero():
    """A missed defect is the worst result, not an undefined one."""
    assert score_mask(np.zeros((2, 2), bool), _truth([[0, 255], [0, 0]])) == (0.0, 0, 1, 1, 0)


def test_both_empty_is_undefined_and_not_perfect():
    """Otherwise a method that finds nothing would score 1 on every good image."""
    score = score_mask(np.zeros((3, 4), bool), np.zeros((3, 4), np.uint8))
    assert math.isnan(score.iou)
    assert score[1:] == (0, 0, 0, 0)


def test_false_region_on_a_good_image_scores_zero():
    """Predicted pixels without a defect make the union, so the quotient is defined."""
    assert score_mask(np.ones((2, 2), bool), np.zeros((2, 2), np.uint8)) == (0.0, 0, 4, 0, 4)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ignore", (1 / 2, 1, 2, 1, 2)),
        ("foreground", (2 / 4, 2, 4, 3, 3)),
        ("background", (1 / 3, 1, 3, 1, 3)),
    ],
)
def test_undecided_pixels_follow_the_rule(rule, expected):
    """One hit, one false pixel, one predicted and one missed undecided pixel."""
    predicted = np.array([[1, 1, 1, 0, 0]], dtype=bool)
    truth = _truth([[255, 0, 128, 128, 0]])
    assert score_mask(predicted, truth, ignore_border=rule) == expected


def test_prediction_is_left_as_it_was():
    """Leaving undecided pixels out must not write into the caller's mask."""
    predicted = np.ones((1, 2), bool)
    score_mask(predicted, _truth([[128, 255]]))
    assert predicted.all()


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.0, 1.0))
def test_iou_agrees_with_pycocotools(seed, share):
    """The COCO tools count the same masks run by run."""
    rng = np.random.default_rng(seed)
    predicted = rng.random((7, 11)) < share
    defect = rng.random((7, 11)) < 0.3
    score = score_mask(predicted, np.where(defect, 255, 0).astype(np.uint8))
    assert score.union_px == score.truth_px + score.predicted_px - score.intersection_px
    if score.union_px:
        a, b = (coco.encode(np.asfortranarray(m.astype(np.uint8))) for m in (predicted, defect))
        assert score.iou == pytest.approx(coco.iou([a], [b], [0])[0, 0], abs=1e-12)
        assert (score.predicted_px, score.truth_px) == (coco.area(a), coco.area(b))


@pytest.mark.parametrize(
    ("predicted", "truth", "rule", "message"),
    [
        (np.ones((2, 2)), np.zeros((2, 2), np.uint8), "ignore", "must be bool, but is float64"),
        (np.ones((2, 2), bool), np.zeros((2, 2)), "ignore", "must be uint8 .* but is float64"),
        (np.ones((2, 3), bool), np.zeros((3, 2), np.uint8), "ignore", r"\(2, 3\) and \(3, 2\)"),
        (
            np.ones((2, 2), bool),
            np.ones((2, 2), np.uint8),
            "ignore",
            "4 of 4 pixels .*first value: 1",
        ),
        (np.ones((2, 2), bool), np.zeros((2, 2), np.uint8), "drop", "one of ignore, fore.*'drop'"),
    ],
)
def test_refusals_name_what_was_found(predicted, truth, rule, message):
    """A mask of 0 and 1, or a turned one, would give a plausible wrong score."""
    with pytest.raises(ValueError, match=message):
        score_mask(predicted, truth, ignore_border=rule)


def test_pooled_iou_weighs_pixels_and_not_images():
    """1 of 2 and 90 of 98 pixels: 91 / 100, where the mean of IoU is 0.71."""
    assert pooled_iou([1, 90], [2, 98]) == pytest.approx(0.91, abs=1e-15)


def test_pooled_iou_of_nothing_is_undefined():
    """No image, or no predicted and no defective pixel at all: 0 / 0."""
    assert math.isnan(pooled_iou([], []))
    assert math.isnan(pooled_iou([0, 0], [0, 0]))


@pytest.mark.parametrize(
    ("intersection", "union", "message"),
    [
        ([1, 3], [2, 2], "1 of 2 images .*position 1, intersection 3.0, union 2.0"),
        ([np.nan], [2], "1 of 1"),
        ([1], [1, 2], r"\(1,\) and \(2,\)"),
    ],
)
def test_pooled_iou_refuses_impossible_counts(intersection, union, message):
    """A missing count must not vanish in the sum."""
    with pytest.raises(ValueError, match=message):
        pooled_iou(intersection, union)
