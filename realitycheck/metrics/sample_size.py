"""How many parts prove a rate: before anyone collects them, and from where one stands.

Everything here follows from the exact one-sided binomial bounds of
`realitycheck.metrics.intervals.clopper_pearson`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from realitycheck.metrics.intervals import clopper_pearson, parts_without_miss
from realitycheck.metrics.tries import confidence_of_each

#: Numbers of tries that a plan speaks of.
PLANNED_TRIES = (1, 5, 20, 100)
#: No more parts than this are ever proposed; beyond it the answer is that counting will not do.
MAX_PARTS = 1_000_000


class LockedShare(NamedTuple):
    """Which share of all parts to lock away for confirming, and what it is worth.

    Attributes:
        share: Of the defective and of the good parts; 0 where it is best to use all for all.
        n_nok: Defective parts locked away.
        n_ok: Good parts locked away.
        power: Chance that the fit one is chosen and both its rates are proven.
        power_together: The same where all parts are used for all.
    """

    share: float
    n_nok: int
    n_ok: int
    power: float
    power_together: float


class Proof(NamedTuple):
    """What a number of parts can prove.

    Attributes:
        n_parts: Parts of one label.
        limit: Rate to be proven.
        provable_rate: Upper bound if none of them is judged wrongly.
        n_errors_allowed: Most errors with which the upper bound still meets the limit; -1 where
            even none is too many.
        n_more: Further parts, all judged rightly, that would prove the limit.
    """

    n_parts: int
    limit: float
    provable_rate: float
    n_errors_allowed: int
    n_more: int


def parts_needed(limit: float, *, n_errors: int = 0, confidence: float = 0.95) -> int:
    """Tell how many parts prove a rate of errors with some errors among them.

    The smallest n whose one-sided upper Clopper-Pearson bound for `n_errors` of n is at most
    `limit`: Beta^-1(confidence; k + 1, n - k) <= limit. Without an error these are the published
    59, 149, 299 and 598 parts for 5, 2, 1 and 0.5 % at 95 %.

    Source: Clopper and Pearson (1934), solved for n.

    Args:
        limit: Highest rate that is still accepted, inside (0, 1).
        n_errors: Errors that are allowed for, 0 or more.
        confidence: One-sided confidence, inside (0, 1).

    Returns:
        The number of parts.

    Raises:
        ValueError: If an argument is out of its range.
    """
    if n_errors < 0 or n_errors != int(n_errors):
        raise ValueError(f"n_errors must be a whole number of 0 or more, but is {n_errors}")
    low = parts_without_miss(limit, confidence)
    if n_errors == 0:
        return low
    high = max(low, n_errors + 1)
    while not _proves(n_errors, high, limit, confidence):
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if _proves(n_errors, middle, limit, confidence):
            high = middle
        else:
            low = middle + 1
    return low


def what_parts_prove(n_parts: int, limit: float, *, confidence: float = 0.95) -> Proof:
    """Tell what the parts at hand can prove, before any of them is looked at.

    Args:
        n_parts: Parts of one label, 0 or more.
        limit: Highest rate that is still accepted, inside (0, 1).
        confidence: One-sided confidence, inside (0, 1).

    Returns:
        The lowest rate they can prove, and how many errors leave the limit proven.
    """
    needed = parts_needed(limit, confidence=confidence)
    n_allowed = -1
    if n_parts >= needed:
        n_allowed = 0
        while _proves(n_allowed + 1, n_parts, limit, confidence):
            n_allowed += 1
    return Proof(
        n_parts=n_parts,
        limit=limit,
        provable_rate=clopper_pearson(0, n_parts, confidence=confidence, side="upper")[1],
        n_errors_allowed=n_allowed,
        n_more=max(0, needed - n_parts),
    )


def power_together(
    n_parts: int, limit: float, *, n_tries: int, fit_rate: float, confidence: float = 0.95
) -> float:
    """Tell how likely one fit method is proven among others on parts that all were tried on.

    P(X <= c) with X binomial(n, fit_rate) and c the most errors whose upper bound at
    1 - (1 - confidence) / n_tries meets the limit.

    Args:
        n_parts: Parts of one label.
        limit: Highest rate that is accepted, inside (0, 1).
        n_tries: How many are tried, the fit one among them.
        fit_rate: Its true rate.
        confidence: That none is wrongly proven.

    Returns:
        The chance; 0 where even no error proves the limit.
    """
    each = confidence_of_each(n_tries, confidence)
    n_allowed = what_parts_prove(n_parts, limit, confidence=each).n_errors_allowed
    return float(special.bdtr(n_allowed, n_parts, fit_rate)) if n_allowed >= 0 else 0.0


def power_of_split(
    n_choose: int,
    n_confirm: int,
    limit: float,
    *,
    n_tries: int,
    fit_rate: float,
    unfit_rate: float,
    confidence: float = 0.95,
) -> float:
    """Tell how likely one fit method is chosen on some parts and proven on others.

    The one with the fewest errors on the first parts is chosen, one of equal ones by chance. With
    p = P(Y = x) and q = P(Y > x) of an unfit one, the fit one with x errors is chosen with the
    chance sum over j of C(k - 1, j) p^j q^(k - 1 - j) / (j + 1) = ((p + q)^k - q^k) / (k p), for k
    tries that err independently; methods that err on the same parts are told apart more easily.
    The second parts prove it as one try.

    Args:
        n_choose: Parts of one label to choose on.
        n_confirm: Parts of that label to confirm on.
        limit: Highest rate that is accepted, inside (0, 1).
        n_tries: How many are tried, the fit one among them.
        fit_rate: Its true rate.
        unfit_rate: The true rate of each other one.
        confidence: Of the bound on the second parts.

    Returns:
        The chance.
    """
    errors = np.arange(n_choose + 1)
    at_most = special.bdtr(errors, n_choose, unfit_rate)
    q = 1 - at_most
    p = np.diff(at_most, prepend=0.0)
    own = np.diff(special.bdtr(errors, n_choose, fit_rate), prepend=0.0)
    k = n_tries
    # (p + q)^k - q^k without loss of digits where p is small; the limit for p -> 0 is q^(k - 1).
    with np.errstate(divide="ignore", invalid="ignore"):
        chosen = np.where(q > 0, q**k * np.expm1(k * np.log1p(p / q)), p**k) / (k * p)
    chosen = np.where(p > 1e-12, chosen, q ** (k - 1))
    is_proven = power_together(
        n_confirm, limit, n_tries=1, fit_rate=fit_rate, confidence=confidence
    )
    return float(own @ chosen) * is_proven


def best_share(
    n_nok: int,
    n_ok: int,
    *,
    limits: tuple[float, float],
    fit: tuple[float, float],
    unfit_slip_rate: float,
    n_tries: int,
    confidence: float = 0.95,
) -> LockedShare:
    """Find the share of parts to lock away with which one fit method is most likely proven.

    It is chosen by the fewest missed parts (`power_of_split`) and proven by both its rates, which
    are of different parts; so the chances are multiplied. Of 5, 10, ..., 95 % the best is taken.

    Args:
        n_nok: Defective parts in all.
        n_ok: Good parts in all; with none the overkill rate is left out.
        limits: Highest slip and overkill rate.
        fit: True slip and overkill rate of the fit one.
        unfit_slip_rate: True slip rate of each other one.
        n_tries: How many are tried.
        confidence: That none is wrongly proven.

    Returns:
        The share; 0, and the chance of all together, where no share is better than that.
    """

    def proven(n: int, kind: int, tries: int) -> float:
        rates = {"fit_rate": fit[kind], "n_tries": tries, "confidence": confidence}
        return power_together(n, limits[kind], **rates) if kind == 0 or n_ok else 1.0

    together = proven(n_nok, 0, n_tries) * proven(n_ok, 1, n_tries)
    best = LockedShare(0.0, 0, 0, together, together)
    for percent in range(5, 100, 5):
        locked = n_nok * percent // 100, n_ok * percent // 100
        chosen = power_of_split(
            n_nok - locked[0],
            locked[0],
            limits[0],
            n_tries=n_tries,
            fit_rate=fit[0],
            unfit_rate=unfit_slip_rate,
            confidence=confidence,
        )
        found = LockedShare(percent / 100, *locked, chosen * proven(locked[1], 1, 1), together)
        best = max(best, found, key=lambda each: each.power)
    return best


def parts_to_settle(
    n_errors: int, n_parts: int, limit: float, *, confidence: float = 0.95
) -> int | None:
    """Tell how many parts in all would settle whether a rate meets its limit.

    It is assumed that the observed rate r = n_errors / n_parts holds. If r is below the limit this
    is the smallest N >= n_parts such that the upper bound for ceil(r N) of N is at most the limit;
    if r is above, the smallest N such that the lower bound for floor(r N) of N is above it.

    Args:
        n_errors: Observed errors, 0 to `n_parts`.
        n_parts: Observed parts; without any the rate is unknown and taken as 0.
        limit: Highest rate that is still accepted, 0 to 1.
        confidence: One-sided confidence, inside (0, 1).

    Returns:
        N, `n_parts` at least; None where no number up to `MAX_PARTS` settles it: the rate is the
        limit, or too near to it, or the limit is 0 and nothing was wrong so far.
    """
    low, high = clopper_pearson(n_errors, n_parts, confidence=confidence, side="lower")[0], 1.0
    if n_parts:
        high = clopper_pearson(n_errors, n_parts, confidence=confidence, side="upper")[1]
    if high <= limit or low > limit:
        return n_parts
    if n_errors == 0:
        return None if limit == 0 else _within(parts_needed(limit, confidence=confidence))
    rate = n_errors / n_parts
    if rate == limit:
        return None
    return (
        _settled_below(n_errors, n_parts, limit, confidence)
        if rate < limit
        else _settled_above(n_errors, n_parts, limit, confidence)
    )


def _settled_below(n_errors: int, n_parts: int, limit: float, confidence: float) -> int | None:
    for errors in _error_counts(n_errors, n_parts):
        # With m errors at the observed rate there are at most floor(m n / k) parts.
        most = np.floor(errors * n_parts / n_errors)
        upper = special.betaincinv(errors + 1.0, np.maximum(most - errors, 1e-9), confidence)
        found = np.flatnonzero((upper <= limit) & (most > errors))
        if len(found):
            m = int(errors[found[0]])
            needed = parts_needed(limit, n_errors=m, confidence=confidence)
            return _within(max(needed, (m - 1) * n_parts // n_errors + 1, n_parts))
    return None


def _settled_above(n_errors: int, n_parts: int, limit: float, confidence: float) -> int | None:
    for errors in _error_counts(n_errors, n_parts):
        # The fewest parts that hold m errors at the observed rate: ceil(m n / k).
        fewest = -np.floor(-errors * n_parts / n_errors)
        lower = special.betaincinv(errors, fewest - errors + 1.0, 1 - confidence)
        found = np.flatnonzero(lower > limit)
        if len(found):
            return _within(int(fewest[found[0]]))
    return None


def _error_counts(n_errors: int, n_parts: int) -> list[np.ndarray]:
    """Numbers of errors from the observed one on, up to those of `MAX_PARTS`, in growing blocks."""
    last = max(n_errors, math.ceil(MAX_PARTS * n_errors / n_parts))
    edges = [n_errors]
    while edges[-1] <= last:
        edges.append(min(last + 1, 2 * edges[-1] + 100))
    return [np.arange(a, b, dtype=np.float64) for a, b in zip(edges, edges[1:], strict=False)]


def _within(n_parts: int) -> int | None:
    return n_parts if n_parts <= MAX_PARTS else None


def _proves(n_errors: int, n_parts: int, limit: float, confidence: float) -> bool:
    if n_errors >= n_parts:
        return False
    return clopper_pearson(n_errors, n_parts, confidence=confidence, side="upper")[1] <= limit
