"""SAM + CLIP: from stored features and masks to one mask, without a network."""

import numpy as np
import pytest
from pycocotools import mask as coco

from realitycheck.methods.sam_clip import algorithm as sam_clip

SIZE = (6, 8)


def masks_of(*columns):
    masks = np.zeros((len(columns), *SIZE), bool)
    for mask, column in zip(masks, columns, strict=True):
        mask[:, column] = True
    return masks


def features_of(*cosines):
    """Unit vectors whose first component is their cosine with the text (1, 0)."""
    cosines = np.array(cosines)
    return np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1).astype(np.float32)


TEXT = np.array([[1.0, 0.0]], np.float32)
OTHER_TEXT = np.array([[0.0, 1.0]], np.float32)


def test_variants_differ_in_the_two_slips_only():
    """`published` keeps both slips of the crops, `repaired` none."""
    variants = sam_clip.VARIANTS
    assert set(variants) == {"published", "repaired"}
    assert variants["published"].swap_canvas and variants["published"].inclusive_bbox
    assert not variants["repaired"].swap_canvas and not variants["repaired"].inclusive_bbox


@pytest.mark.parametrize("packed", [False, True])
def test_selected_masks_are_united(packed):
    """Shares 0.495, 0.495 and 0.01: the first two are taken; run lengths are as good as arrays."""
    masks = masks_of(0, 3, 5)
    stored = [coco.encode(np.asfortranarray(m.astype(np.uint8))) for m in masks]
    found = sam_clip.segment(
        features_of(0.1, 0.1, 0.06),
        TEXT,
        masks=stored if packed else masks,
        image_size_hw=SIZE,
    )
    np.testing.assert_array_equal(found.mask, masks[0] | masks[1])
    assert (found.status, found.n_regions) == ("ok", 2)
    assert found.score == pytest.approx(1 / (2 + np.exp(-4)), abs=1e-5)


def test_several_prompts_are_united():
    """Each prompt shares 1 among the masks by itself."""
    found = sam_clip.segment(
        features_of(0.9, 0.0, 0.6),
        np.concatenate([TEXT, OTHER_TEXT]),
        masks=masks_of(0, 3, 5),
        image_size_hw=SIZE,
    )
    np.testing.assert_array_equal(found.mask, masks_of(0, 3)[0] | masks_of(0, 3)[1])
    assert found.n_regions == 2 and found.score == pytest.approx(1)


def test_no_automatic_masks_give_an_empty_mask():
    """The published code fails here; nothing was compared, so there is no score."""
    found = sam_clip.segment(np.zeros((0, 2)), TEXT, masks=[], image_size_hw=SIZE)
    assert found[1:4] == (None, 0, "no_mask")
    assert found.mask.shape == SIZE and found.mask.dtype == bool and not found.mask.any()


def test_none_above_the_threshold_gives_an_empty_mask():
    """25 equal masks have 0.04 each; the published code fails here too."""
    masks = masks_of(*[0] * 25)
    found = sam_clip.segment(features_of(*[0.5] * 25), TEXT, masks=masks, image_size_hw=SIZE)
    assert found.status == "nothing_selected" and found.n_regions == 0 and not found.mask.any()
    assert found.score == pytest.approx(0.04)
    lower = sam_clip.segment(
        features_of(*[0.5] * 25), TEXT, masks=masks, image_size_hw=SIZE, threshold=0.03
    )
    assert lower.status == "ok" and lower.n_regions == 25


def test_a_selected_mask_without_pixels_is_said_to_be_empty():
    """An empty mask must never count as a finding."""
    found = sam_clip.segment(
        features_of(0.5), TEXT, masks=np.zeros((1, *SIZE), bool), image_size_hw=SIZE
    )
    assert found.status == "empty" and found.n_regions == 1


def test_what_does_not_belong_together_is_refused():
    """Features, masks, prompts and image come from different files."""
    with pytest.raises(ValueError, match="found 2 for 1 masks"):
        sam_clip.segment(features_of(0, 0), TEXT, masks=masks_of(0), image_size_hw=SIZE)
    with pytest.raises(ValueError, match="at least one prompt"):
        sam_clip.segment(features_of(0), TEXT[:0], masks=masks_of(0), image_size_hw=SIZE)
    with pytest.raises(ValueError, match=r"mask 0: expected shape \(6, 9\)"):
        sam_clip.segment(features_of(0), TEXT, masks=masks_of(0), image_size_hw=(6, 9))
