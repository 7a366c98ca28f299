"""Probability of detection against defect size, from hits and misses (MIL-HDBK-1823A).

POD(a) = 1 / (1 + exp(-(b0 + b1 ln a))), a the area of a defect. Bounds come from the likelihood
ratio and not from the curvature at its maximum: with few hits or few misses the likelihood is far
from a parabola, and Wald's bounds are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from realitycheck.metrics.intervals import clopper_pearson

#: Fewer hits, or fewer misses, carry no curve.
MIN_OUTCOMES = 10
_LOGIT_90 = math.log(9.0)
# Natural logarithm of the largest factor between a90 and its bound that is looked at.
_FARTHEST = 60.0


@dataclass(frozen=True)
class PodFit:
    """A fitted curve, or the reason why there is none.

    Attributes:
        status: `estimated`, `no_defects`, `too_few_hits`, `too_few_misses`, `separation` or
            `no_growth`.
        reason: The status in words, with its numbers.
        n_hits: Defects that are found.
        n_misses: Defects that are not.
        intercept: b0; NaN without a curve.
        slope: b1, a factor e in area being 1; NaN without a curve.
        a50: Area that is found with probability 0.5.
        a90: Area that is found with probability 0.9.
        a90_95: Upper one-sided bound of a90; infinite where the data set none.
    """

    status: str
    reason: str
    n_hits: int
    n_misses: int
    intercept: float = math.nan
    slope: float = math.nan
    a50: float = math.nan
    a90: float = math.nan
    a90_95: float = math.nan


class SizeBin(NamedTuple):
    """Raw recall in a range of sizes; see `recall_by_size`."""

    low: float
    high: float
    n_defects: int
    n_hits: int
    recall: float
    recall_low: float
    recall_high: float


def fit_pod(
    areas: Sequence[float], hits: Sequence[bool], *, confidence: float = 0.95, unit: str = "px"
) -> PodFit:
    """Fit the probability of detection, and bound the area found with probability 0.9.

    The fit is by maximum likelihood. a90/95 is the upper end of the areas x for which
    2 (l_max - max over b1 of l(b1 | POD(x) = 0.9)) <= the chi-square quantile of one degree of
    freedom at 2 confidence - 1, which makes it a one-sided bound. It is the size at which the lower
    bound of the curve, made in the same way point by point, reaches 0.9.

    Source: MIL-HDBK-1823A (2009), appendix G, hit/miss analysis with bounds by the likelihood
    ratio; the logit link and ln(area) as there. Defects are taken as independent.

    Args:
        areas: Areas, above 0, shape (N,).
        hits: Whether each defect is found, shape (N,).
        confidence: One-sided, above 0.5 and below 1.
        unit: Of the areas, for the reason.

    Returns:
        The fit. There is no curve with fewer than `MIN_OUTCOMES` hits or misses, where a size
        parts hits from misses (the likelihood then has no maximum), and where larger defects are
        not found more often.

    Raises:
        ValueError: If the lengths differ, an area is not above 0 or not finite.
    """
    areas, hits = _checked(areas, hits)
    n_hits, n_misses = int(hits.sum()), int((~hits).sum())
    counted = f"{n_hits} of {len(areas)} defects are found"

    def none(status: str, why: str) -> PodFit:
        return PodFit(status, f"cannot be estimated: {why}", n_hits, n_misses)

    if not len(areas):
        return none("no_defects", "no defect is drawn in the truth")
    if n_hits < MIN_OUTCOMES:
        return none("too_few_hits", f"{counted}, and {MIN_OUTCOMES} hits are needed")
    if n_misses < MIN_OUTCOMES:
        return none(
            "too_few_misses", f"{counted}, and {MIN_OUTCOMES} misses are needed, found {n_misses}"
        )
    logs = np.log(areas)
    if logs[hits].min() >= logs[~hits].max():
        return none(
            "separation",
            f"{counted}: every one above {_said(areas[~hits].max())} {unit} and none below, so "
            "the curve is a step",
        )
    if logs[hits].max() <= logs[~hits].min():
        return none("no_growth", f"{counted}: the smaller ones, and none of the larger")
    centre, spread = logs.mean(), max(logs.std(), 1e-12)
    if spread <= 1e-9:
        return none("no_growth", f"{counted}, and all have the same area")
    level, slope = _maximum((logs - centre) / spread, hits)
    if slope <= 0:
        return none(
            "no_growth", f"{counted}, and larger ones are not found more often than small ones"
        )
    slope /= spread
    intercept = level - slope * centre
    log_a90 = (_LOGIT_90 - intercept) / slope
    bound = _upper_log_a90(logs, hits, intercept, slope, log_a90, confidence)
    reason = f"{counted}; one of {_said(_exp(log_a90))} {unit} with probability 0.9"
    reason += (
        f", at {confidence * 100:g} % confidence one of {_said(_exp(bound))} {unit}"
        if math.isfinite(bound)
        else f"; no size is proven to be found that often at {confidence * 100:g} % confidence"
    )
    return PodFit(
        "estimated",
        reason,
        n_hits,
        n_misses,
        intercept=float(intercept),
        slope=float(slope),
        a50=_exp(-intercept / slope),
        a90=_exp(log_a90),
        a90_95=_exp(bound),
    )


def pod_band(
    areas: Sequence[float],
    hits: Sequence[bool],
    fit: PodFit,
    sizes: Sequence[float],
    *,
    confidence: float = 0.95,
) -> np.ndarray:
    """Give the curve with its bounds, each one-sided at `confidence`.

    At each size the bounds are the lowest and the highest probability p for which
    2 (l_max - max over b1 of l(b1 | POD(size) = p)) is within the chi-square quantile of
    `fit_pod`.

    Args:
        areas: As for `fit_pod`.
        hits: As for `fit_pod`.
        fit: Estimated from them.
        sizes: Where the curve is wanted, above 0, shape (S,).
        confidence: As for `fit_pod`.

    Returns:
        Probability, lower and upper bound, float, shape (S, 3), each within 0 and 1.
    """
    areas, hits = _checked(areas, hits)
    logs, wanted = np.log(areas), np.log(np.asarray(sizes, np.float64))
    best = _likelihood(fit.intercept + fit.slope * logs, hits)
    allowed = _allowed(confidence)
    rows = []
    for at in wanted:
        level = fit.intercept + fit.slope * at
        shifted = logs - at

        def excess(value: float, shifted: np.ndarray = shifted) -> float:
            return 2 * (best - _profile(shifted, hits, value, fit.slope)) - allowed

        low, high = _crossing(excess, level, -1.0), _crossing(excess, level, 1.0)
        rows.append([level, low, high])
    return special.expit(np.array(rows).reshape(-1, 3))


def size_edges(sizes: Sequence[float], *, n_bins: int = 5) -> np.ndarray:
    """Cut sizes into bins of about the same number of members.

    Edges are quantiles, rounded to two significant digits for people, downwards at the lower end
    and upwards at the upper one; bins that rounding makes empty fall away.

    Args:
        sizes: Above 0, shape (N,).
        n_bins: Most bins; fewer where there are fewer than five sizes for each.

    Returns:
        Edges, rising, shape (B + 1,); empty without a size.
    """
    sizes = np.asarray(sizes, np.float64)
    if not len(sizes):
        return np.zeros(0)
    n_used = max(1, min(n_bins, len(sizes) // 5))
    inner = np.quantile(sizes, np.arange(1, n_used) / n_used)
    low, high = _rounded(sizes.min(), math.floor), _rounded(sizes.max(), math.ceil)
    edges = [low, *(_rounded(value, round) for value in inner), high]
    kept = [edges[0]]
    for edge in edges[1:]:
        if edge > kept[-1] and ((sizes >= kept[-1]) & (sizes < edge)).any():
            kept.append(edge)
    if kept[-1] < high or len(kept) == 1:
        kept = [*kept[: max(1, len(kept) - 1)], max(high, _rounded(low * 1.1, math.ceil))]
    return np.array(kept)


def bin_of(sizes: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Number of the bin of each size, int, the upper end belonging to the last bin."""
    return np.clip(np.searchsorted(edges, sizes, side="right") - 1, 0, len(edges) - 2)


