"""Figures of a line: three worked by hand, their intervals by simulation, no mixture in them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realitycheck.metrics.intervals import clopper_pearson
from realitycheck.metrics.line import EXAMPLE_RATES, Costs, Rates, informedness, line_figures

#: 2 % of 200 defective parts slip, 5 % of 1,000 good ones are rejected.
RATES = Rates.of(200, 1000, 4, 50)
COSTS = Costs(escape=100, false_reject=5, check=0.5, inspection=0.01)
FIGURES = ["escapes", "rejects", "good_rejects", "ppv", "npv", "cost_alone", "cost_checked"]


@pytest.mark.parametrize(
    ("defect_rate", "by_hand"),
    [
        # 1 defective part; 999 x 5 % and 98 % of it are rejected
        (0.001, (0.02, 50.93, 49.95, 0.98 / 50.93, 949.05 / 949.07, 261.75, 37.465)),
        # 10 + 0.2 x 100 + 49.5 x 5; 10 + 0.2 x 100 + 59.3 x 0.5
        (0.01, (0.2, 59.3, 49.5, 9.8 / 59.3, 940.5 / 940.7, 277.5, 59.65)),
        (0.1, (2, 143, 45, 98 / 143, 855 / 857, 435, 281.5)),
    ],
)
def test_three_lines_worked_by_hand(defect_rate, by_hand):
    """Nine tenths of the rejects of a good line are good, whatever the test set says."""
    found = line_figures(RATES, defect_rate, costs=COSTS)
    for name, expected in zip(FIGURES, by_hand, strict=True):
        figure = getattr(found, name)
        assert figure.estimate == pytest.approx(expected, rel=1e-12), name
        assert figure.low < figure.estimate < figure.high, name
    assert found.defective.estimate == 1000 * defect_rate
    assert found.cost_ship_all.estimate == 1000 * defect_rate * 100
    assert found.cost_check_all == (500, 500, 500)
    slip_high = clopper_pearson(4, 200, side="upper")[1]
    assert found.escapes_at_most == pytest.approx(1000 * defect_rate * slip_high)
    assert EXAMPLE_RATES == (0.001, 0.01, 0.1)


def test_figures_of_one_rate_have_its_exact_interval():
    """And those of two the extremes over both rates' intervals at sqrt(95 %)."""
    found = line_figures(RATES, 0.01)
    slip = clopper_pearson(4, 200)
    assert found.escapes[1:] == pytest.approx([10 * each for each in slip])
    s, o = (clopper_pearson(k, n, confidence=math.sqrt(0.95)) for k, n in ((4, 200), (50, 1000)))
    assert found.rejects.low == pytest.approx(10 * (1 - s[1]) + 990 * o[0])
    assert found.rejects.high == pytest.approx(10 * (1 - s[0]) + 990 * o[1])
    assert found.ppv.low == pytest.approx(0.01 * (1 - s[1]) / (0.01 * (1 - s[1]) + 0.99 * o[1]))


def test_range_of_defect_rates_widens_every_figure():
    """Nothing is known of where in the range the line is, so there is no estimate."""
    ends = [line_figures(RATES, rate, costs=COSTS) for rate in (0.001, 0.02)]
    both = line_figures(RATES, (0.001, 0.02), costs=COSTS)
    for name in FIGURES:
        figure = getattr(both, name)
        assert math.isnan(figure.estimate)
        assert figure.low == min(getattr(end, name).low for end in ends)
        assert figure.high == max(getattr(end, name).high for end in ends)
    for wrong in ((0.02, 0.001), (-0.1, 0.1), 1.5):
        with pytest.raises(ValueError, match="must lie in \\[0, 1\\], the lower end first"):
            line_figures(RATES, wrong)


def test_unknown_costs_are_named_and_no_made_up_figure():
    """Each cost figure needs its own."""
    found = line_figures(RATES, 0.01, costs=Costs(escape=100, check=1))
    assert Costs(escape=100, check=1).missing() == ("false_reject", "inspection")
    assert found.cost_alone is None and found.cost_checked is None
    assert found.cost_ship_all.estimate == 1000
    assert found.cost_check_all.estimate == 1000


