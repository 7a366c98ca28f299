"""Tests on the same parts agree with their exact or independent counterparts."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from realitycheck.metrics.paired import (
    exact_mcnemar,
    f2_of_sums,
    holm,
    mean_of_sums,
    paired_permutation,
)


@given(st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=50)
def test_mcnemar_agrees_with_statsmodels(only_first, only_second):
    """Another implementation of the exact test; where nothing differs, p is 1."""
    p = exact_mcnemar(only_first, only_second)
    if only_first + only_second == 0:
        assert p == 1.0
    else:
        theirs = mcnemar([[3, only_first], [only_second, 5]], exact=True).pvalue
        assert p == pytest.approx(theirs, abs=1e-12)


def test_mcnemar_refuses_negative_counts():
    """A count below 0 is a mistake in the call."""
    with pytest.raises(ValueError, match="got -1 and 2"):
        exact_mcnemar(-1, 2)


def every_exchange(first, second, statistic):
    """Exact p value over all 2^N exchanges."""
    observed = abs(statistic(first.sum(0)) - statistic(second.sum(0)))
    as_large = []
    for choice in product([False, True], repeat=len(first)):
        swap = np.array(choice)[:, None]
        a, b = np.where(swap, second, first), np.where(swap, first, second)
        as_large.append(abs(statistic(a.sum(0)) - statistic(b.sum(0))) >= observed - 1e-12)
    return np.mean(as_large)


def test_permutation_agrees_with_all_exchanges():
    """Of 10 parts there are 1,024 exchanges; 40,000 draws come within four standard errors."""
    rng = np.random.default_rng(0)
    ious = rng.random((10, 2))
    first, second = (np.column_stack([ious[:, k] + 0.3 * k, np.ones(10)]) for k in (0, 1))
    p = paired_permutation(first, second, mean_of_sums, rng=rng, n_resamples=40_000)
    exact = every_exchange(first, second, mean_of_sums)
    assert p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 40_000))


def test_permutation_of_f2_agrees_with_all_exchanges():
    """F2 is no mean, so that the exchange moves both sides."""
    rng = np.random.default_rng(1)
    is_nok = np.array([True] * 5 + [False] * 5)
    tables = []
    for share in (0.9, 0.3):
        rejected = np.where(is_nok, rng.random(10) < share, rng.random(10) < 0.3)
        tables.append(
            np.column_stack([is_nok & rejected, ~is_nok & rejected, is_nok & ~rejected]).astype(
                float
            )
        )
    p = paired_permutation(*tables, f2_of_sums, rng=rng, n_resamples=40_000)
    exact = every_exchange(*tables, f2_of_sums)
    assert p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 40_000) + 1e-4)


def test_groups_are_exchanged_together():
    """Ten views of one part are one toss of the coin: p cannot fall below 1/2 of both signs."""
    first, second = np.ones((10, 2)), np.column_stack([np.zeros(10), np.ones(10)])
    rng = np.random.default_rng(0)
    alone = paired_permutation(first, second, mean_of_sums, rng=rng, n_resamples=2000)
    together = paired_permutation(
        first, second, mean_of_sums, rng=rng, groups=["a"] * 10, n_resamples=2000
    )
    assert alone < 0.01
    assert together == 1.0


def test_equal_methods_differ_by_chance_only():
    """Where all results agree the p value is 1, and not 1 / (1 + resamples)."""
    same = np.column_stack([np.linspace(0, 1, 7), np.ones(7)])
    rng = np.random.default_rng(0)
    assert paired_permutation(same, same, mean_of_sums, rng=rng, n_resamples=50) == 1.0


def test_permutation_needs_the_same_parts():
    """Different parts are no pairs."""
    with pytest.raises(ValueError, match=r"shapes \(3, 2\) and \(4, 2\)"):
        paired_permutation(
            np.ones((3, 2)), np.ones((4, 2)), mean_of_sums, rng=np.random.default_rng(0)
        )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=60)
def test_holm_agrees_with_its_definition(p_values):
    """Stepping down by hand."""
    order = np.argsort(p_values, kind="stable")
    expected, highest = np.empty(len(p_values)), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        expected[index] = highest
    np.testing.assert_allclose(holm(p_values), expected, atol=1e-12)


def test_holm_agrees_with_statsmodels():
    """Ties and a p value of 1 among them."""
    p_values = [0.03, 0.001, 1.0, 0.01, 0.01, 0.2, 0.04]
    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1])


def test_undefined_p_values_count_for_nothing():
    """A pair without a common part must not make the others look worse."""
    np.testing.assert_array_equal(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
    assert np.isnan(holm([np.nan])).all()
