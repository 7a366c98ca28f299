"""Filters, saliency, overlay, and the ways from maps to masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from realitycheck.methods.saa_plus import algorithm as saa_plus
from realitycheck.methods.saa_plus.prompts import (
    DEFAULT_PROMPTS,
    SaaPlusPrompts,
    captions,
    default_prompts,
)
from realitycheck.models.grounding_dino.model import Detection

SIZE = (20, 40)
TOKENS = ("[CLS]", "hole", "in", "nut", ".", "[SEP]")


def detection(boxes, scores, *, names=None):
    """A stored detection; `names` lists the tokens that each box's label shall hold."""
    token_scores = np.full((len(scores), len(TOKENS)), 0.01, np.float32)
    token_scores[:, 0] = scores
    for row, tokens in enumerate(names or []):
        for token in tokens:
            token_scores[row, TOKENS.index(token)] = 0.15
    return Detection(
        caption="hole in nut.",
        tokens=TOKENS,
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        token_scores=token_scores,
        scores=np.asarray(scores, np.float32),
    )


def fill(boxes):
    """A decoder that fills each box, clipped to the image."""
    masks = np.zeros((len(boxes), *SIZE), bool)
    for mask, (x_min, y_min, x_max, y_max) in zip(masks, boxes.round().astype(int), strict=True):
        mask[max(0, y_min) : max(0, y_max), max(0, x_min) : max(0, x_max)] = True
    return masks


def segment(objects, defects, **options):
    """Call with defaults that play no part."""
    settings_ = {
        "filter_phrases": [""] * len(defects),
        "decode_boxes": fill,
        "saliency": np.zeros(SIZE, np.float32),
        "image_size_hw": SIZE,
    }
    return saa_plus.segment(objects, defects, **settings_ | options)


WHOLE = [0.5, 0.5, 0.8, 0.8]
SMALL = [0.25, 0.5, 0.2, 0.2]
OTHER = [0.75, 0.5, 0.2, 0.2]


def test_published_prompts_of_a_class():
    """Carpet asks for its object with the comma left behind, then general, then class prompts."""
    found = captions(default_prompts("carpet"), object_comma=True)
    assert found.object_caption == "carpet,."
    assert found.defect_captions == (
        "defect on carpet.",
        "damage on carpet.",
        "flaw on carpet.",
        "black hole.",
        "thread.",
        "defect.",
    )
    assert found.filter_phrases == ("carpet",) * 6
    repaired = captions(default_prompts("carpet"), object_comma=False)
    assert repaired.object_caption == "carpet."


def test_number_of_passes_is_the_published_one():
    """One object pass and four to six defect passes for the study's five classes."""
    passes = {
        name: len(captions(default_prompts(name), object_comma=True)[1])
        for name in ("carpet", "grid", "leather", "tile", "wood")
    }
    assert passes == {"carpet": 6, "grid": 5, "leather": 4, "tile": 4, "wood": 4}
    assert len(DEFAULT_PROMPTS) == 17


def test_cats_are_not_filtered_away():
    """With the usual filter every good box would bear the dropped name."""
    found = captions(default_prompts("cat"), object_comma=False)
    assert found == ("cat.", ("cat.",), ("",))


def test_new_product_gets_documented_prompts():
    """Only its name is known."""
    found = default_prompts("ceramic_ring")
    assert found.class_name == found.object_name == "ceramic ring"
    assert found.class_prompts == (("defect.", "ceramic ring"),)
    assert (found.n_objects, found.max_masks, found.area_ratio) == (1, 5, 0.9)
    with pytest.raises(ValueError, match="name of a product, found '_'"):
        default_prompts("_")
    silent = SaaPlusPrompts("x", "x", (), general_prompts=False)
    with pytest.raises(ValueError, match="found neither"):
        captions(silent, object_comma=False)