def test_parts_without_a_verdict_leave_a_range():
    """Right in lower bounds, wrong in upper ones."""
    found = line_figures(Rates.of(200, 1000, 4, 50, unanswered_nok=10), 0.01)
    assert math.isnan(found.escapes.estimate) and not math.isnan(found.good_rejects.estimate)
    assert found.escapes.low == pytest.approx(10 * clopper_pearson(4, 200)[0])
    assert found.escapes.high == pytest.approx(10 * clopper_pearson(14, 200)[1])


def test_edges_without_parts_and_without_rejects():
    """Without parts everything is possible; a line without defects has nothing to escape."""
    found = line_figures(Rates.of(0, 0, 0, 0), 0.01)
    assert found.escapes[1:] == (0, 10) and math.isnan(found.escapes.estimate)
    assert found.ppv[1:] == (0, 1)
    found = line_figures(Rates.of(10, 10, 0, 0), 0.0)
    assert found.escapes == (0, 0, 0) and math.isnan(found.ppv.estimate)
    assert found.npv == (1, 1, 1)


@pytest.mark.parametrize("times", [1, 10, 100])
@pytest.mark.parametrize(("missed", "rejected"), [(0, 0), (20, 40), (50, 50), (0, 100), (60, 70)])
def test_informedness_knows_no_mixture(missed, rejected, times):
    """20 % slip and 40 % overkill are far above no model at every mixture."""
    one = informedness(Rates.of(100, 100, missed, rejected))
    other = informedness(Rates.of(100, 100 * times, missed, rejected * times))
    assert one.estimate == pytest.approx(1 - missed / 100 - rejected / 100)
    assert other.estimate == pytest.approx(one.estimate)
    assert other.low >= one.low - 1e-12 and other.high <= one.high + 1e-12
    if (missed, rejected) == (20, 40):
        assert one.low > 0
    if missed + rejected >= 130:
        assert one.high <= 0


@given(st.integers(1, 60), st.integers(1, 60), st.data())
@settings(max_examples=60, deadline=None)
def test_intervals_hold_their_estimate(n_nok, n_ok, data):
    """Whatever the counts, and whatever the line."""
    missed = data.draw(st.integers(0, n_nok))
    rejected = data.draw(st.integers(0, n_ok))
    found = line_figures(
        Rates.of(n_nok, n_ok, missed, rejected), data.draw(st.floats(0, 1)), costs=COSTS
    )
    for name in FIGURES:
        low, high = getattr(found, name)[1:]
        estimate = getattr(found, name).estimate
        slack = 1e-9 * max(1, abs(high))
        assert math.isnan(estimate) or low - slack <= estimate <= high + slack


@pytest.mark.parametrize(("slip", "overkill"), [(0.02, 0.05), (0.3, 0.2), (0.005, 0.5)])
def test_intervals_of_figures_hold_the_truth(slip, overkill):
    """At least 95 % of drawn data sets; 400 know that up to 2 x 1.1 %."""
    rng = np.random.default_rng(0)
    truth = {
        "rejects": 10 * (1 - slip) + 990 * overkill,
        "ppv": 0.01 * (1 - slip) / (0.01 * (1 - slip) + 0.99 * overkill),
        "npv": 0.99 * (1 - overkill) / (0.99 * (1 - overkill) + 0.01 * slip),
        "escapes": 10 * slip,
        "cost_checked": 10 + 1000 * slip + 0.5 * (10 * (1 - slip) + 990 * overkill),
    }
    held = dict.fromkeys(truth, 0)
    for _ in range(400):
        rates = Rates.of(150, 250, rng.binomial(150, slip), rng.binomial(250, overkill))
        found = line_figures(rates, 0.01, costs=COSTS)
        for name, value in truth.items():
            held[name] += getattr(found, name).low <= value <= getattr(found, name).high
    assert min(held.values()) >= 0.93 * 400, held
