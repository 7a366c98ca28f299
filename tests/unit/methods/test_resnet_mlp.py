"""The supervised baseline: what its folds may know, and what they must not."""

import numpy as np
import pytest

from realitycheck.methods import resnet_mlp
from realitycheck.methods.resnet_mlp import best_threshold, classify_out_of_fold
from realitycheck.metrics.classification import confusion, f_beta

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

QUICK = {"hidden_units": (8,), "max_epochs": 40, "n_folds": 3}
THOROUGH = QUICK | {"max_epochs": 300}


def draw_features(n_ok=30, n_nok=9, *, distance=4.0, seed=0):
    """Features whose first column tells the labels apart by so many standard deviations."""
    rng = np.random.default_rng(seed)
    labels = np.array(["OK"] * n_ok + ["NOK"] * n_nok)
    features = rng.normal(size=(len(labels), 6))
    features[labels == "NOK", 0] += distance
    order = rng.permutation(len(labels))
    return features[order], labels[order]


def own_groups(labels):
    return [f"part {i}" for i in range(len(labels))]


@pytest.fixture
def fits(monkeypatch):
    """Every fit of a run: rows that were learned from and rows that were scored."""
    seen = []
    fit = resnet_mlp._fit_and_score

    def spy(train, is_nok, held_out, **options):
        seen.append((train[:, -1].astype(int), held_out[:, -1].astype(int)))
        return fit(train, is_nok, held_out, **options)

    monkeypatch.setattr(resnet_mlp, "_fit_and_score", spy)
    return seen


def test_no_image_is_scored_by_a_model_that_learned_it(fits):
    """Checked on the rows that reach the classifier, of outer and of inner folds."""
    features, labels = draw_features()
    features[:, -1] = np.arange(len(labels))  # each row says who it is
    found = classify_out_of_fold(features, labels, groups=own_groups(labels), **QUICK)
    for learned, scored in fits:
        assert not set(learned) & set(scored)
    outer = [fit for fit in fits if len(fit[0]) + len(fit[1]) == len(labels)]
    assert len(outer) == QUICK["n_folds"]
    assert sorted(np.concatenate([scored for _, scored in outer])) == list(range(len(labels)))
    for fold, (_, scored) in enumerate(outer):
        assert set(scored) == set(np.flatnonzero(found.folds == fold))
    # What sets a fold's threshold lies wholly outside the images that it is used on.
    inner = [fit for fit in fits if len(fit[0]) + len(fit[1]) < len(labels)]
    for fold, (_, held_out) in enumerate(outer):
        for learned, scored in inner[3 * fold : 3 * fold + 3]:
            assert not set(held_out) & (set(learned) | set(scored))


def test_views_of_one_part_are_never_on_both_sides(fits):
    """Else the model recognises the part instead of the defect."""
    features, labels = draw_features(n_ok=15, n_nok=6)
    labels = np.repeat(labels, 2)
    features = np.repeat(features, 2, axis=0)
    features[:, -1] = np.arange(len(labels))
    groups = np.arange(len(labels)) // 2
    classify_out_of_fold(features, labels, groups=[f"part {g}" for g in groups], **QUICK)
    for learned, scored in fits:
        assert not set(groups[learned]) & set(groups[scored])


def test_a_folds_threshold_does_not_see_the_fold():
    """The images of fold 0 are changed beyond recognition; its threshold stays where it was."""
    features, labels = draw_features(distance=1.5)
    before = classify_out_of_fold(features, labels, groups=own_groups(labels), **QUICK)
    changed = features.copy()
    changed[before.folds == 0] *= -30
    after = classify_out_of_fold(changed, labels, groups=own_groups(labels), **QUICK)
    assert (after.folds == before.folds).all()
    assert after.thresholds[0] == before.thresholds[0]
    assert (after.thresholds[1:] != before.thresholds[1:]).all()


