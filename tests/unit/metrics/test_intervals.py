"""Binomial bounds and the bootstrap: published rules, scipy, statsmodels, simulated coverage."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from realitycheck.metrics.classification import confusion, f_beta
from realitycheck.metrics.intervals import (
    clopper_pearson,
    f2_interval,
    mean_iou_interval,
    parts_without_miss,
    pooled_iou_interval,
    stratified_bootstrap,
)


def _mean(sums):
    return sums[..., 0] / sums[..., 1]


@pytest.mark.parametrize(("limit", "n_parts"), [(0.05, 59), (0.02, 149), (0.01, 299), (0.005, 598)])
def test_parts_without_a_miss_prove_the_published_limits(limit, n_parts):
    """And one part fewer does not: the bound itself says so."""
    assert parts_without_miss(limit) == n_parts
    assert clopper_pearson(0, n_parts, side="upper")[1] <= limit
    assert clopper_pearson(0, n_parts - 1, side="upper")[1] > limit


def test_no_miss_among_32_proves_no_less_than_8_9_percent():
    """The study's set has 32 defective parts: 1 - 0.05^(1/32)."""
    low, high = clopper_pearson(0, 32, side="upper")
    assert low == 0
    assert high == pytest.approx(1 - 0.05 ** (1 / 32), abs=1e-12)
    assert round(100 * high, 1) == 8.9


def test_exact_limit_needs_no_part_more():
    """0.5^3 is exactly 1 - 0.875: rounding must not ask for a fourth part."""
    assert parts_without_miss(0.5, 0.875) == 3


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 32), (3, 32), (20, 231), (231, 231)])
def test_clopper_pearson_agrees_with_statsmodels_and_scipy(k, n):
    """Two independent implementations, two-sided and one-sided."""
    assert clopper_pearson(k, n) == pytest.approx(
        proportion_confint(k, n, method="beta"), abs=1e-12
    )
    for side, alternative in (("upper", "less"), ("lower", "greater")):
        theirs = stats.binomtest(k, n, alternative=alternative).proportion_ci(0.95, "exact")
        # binomtest finds its bounds by a root search with this tolerance
        assert clopper_pearson(k, n, side=side) == pytest.approx(tuple(theirs), abs=1e-10)


def test_no_trial_leaves_everything_possible():
    """Without a part nothing is known about the rate."""
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, 2), {}, "0 <= hits <= trials, but got 3 and 2"),
        ((0.5, 2), {}, "got 0.5 and 2"),
        ((1, 2), {"side": "left"}, "two-sided, upper or lower, but is 'left'"),
        ((1, 2), {"confidence": 95}, r"inside \(0, 1\), but is 95"),
    ],
)
def test_clopper_pearson_refuses_what_is_no_count(arguments, options, message):
    """Percent for a share is the usual mistake."""
    with pytest.raises(ValueError, match=message):
        clopper_pearson(*arguments, **options)


def test_parts_without_miss_refuses_a_limit_of_zero():
    """No number of parts proves that nothing is ever missed."""
    with pytest.raises(ValueError, match="limit must lie inside"):
        parts_without_miss(0)


def _resampled(values, strata, rng_seed, n_resamples):
    """Collect the resampled statistics that the interval is made of."""
    seen = []

    def statistic(sums):
        seen.append(_mean(sums))
        return seen[-1]

    interval = stratified_bootstrap(
        np.stack([values, np.ones(len(values))], axis=1),
        statistic,
        strata=strata,
        rng=np.random.default_rng(rng_seed),
        n_resamples=n_resamples,
    )
    return interval, seen[1]