def recall_by_size(
    areas: Sequence[float], hits: Sequence[bool], edges: np.ndarray, *, confidence: float = 0.95
) -> list[SizeBin]:
    """Count hits by size, with two-sided Clopper-Pearson intervals.

    Args:
        areas: Above 0, shape (N,).
        hits: Shape (N,).
        edges: From `size_edges`.
        confidence: Of each interval.

    Returns:
        One entry a bin, empty bins with a recall of NaN and an interval from 0 to 1.
    """
    areas, hits = _checked(areas, hits)
    if not len(edges):
        return []
    bins = bin_of(areas, edges)
    found = []
    for number, (low, high) in enumerate(zip(edges, edges[1:], strict=False)):
        inside = bins == number
        n, k = int(inside.sum()), int(hits[inside].sum())
        bounds = clopper_pearson(k, n, confidence=confidence)
        found.append(SizeBin(float(low), float(high), n, k, k / n if n else math.nan, *bounds))
    return found


# ----------------------------------------------------------------------------------- likelihood


def _likelihood(levels: np.ndarray, hits: np.ndarray) -> float:
    """Log-likelihood of hits whose probabilities have these logits."""
    return float(special.log_expit(np.where(hits, levels, -levels)).sum())


def _maximum(x: np.ndarray, hits: np.ndarray) -> tuple[float, float]:
    """Level and slope of the largest likelihood, x being of mean 0 and spread 1."""
    from scipy import optimize

    design = np.column_stack([np.ones(len(x)), x])

    def shortfall(found: np.ndarray) -> float:
        return -_likelihood(design @ found, hits)

    def gradient(found: np.ndarray) -> np.ndarray:
        return design.T @ (special.expit(design @ found) - hits)

    def curvature(found: np.ndarray) -> np.ndarray:
        p = special.expit(design @ found)
        return (design.T * (p * (1 - p))) @ design

    best = optimize.minimize(
        shortfall,
        np.zeros(2),
        jac=gradient,
        hess=curvature,
        method="trust-exact",
        options={"gtol": 1e-10 * len(x)},
    )
    return float(best.x[0]), float(best.x[1])


