"""What a method does on a production line, whose share of defective parts is not the test set's.

Test sets hold many defective parts, lines few. Slip and overkill rate do not depend on the mixture;
everything here is computed from them and from the line's own defect rate p, for 1,000 parts:

    escapes        1000 p s               defective parts that pass
    good rejects   1000 (1 - p) o         good parts that are rejected
    rejects        1000 p (1 - s) + good rejects
    PPV            p (1 - s) / (p (1 - s) + (1 - p) o)       share of rejects that are defective
    NPV            (1 - p)(1 - o) / ((1 - p)(1 - o) + p s)   share of passes that are good

and costs, with c the cost of one part of a kind:

    the method alone        1000 c_inspection + escapes c_escape + good rejects c_false_reject
    people check rejects    1000 c_inspection + escapes c_escape + rejects c_check
    ship everything         1000 p c_escape
    people check everything 1000 c_check

People are taken to judge rightly. An interval of a figure that hangs on one rate is that rate's
exact interval of Clopper and Pearson (1934). Where it hangs on both, each rate has its exact
interval at sqrt(confidence): defective and good parts are different parts, so both hold together
with the chance sqrt(confidence)^2 at least; each figure is monotone in each rate, so its extremes
over that rectangle bound it. Coverage is therefore never below `confidence`, and all figures of
two rates hold at once. Over a range of defect rates each figure's interval is the union over the
range, reached at its ends, because costs and counts are linear in p and PPV and NPV monotone.

A part without a verdict counts as right in lower bounds and as wrong in upper ones; then a rate,
and what hangs on it, has no estimate but only its interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

from realitycheck.metrics.intervals import clopper_pearson

#: A figure as a function of defect rate, slip rate and overkill rate.
_OfRates = Callable[[float, float, float], float]

#: Defect rates at which figures are given where the line's own is not known.
EXAMPLE_RATES = (0.001, 0.01, 0.1)
#: Every figure is for so many parts of the line.
N_PARTS = 1000


class Figure(NamedTuple):
    """A figure with its interval; the estimate is NaN where only a range is known."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Costs:
    """Cost of one part of a kind, in US dollars; None: not known.

    Attributes:
        escape: A defective part that passes.
        false_reject: A good part that is rejected and not checked again.
        check: A part that a person checks.
        inspection: A part that the method inspects.
    """

    escape: float | None = None
    false_reject: float | None = None
    check: float | None = None
    inspection: float | None = None

    def missing(self) -> tuple[str, ...]:
        """Names of the costs that are not known."""
        return tuple(each.name for each in fields(self) if getattr(self, each.name) is None)


@dataclass(frozen=True)
class LineFigures:
    """What happens to 1,000 parts of a line, each figure with its interval.

    Attributes:
        defect_rate: The lowest and the highest defect rate of the line.
        defective: Defective parts among 1,000.
        escapes: Defective parts that pass.
        escapes_at_most: One-sided upper bound of them, that of the slip rate.
        rejects: Parts that are rejected; so many checks by people, where rejects are checked.
        good_rejects: Good parts among them.
        ppv: Share of rejects that are defective.
        npv: Share of passes that are good.
        cost_alone: Where rejects are thrown away; None where a cost is not known, as below.
        cost_checked: Where people check the rejects.
        cost_ship_all: Where nothing is inspected.
        cost_check_all: Where people check everything.
    """

    defect_rate: tuple[float, float]
    defective: Figure
    escapes: Figure
    escapes_at_most: float
    rejects: Figure
    good_rejects: Figure
    ppv: Figure
    npv: Figure
    cost_alone: Figure | None
    cost_checked: Figure | None
    cost_ship_all: Figure | None
    cost_check_all: Figure | None


class Rates(NamedTuple):
    """Counts of a method: wrong at least, wrong at most, and all, of defective and good parts."""

    missed: int
    missed_at_most: int
    n_nok: int
    rejected: int
    rejected_at_most: int
    n_ok: int

    @classmethod
    def of(
        cls,
        n_nok: int,
        n_ok: int,
        missed: int,
        rejected: int,
        unanswered_nok: int = 0,
        unanswered_ok: int = 0,
    ) -> Rates:
        """Make it from the counts of a confusion table."""
        return cls(missed, missed + unanswered_nok, n_nok, rejected, rejected + unanswered_ok, n_ok)

    def slip(self, confidence: float) -> Figure:
        """Bound the slip rate from both sides."""
        return _rate(self.missed, self.missed_at_most, self.n_nok, confidence)

    def overkill(self, confidence: float) -> Figure:
        """Bound the overkill rate from both sides."""
        return _rate(self.rejected, self.rejected_at_most, self.n_ok, confidence)


