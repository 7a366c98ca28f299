"""How many of the truth's labels would have to be wrong for a decision to change.

Limits of 1 or 2 % lie where labels themselves err. A decision that one wrong label overturns is
worth less than one that would need ten. Of two equal numbers of labels those of the most doubtful
parts are named, so that a person can look at them first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from realitycheck.metrics.readiness import Evidence

#: Beyond so many wrong labels the number is not looked for.
MAX_LABELS = 10


class Tipping(NamedTuple):
    """The fewest wrong labels with which a decision is another one.

    Attributes:
        n_labels: How many.
        decision: What the decision would be then.
        parts: Positions of the parts whose labels they most likely are, the most doubtful first.
    """

    n_labels: int
    decision: str
    parts: tuple[int, ...]


def tipping_labels(
    is_nok: Sequence[bool],
    is_rejected: Sequence[bool | None],
    decide: Callable[[Evidence], str],
    *,
    doubt: Sequence[float] | None = None,
    max_labels: int = MAX_LABELS,
) -> Tipping | None:
    """Find the fewest labels whose change changes a decision.

    A changed label moves a part from the defective to the good ones or back; its verdict stays. The
    decision knows the parts only by how many there are of each label and verdict, so it is enough
    to try each way to share r changes among these kinds, r = 1, 2, ...: C(r + 5, 5) ways at most
    for the six kinds, instead of one for each set of r parts. Of a kind the most doubtful parts
    are taken. Among ways of equal r the one of the greatest sum of doubt is given.

    Args:
        is_nok: Whether a part is labelled defective, length N.
        is_rejected: Whether the method rejects it; None: no verdict.
        decide: Gives the decision of counts.
        doubt: How doubtful each label is, any real numbers (`label_doubt`); None: all alike.
        max_labels: The largest r.

    Returns:
        The tipping number, or None where no change of up to `max_labels` labels changes the
        decision.
    """
    doubt = np.zeros(len(is_nok)) if doubt is None else np.asarray(doubt, float)
    kinds: dict[tuple[bool, bool | None], list[int]] = {}
    for at in np.argsort(-doubt, kind="stable"):
        verdict = None if is_rejected[at] is None else bool(is_rejected[at])
        kinds.setdefault((bool(is_nok[at]), verdict), []).append(int(at))
    names = list(kinds)
    sizes = [len(kinds[name]) for name in names]
    # Doubt of the first j parts of each kind.
    gains = [np.concatenate([[0.0], np.cumsum(doubt[kinds[name]])]) for name in names]
    now = decide(_evidence(names, sizes, [0] * len(names)))
    for n_labels in range(1, min(max_labels, len(is_nok)) + 1):
        best: tuple[float, str, tuple[int, ...]] | None = None
        for moved in _shared(n_labels, sizes):
            gain = sum(float(own[n]) for own, n in zip(gains, moved, strict=True))
            if best is not None and gain <= best[0]:
                continue
            found = decide(_evidence(names, sizes, moved))
            if found != now:
                best = (gain, found, moved)
        if best is not None:
            parts = [
                part for name, n in zip(names, best[2], strict=True) for part in kinds[name][:n]
            ]
            parts.sort(key=lambda part: (-doubt[part], part))
            return Tipping(n_labels, best[1], tuple(parts))
    return None


def label_doubt(
    is_nok: Sequence[bool],
    verdicts_of_all: Sequence[Sequence[bool | None]],
    *,
    distance: Sequence[float] | None = None,
) -> np.ndarray:
    """Say how doubtful labels are: first by the methods against them, then by their own score.

    Args:
        is_nok: Labels, length N.
        verdicts_of_all: Of each method its verdicts on the N parts (rejected, passed, None).
        distance: How far each part's score lies from the method's threshold, 0 or more, NaN where
            there is none; the nearer, the more doubtful.

    Returns:
        Number of methods that contradict each label, plus less than one for nearness, (N,).
    """
    labels = np.asarray(is_nok, bool)
    against = np.zeros(len(labels))
    for verdicts in verdicts_of_all:
        against += [
            v is not None and bool(v) != own for v, own in zip(verdicts, labels, strict=True)
        ]
    if distance is not None:
        far = np.asarray(distance, float)
        against += np.where(np.isnan(far), 0.0, 0.5 / (1.0 + np.where(np.isnan(far), 0.0, far)))
    return against


def threshold_distance(
    is_rejected: Sequence[bool | None], scores: Sequence[float], strata: Sequence[str]
) -> np.ndarray:
    """Say how far each score lies from the threshold that verdicts show, in spans of the scores.

    In each stratum the threshold lies between the highest score that passed and the lowest that was
    rejected: half-way if they do not overlap; where they do, as with a threshold for each fold, all
    scores between them have the distance 0. With verdicts of one kind it is the nearest score.

    Args:
        is_rejected: Verdicts, length N; None: no verdict.
        scores: What they follow from, higher for a rejected part, (N,); NaN where there is none.
        strata: What may have a threshold of its own, such as the category, length N.

    Returns:
        Distances, 0 to 1; NaN without a score or a verdict, (N,).
    """
    scores, strata = np.asarray(scores, float), np.asarray(strata, object)
    verdict = np.array([np.nan if v is None else float(v) for v in is_rejected])
    far = np.full(len(scores), np.nan)
    is_known = ~np.isnan(scores) & ~np.isnan(verdict)
    for stratum in dict.fromkeys(strata):
        here = is_known & (strata == stratum)
        passed, rejected = scores[here & (verdict == 0)], scores[here & (verdict == 1)]
        ends = [*passed[passed == passed.max(initial=-np.inf)][:1]]
        ends += [*rejected[rejected == rejected.min(initial=np.inf)][:1]]
        if not ends:
            continue
        low, high = min(ends), max(ends)
        if len(ends) == 2 and ends[0] < ends[1]:
            low = high = (ends[0] + ends[1]) / 2
        span = np.ptp(scores[here]) or 1.0
        far[here] = np.maximum(0, np.maximum(low - scores[here], scores[here] - high)) / span
    return far


def _shared(n: int, sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every way to take n parts of kinds that have so many."""
    if not sizes:
        if n == 0:
            yield ()
        return
    rest = sum(sizes[1:])
    for first in range(max(0, n - rest), min(n, sizes[0]) + 1):
        for others in _shared(n - first, sizes[1:]):
            yield (first, *others)


def _evidence(
    names: Sequence[tuple[bool, bool | None]], sizes: Sequence[int], moved: Sequence[int]
) -> Evidence:
    """Counts after so many labels of each kind were changed."""
    counts = dict.fromkeys([(nok, v) for nok in (True, False) for v in (True, False, None)], 0)
    for (nok, verdict), size, n in zip(names, sizes, moved, strict=True):
        counts[nok, verdict] += size - n
        counts[not nok, verdict] += n
    return Evidence(
        n_nok=sum(n for (nok, _), n in counts.items() if nok),
        n_ok=sum(n for (nok, _), n in counts.items() if not nok),
        missed=counts[True, False],
        rejected=counts[False, True],
        unanswered_nok=counts[True, None],
        unanswered_ok=counts[False, None],
    )
