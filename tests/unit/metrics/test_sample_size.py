"""How many parts prove a rate, and how many more would settle it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from realitycheck.metrics.intervals import clopper_pearson
from realitycheck.metrics.sample_size import (
    MAX_PARTS,
    PLANNED_TRIES,
    best_share,
    parts_needed,
    parts_to_settle,
    power_of_split,
    power_together,
    what_parts_prove,
)
from realitycheck.metrics.tries import confidence_of_each


@pytest.mark.parametrize(("limit", "n"), [(0.05, 59), (0.02, 149), (0.01, 299), (0.005, 598)])
def test_published_numbers_without_a_miss(limit, n):
    """The success run theorem of reliability demonstration."""
    assert parts_needed(limit) == n


@pytest.mark.parametrize(("n_errors", "n"), [(1, 93), (2, 124), (3, 153)])
def test_published_numbers_with_misses(n_errors, n):
    """Tables of reliability demonstration for 95 % confidence and 95 % reliability."""
    assert parts_needed(0.05, n_errors=n_errors) == n


@given(st.floats(0.003, 0.6), st.integers(0, 12), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
@settings(max_examples=60)
def test_needed_parts_are_the_fewest_by_the_binomial_itself(limit, n_errors, confidence):
    """Independent of the beta quantile: P(X <= k) at the limit is at most 1 - confidence."""
    n = parts_needed(limit, n_errors=n_errors, confidence=confidence)
    slack = 1e-9
    assert stats.binom.cdf(n_errors, n, limit) <= 1 - confidence + slack
    if n > n_errors + 1:
        assert stats.binom.cdf(n_errors, n - 1, limit) > 1 - confidence - slack


def test_parts_at_hand_prove_what_their_number_allows():
    """0 of 32 missed proves 8.9 % and not 2 %; 117 more would do."""
    proof = what_parts_prove(32, 0.02)
    assert round(proof.provable_rate, 3) == 0.089
    assert (proof.n_errors_allowed, proof.n_more) == (-1, 117)
    assert what_parts_prove(149, 0.02)[3:] == (0, 0)
    assert what_parts_prove(236, 0.02)[3:] == (1, 0)
    assert what_parts_prove(235, 0.02).n_errors_allowed == 0


def test_no_part_proves_nothing():
    """Without parts the rate may be anything."""
    assert what_parts_prove(0, 0.1).provable_rate == 1.0
    assert parts_to_settle(0, 0, 0.05) == 59


def test_thirty_two_without_a_miss_need_149_in_all():
    """The case that the study's own set is."""
    assert parts_to_settle(0, 32, 0.02) == 149