def line_figures(
    rates: Rates,
    defect_rate: float | tuple[float, float],
    *,
    costs: Costs | None = None,
    confidence: float = 0.95,
) -> LineFigures:
    """Say what a method does to 1,000 parts of a line.

    Args:
        rates: Its counts on the parts at hand.
        defect_rate: Share of the line's parts that are defective, 0 to 1, or the ends of a range.
        costs: What parts cost; None: nothing is known.
        confidence: Of each interval, two-sided.

    Returns:
        The figures.

    Raises:
        ValueError: If a defect rate is no share, or the ends of the range stand the wrong way.
    """
    ends = defect_rate if isinstance(defect_rate, tuple) else (defect_rate, defect_rate)
    if not 0 <= ends[0] <= ends[1] <= 1:
        raise ValueError(
            f"a line's defect rate must lie in [0, 1], the lower end first, but is {defect_rate}"
        )
    costs = costs or Costs()
    one = (rates.slip(confidence), rates.overkill(confidence))
    both = (rates.slip(math.sqrt(confidence)), rates.overkill(math.sqrt(confidence)))

    def figure(value: _OfRates, known: tuple[Figure, Figure] = one) -> Figure:
        return _over(value, ends, *known)

    def cost(value: _OfRates, *names: str, known: tuple[Figure, Figure] = both) -> Figure | None:
        is_known = all(getattr(costs, name) is not None for name in names)
        return figure(value, known) if is_known else None

    def escapes(p: float, s: float, o: float) -> float:
        return N_PARTS * p * s

    def good_rejects(p: float, s: float, o: float) -> float:
        return N_PARTS * (1 - p) * o

    def rejects(p: float, s: float, o: float) -> float:
        return N_PARTS * p * (1 - s) + good_rejects(p, s, o)

    slip_high = clopper_pearson(
        rates.missed_at_most, rates.n_nok, confidence=confidence, side="upper"
    )[1]
    inspect = ("inspection", "escape")
    return LineFigures(
        defect_rate=ends,
        defective=figure(lambda p, s, o: N_PARTS * p),
        escapes=figure(escapes),
        escapes_at_most=N_PARTS * ends[1] * slip_high,
        rejects=figure(rejects, both),
        good_rejects=figure(good_rejects),
        ppv=figure(_ppv, both),
        npv=figure(_npv, both),
        cost_alone=cost(
            lambda p, s, o: (
                N_PARTS * costs.inspection
                + escapes(p, s, o) * costs.escape
                + good_rejects(p, s, o) * costs.false_reject
            ),
            *(*inspect, "false_reject"),
        ),
        cost_checked=cost(
            lambda p, s, o: (
                N_PARTS * costs.inspection
                + escapes(p, s, o) * costs.escape
                + rejects(p, s, o) * costs.check
            ),
            *(*inspect, "check"),
        ),
        cost_ship_all=cost(lambda p, s, o: N_PARTS * p * costs.escape, "escape"),
        cost_check_all=cost(lambda p, s, o: N_PARTS * costs.check, "check"),
    )


def informedness(rates: Rates, *, confidence: float = 0.95) -> Figure:
    """Say how much better than no model a method is, whatever the mixture: 1 - slip - overkill.

    Rejecting everything, accepting everything and any coin have 0; a perfect method has 1. Each
    bound is one-sided, from both rates' one-sided exact bounds at sqrt(confidence).

    Source: Youden (1950), Cancer 3, 32-35.

    Args:
        rates: Its counts.
        confidence: Of each of the two bounds.

    Returns:
        The value with its lower and its upper bound, -1 to 1.
    """
    # A two-sided interval at 2 c - 1 has one-sided bounds at c.
    each = 2 * math.sqrt(confidence) - 1
    slip, overkill = rates.slip(each), rates.overkill(each)
    return Figure(
        1 - slip.estimate - overkill.estimate,
        1 - slip.high - overkill.high,
        1 - slip.low - overkill.low,
    )


def _rate(wrong: int, wrong_at_most: int, n: int, confidence: float) -> Figure:
    low = clopper_pearson(wrong, n, confidence=confidence)[0]
    high = clopper_pearson(wrong_at_most, n, confidence=confidence)[1]
    is_point = wrong == wrong_at_most and n > 0
    return Figure(wrong / n if is_point else math.nan, low, high)


def _over(
    value: _OfRates,
    ends: tuple[float, float],
    slip: Figure,
    overkill: Figure,
) -> Figure:
    """Take a figure's extremes over the ends of defect, slip and overkill rate."""
    corners = [value(p, s, o) for p in ends for s in slip[1:] for o in overkill[1:]]
    known = [each for each in corners if not math.isnan(each)]
    estimates = [value(p, slip.estimate, overkill.estimate) for p in ends]
    return Figure(
        estimates[0] if estimates[0] == estimates[1] else math.nan,
        min(known, default=math.nan),
        max(known, default=math.nan),
    )


def _ppv(p: float, s: float, o: float) -> float:
    rejected = p * (1 - s) + (1 - p) * o
    return p * (1 - s) / rejected if rejected else math.nan


def _npv(p: float, s: float, o: float) -> float:
    passed = (1 - p) * (1 - o) + p * s
    return (1 - p) * (1 - o) / passed if passed else math.nan