def test_random_labels_cannot_be_told_apart():
    """A leak of any kind would show as a score far above that of guessing."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(120, 60))
    labels = np.where(np.arange(120) % 4 == 0, "NOK", "OK")
    found = classify_out_of_fold(features, labels, groups=own_groups(labels), **QUICK)
    ranks = found.scores.argsort().argsort()
    area = (ranks[labels == "NOK"].mean() - ranks[labels == "OK"].mean()) / 120 + 0.5
    # Three standard errors of the area under the curve of 30 against 90 guesses are 0.18.
    assert abs(area - 0.5) < 0.18


def test_what_can_be_told_apart_is():
    """Five standard deviations between the labels leave nothing to guess."""
    features, labels = draw_features(distance=8.0)
    found = classify_out_of_fold(features, labels, groups=own_groups(labels), **THOROUGH)
    assert f_beta(confusion(labels, found.labels)) > 0.9
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert (
        found.labels == np.where(found.scores >= found.thresholds[found.folds], "NOK", "OK")
    ).all()


def test_the_same_seed_gives_the_same_verdicts():
    """A table must come out the same on the next run."""
    features, labels = draw_features(distance=1.0)
    first, second = (
        classify_out_of_fold(features, labels, groups=own_groups(labels), seed=2, **QUICK)
        for _ in range(2)
    )
    assert (first.scores == second.scores).all()
    assert (first.thresholds == second.thresholds).all()


def test_the_rarer_label_weighs_as_much_as_the_other():
    """With one defect in ten, features that say nothing must give 0.5 and not 0.1."""
    labels = np.array((["OK"] * 9 + ["NOK"]) * 12)
    found = classify_out_of_fold(np.zeros((120, 2)), labels, groups=own_groups(labels), **THOROUGH)
    np.testing.assert_allclose(found.scores, 0.5, atol=0.05)


def test_best_threshold_by_hand():
    """Scores .9 NOK, .8 OK, .6 NOK, .3 OK, .1 OK.

    F2 if the first k are rejected, 5 tp / (5 tp + 4 fn + fp): k=1: 5/9, k=2: 5/10, k=3: 10/11,
    k=4: 10/12, k=5: 10/13. The third wins; the threshold lies half way to the next score.
    """
    scores = np.array([0.9, 0.8, 0.6, 0.3, 0.1])
    is_nok = np.array([True, False, True, False, False])
    assert best_threshold(scores, is_nok, beta=2.0) == pytest.approx(0.45)
    # With precision alone in mind, only the first is rejected.
    assert best_threshold(scores, is_nok, beta=0.1) == pytest.approx(0.85)


def test_images_of_one_score_are_rejected_together():
    """A threshold cannot lie between equal scores, so the best count may be out of reach."""
    scores = np.array([0.7, 0.7, 0.7, 0.2])
    is_nok = np.array([True, False, False, False])
    assert best_threshold(scores, is_nok, beta=2.0) == pytest.approx(0.45)


def test_lowest_score_defective_means_that_everything_is_rejected():
    """Below the last score there is nothing; the threshold goes half way to 0."""
    assert best_threshold(np.array([0.5, 0.4]), np.array([False, True]), beta=2.0) == pytest.approx(
        0.2
    )


def test_best_threshold_agrees_with_trying_every_one():
    """Independent implementation: all thresholds, counted one by one."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores = rng.integers(0, 12, 25) / 12
        is_nok = rng.random(25) < 0.3
        is_nok[0] = True
        labels = np.where(is_nok, "NOK", "OK")

        def f2(threshold, scores=scores, labels=labels):
            return f_beta(confusion(labels, np.where(scores >= threshold, "NOK", "OK")))

        assert f2(best_threshold(scores, is_nok, beta=2.0)) == max(map(f2, scores))


def test_too_few_defective_parts_are_refused():
    """Four bad parts cannot be in five folds."""
    features, labels = draw_features(n_nok=4)
    with pytest.raises(ValueError, match="5 folds need at least 5 independent NOK parts, found 4"):
        classify_out_of_fold(features, labels, groups=own_groups(labels))