def test_score_area_and_label_filters():
    """Worked out by hand: each limit is strict, and the label is a substring test."""
    boxes = [SMALL, SMALL, WHOLE, [0.5, 0.5, 0.0, 0.5], SMALL, [0.5, 0.5, 0.5, 0.5]]
    scores = [0.11, 0.10, 0.5, 0.5, 0.5, 0.2]
    names = [["hole"], [], [], [], ["in", "nut"], []]
    found = saa_plus.propose([detection(boxes, scores, names=names)], ["nut"], max_area=0.25)
    np.testing.assert_allclose(found.boxes, [SMALL])
    assert found.scores == pytest.approx([0.11]) and found.largest_area == pytest.approx(0.04)
    unfiltered = saa_plus.propose([detection(boxes, scores, names=names)], [""], max_area=0.26)
    assert len(unfiltered.boxes) == 3 and unfiltered.largest_area == pytest.approx(0.25)


def test_filter_phrase_may_lie_within_a_longer_word():
    """The published filter works on decoded text: "in" is found in "[CLS] in nut" and in "tin"."""
    one = detection([SMALL], [0.5], names=[["nut"]])
    assert not len(saa_plus.propose([one], ["nu"], max_area=1.0).boxes)
    assert not len(saa_plus.propose([one], ["[CLS]"], max_area=1.0).boxes)
    assert len(saa_plus.propose([one], ["hole"], max_area=1.0).boxes)


def test_nothing_kept_leaves_the_area_at_one():
    """Then defects may be as large as the image allows."""
    assert saa_plus.propose([detection([], [])], [""], max_area=1.0).largest_area == 1.0


def test_saliency_raises_a_score_by_its_mean_inside_the_mask():
    """exp(3 · mean); an empty mask keeps its score."""
    masks = fill(np.array([[0, 0, 20, 20], [0, 0, 40, 20], [0, 0, 0, 0]]))
    saliency = np.zeros(SIZE, np.float32)
    saliency[:, :20] = 0.5
    found = saa_plus.rescore(masks, np.array([0.2, 0.2, 0.2]), saliency=saliency)
    np.testing.assert_allclose(found, [0.2 * np.exp(1.5), 0.2 * np.exp(0.75), 0.2], rtol=1e-6)


def test_overlay_halves_a_pixel_that_one_mask_covers():
    """Σ mask · score / (1 + Σ mask), by hand."""
    masks = np.array([[[1, 1, 0]], [[0, 1, 0]]], bool)
    found = saa_plus.overlay(masks, np.array([0.6, 0.9]))
    np.testing.assert_allclose(found, [[0.3, 0.5, 0]], rtol=1e-6)


def test_best_masks_are_ascending_and_ties_take_the_later():
    """The published code sorts and takes the end."""
    scores = np.array([0.5, 0.9, 0.5, 0.1])
    assert saa_plus.best_masks(scores, max_masks=2).tolist() == [2, 1]
    assert saa_plus.best_masks(scores, max_masks=9).tolist() == [3, 0, 2, 1]
    with pytest.raises(ValueError, match="max_masks: expected at least 1"):
        saa_plus.best_masks(scores, max_masks=0)


def test_whole_flow_by_hand():
    """Object 0.64 of the image; the small boxes pass; saliency puts the right one first."""
    saliency = np.zeros(SIZE, np.float32)
    saliency[:, 20:] = 1.0
    found = segment(
        detection([WHOLE], [0.9]),
        [detection([SMALL, WHOLE], [0.3, 0.8]), detection([OTHER], [0.2])],
        saliency=saliency,
        max_masks=1,
        area_ratio=0.5,
    )
    assert found.object_area == pytest.approx(0.64)
    np.testing.assert_allclose(found.scores, [0.3, 0.2 * np.exp(3)], rtol=1e-5)
    assert found.best.tolist() == [1]
    expected = np.zeros(SIZE, bool)
    expected[8:12, 26:34] = True
    np.testing.assert_array_equal(found.segmentation.mask, expected)
    peak = 0.1 * np.exp(3)
    assert found.anomaly_map.max() == pytest.approx(peak, rel=1e-5)
    assert found.segmentation.score == pytest.approx(peak / (1 + peak), rel=1e-5)
    assert found.segmentation.status == "ok" and found.segmentation.n_regions == 1


