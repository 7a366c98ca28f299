"""How far a score may lie from the truth: exact binomial bounds and the stratified bootstrap.

scipy's bootstrap resamples one sample, or several with the statistic called once per resample; it
knows neither strata inside one table nor groups. Here every score is a function of column sums
(F2 of tp, fp, fn; mean IoU of a sum and a count), so a resample is a draw of how often each
distinct row appears, and 10,000 of them are a few matrix products.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from realitycheck.metrics.classification import Confusion, f_beta

# Counts drawn at once: 2 million float64 and int64 are 32 MB, whatever the number of images.
_CELLS_PER_CHUNK = 2_000_000
# Two sums of the same rows in another order differ by a few units in the last place.
_TIE_TOLERANCE = 1e-12


class Interval(NamedTuple):
    """An estimate with its confidence limits.

    Attributes:
        estimate: The value on the images at hand; NaN where it is undefined.
        low: Lower limit; NaN where the estimate is.
        high: Upper limit; NaN where the estimate is.
        kind: "bca", "percentile" (BCa is not defined), "point" (every resample gives the
            estimate: the images hold no variation, which is no proof of certainty), or
            "undefined".
    """

    estimate: float
    low: float
    high: float
    kind: str


@lru_cache(maxsize=16_384)
def clopper_pearson(
    n_hits: int, n_trials: int, *, confidence: float = 0.95, side: str = "two-sided"
) -> tuple[float, float]:
    """Bound a rate by the exact binomial interval.

    low = Beta^-1(a; k, n - k + 1), high = Beta^-1(1 - a; k + 1, n - k), where a is
    1 - confidence for a one-sided bound and half of it for the two-sided interval; low is 0 for
    k = 0 and high is 1 for k = n.

    Source: Clopper and Pearson (1934), Biometrika 26, 404-413. It holds at least the stated
    confidence for every true rate, and takes the trials as independent.

    Args:
        n_hits: Number of hits k, 0 to `n_trials`.
        n_trials: Number of trials n. With no trial at all nothing is known: 0 to 1.
        confidence: Probability that the bounds hold the true rate, inside (0, 1).
        side: "two-sided", "upper" (low is 0) or "lower" (high is 1).

    Returns:
        The lower and the upper bound.

    Raises:
        ValueError: If a value is out of its range or a count is not whole.
    """
    if n_hits != int(n_hits) or n_trials != int(n_trials) or not 0 <= n_hits <= n_trials:
        raise ValueError(
            "a binomial bound needs whole numbers with 0 <= hits <= trials, but got "
            f"{n_hits} and {n_trials}"
        )
    if side not in ("two-sided", "upper", "lower"):
        raise ValueError(f"side must be two-sided, upper or lower, but is {side!r}")
    tail = 1 - _check_confidence(confidence)
    if side == "two-sided":
        tail /= 2
    low, high = 0.0, 1.0
    if side != "upper" and n_hits > 0:
        low = float(special.betaincinv(n_hits, n_trials - n_hits + 1, tail))
    if side != "lower" and n_hits < n_trials:
        high = float(special.betainccinv(n_hits + 1, n_trials - n_hits, tail))
    return low, high


def parts_without_miss(limit: float, confidence: float = 0.95) -> int:
    """Tell how many parts without a miss prove that the rate of misses is at most `limit`.

    n = smallest n with (1 - limit)^n <= 1 - confidence. With 95 %: 59 parts for 5 %, 149 for
    2 %, 299 for 1 %, 598 for 0.5 %.

    Source: the upper Clopper-Pearson bound for no hit, 1 - (1 - confidence)^(1/n), solved for n;
    known as the success run theorem of reliability demonstration.

    Args:
        limit: Highest rate that is still accepted, inside (0, 1).
        confidence: One-sided confidence, inside (0, 1).

    Returns:
        The number of parts.

    Raises:
        ValueError: If an argument is out of its range.
    """
    if not 0 < limit < 1:
        raise ValueError(f"limit must lie inside (0, 1), but is {limit}")
    n_parts = math.log1p(-_check_confidence(confidence)) / math.log1p(-limit)
    return math.ceil(n_parts * (1 - 1e-12))


def stratified_bootstrap(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    strata: Sequence[Hashable],
    rng: np.random.Generator,
    groups: Sequence[str | None] | None = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """Bound a function of column sums by a bootstrap that keeps the size of each stratum.

    Rows are resampled with replacement inside their stratum, so a resample has as many good and
    defective parts of each category as the data. If rows have a group (several views of one part,
    one lot), whole groups are resampled instead; a group that reaches over several strata
    belongs to a stratum of its own, made of exactly the groups that reach over the same ones.

    Of the n rows of a stratum, n - 1 are drawn and weigh n / (n - 1) each: their sum then varies
    as much as that of n new rows, where n draws would lose the share 1 / n of the variance. A
    stratum of one row cannot vary and joins others of its family (equal but for the last entry of
    the stratum, if that is a tuple): all such strata become one, and a lone one joins the smallest
    other. That can only widen the limits.

    The limits are BCa: the percentiles Phi(z0 + (z0 + z) / (1 - a (z0 + z))) of the resampled
    values, with z0 = Phi^-1(share of resamples below the estimate, ties counted half) and the
    acceleration a = sum U^3 / n_h^3 / (6 (sum U^2 / n_h^2)^1.5), where U = (n_h - 1) (mean of
    stratum h - value) of the statistic with one row or group left out. Where z0 or a is not finite,
    or a percentile leaves (0, 1), the plain percentile interval is given.

    Source: Efron (1987), JASA 82, 171-185, section 6 and, for several samples, Davison and
    Hinkley (1997), section 3.2.1 and equation 5.26; Rao and Wu (1988), JASA 83, 231-241, section
    2.3, for the weights of small strata. A family of one row alone (a single defective part)
    cannot vary: what it adds to the uncertainty is not in the limits.

    Args:
        values: Rows to be summed, float, shape (N, C); the sums over N are what `statistic`
            takes.
        statistic: Function of sums, (..., C) to (...), without side effects.
        strata: Stratum of each row, length N, a name or a tuple such as (label, category).
        rng: Source of chance. The result does not depend on the order of the rows.
        groups: Group of each row, or None for a row of its own, length N.
        n_resamples: Number of resamples, at least 1.
        confidence: Probability between the limits, inside (0, 1).

    Returns:
        The estimate, its limits and their kind; all NaN and "undefined" if the estimate or a
        resample has no value, as with N = 0.

    Raises:
        ValueError: If lengths differ, a value is not finite, or an argument is out of range.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or len(strata) != len(values):
        raise ValueError(
            "values must be (N, C) with N strata, but have the shape "
            f"{values.shape} with {len(strata)} strata"
        )
    if groups is not None and len(groups) != len(values):
        raise ValueError(f"groups must have one entry a row, but got {len(groups)} groups")
    if not np.isfinite(values).all():
        n_bad = int((~np.isfinite(values)).any(axis=1).sum())
        raise ValueError(
            f"each value must be finite, but {n_bad} of {len(values)} rows have one that is not; "
            "leave unscored images out and say how many"
        )
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, but is {n_resamples}")
    tail = (1 - _check_confidence(confidence)) / 2
    undefined = Interval(float("nan"), float("nan"), float("nan"), "undefined")
    if len(values) == 0:
        return undefined

    samples = _distinct_units(values, strata, groups)
    # Summed in the order of the samples, as the resamples are.
    total = sum(counts @ rows for rows, counts in samples)
    estimate = float(statistic(total))
    resampled = statistic(_resample_sums(samples, n_resamples, rng))
    if not math.isfinite(estimate) or not np.isfinite(resampled).all():
        return undefined
    tolerance = _TIE_TOLERANCE * max(1.0, abs(estimate))
    is_tie = np.abs(resampled - estimate) <= tolerance
    if is_tie.all():
        return Interval(estimate, estimate, estimate, "point")
    tails = np.array([tail, 1 - tail])
    is_below = (resampled < estimate) & ~is_tie
    bias = special.ndtri(is_below.mean() + is_tie.mean() / 2)
    acceleration = _acceleration(samples, total, statistic)
    corrected = _bca_levels(tails, bias, acceleration)
    kind, levels = ("percentile", tails) if corrected is None else ("bca", corrected)
    low, high = np.quantile(resampled, levels)
    return Interval(estimate, float(low), float(high), kind)


