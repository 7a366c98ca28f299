"""The error shared among tries: Bonferroni by hand, Holm's step-down, and what it guarantees."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realitycheck.metrics.intervals import clopper_pearson
from realitycheck.metrics.tries import confidence_of_each, n_unproven, upper_bounds

LIMITS = {"max_slip_rate": 0.02, "max_overkill_rate": 0.05}


def test_error_is_shared_by_bonferroni():
    """A twentieth of 5 % each; one try keeps it all."""
    assert confidence_of_each(20) == pytest.approx(0.9975, abs=1e-15)
    assert confidence_of_each(1, 0.9) == pytest.approx(0.9, abs=1e-15)
    with pytest.raises(ValueError, match="must be 1 or more, but is 0"):
        confidence_of_each(0)


@given(st.integers(0, 500), st.integers(0, 500), st.floats(1e-6, 0.5))
@settings(max_examples=100, deadline=None)
def test_many_bounds_are_those_of_clopper_pearson(n_wrong, n_more, tail):
    """One by one they are the same floats."""
    n = n_wrong + n_more
    expected = clopper_pearson(n_wrong, n, confidence=1 - tail, side="upper")[1]
    assert upper_bounds(n_wrong, n, tail) == pytest.approx(expected, rel=1e-9)


def test_proven_tries_leave_the_error_to_the_rest():
    """297 parts without a miss prove 2 % among 20; two such leave the others 5 % / 18."""
    slip, overkill = np.array([0, 0, 3, 40]), np.array([0, 0, 0, 0])
    m = n_unproven(slip, 300, overkill, 300, **LIMITS, n_tries=20)
    assert m == 18
    # 264 parts prove 2 % at 1 - 0.05 / 10: nothing leaves, so both need more.
    assert n_unproven([0, 0], 263, [0, 0], 300, **LIMITS, n_tries=20) == 20


def test_try_that_only_assists_keeps_its_share():
    """Its overkill may still be found too low by mistake."""
    assert n_unproven([0, 0], 600, [0, 200], 600, **LIMITS, n_tries=5) == 4
    assert n_unproven([0, 0], 600, [200, 200], 600, **LIMITS, n_tries=5) == 5


def test_all_proven_and_none_given():
    """The error is never shared among fewer than one."""
    assert n_unproven([0, 0], 600, [0, 0], 600, **LIMITS) == 1
    assert n_unproven([], 600, [], 600, **LIMITS, n_tries=7) == 7
    with pytest.raises(ValueError, match="3 tries have counts, but only 2 are said"):
        n_unproven([0, 0, 0], 600, [0, 0, 0], 600, **LIMITS, n_tries=2)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 30)), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_step_down_is_holms(counts):
    """With p the tail at which both bounds are the limits, it rejects what Holm rejects."""
    from scipy.stats import binom

    slip, overkill = np.array(counts).T
    p = np.maximum(binom.cdf(slip, 400, 0.02), binom.cdf(overkill, 400, 0.05))
    n_rejected = 0
    for rank, value in enumerate(sorted(p)):
        if value > 0.05 / (len(p) - rank):
            break
        n_rejected += 1
    m = n_unproven(slip, 400, overkill, 400, **LIMITS)
    assert m == max(1, len(p) - n_rejected)


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_unfit_tries_are_rarely_found_fit_together(shared):
    """Six tries just over the limit: alone some passes in far more than 5 % of data sets."""
    rng = np.random.default_rng(3)
    n_sets, n, k = 1500, 200, 6
    common = rng.standard_normal((n_sets, n, 1))
    own = rng.standard_normal((n_sets, n, k))
    from scipy.special import ndtri

    latent = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    missed = (latent < ndtri(0.0301)).sum(axis=1)
    zero = np.zeros_like(missed)
    m = n_unproven(missed, n, zero, n, max_slip_rate=0.03, max_overkill_rate=0.05)
    together = upper_bounds(missed, n, (0.05 / m)[:, None]) <= 0.03
    alone = upper_bounds(missed, n, 0.05) <= 0.03
    # 1500 sets know a share of 5 % up to 3 x 0.56 %.
    assert together.any(axis=1).mean() <= 0.067
    assert alone.any(axis=1).mean() > together.any(axis=1).mean()
    for one, other in itertools.pairwise([together, alone]):
        assert (one <= other).all()
