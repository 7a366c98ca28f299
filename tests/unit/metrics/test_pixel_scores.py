"""Streaming pixel scores agree with scikit-learn on all pixels at once."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from realitycheck.metrics import pixel_scores as module
from realitycheck.metrics.pixel_scores import MAX_FPR, pixel_scores


def images(n=4, seed=0, ties=True):
    """Maps that are somewhat higher on the defects, and their truth with two regions each."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        truth = np.zeros((20, 24), np.uint8)
        if number % 2:
            truth[2:5, 3:9] = 255
            truth[12:17, 15 : 15 + number] = 255
        values = rng.normal(size=truth.shape) + (truth == 255)
        found.append((np.round(values, 1 if ties else 9), truth))
    return found


def flat(pairs):
    values = np.concatenate([v.ravel() for v, _ in pairs])
    truth = np.concatenate([t.ravel() == 255 for _, t in pairs])
    return values, truth


def by_thresholds(pairs):
    """AUPRO by trying every threshold on every region."""
    values, truth = flat(pairs)
    fpr, overlap = [0.0], [0.0]
    regions = []
    for v, t in pairs:
        labels, n = ndimage.label(t == 255, structure=np.ones((3, 3)))
        regions += [v[labels == k + 1] for k in range(n)]
    for threshold in np.unique(values)[::-1]:
        fpr.append((values[~truth] >= threshold).mean())
        overlap.append(np.mean([(r >= threshold).mean() for r in regions]))
    grid = np.interp(MAX_FPR, fpr, overlap)
    keep = np.array(fpr) <= MAX_FPR
    x, y = np.append(np.array(fpr)[keep], MAX_FPR), np.append(np.array(overlap)[keep], grid)
    return np.trapezoid(y, x) / MAX_FPR


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scores_agree_with_all_pixels_at_once(seed):
    """Values on a grid fall on levels of their own, so that even ties agree."""
    pairs = images(seed=seed)
    values, truth = flat(pairs)
    found = pixel_scores(lambda: iter(pairs))
    assert found.auroc == pytest.approx(roc_auc_score(truth, values), abs=1e-12)
    precision, recall, thresholds = precision_recall_curve(truth, values)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert found.f1_max == pytest.approx(f1.max(), abs=1e-12)
    assert ((values >= found.f1_max_threshold) == (values >= thresholds[f1.argmax()])).all()
    assert found.aupro == pytest.approx(by_thresholds(pairs), abs=1e-12)
    assert (found.n_images, found.n_defective) == (4, 2)


def test_continuous_values_agree_to_a_level():
    """Levels are so fine that what falls together moves no digit that anybody reads."""
    pairs = images(n=6, ties=False)
    values, truth = flat(pairs)
    found = pixel_scores(lambda: iter(pairs))
    assert found.auroc == pytest.approx(roc_auc_score(truth, values), abs=1e-5)
    fpr, tpr, _ = roc_curve(truth, values)
    assert found.auroc == pytest.approx(np.trapezoid(tpr, fpr), abs=1e-5)


def test_undecided_pixels_follow_the_rule():
    """Left out, defective or good, as with IoU."""
    pairs = images(n=2)
    values, truth = pairs[1]
    truth = truth.copy()
    truth[6:8] = 128
    marked = [pairs[0], (values, truth)]
    for rule, kept, positive in (
        ("ignore", truth != 128, truth == 255),
        ("foreground", np.ones(truth.shape, bool), truth > 0),
        ("background", np.ones(truth.shape, bool), truth == 255),
    ):
        expected = roc_auc_score(
            np.concatenate([np.zeros(truth.size, bool), positive[kept]]),
            np.concatenate([pairs[0][0].ravel(), values[kept]]),
        )
        found = pixel_scores(lambda: iter(marked), ignore_border=rule)
        assert found.auroc == pytest.approx(expected, abs=1e-12)


def test_constant_maps_are_chance():
    """A method that says the same everywhere knows nothing, and is not undefined."""
    pairs = [(np.full(t.shape, 0.25), t) for _, t in images()]
    found = pixel_scores(lambda: iter(pairs))
    assert found.auroc == pytest.approx(0.5, abs=1e-12)
    assert found.aupro == pytest.approx(MAX_FPR / 2, abs=1e-12)


@pytest.mark.parametrize("value", [0, 255])
def test_one_kind_of_pixel_has_no_score(value):
    """No defective pixel, or no good one, leaves nothing to rank."""
    pairs = [(np.random.default_rng(0).random((5, 6)), np.full((5, 6), value, np.uint8))]
    found = pixel_scores(lambda: iter(pairs))
    assert np.isnan([found.auroc, found.aupro, found.f1_max]).all()
    assert found.n_images == 1


def test_no_image_has_no_score():
    """A data set without truth."""
    assert pixel_scores(lambda: iter([])).n_images == 0


def test_perfect_maps_score_one():
    """The truth as its own map."""
    pairs = [(t.astype(float), t) for _, t in images()]
    found = pixel_scores(lambda: iter(pairs))
    assert (found.auroc, found.aupro, found.f1_max) == pytest.approx((1, 1, 1), abs=1e-12)


def test_memory_does_not_grow_with_the_number_of_images(monkeypatch):
    """Only one map is alive at a time: each is dropped before the next is asked for."""
    monkeypatch.setattr(module, "N_LEVELS", 1 << 10)
    import weakref

    alive = []

    def stream():
        for number in range(30):
            values = np.random.default_rng(number).random((8, 8))
            truth = np.zeros((8, 8), np.uint8)
            truth[:2, :2] = 255
            alive.append(weakref.ref(values))
            assert sum(ref() is not None for ref in alive) <= 3
            yield values, truth

    assert pixel_scores(stream).n_images == 30


@pytest.mark.parametrize(
    ("values", "truth", "words"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2), np.uint8), r"\(2, 3\) and \(3, 2\)"),
        (np.array([[np.nan, 1.0]]), np.zeros((1, 2), np.uint8), "1 of 2 pixels are not"),
    ],
)
def test_unfit_maps_are_refused(values, truth, words):
    """A wrong size or a missing value must not become a score."""
    with pytest.raises(ValueError, match=words):
        pixel_scores(lambda: iter([(values, truth)]))
