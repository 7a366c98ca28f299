"""The supervised baseline: what its folds may know, and what they must not."""

import numpy as np
import pytest

from realitycheck.methods.resnet_mlp import algorithm as resnet_mlp
from realitycheck.methods.resnet_mlp.algorithm import (
    best_threshold,
    classify_out_of_fold,
    largest_departures,
)
from realitycheck.metrics.classification import confusion, f_beta

pytestmark = pytest.mark.filterwarnings("ignore:lbfgs failed to converge")

QUICK = {"hidden_units": (8,), "max_epochs": 200, "n_folds": 3}


def draw_features(n_ok=30, n_nok=9, *, distance=4.0, seed=0):
    """Features whose first column tells the labels apart by so many standard deviations."""
    rng = np.random.default_rng(seed)
    labels = np.array(["OK"] * n_ok + ["NOK"] * n_nok)
    features = rng.normal(size=(len(labels), 6))
    features[labels == "NOK", 0] += distance
    order = rng.permutation(len(labels))
    return features[order], labels[order]


def known(features):
    """Features that nothing is learned for."""
    return lambda learned: features


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
    found = classify_out_of_fold(known(features), labels, groups=own_groups(labels), **QUICK)
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
    classify_out_of_fold(known(features), labels, groups=[f"part {g}" for g in groups], **QUICK)
    for learned, scored in fits:
        assert not set(groups[learned]) & set(groups[scored])


def test_a_folds_threshold_does_not_see_the_fold():
    """The images of fold 0 are changed beyond recognition; its threshold stays where it was."""
    features, labels = draw_features(distance=1.5)
    before = classify_out_of_fold(known(features), labels, groups=own_groups(labels), **QUICK)
    changed = features.copy()
    changed[before.folds == 0] *= -30
    after = classify_out_of_fold(known(changed), labels, groups=own_groups(labels), **QUICK)
    assert (after.folds == before.folds).all()
    assert after.thresholds[0] == before.thresholds[0]
    assert (after.thresholds[1:] != before.thresholds[1:]).all()


