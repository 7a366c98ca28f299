"""Confusion counts of verdicts and the rates made from them; NOK is the positive class.

Every function of a `Confusion` takes single counts or arrays of counts (one element a resample),
and returns a float or an array of the same shape. A quotient 0 / 0 is NaN, never 0 or 1: a rate
that was taken over nothing is not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.constants import LABELS

Counts = float | np.ndarray


@dataclass(frozen=True)
class Confusion:
    """Counts of verdicts, single numbers or arrays of one shape.

    Attributes:
        tp: Defective parts that are rejected.
        fp: Good parts that are rejected.
        fn: Defective parts that pass.
        tn: Good parts that pass.
        unanswered_nok: Defective parts without a verdict.
        unanswered_ok: Good parts without a verdict.
    """

    tp: Counts
    fp: Counts
    fn: Counts
    tn: Counts
    unanswered_nok: Counts = 0
    unanswered_ok: Counts = 0

    @property
    def n_answered(self) -> Counts:
        """Number of parts with a verdict."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def n_nok(self) -> Counts:
        """Number of defective parts, with or without a verdict."""
        return self.tp + self.fn + self.unanswered_nok

    @property
    def n_ok(self) -> Counts:
        """Number of good parts, with or without a verdict."""
        return self.fp + self.tn + self.unanswered_ok


def confusion(labels: Sequence[str], predicted: Sequence[str | None]) -> Confusion:
    """Count verdicts against the truth, the unanswered ones apart.

    Args:
        labels: True label of each part, "OK" or "NOK", length N.
        predicted: Verdict on each part, "OK", "NOK", or missing (None, NaN, pandas.NA) where the
            method gave no answer, length N.

    Returns:
        The counts; they add up to N.

    Raises:
        ValueError: If the lengths differ or another label appears.
    """
    truth, verdict, is_unanswered = _check_labels(labels, predicted)
    is_nok = truth == "NOK"
    is_rejected = verdict == "NOK"
    is_passed = ~is_rejected & ~is_unanswered
    return Confusion(
        tp=int((is_nok & is_rejected).sum()),
        fp=int((~is_nok & is_rejected).sum()),
        fn=int((is_nok & is_passed).sum()),
        tn=int((~is_nok & is_passed).sum()),
        unanswered_nok=int((is_nok & is_unanswered).sum()),
        unanswered_ok=int((~is_nok & is_unanswered).sum()),
    )


def worst_case(counts: Confusion) -> Confusion:
    """Count each unanswered part as wrong: a defective one passes, a good one is rejected.

    Precision, recall and F score are lowest, slip and overkill rate highest, for this way to
    fill in the missing verdicts: each is monotone in every one of them.
    """
    return Confusion(
        tp=counts.tp,
        fp=counts.fp + counts.unanswered_ok,
        fn=counts.fn + counts.unanswered_nok,
        tn=counts.tn,
    )


def best_case(counts: Confusion) -> Confusion:
    """Count each unanswered part as right: a defective one is rejected, a good one passes."""
    return Confusion(
        tp=counts.tp + counts.unanswered_nok,
        fp=counts.fp,
        fn=counts.fn,
        tn=counts.tn + counts.unanswered_ok,
    )


def precision(counts: Confusion) -> Counts:
    """Return tp / (tp + fp): the share of rejected parts that are defective.

    Over answered parts. NaN where nothing is rejected.
    """
    return _ratio(counts.tp, counts.tp + counts.fp)


def recall(counts: Confusion) -> Counts:
    """Return tp / (tp + fn): the share of defective parts that are rejected.

    Over answered parts. NaN where no defective part is answered.
    """
    return _ratio(counts.tp, counts.tp + counts.fn)


def f_beta(counts: Confusion, beta: float = 2.0) -> Counts:
    """Combine precision and recall, recall weighing `beta` times as much.

    F = (1 + b^2) P R / (b^2 P + R) = (1 + b^2) tp / ((1 + b^2) tp + b^2 fn + fp)

    For the study's F2 this is 5 P R / (4 P + R) = 5 tp / (5 tp + 4 fn + fp). The form in counts
    is used: it is defined, and 0, where nothing is rejected and precision is not defined. NaN
    where no defective part is answered and no good part is rejected.

    Source: section 4.2, equation 2 of the study; van Rijsbergen (1979), chapter 7.

    Args:
        counts: Verdict counts; unanswered parts do not enter.
        beta: Weight of recall, above 0, without unit.

    Returns:
        The score, 0 to 1 or NaN, a float or an array like the counts.

    Raises:
        ValueError: If `beta` is not above 0.
    """
    if not beta > 0:
        raise ValueError(f"beta must be above 0, but is {beta}")
    weight = beta * beta
    hits = (1 + weight) * counts.tp
    return _ratio(hits, hits + weight * counts.fn + counts.fp)


def slip_rate(counts: Confusion) -> Counts:
    """Return fn / (tp + fn): the share of defective parts that pass.

    Over answered parts. NaN where no defective part is answered.
    """
    return _ratio(counts.fn, counts.tp + counts.fn)


def overkill_rate(counts: Confusion) -> Counts:
    """Return fp / (fp + tn): the share of good parts that are rejected.

    Over answered parts. NaN where no good part is answered.
    """
    return _ratio(counts.fp, counts.fp + counts.tn)


def _ratio(numerator: Counts, denominator: Counts) -> Counts:
    """Divide, with NaN for 0 / 0."""
    top = np.asarray(numerator, dtype=np.float64)
    bottom = np.asarray(denominator, dtype=np.float64)
    if top.ndim == 0 and bottom.ndim == 0:
        return float(top / bottom) if bottom else float("nan")
    quotient = np.full(np.broadcast_shapes(top.shape, bottom.shape), np.nan)
    return np.divide(top, bottom, out=quotient, where=bottom != 0)


def _check_labels(labels: Any, predicted: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, verdicts ("" where missing) and whether each verdict is missing."""
    truth = np.asarray(labels, dtype=object)
    verdict = np.array(predicted, dtype=object)
    if truth.ndim != 1 or truth.shape != verdict.shape:
        raise ValueError(
            "labels and verdicts must be two lists of one length, but have the shapes "
            f"{truth.shape} and {verdict.shape}"
        )
    is_unanswered = np.asarray(pd.isna(verdict), dtype=bool)
    verdict[is_unanswered] = ""
    for name, column, is_bad in (
        ("true label", truth, ~np.isin(truth, LABELS)),
        ("verdict", verdict, ~np.isin(verdict, LABELS) & ~is_unanswered),
    ):
        if is_bad.any():
            first = int(np.flatnonzero(is_bad)[0])
            raise ValueError(
                f'each {name} must be "OK" or "NOK", but {int(is_bad.sum())} of {len(column)} are '
                f"not (first: position {first}, value {column[first]!r})"
            )
    return truth, verdict, is_unanswered