def test_bca_equals_scipy_on_the_same_resamples():
    """scipy takes strata as several samples, and accepts given resamples: the same limits."""
    rng = np.random.default_rng(3)
    first, second = rng.beta(0.6, 1.2, 41), rng.beta(2, 1, 17)
    ours, resampled = _resampled(np.concatenate([first, second]), ["a"] * 41 + ["b"] * 17, 11, 2000)

    def both(x, y, axis=-1):
        return (x.sum(axis=axis) + y.sum(axis=axis)) / (x.shape[axis] + y.shape[axis])

    previous = stats.bootstrap((first, second), both, n_resamples=2, method="percentile", rng=1)
    previous.bootstrap_distribution = resampled
    theirs = stats.bootstrap(
        (first, second), both, n_resamples=0, bootstrap_result=previous, method="BCa"
    ).confidence_interval
    assert ours.kind == "bca"
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_resamples_spread_like_a_stratified_sample():
    """The variance of a stratified mean under resampling is known in closed form."""
    rng = np.random.default_rng(5)
    parts = {"a": rng.normal(0, 1, 30), "b": rng.normal(5, 0.1, 70)}
    values = np.concatenate(list(parts.values()))
    _, resampled = _resampled(values, ["a"] * 30 + ["b"] * 70, 1, 20_000)
    variance = sum(len(part) * part.var(ddof=1) for part in parts.values()) / 100**2
    # the variance of a variance of 20,000 values: 2 % is four standard errors
    assert resampled.var() == pytest.approx(variance, rel=0.04)
    # unstratified, the distance of the strata would add to it manyfold
    assert values.var() / 100 > 5 * variance


@pytest.mark.parametrize("size", [1, 2, 3, 5, 20])
def test_small_strata_vary_as_much_as_new_parts_would(size):
    """Drawing n of n parts would lose a half of the variance in strata of two, all in those of one.

    The expected variance is that of the mean of new parts, averaged over the data it is seen on; in
    strata of one, that of plain resampling, since the strata's own levels cannot be told from it.
    """
    rng = np.random.default_rng(7)
    n_strata = 60 // size
    strata = np.repeat([f"s{k:02}" for k in range(n_strata)], size).tolist()
    levels = np.repeat(np.linspace(0, 1, n_strata), size)
    found = []
    for seed in range(40):
        values = levels + rng.normal(0, 1, len(levels))
        found.append(_resampled(values, strata, seed, 2000)[1].var())
    expected = (1 if size > 1 else 1 + levels.var(ddof=1)) / len(levels)
    # 40 variances of 60 / size * (size - 1) degrees of freedom: four standard errors, and more
    assert np.mean(found) == pytest.approx(expected, rel=0.2)


def test_categories_of_one_part_each_are_resampled_together():
    """Twelve products with one defective part each: the interval is that of twelve parts."""
    ious = np.linspace(0.05, 0.9, 12)
    options = {"n_resamples": 2000}
    apart, together = (
        mean_iou_interval(ious, names, rng=np.random.default_rng(0), **options)
        for names in ([f"p{k}" for k in range(12)], ["p"] * 12)
    )
    assert apart == together and apart.low < 0.4 and apart.high > 0.55


def test_a_single_part_joins_a_category_of_its_own_label():
    """Defective parts are never exchanged for good ones: F2 keeps its number of defective parts."""
    labels = ["NOK"] * 5 + ["OK"] * 6
    categories = ["a"] * 4 + ["b"] + ["a"] * 5 + ["b"]
    seen = []

    def n_defective(sums):
        seen.append(sums[..., 0])
        return seen[-1]

    is_nok = np.array(labels) == "NOK"
    stratified_bootstrap(
        np.stack([is_nok, ~is_nok], axis=1).astype(float),
        n_defective,
        strata=list(zip(labels, categories, strict=True)),
        rng=np.random.default_rng(0),
        n_resamples=50,
    )
    assert np.allclose(seen[1], 5)


def test_a_group_alone_in_its_stratum_joins_its_like():
    """Two groups with a good and a bad view, each of another category, are two units of one."""
    interval = f2_interval(
        ["NOK", "OK"] * 2,
        ["NOK", "OK", "OK", "OK"],
        categories=["a", "a", "b", "b"],
        groups=["one", "one", "two", "two"],
        rng=np.random.default_rng(0),
        n_resamples=200,
    )
    assert interval.kind != "point"