def test_random_labels_cannot_be_told_apart():
    """A leak of any kind would show as a score far above that of guessing."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(120, 60))
    labels = np.where(np.arange(120) % 4 == 0, "NOK", "OK")
    found = classify_out_of_fold(known(features), labels, groups=own_groups(labels), **QUICK)
    ranks = found.scores.argsort().argsort()
    area = (ranks[labels == "NOK"].mean() - ranks[labels == "OK"].mean()) / 120 + 0.5
    # Three standard errors of the area under the curve of 30 against 90 guesses are 0.18.
    assert abs(area - 0.5) < 0.18


def test_what_can_be_told_apart_is():
    """Five standard deviations between the labels leave nothing to guess."""
    features, labels = draw_features(distance=8.0)
    found = classify_out_of_fold(known(features), labels, groups=own_groups(labels), **QUICK)
    assert f_beta(confusion(labels, found.labels)) > 0.9
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert (
        found.labels == np.where(found.scores >= found.thresholds[found.folds], "NOK", "OK")
    ).all()


def test_the_same_seed_gives_the_same_verdicts():
    """A table must come out the same on the next run."""
    features, labels = draw_features(distance=1.0)
    first, second = (
        classify_out_of_fold(known(features), labels, groups=own_groups(labels), seed=2, **QUICK)
        for _ in range(2)
    )
    assert (first.scores == second.scores).all()
    assert (first.thresholds == second.thresholds).all()


def test_the_rarer_label_weighs_as_much_as_the_other():
    """With one defect in ten, features that say nothing must give 0.5 and not 0.1."""
    labels = np.array((["OK"] * 9 + ["NOK"]) * 12)
    zeros = known(np.zeros((120, 2)))
    found = classify_out_of_fold(zeros, labels, groups=own_groups(labels), **QUICK)
    np.testing.assert_allclose(found.scores, 0.5, atol=0.05)


def test_few_images_are_learned_from_though_the_penalty_is_for_many():
    """Under the full penalty all weights end at zero, and all images of a fold get one score."""
    features, labels = draw_features(n_ok=12, n_nok=6, distance=6.0)
    is_nok = labels == "NOK"
    options = {"hidden_units": (128,), "max_epochs": 300, "seed": 0}
    scores = resnet_mlp._fit_and_score(features, is_nok, features, weight_decay=10.0, **options)
    assert scores[is_nok].min() > scores[~is_nok].max()
    assert np.ptp(scores) > 0.01


def test_enough_images_are_learned_from_under_the_penalty_asked_for(monkeypatch):
    """It is weakened only where nothing is learned."""
    features, labels = draw_features()
    options = {"hidden_units": (128,), "max_epochs": 300, "seed": 0, "weight_decay": 10.0}
    found = resnet_mlp._fit_and_score(features, labels == "NOK", features, **options)
    monkeypatch.setattr(resnet_mlp, "_N_HALVINGS", 0)
    alone = resnet_mlp._fit_and_score(features, labels == "NOK", features, **options)
    np.testing.assert_array_equal(found, alone)


def test_scores_differ_by_more_than_rounding_or_not_at_all():
    """So a threshold never falls between two images that differ in the last digit."""
    features, labels = draw_features()
    doubled = np.concatenate([features, features * (1 + 1e-9)])
    found = resnet_mlp._fit_and_score(
        *(features, labels == "NOK", doubled),
        **{"hidden_units": (8,), "max_epochs": 200, "seed": 0, "weight_decay": 10.0},
    )
    assert len(np.unique(found)) <= len(labels) + 1


def test_only_good_training_images_say_what_is_normal():
    """What describes an image is learned anew in every fold, from its training images alone."""
    _, labels = draw_features()
    asked = []

    def describe(learned):
        asked.append(learned)
        return np.random.default_rng(0).normal(size=(len(labels), 3))

    found = classify_out_of_fold(describe, labels, groups=own_groups(labels), **QUICK)
    assert len(asked) == 3 * (3 + 1)
    for number, learned in enumerate(asked):
        assert not learned[labels == "NOK"].any()
        assert not learned[found.folds == number // 4].any()
        assert learned.any()


# ----------------------------------------------------------------------------- departures by place


def describe(stages, learned, *, categories=None, groups=None, seed=0):
    n = len(learned)
    return largest_departures(
        stages,
        np.asarray(learned),
        categories=["a"] * n if categories is None else categories,
        groups=own_groups(learned) if groups is None else groups,
        seed=seed,
    )


def test_departures_by_hand():
    """Three good images, 0, 2 and 7 everywhere, so every part has one and its reference two.

    The image in question stands against one of the three pairs: mean 1, 3.5 or 4.5, spread 1, 3.5
    or 2.5. With the floor, d = |f - mean| / (2 spread + 1e-4) at each of its four places.
    """
    stage = np.zeros((4, 1, 2, 2), np.float16)
    stage[1], stage[2] = 2, 7
    stage[3, 0] = [[9, 4], [1, 1]]
    found = describe([stage], [True, True, True, False])
    pairs = {(0, 2): (1.0, 1.0), (0, 7): (3.5, 3.5), (2, 7): (4.5, 2.5)}
    sizes = [
        np.abs(np.array([9, 4, 1, 1]) - mean) / (2 * spread + 1e-4)
        for mean, spread in pairs.values()
    ]
    possible = [[size.max(), size.mean(), size.mean()] for size in sizes]
    assert min(np.abs(found[3, :3] - each).max() for each in possible) < 1e-5
    # The good image 7 is compared with 0 and 2 and not with itself.
    np.testing.assert_allclose(found[2, :3], 6 / 2.0001, rtol=1e-5)


def test_a_departure_counts_wherever_it_lies_and_only_against_its_own_place():
    """A value that is normal here is a departure there."""
    rng = np.random.default_rng(0)
    stage = rng.normal(size=(60, 2, 6, 6)) + np.linspace(0, 50, 36).reshape(6, 6)
    stage[58, 0, 1, 2] = stage[:, 0, 4, 4].mean()
    stage[59, 1, 4, 1] = stage[:, 1, 0, 0].mean()
    found = describe([stage.astype(np.float16)], np.arange(60) < 50)
    usual = found[50:58]
    for odd in (58, 59):
        assert found[odd, 0] > 2 * usual[:, 0].max()


def test_a_wide_faint_departure_shows_at_a_larger_width():
    """Half a standard deviation over 16 cells is nothing in one cell and much in all of them."""
    rng = np.random.default_rng(0)
    stage = rng.normal(size=(120, 8, 16, 16))
    stage[100:, :, 4:10, 4:10] += 0.9
    found = describe([stage.astype(np.float16)], np.arange(120) < 80)
    good, bad = found[80:100], found[100:]
    narrow, wide = 0, 2 * len(resnet_mlp.N_LARGEST)
    # Standard deviations of good images between the means of good and bad ones.
    shift = (bad.mean(axis=0) - good.mean(axis=0)) / good.std(axis=0)
    assert shift[wide] > 3
    assert shift[wide] > 1.5 * shift[narrow]


def test_learned_images_are_described_as_held_out_ones_are():
    """Else the perceptron would learn who was shown to it, and find no defect later.

    With 12 images, one that is compared with itself departs by far less.
    """
    rng = np.random.default_rng(0)
    stage = rng.normal(size=(200, 3, 6, 6)).astype(np.float16)
    learned = np.arange(200) < 12
    found = describe([stage], learned)
    held_out, own = found[~learned, 2], found[learned, 2]
    # Twelve means against many of one distribution: within four standard errors.
    assert abs(own.mean() - held_out.mean()) < 4 * held_out.std() / np.sqrt(12)


def test_views_of_one_part_are_not_compared_with_each_other():
    """Two views are nearly the same image; each would make the other look normal."""
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(6, 2, 5, 5))
    stage = np.repeat(parts, 2, axis=0).astype(np.float16)
    groups = [f"part {i // 2}" for i in range(12)]
    together = describe([stage], [True] * 12, groups=groups)
    alone = describe([stage[::2]], [True] * 6, groups=groups[::2])
    np.testing.assert_allclose(together[::2], alone, rtol=1e-5)
    np.testing.assert_allclose(together[1::2], alone, rtol=1e-5)


def test_images_that_are_not_learned_from_change_nothing_for_others():
    """Else a held-out image would tell about itself through the training images."""
    rng = np.random.default_rng(0)
    stages = [rng.normal(size=(20, 3, g, g)).astype(np.float16) for g in (4, 2)]
    learned = np.arange(20) < 12
    before = describe(stages, learned)
    for stage in stages:
        stage[15] += 100
    after = describe(stages, learned)
    others = np.arange(20) != 15
    np.testing.assert_array_equal(before[others], after[others])
    assert (before[15] != after[15]).all()


def test_each_category_has_its_own_normal():
    """A tile is no departure from a carpet; computed alone, each category gives the same."""
    rng = np.random.default_rng(0)
    stage = rng.normal(size=(150, 2, 3, 3)).astype(np.float16)
    categories = np.array(["carpet", "tile", "tile"] * 50)
    stage[categories == "tile"] += 30
    learned = rng.random(150) < 0.5
    groups = np.array(own_groups(learned))
    found = describe([stage], learned, categories=categories)
    for name in ("carpet", "tile"):
        own = categories == name
        alone = describe([stage[own]], learned[own], categories=categories[own], groups=groups[own])
        np.testing.assert_allclose(found[own], alone, rtol=1e-5)
    with pytest.raises(ValueError, match="category tile: .*at least 3 independent.*found 0"):
        describe([stage], learned & (categories != "tile"), categories=categories)


# ---------------------------------------------------------------------------------- the threshold


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
        classify_out_of_fold(known(features), labels, groups=own_groups(labels))