def f2_interval(
    labels: Sequence[str], predicted: Sequence[str], *, categories: Sequence[str], **bootstrap: Any
) -> Interval:
    """Bound F2 by a bootstrap over parts, stratified by label and category.

    Args:
        labels: True labels, "OK" or "NOK", length N.
        predicted: Verdicts, "OK" or "NOK", length N; fill in missing ones first, once as wrong
            and once as right.
        categories: Category of each part, length N.
        bootstrap: `rng`, `groups`, `n_resamples`, `confidence`, as for `stratified_bootstrap`.

    Returns:
        F2 with its limits; undefined without a defective part.
    """
    is_nok = np.asarray(labels, dtype=object) == "NOK"
    is_rejected = np.asarray(predicted, dtype=object) == "NOK"
    return stratified_bootstrap(
        np.stack([is_nok & is_rejected, ~is_nok & is_rejected, is_nok & ~is_rejected], axis=1),
        lambda sums: f_beta(Confusion(sums[..., 0], sums[..., 1], sums[..., 2], 0.0), 2.0),
        strata=list(zip(labels, categories, strict=True)),
        **bootstrap,
    )


def mean_iou_interval(
    ious: Sequence[float], categories: Sequence[str], **bootstrap: Any
) -> Interval:
    """Bound the mean IoU of defective images by a bootstrap stratified by category.

    With groups of unequal size the number of images varies between resamples, and the mean is a
    ratio of two sums.

    Args:
        ious: IoU of each image, length N.
        categories: Category of each image, length N.
        bootstrap: As for `f2_interval`.

    Returns:
        The mean with its limits; undefined if N is 0.
    """
    return pooled_iou_interval(ious, np.ones(len(ious)), categories=categories, **bootstrap)