def test_result_does_not_depend_on_the_order_of_rows_or_the_names_of_strata():
    """Another file order or category name must not move a number in a table."""
    rng = np.random.default_rng(0)
    ious, categories = rng.random(50), rng.choice(["a", "b", "c"], 50)
    groups = [None if k % 3 else f"lot{k % 4}" for k in range(50)]
    order = rng.permutation(50)
    one = mean_iou_interval(
        ious, list(categories), groups=groups, rng=np.random.default_rng(9), n_resamples=500
    )
    two = mean_iou_interval(
        ious[order],
        [f"x{name}" for name in categories[order]],
        groups=[groups[k] for k in order],
        rng=np.random.default_rng(9),
        n_resamples=500,
    )
    assert one == two


def test_seed_decides_and_size_of_memory_chunks_does_not(monkeypatch):
    """A machine with less memory gets the same interval."""
    ious, categories = np.random.default_rng(0).random(40), ["a"] * 15 + ["b"] * 25
    one = mean_iou_interval(ious, categories, rng=np.random.default_rng(2), n_resamples=300)
    monkeypatch.setattr("realitycheck.metrics.intervals._CELLS_PER_CHUNK", 100)
    assert one == mean_iou_interval(ious, categories, rng=np.random.default_rng(2), n_resamples=300)
    assert one != mean_iou_interval(ious, categories, rng=np.random.default_rng(3), n_resamples=300)


def test_groups_are_resampled_whole():
    """Ten views of each of six parts hold the evidence of six parts, not of sixty."""
    rng = np.random.default_rng(1)
    part = np.repeat(rng.random(6), 10)
    names = np.repeat([f"part{k}" for k in range(6)], 10).tolist()
    options = {"n_resamples": 2000}
    alone = mean_iou_interval(part, ["a"] * 60, rng=np.random.default_rng(0), **options)
    grouped = mean_iou_interval(
        part, ["a"] * 60, groups=names, rng=np.random.default_rng(0), **options
    )
    six = mean_iou_interval(part[::10], ["a"] * 6, rng=np.random.default_rng(0), **options)
    assert grouped.kind == six.kind
    assert grouped[:3] == pytest.approx(six[:3], abs=1e-12)
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_group_over_two_strata_is_a_stratum_with_its_like():
    """A part with a good and a bad view is neither: all such parts vary together."""
    labels, predicted = ["NOK", "OK"] * 5, ["NOK", "OK", "OK", "OK"] * 2 + ["NOK", "NOK"]
    interval = f2_interval(
        labels,
        predicted,
        categories=["a"] * 10,
        groups=[f"part{k // 2}" for k in range(10)],
        rng=np.random.default_rng(0),
        n_resamples=500,
    )
    assert interval.estimate == f_beta(confusion(labels, predicted))
    assert interval.low < interval.estimate < interval.high


def test_f2_interval_estimates_f2_itself():
    """The middle of the interval is the number in the table."""
    labels = ["NOK"] * 32 + ["OK"] * 231
    predicted = ["NOK"] * 25 + ["OK"] * 7 + ["NOK"] * 20 + ["OK"] * 211
    interval = f2_interval(
        labels, predicted, categories=["sat"] * 263, rng=np.random.default_rng(0)
    )
    assert interval.estimate == f_beta(confusion(labels, predicted)) == 125 / 173
    assert interval.kind == "bca"
    assert interval.low < interval.estimate < interval.high


def test_pooled_iou_interval_weighs_by_pixels():
    """The estimate is the quotient of sums."""
    interval = pooled_iou_interval(
        [1, 90, 5], [2, 98, 50], categories=["a"] * 3, rng=np.random.default_rng(0)
    )
    assert interval.estimate == 96 / 150


