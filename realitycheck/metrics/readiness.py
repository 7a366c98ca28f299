"""The decision: can the product be inspected this way, from bounds, cost and time.

A rate meets its limit when its one-sided upper bound does, not when the rate itself does; it fails
it when its lower bound is above. Between the two the parts at hand are too few to tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from realitycheck.metrics.intervals import clopper_pearson
from realitycheck.metrics.sample_size import parts_to_settle


@dataclass(frozen=True)
class Evidence:
    """What is known of a method on a data set.

    Attributes:
        n_nok: Defective parts.
        n_ok: Good parts.
        missed: Defective parts that pass.
        rejected: Good parts that are rejected.
        unanswered_nok: Defective parts without a verdict.
        unanswered_ok: Good parts without a verdict.
        is_no_better: Whether F2 is not above the best floor; None where that is not known.
        f2_high: Upper limit of F2, for the reason.
        f2_floor: F2 of the best floor, for the reason.
        seconds_per_part: None where it is not known.
        cost_per_part_usd: None where it is not known.
    """

    n_nok: int
    n_ok: int
    missed: int
    rejected: int
    unanswered_nok: int = 0
    unanswered_ok: int = 0
    is_no_better: bool | None = None
    f2_high: float = math.nan
    f2_floor: float = math.nan
    seconds_per_part: float | None = None
    cost_per_part_usd: float | None = None


@dataclass(frozen=True)
class Requirements:
    """What the product asks of an inspection; None: no limit."""

    max_slip_rate: float
    max_overkill_rate: float
    max_seconds_per_part: float | None = None
    max_cost_per_part_usd: float | None = None


@dataclass(frozen=True)
class Decision:
    """A decision with its reason.

    Attributes:
        decision: `ready`, `assist`, `not_ready` or `cannot_tell`.
        reason: One sentence with its numbers.
        recheck_share: Share of the parts at hand that are rejected or have no verdict.
        more_nok_needed: Further defective parts that would settle the slip rate if the observed one
            holds; 0 where it is settled, None where no number would.
        more_ok_needed: The same of good parts and the overkill rate.
    """

    decision: str
    reason: str
    recheck_share: float
    more_nok_needed: int | None
    more_ok_needed: int | None


def decide(evidence: Evidence, requirements: Requirements, *, confidence: float = 0.95) -> Decision:
    """Decide whether a method is fit for a product.

    In this order: *ready* if the upper bounds of slip and overkill rate, and cost and time of a
    part, meet their limits; *assist* if slip's upper bound meets its limit and overkill's does not,
    so that a person checks again what is rejected; *not ready* if slip's lower bound is above its
    limit, or the method is no better than no model; else *cannot tell*.

    A part without a verdict counts as wrong in upper bounds and as right in lower ones. A rate of
    which there is no part, and a cost or time that is not known, do not meet a limit; without good
    parts nothing is *assist*, since nobody knows how much would be checked again. Bounds: one-sided
    Clopper-Pearson.

    Args:
        evidence: Counts, cost and time.
        requirements: The limits.
        confidence: Of each bound.

    Returns:
        The decision. Numbers of further parts assume that the observed rates, with unanswered parts
        as wrong, hold.
    """
    e, r = evidence, requirements
    slip_wrong, overkill_wrong = e.missed + e.unanswered_nok, e.rejected + e.unanswered_ok
    slip_high = clopper_pearson(slip_wrong, e.n_nok, confidence=confidence, side="upper")[1]
    slip_low = clopper_pearson(e.missed, e.n_nok, confidence=confidence, side="lower")[0]
    overkill_high = clopper_pearson(overkill_wrong, e.n_ok, confidence=confidence, side="upper")[1]
    n_parts = e.n_nok + e.n_ok
    recheck = (e.n_nok - e.missed + overkill_wrong) / n_parts if n_parts else math.nan
    slip_meets, overkill_meets = slip_high <= r.max_slip_rate, overkill_high <= r.max_overkill_rate
    other = _cost_and_time(e, r)

    n_nok = parts_to_settle(slip_wrong, e.n_nok, r.max_slip_rate, confidence=confidence)
    n_ok = parts_to_settle(overkill_wrong, e.n_ok, r.max_overkill_rate, confidence=confidence)
    more_nok = None if n_nok is None else n_nok - e.n_nok
    more_ok = None if n_ok is None else n_ok - e.n_ok
    slip = _bounded(
        ("defective part slips", "defective parts slip"),
        (e.missed, e.unanswered_nok, e.n_nok),
        slip_high,
        r.max_slip_rate,
        confidence,
    )
    overkill = _bounded(
        ("good part is rejected", "good parts are rejected"),
        (e.rejected, e.unanswered_ok, e.n_ok),
        overkill_high,
        r.max_overkill_rate,
        confidence,
    )

    def made(decision: str, reason: str, nok: int | None, ok: int | None) -> Decision:
        return Decision(decision, f"{reason[0].upper()}{reason[1:]}.", recheck, nok, ok)

    if n_parts and e.unanswered_nok + e.unanswered_ok == n_parts:
        return _unanswered(e, r, confidence)
    if slip_meets and overkill_meets and not other:
        return made("ready", f"{slip}; {overkill}{_met(e, r)}", 0, 0)
    is_overkill_worse = _rate(overkill_wrong, e.n_ok) > r.max_overkill_rate
    if slip_meets and not overkill_meets and e.n_ok:
        more_ok = 0 if is_overkill_worse else more_ok
        share = f"a person checks the {_percent(recheck)} of the {n_parts} parts that are rejected"
        if recheck == 1:
            share += ", which is all of them, as without any model"
        further = [_further(more_ok, n_ok, "good", overkill_wrong == 0, "make it ready")]
        reason = "; ".join([slip, f"{overkill}, so {share}", *filter(None, further), *other])
        return made("assist", reason, 0, more_ok)
    if slip_low > r.max_slip_rate:
        reason = (
            f"{_counted(('defective part slips', 'defective parts slip'), e.missed, e.n_nok)}, "
            f"{_percent(slip_low)} at least at {confidence * 100:g} % confidence, over the limit "
            f"of {_percent(r.max_slip_rate)}"
        )
        return made("not_ready", reason, 0, 0)
    if e.is_no_better:
        reason = (
            f"no better than no model: F2 is {e.f2_high:.2f} at most, and {e.f2_floor:.2f} is "
            f"reached without any model on the same {e.n_nok} defective and {e.n_ok} good parts"
        )
        return made("not_ready", reason, 0, 0)
    if slip_meets and overkill_meets:  # cost or time is what stands against it
        return made("cannot_tell", f"{slip}; {overkill}; but {' and '.join(other)}", 0, 0)
    is_slip_worse = _rate(slip_wrong, e.n_nok) > r.max_slip_rate
    if is_slip_worse or is_overkill_worse or overkill_meets:
        more_ok = 0  # the slip rate alone settles it
    end = "show that it is not ready" if is_slip_worse else "settle it"
    wanted = [_further(more_nok, n_nok, "defective", slip_wrong == 0, end)]
    wanted.append(_further(more_ok, n_ok, "good", overkill_wrong == 0, "settle it"))
    reason = "; ".join([slip, *([overkill] if more_ok != 0 else []), *filter(None, wanted), *other])
    return made("cannot_tell", reason, more_nok, more_ok)


def _unanswered(e: Evidence, r: Requirements, confidence: float) -> Decision:
    """Decide where there is no verdict at all: what a method without an error would need."""
    n_nok = parts_to_settle(0, 0, r.max_slip_rate, confidence=confidence)
    n_ok = parts_to_settle(0, 0, r.max_overkill_rate, confidence=confidence)
    reason = f"None of the {e.n_nok + e.n_ok} parts has a verdict"
    if n_nok is not None and n_ok is not None:
        reason += f"; {n_nok:,} defective and {n_ok:,} good parts without an error would settle it"
    return Decision(
        "cannot_tell",
        f"{reason}.",
        1.0,
        None if n_nok is None else max(0, n_nok - e.n_nok),
        None if n_ok is None else max(0, n_ok - e.n_ok),
    )


def _counted(what: tuple[str, str], count: int, n: int) -> str:
    return f"{count} of {n} {what[0] if n == 1 else what[1]}"


def _bounded(
    what: tuple[str, str],
    counts: tuple[int, int, int],
    high: float,
    limit: float,
    confidence: float,
) -> str:
    wrong, unanswered, n = counts
    if n == 0:
        return f"there is no part to show how many {what[1]}"
    verdict = "within the limit of" if high <= limit else "and the limit is"
    extra = f" and {unanswered} {_have(unanswered)} no verdict" if unanswered else ""
    return (
        f"{_counted(what, wrong, n)}{extra}, {_percent(high)} at most at {confidence * 100:g} % "
        f"confidence, {verdict} {_percent(limit)}"
    )


def _have(n: int) -> str:
    return "has" if n == 1 else "have"


def _further(more: int | None, in_all: int | None, kind: str, is_perfect: bool, end: str) -> str:
    if more is None:
        return f"no number of further {kind} parts would {end} at this rate"
    if more == 0:
        return ""
    how = "without an error" if is_perfect else "at this rate"
    return f"{in_all:,} {kind} parts in all, {more:,} more, {how} would {end}"


def _cost_and_time(e: Evidence, r: Requirements) -> list[str]:
    """Say what does not meet its limit, and what is not known."""
    found = []
    for name, value, limit, unit in (
        ("time", e.seconds_per_part, r.max_seconds_per_part, "s"),
        ("cost", e.cost_per_part_usd, r.max_cost_per_part_usd, "USD"),
    ):
        if limit is None:
            continue
        if value is None or math.isnan(value):
            found.append(f"the {name} of a part is not known, and the limit is {limit:g} {unit}")
        elif value > limit:
            verb = "takes" if unit == "s" else "costs"
            found.append(f"a part {verb} {value:.3g} {unit}, and the limit is {limit:g} {unit}")
    return found


def _met(e: Evidence, r: Requirements) -> str:
    parts = []
    if r.max_seconds_per_part is not None:
        parts.append(f"{e.seconds_per_part:.3g} s a part, within {r.max_seconds_per_part:g} s")
    if r.max_cost_per_part_usd is not None:
        parts.append(
            f"{e.cost_per_part_usd:.3g} USD a part, within {r.max_cost_per_part_usd:g} USD"
        )
    return "".join(f"; {part}" for part in parts)


def _rate(wrong: int, n: int) -> float:
    return wrong / n if n else math.nan


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %" if value < 0.1 else f"{100 * value:.1f} %"
