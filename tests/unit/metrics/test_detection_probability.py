"""Detection probability against size: fit, bounds, and when there is none."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats
from sklearn.linear_model import LogisticRegression

from realitycheck.metrics.detection_probability import (
    bin_of,
    fit_pod,
    pod_band,
    recall_by_size,
    size_edges,
)


def simulated(n=150, seed=0, intercept=-6.0, slope=1.3):
    rng = np.random.default_rng(seed)
    areas = np.exp(rng.uniform(2, 8, n))
    return areas, rng.random(n) < special.expit(intercept + slope * np.log(areas))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fit_agrees_with_two_other_implementations(seed):
    """scikit-learn without a penalty, and statsmodels' generalised linear model."""
    areas, hits = simulated(seed=seed)
    fit = fit_pod(areas, hits)
    x = np.log(areas)[:, None]
    theirs = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(x, hits)
    assert fit.slope == pytest.approx(theirs.coef_[0, 0], rel=1e-4)
    glm = sm.GLM(hits.astype(float), sm.add_constant(x), family=sm.families.Binomial()).fit(
        tol=1e-12
    )
    assert (fit.intercept, fit.slope) == pytest.approx(tuple(glm.params), rel=1e-8)
    assert special.expit(fit.intercept + fit.slope * np.log([fit.a50, fit.a90])) == pytest.approx(
        [0.5, 0.9]
    )


def constrained(areas, hits, at, probability):
    """Largest likelihood with a given probability at a size, by a general optimiser."""
    logs, level = np.log(areas) - np.log(at), special.logit(probability)

    def loss(slope):
        levels = level + slope * logs
        return -special.log_expit(np.where(hits, levels, -levels)).sum()

    return -optimize.minimize_scalar(loss, bracket=(0, 2), tol=1e-14).fun


@pytest.mark.parametrize("seed", [0, 3])
def test_bound_is_where_the_likelihood_ratio_says(seed):
    """At a90/95 the constrained likelihood has fallen by exactly half of 2.7055."""
    areas, hits = simulated(seed=seed)
    fit = fit_pod(areas, hits)
    levels = fit.intercept + fit.slope * np.log(areas)
    best = special.log_expit(np.where(hits, levels, -levels)).sum()
    fallen = 2 * (best - constrained(areas, hits, fit.a90_95, 0.9))
    assert fallen == pytest.approx(stats.chi2.ppf(0.9, 1), abs=1e-6)
    assert fit.a90_95 > fit.a90


def test_lower_bound_of_the_curve_reaches_90_percent_at_the_bound():
    """The number and the band drawn around the curve are one statement."""
    areas, hits = simulated()
    fit = fit_pod(areas, hits)
    band = pod_band(areas, hits, fit, [fit.a50, fit.a90, fit.a90_95])
    assert band[:2, 0] == pytest.approx([0.5, 0.9])
    assert band[2, 1] == pytest.approx(0.9, abs=1e-6)
    assert (band[:, 1] < band[:, 0]).all()
    assert (band[:, 0] < band[:, 2]).all()


def test_unit_of_area_scales_the_sizes_only():
    """mm² instead of pixels: the same curve, another axis."""
    areas, hits = simulated()
    px, mm2 = fit_pod(areas, hits), fit_pod(areas * 0.04, hits, unit="mm²")
    assert mm2.slope == pytest.approx(px.slope)
    assert (mm2.a50, mm2.a90, mm2.a90_95) == pytest.approx(
        (px.a50 * 0.04, px.a90 * 0.04, px.a90_95 * 0.04)
    )


def outcome(n_hits, n_misses, *, larger_hit=True):
    """Hits and misses that overlap in size."""
    hits = np.array([True] * n_hits + [False] * n_misses)
    order = np.linspace(10, 1000, n_hits) if n_hits else np.zeros(0)
    others = np.linspace(5, 500, n_misses) if n_misses else np.zeros(0)
    if not larger_hit:
        order, others = order / 4, others * 4
    return np.concatenate([order, others]), hits


