"""How much better the best of several looks than it is: the winner's optimism.

Of methods that were scored on the same parts the best one was also lucky. Parts are split at random
into halves, groups kept whole; the best on one half is scored on the other, which did not choose
it. The mean of (score where it was chosen) - (score elsewhere) is the optimism of a choice among
half of the parts. Luck shrinks with the root of their number, so a choice among all has
1 / sqrt(2) of it. That is the expected optimism where methods are alike; where one is clearly
better it is an overstatement, since then a choice among all parts depends less on luck than one
among half of them.

Source: cross-validation of the whole procedure, choice included, as in Varma and Simon (2006), BMC
Bioinformatics 7, 91; "optimism" as in Efron (1983), JASA 78, 316-331.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np

from realitycheck.metrics.paired import units_of

# Halves drawn at once: 4 million float64 are 32 MB.
_CELLS_PER_CHUNK = 4_000_000


class Optimism(NamedTuple):
    """What is to be expected of the best of several on new parts.

    Attributes:
        winner: Position of the best; the first of equal ones.
        score: Its score on the parts at hand.
        shrinkage: By how much it is expected to be worse on new parts, 0 or more; NaN where the
            score is undefined on halves of the parts.
        expected: The score after that.
        n_tries: Among how many it was the best.
    """

    winner: int
    score: float
    shrinkage: float
    expected: float
    n_tries: int


def winners_optimism(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    strata: Sequence[Hashable],
    rng: np.random.Generator,
    groups: Sequence[str | None] | None = None,
    n_resamples: int = 1000,
    is_higher_better: bool = True,
) -> Optimism:
    """Estimate by how much the best of several tries will be worse on new parts.

    Args:
        values: Summands of each try on each part, float, shape (N, T, C).
        statistic: The score of sums over parts, (..., C) to (...).
        strata: Of each part, N of them; each half has as many parts of each (the truth's label).
        rng: Source of chance.
        groups: Group of each part; None: a part of its own.
        n_resamples: Number of splits.
        is_higher_better: Whether the best score is the highest one.

    Returns:
        The winner, its score and the shrinkage to expect.

    Raises:
        ValueError: If there is no try, or lengths differ.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 3 or 0 in values.shape or len(strata) != len(values):
        raise ValueError(
            "the best of several needs summands of shape (parts, tries, columns), none of them 0, "
            f"and one stratum a part, but has the shape {values.shape} and {len(strata)} strata"
        )
    n_parts, n_tries, n_columns = values.shape
    sign = 1.0 if is_higher_better else -1.0
    scores = np.asarray(statistic(values.sum(axis=0)), float)
    ranked = np.where(np.isnan(scores), -np.inf, sign * scores)
    winner = int(ranked.argmax())

    unit = units_of(groups, n_parts)
    sums = np.zeros((int(unit.max()) + 1, n_tries * n_columns))
    np.add.at(sums, unit, values.reshape(n_parts, -1))
    members = _strata_of_units(unit, strata)
    differences = []
    chunk = max(1, _CELLS_PER_CHUNK // max(sums.shape))
    for start in range(0, n_resamples, chunk):
        n = min(chunk, n_resamples - start)
        is_first = _halves(members, len(sums), n, rng)
        halves = [
            np.asarray(statistic((half @ sums).reshape(n, n_tries, n_columns)), float)
            for half in (is_first, 1 - is_first)
        ]
        chosen = np.where(np.isnan(halves[0]), -np.inf, sign * halves[0]).argmax(axis=1)
        rows = np.arange(n)
        differences.append(sign * (halves[0][rows, chosen] - halves[1][rows, chosen]))
    found = np.concatenate(differences)
    mean = found.mean() if n_tries > 1 else 0.0
    shrinkage = float(max(0.0, mean / np.sqrt(2))) if np.isfinite(mean) else float("nan")
    return Optimism(
        winner=winner,
        score=float(scores[winner]),
        shrinkage=shrinkage,
        expected=float(scores[winner] - sign * shrinkage),
        n_tries=n_tries,
    )


def _strata_of_units(unit: np.ndarray, strata: Sequence[Hashable]) -> list[np.ndarray]:
    """Positions of the units of each stratum; a group over several has one of its own kind."""
    reached: list[set[str]] = [set() for _ in range(int(unit.max()) + 1)]
    for index, stratum in zip(unit, strata, strict=True):
        reached[index].add(repr(stratum))
    keys = [tuple(sorted(each)) for each in reached]
    return [
        np.array([at for at, key in enumerate(keys) if key == wanted])
        for wanted in sorted(set(keys))
    ]


def _halves(
    members: Sequence[np.ndarray], n_units: int, n: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw n halves of the units, float, (n, n_units): 1 for the first half.

    Each stratum is halved; the odd one falls to either half.
    """
    is_first = np.zeros((n, n_units))
    for own in members:
        rank = rng.random((n, len(own))).argsort(axis=1).argsort(axis=1)
        limit = (len(own) + rng.integers(0, 2, (n, 1)) * (len(own) % 2)) // 2
        is_first[:, own] = rank < limit
    return is_first
