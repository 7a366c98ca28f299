"""The shrinkage of the best of several, against methods whose truth is known."""

import numpy as np
import pytest

from realitycheck.metrics.optimism import winners_optimism
from realitycheck.metrics.paired import mean_of_sums


def of_rates(is_right):
    """Summands of a mean, (N, T, 2)."""
    return np.stack([is_right.astype(float), np.ones(is_right.shape)], axis=2)


def found_for(is_right, rng, **options):
    options = {"strata": ["OK"] * len(is_right), "n_resamples": 200} | options
    return winners_optimism(of_rates(is_right), mean_of_sums, rng=rng, **options)


def test_shrinkage_is_the_luck_of_the_best_among_equals():
    """Ten methods that are right in 80 % of parts: the best of them seems better by 5 %.

    300 data sets know the true luck up to 0.0012, and each shrinkage is a mean of 200 splits.
    """
    rng = np.random.default_rng(0)
    luck, shrinkage = [], []
    for _ in range(300):
        found = found_for(rng.random((120, 10)) < 0.8, rng)
        luck.append(found.score - 0.8)
        shrinkage.append(found.shrinkage)
    assert np.mean(luck) > 0.04
    assert np.mean(shrinkage) == pytest.approx(np.mean(luck), rel=0.12)


def test_one_try_and_equal_tries_need_no_luck():
    """Nothing was chosen, or it did not matter which."""
    rng = np.random.default_rng(1)
    is_right = rng.random((100, 1)) < 0.7
    found = found_for(is_right, rng)
    assert (found.winner, found.shrinkage, found.n_tries) == (0, 0.0, 1)
    assert found.expected == found.score == is_right.mean()
    # Twenty copies are chosen among by nothing: the mean of split halves is 0 up to chance.
    found = found_for(np.repeat(is_right, 20, axis=1), rng, n_resamples=4000)
    assert found.shrinkage == pytest.approx(0, abs=0.005)


def test_clear_winner_is_hardly_lucky():
    """It is chosen in every half."""
    rng = np.random.default_rng(2)
    found = found_for(rng.random((200, 4)) < np.array([0.9, 0.3, 0.3, 0.3]), rng, n_resamples=4000)
    assert found.winner == 0
    assert found.shrinkage < 0.003


def test_lower_may_be_better():
    """The lowest error rate is expected to be higher."""
    rng = np.random.default_rng(3)
    is_wrong = rng.random((120, 10)) < 0.2
    found = found_for(is_wrong, rng, is_higher_better=False)
    assert found.winner == is_wrong.mean(axis=0).argmin()
    assert found.expected == pytest.approx(found.score + found.shrinkage)
    assert found.shrinkage > 0.02


def test_groups_stay_whole_and_widen_the_luck():
    """Forty parts with five views each are 40 parts, not 200."""
    rng = np.random.default_rng(4)
    is_right = np.repeat(rng.random((40, 8)) < 0.8, 5, axis=0)
    groups = [str(part) for part in np.repeat(np.arange(40), 5)]
    alone, whole = found_for(is_right, rng), found_for(is_right, rng, groups=groups)
    assert whole.shrinkage > 1.7 * alone.shrinkage


def test_strata_are_halved_and_undefined_scores_say_so():
    """Of two parts of a label each half has one; without any the score is not known."""
    rng = np.random.default_rng(5)
    values = np.zeros((6, 2, 2))
    values[:2, :, 1] = 1  # only the first two parts count
    found = winners_optimism(values, mean_of_sums, strata=["NOK"] * 2 + ["OK"] * 4, rng=rng)
    assert found.shrinkage == 0
    values[1, :, 1] = 0
    found = winners_optimism(values, mean_of_sums, strata=["NOK"] * 2 + ["OK"] * 4, rng=rng)
    assert np.isnan(found.shrinkage) and np.isnan(found.expected)
    with pytest.raises(ValueError, match=r"has the shape \(6, 0, 2\) and 6 strata"):
        winners_optimism(values[:, :0], mean_of_sums, strata=["OK"] * 6, rng=rng)