@pytest.mark.parametrize(
    ("areas", "hits", "status", "words"),
    [
        ([], [], "no_defects", "no defect is drawn"),
        (*outcome(9, 30), "too_few_hits", "9 of 39 defects are found, and 10 hits are needed"),
        (*outcome(30, 9), "too_few_misses", "10 misses are needed, found 9"),
        (*outcome(0, 12), "too_few_hits", "0 of 12"),
        (*outcome(12, 12, larger_hit=False), "no_growth", "not found more often"),
        (np.r_[100 + np.arange(10), 1 + np.arange(10)], [1] * 10 + [0] * 10, "separation", "step"),
        (np.r_[10 + np.arange(10), 1 + np.arange(10)], [1] * 10 + [0] * 10, "separation", "step"),
        (np.r_[1 + np.arange(10), 50 + np.arange(10)], [1] * 10 + [0] * 10, "no_growth", "smaller"),
        (np.full(24, 7.0), [1] * 12 + [0] * 12, "separation", "step"),
    ],
)
def test_what_cannot_be_estimated_says_why(areas, hits, status, words):
    """Few hits or misses, a step, or larger defects found less often carry no curve."""
    fit = fit_pod(areas, np.array(hits, bool))
    assert fit.status == status
    assert fit.reason.startswith("cannot be estimated: ")
    assert words in fit.reason
    assert np.isnan([fit.intercept, fit.slope, fit.a50, fit.a90, fit.a90_95]).all()


def test_weak_growth_has_no_bound():
    """Where size has no proven influence, no size is proven to be found."""
    rng = np.random.default_rng(5)
    areas = np.exp(rng.uniform(2, 8, 40))
    hits = rng.random(40) < 0.5 + 0.02 * (np.log(areas) - 5)
    fit = fit_pod(areas, hits)
    assert fit.status == "estimated"
    assert fit.a90_95 == np.inf
    assert "no size is proven" in fit.reason


@pytest.mark.parametrize("areas", [[0.0, 1.0], [np.nan, 1.0], [-2.0, 1.0]])
def test_areas_are_above_zero(areas):
    """Nobody finds a defect of no size."""
    with pytest.raises(ValueError, match="1 of 2 are not"):
        fit_pod(areas, [True, False])


@given(st.lists(st.floats(1, 1e6), min_size=0, max_size=60))
@example([249999.99999999988])
@settings(max_examples=80)
def test_bins_hold_every_size_and_none_is_empty(sizes):
    """Nothing is dropped, whatever rounding does to the edges."""
    sizes = np.array(sizes)
    edges = size_edges(sizes)
    if not len(sizes):
        assert len(edges) == 0
        return
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= sizes.min()
    assert sizes.max() <= edges[-1]
    counts = np.bincount(bin_of(sizes, edges), minlength=len(edges) - 1)
    assert counts.sum() == len(sizes)
    assert (counts > 0).all()


def test_recall_of_each_bin_is_counted():
    """A case worked out by hand, with scipy's own exact interval."""
    bins = recall_by_size([1, 2, 3, 10, 20], [0, 0, 1, 1, 1], np.array([1.0, 5.0, 20.0]))
    assert [(b.n_defects, b.n_hits) for b in bins] == [(3, 1), (2, 2)]
    exact = stats.binomtest(1, 3).proportion_ci(0.95, method="exact")
    assert (bins[0].recall_low, bins[0].recall_high) == pytest.approx((exact.low, exact.high))
    empty = recall_by_size([1.0], [True], np.array([1.0, 2.0, 3.0]))[1]
    assert empty.n_defects == 0
    assert np.isnan(empty.recall)
    assert (empty.recall_low, empty.recall_high) == (0.0, 1.0)
    assert recall_by_size([], [], size_edges([])) == []