@given(st.integers(1, 60), st.integers(0, 12), st.sampled_from([0.01, 0.02, 0.05, 0.1, 0.3]))
@settings(max_examples=80)
def test_settling_number_is_found_by_counting_up(n_parts, n_errors, limit):
    """Against the definition, tried one number after another as far as 1,500 parts."""
    n_errors = min(n_errors, n_parts)
    found = parts_to_settle(n_errors, n_parts, limit)
    is_below = n_errors / n_parts < limit

    def settles(n):
        errors = -(-n * n_errors // n_parts) if is_below else n * n_errors // n_parts
        errors = n_errors if n == n_parts else errors
        side = "upper" if is_below else "lower"
        low, high = clopper_pearson(errors, n, side=side)
        return high <= limit if is_below else low > limit

    counted = next((n for n in range(n_parts, 1500) if settles(n)), None)
    if counted is None:
        assert found is None or found >= 1500
    else:
        assert found == counted


def test_rate_at_its_limit_is_never_settled():
    """More parts at the very limit come no nearer to either side."""
    assert parts_to_settle(4, 200, 0.02) is None
    assert parts_to_settle(0, 50, 0.0) is None
    assert parts_to_settle(1999, 100_000, 0.02) is None or MAX_PARTS


def test_settled_rates_need_no_more():
    """The parts at hand are enough when a bound has passed the limit."""
    assert parts_to_settle(0, 149, 0.02) == 149
    assert parts_to_settle(5, 32, 0.02) == 32


@pytest.mark.parametrize(("n_tries", "n_parts"), [(1, 149), (5, 228), (20, 297), (100, 377)])
def test_parts_for_many_tries_without_a_miss(n_tries, n_parts):
    """(1 - 2 %)^n <= 5 % / k: a hundred tries need two and a half times the parts of one."""
    assert parts_needed(0.02, confidence=confidence_of_each(n_tries)) == n_parts
    assert 0.98**n_parts <= 0.05 / n_tries < 0.98 ** (n_parts - 1)
    assert n_tries in PLANNED_TRIES


def test_power_together_by_hand():
    """149 parts prove 2 % without an error, which a rate of 1 % has in 22 %; 148 never do."""
    assert power_together(149, 0.02, n_tries=1, fit_rate=0.01) == pytest.approx(0.99**149)
    assert power_together(148, 0.02, n_tries=1, fit_rate=0.0) == 0
    assert power_together(297, 0.02, n_tries=20, fit_rate=0.001) == pytest.approx(0.999**297)
    assert power_together(297, 0.02, n_tries=21, fit_rate=0.001) == 0


def test_power_of_split_by_hand_and_by_simulation():
    """Without a part to choose on it is the toss of a coin; else as drawn 20,000 times."""
    given = {"n_tries": 2, "fit_rate": 0.0, "unfit_rate": 0.5}
    assert power_of_split(0, 149, 0.02, **given) == pytest.approx(0.5)
    # The other one has no error of two in a quarter of cases, and then the coin decides.
    assert power_of_split(2, 149, 0.02, **given) == pytest.approx(1 - 0.25 / 2)
    rng = np.random.default_rng(0)
    own = rng.binomial(60, 0.01, 20_000)
    others = rng.binomial(60, 0.05, (19, 20_000))
    least = others.min(axis=0)
    n_equal = (others == own).sum(axis=0)
    is_chosen = np.where(own < least, 1.0, np.where(own == least, 1 / (n_equal + 1), 0.0))
    drawn = is_chosen.mean() * 0.99**149
    found = power_of_split(60, 149, 0.02, n_tries=20, fit_rate=0.01, unfit_rate=0.05)
    assert found == pytest.approx(drawn, abs=0.004)  # four standard errors of the 20,000


def test_share_to_lock_away_is_worth_what_a_simulation_says():
    """Choose by the fewest missed, prove both rates on the rest; 20,000 draws know it up to 1 %."""
    rates = {"limits": (0.02, 0.05), "fit": (0.002, 0.005), "unfit_slip_rate": 0.04}
    found = best_share(300, 200, n_tries=5, **rates)
    alone = best_share(300, 0, n_tries=5, **rates)
    assert alone.power > found.power > found.power_together > 0
    rng = np.random.default_rng(0)
    n_choose = 300 - found.n_nok
    own, others = rng.binomial(n_choose, 0.002, 20_000), rng.binomial(n_choose, 0.04, (20_000, 4))
    fewest = others.min(axis=1)
    ties = 1 + (others == fewest[:, None]).sum(axis=1) * (own == fewest)
    is_chosen = (own <= fewest) & (rng.random(20_000) < 1 / ties)
    misses = what_parts_prove(found.n_nok, 0.02).n_errors_allowed
    rejects = what_parts_prove(found.n_ok, 0.05).n_errors_allowed
    is_proven = rng.binomial(found.n_nok, 0.002, 20_000) <= misses
    is_proven &= rng.binomial(found.n_ok, 0.005, 20_000) <= rejects
    assert (is_chosen & is_proven).mean() == pytest.approx(found.power, abs=0.012)
    few = best_share(100, 100, n_tries=4, **rates)
    assert few == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("n_errors", [-1, 0.5])
def test_counts_are_whole_and_not_negative(n_errors):
    """Half a miss is a mistake in the call."""
    with pytest.raises(ValueError, match="whole number of 0 or more"):
        parts_needed(0.02, n_errors=n_errors)