def test_no_defect_box_gives_a_map_of_zeros():
    """It works in the published code too, and is an outcome (oddity D14)."""

    def decode(boxes):
        raise AssertionError("the decoder must not run without a box")

    found = segment(
        detection([WHOLE], [0.9]), [detection([WHOLE], [0.8])], area_ratio=0.5, decode_boxes=decode
    )
    assert found.segmentation.status == "no_box" and found.segmentation.score == 0.0
    assert found.anomaly_map.shape == SIZE and not found.anomaly_map.any()


def test_missing_object_lifts_the_area_limit_and_several_become_one():
    """The published code fails there (oddities D3, D4)."""
    seen = []

    def saliency(masks):
        seen.append(masks.shape)
        return np.zeros(SIZE, np.float32)

    found = segment(detection([], []), [detection([WHOLE], [0.5])], n_objects=3, saliency=saliency)
    assert found.object_area == 1.0 and found.segmentation.status == "ok"
    assert seen == [(0, *SIZE)]


def test_several_objects_are_handed_to_the_saliency():
    """Their boxes must be smaller than their share of the image; one object needs no masks."""
    seen = []

    def saliency(masks):
        seen.append(len(masks))
        return np.zeros(SIZE, np.float32)

    objects = detection([SMALL, OTHER, WHOLE], [0.5, 0.5, 0.9])
    for n_objects in (2, 1):
        segment(
            objects,
            [detection([SMALL], [0.5])],
            n_objects=n_objects,
            saliency=saliency,
            area_ratio=2.0,
        )
    assert seen == [2, 0]


def test_box_outside_the_image_gives_status_empty():
    """A box without a pixel is a box, but there is nothing in it."""
    found = segment(detection([WHOLE], [0.9]), [detection([[3, 3, 0.1, 0.1]], [0.5])])
    assert found.segmentation.status == "empty" and found.segmentation.n_regions == 0


def test_what_does_not_fit_is_refused():
    """Each message says what was expected."""
    objects, defects = detection([WHOLE], [0.9]), [detection([SMALL], [0.5])]
    with pytest.raises(ValueError, match="n_objects: expected at least 1, found 0"):
        segment(objects, defects, n_objects=0)
    with pytest.raises(ValueError, match="2 objects are compared with each other"):
        segment(objects, defects, n_objects=2)
    with pytest.raises(ValueError, match=r"saliency: expected the image's shape \(20, 40\)"):
        segment(objects, defects, saliency=np.zeros((5, 5)))
    with pytest.raises(ValueError, match=r"SAM masks: expected shape \(1, 20, 40\)"):
        segment(objects, defects, decode_boxes=lambda boxes: np.zeros((1, 2, 2), bool))


# ----------------------------------------------------------------------------- from maps to masks


def reference_f1max(maps, truths):
    """All pixels at once with scikit-learn."""
    values = np.concatenate([each.ravel() for each in maps]).astype(np.float64)
    labels = np.concatenate([each.ravel() for each in truths])
    precision, recall, thresholds = precision_recall_curve(labels, values)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return f1[:-1].max(), thresholds[f1[:-1].argmax()]


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from([2, 7, 64, 4096]), st.booleans())
def test_f1max_equals_scikit_learn_whatever_the_bins(seed, n_bins, coarse):
    """It never holds all pixels, and must be exact all the same: ties, zeros, negative values."""
    rng = np.random.default_rng(seed)
    truths = [rng.random((6, 5)) < share for share in (0.0, 0.3, 0.6)]
    truths[1][0, 0] = True
    maps = [(rng.normal(0, 1, truth.shape) + truth).astype(np.float32) for truth in truths]
    if coarse:
        maps = [np.maximum(0, each.round(1)) for each in maps]
    f1, threshold = reference_f1max(maps, truths)
    found = saa_plus.f1max_threshold(lambda: zip(maps, truths, strict=True), n_bins=n_bins)
    assert found.f1 == pytest.approx(f1, abs=1e-12)
    at_threshold = [saa_plus.binarise(each, found.threshold) for each in maps]
    tp = sum((mask & truth).sum() for mask, truth in zip(at_threshold, truths, strict=True))
    both = sum(m.sum() for m in at_threshold) + sum(t.sum() for t in truths)
    assert 2 * tp / both == pytest.approx(f1, abs=1e-12)
    assert found.range == (min(m.min() for m in maps), max(m.max() for m in maps))
    assert found.threshold == pytest.approx(threshold) or f1 == pytest.approx(found.f1)