def pooled_iou_interval(
    intersection_px: Sequence[float],
    union_px: Sequence[float],
    *,
    categories: Sequence[str],
    **bootstrap: Any,
) -> Interval:
    """Bound the pooled IoU by a bootstrap over images stratified by category.

    Args:
        intersection_px: Intersection of each image, length N.
        union_px: Union of each image, length N.
        categories: Category of each image, length N.
        bootstrap: As for `f2_interval`.

    Returns:
        The pooled IoU with its limits; undefined if N is 0 or a resample has no union.
    """
    return stratified_bootstrap(
        np.stack([np.asarray(intersection_px, float), np.asarray(union_px, float)], axis=1),
        _quotient,
        strata=list(categories),
        **bootstrap,
    )


def _quotient(sums: np.ndarray) -> np.ndarray:
    """Divide the first column by the second, NaN for 0 / 0."""
    top, bottom = sums[..., 0], sums[..., 1]
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom != 0)


def _check_confidence(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie inside (0, 1), but is {confidence}")
    return confidence


def _distinct_units(
    values: np.ndarray, strata: Sequence[Hashable], groups: Sequence[str | None] | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Sum the rows of each group, and count the distinct sums of each stratum.

    Returns:
        For each stratum the distinct rows, shape (K, C), and how often each occurs, shape (K,).
        The order is that of the strata's names, so the order of the rows does not matter.
    """
    names = np.array([repr(stratum) for stratum in strata])
    _, first, codes = np.unique(names, return_index=True, return_inverse=True)
    families = [repr(_family_of(strata[index])) for index in first]
    if groups is not None:
        values, codes, keys = _sum_groups(values, codes, groups)
        families = [repr([families[code] for code in key]) for key in keys]
    codes = _join_single_rows(codes, families)
    samples = []
    for code in np.unique(codes):
        rows, counts = np.unique(values[codes == code], axis=0, return_counts=True)
        samples.append((rows, counts))
    return samples


def _family_of(stratum: Hashable) -> tuple:
    """Name what strata have in common that may be merged."""
    return stratum[:-1] if isinstance(stratum, tuple) else ()


def _join_single_rows(codes: np.ndarray, families: Sequence[str]) -> np.ndarray:
    """Merge strata of one row within their family; gives the stratum of each row, shape (N,)."""
    n_rows = np.bincount(codes, minlength=len(families))
    joined = np.arange(len(families))
    for family in sorted(set(families)):
        members = [code for code, own in enumerate(families) if own == family]
        single = [code for code in members if n_rows[code] == 1]
        if len(single) == 1 and len(members) > 1:
            others = [code for code in members if code != single[0]]
            single.append(min(others, key=lambda code: (n_rows[code], code)))
        joined[single] = min(single, default=0)
    return joined[codes]


def _sum_groups(
    values: np.ndarray, codes: np.ndarray, groups: Sequence[str | None]
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, ...]]]:
    """Add up the rows of each group; rows without a group stay alone.

    Returns:
        The sums, (U, C), the stratum of each, (U,), and for each stratum the codes it reaches over.
    """
    group_codes, _ = pd.factorize(pd.Series(list(groups), dtype=object))
    is_alone = group_codes < 0
    unit = group_codes.copy()
    unit[is_alone] = group_codes.max(initial=-1) + 1 + np.arange(is_alone.sum())
    n_units = int(unit.max()) + 1
    sums = np.zeros((n_units, values.shape[1]))
    # Sorted first: a sum must not depend on the order of the rows.
    order = np.lexsort((*values.T, codes, unit))
    np.add.at(sums, unit[order], values[order])
    reached: list[set[int]] = [set() for _ in range(n_units)]
    for index, code in zip(unit, codes, strict=True):
        reached[index].add(int(code))
    keys = [tuple(sorted(found)) for found in reached]
    strata = sorted(set(keys))
    code_of = {key: number for number, key in enumerate(strata)}
    return sums, np.array([code_of[key] for key in keys]), strata


def _resample_sums(
    samples: list[tuple[np.ndarray, np.ndarray]], n_resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw the column sums of resamples, shape (n_resamples, C), stratum by stratum.

    Drawing rows with replacement makes the counts of distinct rows multinomial.
    """
    sums = np.zeros((n_resamples, samples[0][0].shape[1]))
    for rows, counts in samples:
        n_rows = int(counts.sum())
        n_drawn = max(1, n_rows - 1)
        chunk = max(1, _CELLS_PER_CHUNK // len(rows))
        for start in range(0, n_resamples, chunk):
            size = min(chunk, n_resamples - start)
            drawn = rng.multinomial(n_drawn, counts / n_rows, size=size)
            sums[start : start + size] += (drawn @ rows) * (n_rows / n_drawn)
    return sums


def _acceleration(
    samples: list[tuple[np.ndarray, np.ndarray]],
    total: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
) -> float:
    """Estimate BCa's acceleration by the jackknife of each stratum."""
    cubes = squares = 0.0
    for rows, counts in samples:
        n_rows = int(counts.sum())
        if n_rows == 1:
            continue  # one row cannot vary; without it the statistic may not even be defined
        left_out = statistic(total - rows)
        influence = (n_rows - 1) * (counts @ left_out / n_rows - left_out)
        cubes += counts @ influence**3 / n_rows**3
        squares += counts @ influence**2 / n_rows**2
    return float(cubes / (6 * squares**1.5)) if squares > 0 else float("nan")


def _bca_levels(tails: np.ndarray, bias: float, acceleration: float) -> np.ndarray | None:
    """Correct the two tail levels, or return None where the correction is not defined."""
    if not (math.isfinite(bias) and math.isfinite(acceleration)):
        return None
    shifted = bias + special.ndtri(tails)
    stretch = 1 - acceleration * shifted
    if (stretch <= 0).any():
        return None
    levels = special.ndtr(bias + shifted / stretch)
    return levels if ((levels > 0) & (levels < 1)).all() else None
