"""Whether two methods differ on the same parts: exact McNemar, paired permutation, Holm.

Each method is seen on the same parts, so the parts' own difficulty cancels. Both tests ask how
often a difference at least as large would come up if the two methods' results on a part were
exchanged by the toss of a coin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy import special

from realitycheck.metrics.classification import Confusion, f_beta

# Signs drawn at once: 4 million int8 and their float64 product stay below 40 MB.
_CELLS_PER_CHUNK = 4_000_000
# A resampled difference counts as large as the observed one if only rounding keeps them apart.
_TIE_TOLERANCE = 1e-12

Statistic = Callable[[np.ndarray], np.ndarray]


def exact_mcnemar(n_only_first: int, n_only_second: int) -> float:
    """Test whether two methods judge equally often rightly.

    p = min(1, 2 P(X <= min(b, c))) with X binomial(b + c, 1/2), b and c the parts that only the
    first, only the second method judges rightly.

    Source: McNemar (1947), Psychometrika 12, 153-157, in its exact form.

    Args:
        n_only_first: b, 0 or more.
        n_only_second: c, 0 or more.

    Returns:
        Two-sided p value; 1 where no part is judged differently.

    Raises:
        ValueError: If a count is negative.
    """
    if min(n_only_first, n_only_second) < 0:
        raise ValueError(f"counts cannot be negative, but got {n_only_first} and {n_only_second}")
    n = n_only_first + n_only_second
    if n == 0:
        return 1.0
    return min(1.0, 2 * float(special.bdtr(min(n_only_first, n_only_second), n, 0.5)))


def paired_permutation(
    first: np.ndarray,
    second: np.ndarray,
    statistic: Statistic,
    *,
    rng: np.random.Generator,
    groups: Sequence[str | None] | None = None,
    n_resamples: int = 10_000,
) -> float:
    """Test whether two methods differ in a function of column sums.

    Under the hypothesis the two results on a part can change places. Each resample exchanges those
    of a random half of the parts; with groups, of all parts of a group together.
    p = (1 + number of resamples whose |difference| is at least the observed one) /
    (1 + number of resamples), which is valid for any number of them.

    Source: Fisher's randomisation test; Phipson and Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9,
    article 39, for the added one.

    Args:
        first: Summands of the first method, float, shape (N, C).
        second: Of the second method on the same parts, float, shape (N, C).
        statistic: Function of sums, (..., C) to (...).
        rng: Source of chance.
        groups: Group of each part; None: a part of its own.
        n_resamples: Number of resamples.

    Returns:
        Two-sided p value; 1 where the two agree on every part, NaN where the statistic is undefined
        on the parts at hand.

    Raises:
        ValueError: If the shapes differ.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(
            "both methods need summands of one shape (N, C), but have the shapes "
            f"{first.shape} and {second.shape}"
        )
    # With m the middle and d the half difference of the sums, signs s give m + s d and m - s d.
    unit = units_of(groups, len(first))
    half = np.zeros((int(unit.max(initial=-1)) + 1, first.shape[1]))
    np.add.at(half, unit, (first - second) / 2)
    middle = (first.sum(axis=0) + second.sum(axis=0)) / 2
    half = half[(half != 0).any(axis=1)]  # an exchange of equal results changes nothing
    observed = float(np.abs(statistic(middle + half.sum(0)) - statistic(middle - half.sum(0))))
    if not np.isfinite(observed):
        return float("nan")
    n_as_large = 0
    chunk = max(1, _CELLS_PER_CHUNK // max(1, len(half)))
    for start in range(0, n_resamples, chunk):
        size = min(chunk, n_resamples - start)
        signs = rng.integers(0, 2, (size, len(half)), dtype=np.int8) * 2.0 - 1.0
        moved = signs @ half
        difference = np.abs(statistic(middle + moved) - statistic(middle - moved))
        # An undefined resample is counted as large, which is the careful way.
        n_as_large += int((~(difference < observed - _TIE_TOLERANCE)).sum())
    return (1 + n_as_large) / (1 + n_resamples)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Correct p values for the number of comparisons, by Holm's step-down method.

    Sorted upwards, the i-th of m becomes max over j <= i of min(1, (m - j + 1) p_j). It bounds the
    chance of one false finding among all m, whatever the dependence between them.

    Source: Holm (1979), Scand. J. Statist. 6, 65-70.

    Args:
        p_values: Of one family of comparisons, shape (M,); undefined ones (NaN) count for nothing.

    Returns:
        Corrected p values, (M,), NaN where they were.
    """
    p_values = np.asarray(p_values, np.float64)
    corrected = np.full(p_values.shape, np.nan)
    is_known = np.isfinite(p_values)
    if is_known.any():
        known = p_values[is_known]
        upwards = np.argsort(known, kind="stable")
        stepped = np.minimum(1.0, np.arange(len(known), 0, -1) * known[upwards])
        known[upwards] = np.maximum.accumulate(stepped)
        corrected[is_known] = known
    return corrected


def f2_of_sums(sums: np.ndarray) -> np.ndarray:
    """F2 of sums of tp, fp and fn, (..., 3) to (...)."""
    return f_beta(Confusion(sums[..., 0], sums[..., 1], sums[..., 2], 0.0), 2.0)


def mean_of_sums(sums: np.ndarray) -> np.ndarray:
    """Mean of sums of values and of counts, (..., 2) to (...); NaN without a part."""
    top, bottom = sums[..., 0], sums[..., 1]
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom != 0)


def units_of(groups: Sequence[str | None] | None, n_parts: int) -> np.ndarray:
    """Number the groups of parts; a part without a group has a number of its own."""
    if groups is None:
        return np.arange(n_parts)
    codes, _ = pd.factorize(pd.Series(list(groups), dtype=object))
    alone = codes < 0
    unit = codes.copy()
    unit[alone] = codes.max(initial=-1) + 1 + np.arange(alone.sum())
    return unit