def test_constant_maps_give_no_mask():
    """The normalisation is 0/0 there and the result defined as zeros."""
    pairs = [(np.zeros((3, 3), np.float32), np.ones((3, 3), bool))] * 2
    found = saa_plus.f1max_threshold(lambda: pairs)
    assert found.f1 == 0 and not saa_plus.binarise(pairs[0][0], found.threshold).any()
    assert saa_plus.fixed_threshold(0.5, limits=found.range) == np.inf


def test_f1max_needs_maps_truth_and_equal_sizes():
    """It is an oracle's threshold, so it cannot do without the oracle."""
    one = np.arange(4, dtype=np.float32).reshape(2, 2)
    with pytest.raises(ValueError, match="no pixel of any image is defective"):
        saa_plus.f1max_threshold(lambda: [(one, np.zeros((2, 2), bool))])
    with pytest.raises(ValueError, match=r"truth: expected the map's shape \(2, 2\)"):
        saa_plus.f1max_threshold(lambda: [(one, np.zeros((3, 2), bool))])
    with pytest.raises(ValueError, match="at least one map, found none"):
        saa_plus.f1max_threshold(list)


def test_fixed_level_is_taken_between_smallest_and_largest_value_of_the_class():
    """So a mask depends on the other images (oddity D13)."""
    limits = saa_plus.map_range([np.array([[1.0]]), np.array([[5.0, 3.0]])])
    assert limits == (1.0, 5.0)
    threshold = saa_plus.fixed_threshold(0.5, limits=limits)
    assert threshold == 3.0
    assert saa_plus.binarise(np.array([[2.9, 3.0]]), threshold).tolist() == [[False, True]]
    with pytest.raises(ValueError, match="level of 0 to 1 after 'fixed:', found 2"):
        saa_plus.fixed_threshold(2, limits=limits)


def test_honest_threshold_comes_from_good_images_only():
    """One of four good images may be rejected; its maximum is 0.9."""
    maps = [np.array([[0.1, value]]) for value in (0.2, 0.9, 0.5, 0.4)]
    threshold = saa_plus.good_threshold(iter(maps), max_overkill_rate=0.25)
    rejected = [saa_plus.binarise(each, threshold, above=True).any() for each in maps]
    assert rejected == [False, True, False, False]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("union", ("union", None)),
        ("f1max", ("f1max", None)),
        ("fixed:0.25", ("fixed", 0.25)),
        ("good", ("good", None)),
    ],
)
def test_rules_are_read(text, rule):
    """The setting is one word, with a level where it has one."""
    assert saa_plus.parse_rule(text) == rule


@pytest.mark.parametrize("text", ["", "fixed", "fixed:", "fixed:2", "fixed:x", "otsu", "union:1"])
def test_unknown_rules_are_refused(text):
    """The message lists the rules."""
    with pytest.raises(ValueError, match="expected union, f1max, good or fixed"):
        saa_plus.parse_rule(text)


def test_evaluation_map_overshoots_only_if_cubic():
    """A step of 0 to 1, resized from 8 to 16: bicubic leaves the range (oddity D16)."""
    step = np.zeros((8, 8), np.float32)
    step[:, 4:] = 1
    cubic, linear = (
        saa_plus.evaluation_map(step, cubic=cubic, method_size_px=8, size_px=16)
        for cubic in (True, False)
    )
    assert cubic.min() < -0.01 and cubic.max() > 1.01
    assert linear.min() == 0 and linear.max() == 1
    same = saa_plus.evaluation_map(step, cubic=True, method_size_px=16, size_px=16)
    np.testing.assert_array_equal(same, linear)


def test_presets_differ_in_every_switch():
    """Published repeats the code, repaired turns all of it right."""
    published, repaired = saa_plus.VARIANTS["published"], saa_plus.VARIANTS["repaired"]
    assert (published.bgr, published.object_comma, published.cubic_maps) == (True, True, True)
    assert (repaired.bgr, repaired.object_comma, repaired.cubic_maps) == (False, False, False)
