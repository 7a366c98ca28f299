"""Boxes of several prompts, masks of boxes, their union."""

import numpy as np
import pytest

from realitycheck.methods.grounded_sam import algorithm as grounded_sam
from realitycheck.models.grounding_dino.model import Detection


def detection(boxes, scores, *, tokens=("[CLS]", "hole", ".", "[SEP]"), floor=0.05):
    """A stored detection whose second token carries the score."""
    token_scores = np.zeros((len(scores), len(tokens)), np.float32)
    token_scores[:, 1] = scores
    return Detection(
        caption="hole.",
        tokens=tokens,
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        token_scores=token_scores,
        scores=np.asarray(scores, np.float32),
        floor=floor,
    )


def fill(size_hw):
    """A decoder that fills each box, clipped to the image."""

    def decode(boxes):
        masks = np.zeros((len(boxes), *size_hw), bool)
        for mask, (x_min, y_min, x_max, y_max) in zip(
            masks, boxes.round().astype(int), strict=True
        ):
            mask[max(0, y_min) : max(0, y_max), max(0, x_min) : max(0, x_max)] = True
        return masks

    return decode


SIZE = (10, 20)
LEFT, RIGHT, OUTSIDE = [0.25, 0.5, 0.5, 1.0], [0.9, 0.5, 0.2, 0.2], [2.0, 2.0, 0.1, 0.1]


def test_masks_of_all_prompts_are_united():
    """Worked out by hand: the left half, and a box of 4 × 2 pixels at the right."""
    found = grounded_sam.segment(
        [detection([LEFT], [0.4]), detection([RIGHT, LEFT], [0.6, 0.3])],
        fill(SIZE),
        image_size_hw=SIZE,
    )
    expected = np.zeros(SIZE, bool)
    expected[:, :10] = True
    expected[4:6, 16:20] = True
    np.testing.assert_array_equal(found.mask, expected)
    assert found.status == "ok" and found.n_regions == 2
    assert found.score == pytest.approx(0.6)


def test_overlapping_boxes_are_not_suppressed():
    """No suppression takes place anywhere in the published code."""
    chosen = grounded_sam.prompted_boxes(
        [detection([LEFT, LEFT], [0.4, 0.5]), detection([LEFT], [0.9])], image_size_hw=SIZE
    )
    assert len(chosen.boxes) == 3 and chosen.prompts.tolist() == [0, 0, 1]
    np.testing.assert_allclose(chosen.scores, [0.4, 0.5, 0.9])


def test_threshold_is_strict():
    """A box at the threshold is not kept."""
    exact = float(np.float32(0.35))
    found = grounded_sam.segment([detection([LEFT], [exact])], fill(SIZE), image_size_hw=SIZE)
    assert found.status == "no_box"


@pytest.mark.parametrize(("stored", "score"), [([0.2, 0.3], pytest.approx(0.3)), ([], None)])
def test_no_box_is_an_outcome_with_an_empty_mask(stored, score):
    """The published code fails there; the score still ranks the image (oddity A1)."""

    def decode(boxes):
        raise AssertionError("the decoder must not run without a box")

    boxes = [LEFT] * len(stored)
    found = grounded_sam.segment([detection(boxes, stored)], decode, image_size_hw=SIZE)
    assert (found.status, found.n_regions, found.score) == ("no_box", 0, score)
    assert found.mask.shape == SIZE and found.mask.dtype == bool and not found.mask.any()


def test_box_without_a_pixel_gives_status_empty():
    """A box beyond the image is a box, but there is nothing in it."""
    found = grounded_sam.segment([detection([OUTSIDE], [0.9])], fill(SIZE), image_size_hw=SIZE)
    assert found.status == "empty" and not found.mask.any()


def test_text_threshold_names_boxes_and_removes_none():
    """It decides about labels only (oddity A2); the repaired form drops the special tokens."""
    one = detection([LEFT, RIGHT], [0.5, 0.9])
    one.token_scores[0, 3] = 0.6
    labels = {
        strip: grounded_sam.prompted_boxes(
            [one], image_size_hw=SIZE, text_threshold=0.55, strip_special=strip
        ).labels
        for strip in (False, True)
    }
    assert labels == {False: ("[SEP]", "hole"), True: ("", "hole")}
    assert grounded_sam.VARIANTS["published"].strip_special is False
    assert grounded_sam.VARIANTS["repaired"].strip_special is True


def test_what_does_not_fit_is_refused():
    """A prompt is needed; thresholds below the floor were never stored; sizes must agree."""
    with pytest.raises(ValueError, match="give at least one prompt"):
        grounded_sam.segment([], fill(SIZE), image_size_hw=SIZE)
    with pytest.raises(ValueError, match="stored above 0.05, but 0.01 is asked for"):
        grounded_sam.segment(
            [detection([LEFT], [0.5])], fill(SIZE), image_size_hw=SIZE, box_threshold=0.01
        )
    with pytest.raises(ValueError, match=r"expected shape \(1, 10, 20\).*found \(1, 5, 5\)"):
        grounded_sam.segment([detection([LEFT], [0.5])], fill((5, 5)), image_size_hw=SIZE)
