"""What a decision costs when many methods or texts are tried on the same parts.

Of 20 methods whose slip rate is just above the limit, each is wrongly found fit in at most 5 % of
data sets, but some one of them in far more. So the error that is allowed is shared among the tries,
and each has to be proven at a higher confidence.

A try is *proven* when the upper bounds of both its rates meet their limits. The step-down: with
n tries and the error a = 1 - confidence, each bound is taken at 1 - a / m, where m begins at n;
tries that are proven so leave m, and the rest is looked at again, until none leaves any more.
With m = n at the end this is Bonferroni's rule.

It holds for any dependence between the tries: let T be the tries that are not truly fit. At the
first wrong finding all that have left are truly fit, so m is at least |T|, and a member of T passed
a test of level a / m; by the union bound the chance of that is at most |T| a / m <= a. A try of
which only the slip rate is proven (it may assist) stays in m, since its other rate may be wrong.

A step-down that learns from resampled parts how far tries agree was measured and is not used:
where a method is near its limit it misses nothing in the parts that mislead, and of such a method
no resample can learn anything (`benchmarks/choosing.py` prints its level).

The tries count as fixed before their results are known. Of tries that were made up after looking at
the mistakes of others, only parts that none of them has seen tell more.

Source: Holm (1979), Scand. J. Statist. 6, 65-70, on the bounds of Clopper and Pearson (1934); for
two hypotheses a unit, Shaffer (1986), JASA 81, 826-831.
"""

from __future__ import annotations

import numpy as np
from scipy import special


def confidence_of_each(n_tries: int, confidence: float = 0.95) -> float:
    """Give the confidence of each of some bounds that hold together: 1 - (1 - confidence) / n.

    Source: Bonferroni's inequality; it holds for any dependence.

    Args:
        n_tries: Number of bounds, 1 or more.
        confidence: That they all hold, inside (0, 1).

    Raises:
        ValueError: If there is no try.
    """
    if n_tries < 1:
        raise ValueError(f"the number of tries must be 1 or more, but is {n_tries}")
    return 1 - (1 - confidence) / n_tries


def upper_bounds(n_wrong: np.ndarray, n_parts: np.ndarray, tail: np.ndarray) -> np.ndarray:
    """Bound rates from above, each by the exact one-sided binomial bound.

    Beta^-1(1 - tail; k + 1, n - k), and 1 for k = n, as `clopper_pearson` gives one by one.

    Args:
        n_wrong: k, whole numbers, any shape.
        n_parts: n, broadcast to it.
        tail: Chance that a bound is too low, broadcast to it.

    Returns:
        The bounds, float64.
    """
    k, n, tail = np.broadcast_arrays(np.asarray(n_wrong, float), n_parts, tail)
    high = special.betainccinv(k + 1, np.maximum(n - k, 1e-9), tail)
    return np.where(k < n, high, 1.0)


def n_unproven(
    slip_wrong: np.ndarray,
    n_nok: np.ndarray | int,
    overkill_wrong: np.ndarray,
    n_ok: np.ndarray | int,
    *,
    max_slip_rate: float,
    max_overkill_rate: float,
    n_tries: int | None = None,
    confidence: float = 0.95,
) -> np.ndarray:
    """Count the tries that share the error in the end: m of the step-down above.

    Args:
        slip_wrong: Defective parts that a try lets pass or leaves without a verdict, shape
            (..., K): K tries on the same parts, data sets before it.
        n_nok: Defective parts, broadcast to it.
        overkill_wrong: Good parts that a try rejects or leaves without a verdict, (..., K).
        n_ok: Good parts, broadcast to it.
        max_slip_rate: Limit.
        max_overkill_rate: Limit.
        n_tries: All tries that were made on these parts, K or more; those of which no counts are
            at hand are never proven. None: K.
        confidence: That no try is wrongly found fit.

    Returns:
        m for each data set, shape (...), 1 at least.

    Raises:
        ValueError: If there are fewer tries than counts.
    """
    slip_wrong, overkill_wrong = np.asarray(slip_wrong), np.asarray(overkill_wrong)
    n_given = slip_wrong.shape[-1]
    n_tries = max(1, n_given) if n_tries is None else n_tries
    if n_tries < n_given:
        raise ValueError(
            f"{n_given} tries have counts, but only {n_tries} are said to have been made; count "
            "each try that was scored on these parts"
        )
    m = np.full(slip_wrong.shape[:-1], n_tries)
    while True:
        tail = ((1 - confidence) / m)[..., None]
        is_proven = (upper_bounds(slip_wrong, n_nok, tail) <= max_slip_rate) & (
            upper_bounds(overkill_wrong, n_ok, tail) <= max_overkill_rate
        )
        left = np.maximum(1, n_tries - is_proven.sum(axis=-1))
        if (left == m).all():
            return m
        m = left