def _profile(shifted: np.ndarray, hits: np.ndarray, level: float, start: float) -> float:
    """Largest likelihood over the slope, the logit being `level` where `shifted` is 0.

    It is concave in the slope; Newton's steps are halved while they do not climb.
    """
    slope = start
    value = _likelihood(level + slope * shifted, hits)
    for _ in range(100):
        p = special.expit(level + slope * shifted)
        gradient = float((shifted * (hits - p)).sum())
        curvature = float((shifted * shifted * p * (1 - p)).sum())
        if abs(gradient) < 1e-10 or curvature < 1e-300:
            break
        step = max(-1e3, min(1e3, gradient / curvature))
        for _ in range(60):
            tried = _likelihood(level + (slope + step) * shifted, hits)
            if tried >= value:
                break
            step /= 2
        if tried - value < 1e-12:
            value = max(value, tried)
            break
        slope, value = slope + step, tried
    return value


def _upper_log_a90(
    logs: np.ndarray,
    hits: np.ndarray,
    intercept: float,
    slope: float,
    log_a90: float,
    confidence: float,
) -> float:
    from scipy import optimize

    best = _likelihood(intercept + slope * logs, hits)
    allowed = _allowed(confidence)

    def excess(at: float) -> float:
        return 2 * (best - _profile(logs - at, hits, _LOGIT_90, slope)) - allowed

    # A curve without growth is the limit of x to infinity: if that is allowed, so is every x.
    rate = hits.mean()
    flat = _likelihood(np.full(len(hits), special.logit(min(rate, 0.9))), hits)
    if 2 * (best - flat) <= allowed:
        return math.inf
    step = 0.25
    while excess(log_a90 + step) <= 0:
        step *= 2
        if step > _FARTHEST:
            return math.inf
    return float(
        optimize.brentq(
            excess, log_a90 + step / 2 if step > 0.25 else log_a90, log_a90 + step, xtol=1e-10
        )
    )


def _crossing(excess: Callable[[float], float], level: float, direction: float) -> float:
    """Logit away from the maximum at which the likelihood has fallen as far as allowed."""
    from scipy import optimize

    step = 0.25
    while excess(level + direction * step) <= 0:
        step *= 2
        if step > _FARTHEST:
            return level + direction * step
    near = level + direction * (step / 2 if step > 0.25 else 0.0)
    return float(optimize.brentq(excess, near, level + direction * step, xtol=1e-9))


def _allowed(confidence: float) -> float:
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence must lie inside (0.5, 1), but is {confidence}")
    return float(special.chdtri(1, 2 - 2 * confidence))


def _checked(areas: Sequence[float], hits: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    areas, hits = np.asarray(areas, np.float64), np.asarray(hits, bool)
    if areas.ndim != 1 or areas.shape != hits.shape:
        raise ValueError(
            f"areas and hits must be two lists of one length, but have the shapes {areas.shape} "
            f"and {hits.shape}"
        )
    is_bad = ~(np.isfinite(areas) & (areas > 0))
    if is_bad.any():
        first = int(np.flatnonzero(is_bad)[0])
        raise ValueError(
            f"each area must be above 0, but {int(is_bad.sum())} of {len(areas)} are not (first: "
            f"position {first}, area {areas[first]})"
        )
    return areas, hits


def _rounded(value: float, how: Callable[[float], float]) -> float:
    """Round to two significant digits; down and up never end on the other side of the value."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    # 0.29 / 0.01 is a little less than 29, and must not become 28.
    units = how(value / unit * (1 + 1e-12) if how is math.floor else value / unit)
    found = float(f"{units * unit:.6g}")
    if (how is math.floor and found > value) or (how is math.ceil and found < value):
        units += -1 if how is math.floor else 1
        found = float(f"{units * unit:.6g}")
    return found


def _said(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