def test_no_variation_gives_a_point():
    """Every IoU 0, as in the study's SAT row: there is nothing to resample, and it says so."""
    interval = mean_iou_interval([0.0] * 32, ["sat"] * 32, rng=np.random.default_rng(0))
    assert interval == (0.0, 0.0, 0.0, "point")


def test_rounding_is_no_variation():
    """0.1 summed in another order differs in the last place only."""
    interval = mean_iou_interval([0.1] * 7, list("abcabca"), rng=np.random.default_rng(0))
    assert interval.kind == "point"


def test_percentile_is_taken_where_bca_is_not_defined():
    """The estimate is a maximum, so all resamples lie below it: the bias is infinite."""
    values = np.random.default_rng(4).random((40, 1))
    interval = stratified_bootstrap(
        values,
        lambda sums: -((sums[..., 0] - values.sum()) ** 2),
        strata=["a"] * 40,
        rng=np.random.default_rng(0),
        n_resamples=400,
    )
    assert interval.kind == "percentile"
    assert interval.low < interval.high < interval.estimate


def test_undefined_scores_have_no_interval():
    """No image, or no defective part: missing, not 0 to 1."""
    empty = mean_iou_interval([], [], rng=np.random.default_rng(0))
    assert empty.kind == "undefined" and math.isnan(empty.low)
    good = f2_interval(["OK"] * 3, ["OK"] * 3, categories=["a"] * 3, rng=np.random.default_rng(0))
    assert good.kind == "undefined"


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.ones((3, 2)), {"strata": ["a"] * 2}, r"\(3, 2\) with 2 strata"),
        (np.ones((2, 2)), {"strata": ["a"] * 2, "groups": ["g"]}, "got 1 groups"),
        (np.array([[np.nan, 1.0]]), {"strata": ["a"]}, "1 of 1 rows"),
        (np.ones((1, 2)), {"strata": ["a"], "n_resamples": 0}, "at least 1, but is 0"),
        (np.ones((1, 2)), {"strata": ["a"], "confidence": 1.0}, "confidence must lie"),
    ],
)
def test_bootstrap_refuses_broken_input(values, options, message):
    """A missing score must be counted, not averaged away."""
    with pytest.raises(ValueError, match=message):
        stratified_bootstrap(values, _mean, rng=np.random.default_rng(0), **options)


def test_f2_interval_covers_the_truth_as_often_as_it_says():
    """Simulated: 76 and 253 parts as in the textures, recall 0.8, false alarms 0.1."""
    rng = np.random.default_rng(20)
    labels = ["NOK"] * 76 + ["OK"] * 253
    true_f2 = 5 * 0.8 * 76 / (5 * 0.8 * 76 + 4 * 0.2 * 76 + 0.1 * 253)
    n_covered, n_runs = 0, 1000
    for _ in range(n_runs):
        is_rejected = np.concatenate([rng.random(76) < 0.8, rng.random(253) < 0.1])
        interval = f2_interval(
            labels,
            np.where(is_rejected, "NOK", "OK"),
            categories=["a"] * 329,
            rng=rng,
            n_resamples=1000,
        )
        n_covered += interval.low <= true_f2 <= interval.high
    assert 0.93 <= n_covered / n_runs <= 0.97


def test_mean_iou_interval_covers_the_truth_as_often_as_it_says():
    """Simulated: 76 images of two categories, a third missed altogether (IoU 0)."""
    rng = np.random.default_rng(21)
    n_covered, n_runs = 0, 600
    categories = ["a"] * 40 + ["b"] * 36
    mean = 2 / 3 * (40 * 0.5 + 36 * 0.75) / 76
    for _ in range(n_runs):
        ious = np.concatenate([rng.beta(2, 2, 40), rng.beta(3, 1, 36)]) * (rng.random(76) < 2 / 3)
        interval = mean_iou_interval(ious, categories, rng=rng, n_resamples=600)
        n_covered += interval.low <= mean <= interval.high
    assert 0.93 <= n_covered / n_runs <= 0.97
