"""The decision: can the product be inspected this way, from bounds, cost and time.

A rate meets its limit when its one-sided upper bound does, not when the rate itself does; it fails
it when its lower bound is above. Between the two the parts at hand are too few to tell. What is
excluded already and what is still open follows for *ready* and *assist* one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from realitycheck.metrics.intervals import clopper_pearson
from realitycheck.metrics.line import Rates, informedness
from realitycheck.metrics.sample_size import parts_to_settle
from realitycheck.metrics.tries import confidence_of_each, n_unproven

#: Nobody collects more further parts of one kind than this; the number is not told then.
PRACTICABLE_PARTS = 10_000
#: A method that has judged a smaller share of the parts did not judge them.
MIN_JUDGED_SHARE = 0.5


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
        unanswered_why: Why they have none, for the reason; empty where it is not known.
        seconds_per_part: None where it is not known.
        cost_per_part_usd: None where it is not known.
    """

    n_nok: int
    n_ok: int
    missed: int
    rejected: int
    unanswered_nok: int = 0
    unanswered_ok: int = 0
    unanswered_why: str = ""
    seconds_per_part: float | None = None
    cost_per_part_usd: float | None = None

    @property
    def n_parts(self) -> int:
        """All parts."""
        return self.n_nok + self.n_ok

    @property
    def n_unanswered(self) -> int:
        """Parts without a verdict."""
        return self.unanswered_nok + self.unanswered_ok

    @property
    def slip_wrong(self) -> int:
        """Defective parts that pass or have no verdict."""
        return self.missed + self.unanswered_nok

    @property
    def overkill_wrong(self) -> int:
        """Good parts that are rejected or have no verdict."""
        return self.rejected + self.unanswered_ok


@dataclass(frozen=True)
class Requirements:
    """What the product asks of an inspection; None: no limit.

    Attributes:
        max_slip_rate: Share of defective parts that may pass.
        max_overkill_rate: Share of good parts that may be rejected.
        max_seconds_per_part: Time.
        max_cost_per_part_usd: Cost.
        max_recheck_share: Share of the line's parts that people may have to check again.
        defect_rate: Lowest and highest share of the line's parts that are defective; None where it
            is not known: then the recheck share is that of good parts, of which lines consist.
    """

    max_slip_rate: float
    max_overkill_rate: float
    max_seconds_per_part: float | None = None
    max_cost_per_part_usd: float | None = None
    max_recheck_share: float | None = None
    defect_rate: tuple[float, float] | None = None


@dataclass(frozen=True)
class Decision:
    """A decision with its reason.

    Attributes:
        decision: `ready`, `assist`, `not_ready`, `cannot_tell` or `did_not_judge`.
        reason: One sentence with its numbers.
        recheck_share: Share of the parts at hand that are rejected or have no verdict.
        more_nok_needed: Further defective parts that would settle the slip rate if the observed one
            holds; 0 where it is settled, None where no practicable number would.
        more_ok_needed: The same of good parts and the overkill rate.
        excluded: Which of `ready` and `assist` the parts at hand rule out.
        still_open: Which of them they neither prove nor rule out.
        confidence: Of each upper bound.
    """

    decision: str
    reason: str
    recheck_share: float
    more_nok_needed: int | None
    more_ok_needed: int | None
    excluded: tuple[str, ...] = ()
    still_open: tuple[str, ...] = ()
    confidence: float = 0.95


@dataclass(frozen=True)
class _Standing:
    """Bounds against limits; a standing is True: met, False: failed, None: open."""

    slip_high: float
    slip_low: float
    overkill_high: float
    overkill_low: float
    slip: bool | None
    overkill: bool | None
    recheck: bool | None
    is_dear: bool  # cost or time is known and over its limit
    is_unknown: bool  # cost or time is not known
    is_no_better: bool

    @property
    def excluded(self) -> tuple[str, ...]:
        """What the parts at hand rule out."""
        ready = self.overkill is False or self.is_dear
        both = self.slip is False or self.is_no_better
        is_out = {"ready": both or ready, "assist": both or self.recheck is False}
        return tuple(name for name, out in is_out.items() if out)


def decide(
    evidence: Evidence,
    requirements: Requirements,
    *,
    confidence: float = 0.95,
    n_tries: int = 1,
    n_sharing: int | None = None,
    among: str = "tried on these parts",
) -> Decision:
    """Decide whether a method is fit for a product.

    A method that has judged less than `MIN_JUDGED_SHARE` of the parts *did not judge*. Else, in
    this order: *ready* if the upper bounds of slip and overkill rate, and cost and time of a part,
    meet their limits; *assist* if slip's upper bound meets its limit and overkill's does not,
    so that a person checks again what is rejected, unless that may be more than the limit; *not
    ready* if slip's lower bound is above its limit, if more than the limit would be checked again
    and overkill is over its limit, or if the method is no better than no model (the upper bound of
    1 - slip - overkill is not above 0, which no mixture of parts changes); else *cannot tell*.

    A part without a verdict counts as wrong in upper bounds and as right in lower ones. A rate of
    which there is no part, and a cost or time that is not known, do not meet a limit; without good
    parts nothing is *assist*, since nobody knows how much would be checked again. Bounds: one-sided
    Clopper-Pearson. Upper bounds, which prove that a method is fit, share the error among the
    tries; lower ones, by which nobody picks a method, do not.

    Args:
        evidence: Counts, cost and time.
        requirements: The limits.
        confidence: That no try is wrongly found fit; of each lower bound alone.
        n_tries: How many were tried on these parts, for the sentence.
        n_sharing: How many of them share the error (`realitycheck.metrics.tries`); None: all.
        among: What these tries are, after their number.

    Returns:
        The decision. Numbers of further parts assume that the observed rates, with unanswered parts
        as wrong, hold.
    """
    e, r = evidence, requirements
    upper = confidence_of_each(n_tries if n_sharing is None else n_sharing, confidence)
    s = _standing(e, r, confidence, upper)
    decision = _name(e, s)
    recheck = (e.n_nok - e.missed + e.overkill_wrong) / e.n_parts if e.n_parts else math.nan
    reasons, more_nok, more_ok = _reasons(decision, e, r, s, confidence, upper)
    if n_tries > 1 and e.n_unanswered < e.n_parts:
        told = f"it is one of {n_tries} {among}"
        if decision != "not_ready":
            told += f", and at {_confidence(confidence)} confidence none is wrongly found fit"
        reasons.append(told)
    reason = "; ".join(filter(None, reasons))
    is_proven = {"ready": ("ready", "assist"), "assist": ("assist",)}.get(decision, ())
    excluded = ("ready", "assist") if decision == "not_ready" else s.excluded
    return Decision(
        decision,
        f"{reason[0].upper()}{reason[1:]}.",
        recheck,
        more_nok,
        more_ok,
        excluded=excluded,
        still_open=tuple(n for n in ("ready", "assist") if n not in (*is_proven, *excluded)),
        confidence=upper,
    )


def decide_all(
    evidence: Sequence[Evidence],
    requirements: Requirements,
    *,
    n_tries: int,
    confidence: float = 0.95,
    among: str = "tried on these parts",
) -> list[tuple[Decision, Decision]]:
    """Decide for methods that were tried on the same parts, each alone and among all tries.

    Args:
        evidence: Of each method, K of them.
        requirements: The limits.
        n_tries: Everything that was ever tried on these parts; those of the K that judged nothing
            are no tries, all others are among them.
        confidence: Alone: of each bound. Among all: that no try is wrongly found fit.
        among: What these tries are, for the sentence.

    Returns:
        For each method the decision alone and the one among all tries, which is the one to use.

    Raises:
        ValueError: If `n_tries` is below the number of those that judged.
    """
    judged = [e for e in evidence if e.n_unanswered < e.n_parts]
    n_sharing = int(
        n_unproven(
            [e.slip_wrong for e in judged],
            [e.n_nok for e in judged],
            [e.overkill_wrong for e in judged],
            [e.n_ok for e in judged],
            max_slip_rate=requirements.max_slip_rate,
            max_overkill_rate=requirements.max_overkill_rate,
            n_tries=n_tries,
            confidence=confidence,
        )
    )
    return [
        (
            decide(e, requirements, confidence=confidence),
            decide(
                e,
                requirements,
                confidence=confidence,
                n_tries=n_tries,
                n_sharing=n_sharing,
                among=among,
            ),
        )
        for e in evidence
    ]


def decision_of(
    evidence: Evidence,
    requirements: Requirements,
    *,
    confidence: float = 0.95,
    confidence_upper: float | None = None,
) -> str:
    """Give the name of a decision, as `decide` does, without its sentence.

    Args:
        evidence: Counts, cost and time.
        requirements: The limits.
        confidence: Of each lower bound.
        confidence_upper: Of each upper bound (`Decision.confidence`); None: the same.
    """
    upper = confidence if confidence_upper is None else confidence_upper
    return _name(evidence, _standing(evidence, requirements, confidence, upper))


def _standing(e: Evidence, r: Requirements, confidence: float, upper: float) -> _Standing:
    slip_high = clopper_pearson(e.slip_wrong, e.n_nok, confidence=upper, side="upper")[1]
    slip_low = clopper_pearson(e.missed, e.n_nok, confidence=confidence, side="lower")[0]
    overkill_high = clopper_pearson(e.overkill_wrong, e.n_ok, confidence=upper, side="upper")[1]
    overkill_low = clopper_pearson(e.rejected, e.n_ok, confidence=confidence, side="lower")[0]
    rates = Rates.of(e.n_nok, e.n_ok, e.missed, e.rejected, e.unanswered_nok, e.unanswered_ok)
    over, unknown = _cost_and_time(e, r)
    if not e.n_ok:
        recheck = None
    elif r.max_recheck_share is None or _recheck(r, overkill_high)[1] <= r.max_recheck_share:
        recheck = True
    else:
        recheck = False if _recheck(r, overkill_low)[0] > r.max_recheck_share else None
    return _Standing(
        slip_high=slip_high,
        slip_low=slip_low,
        overkill_high=overkill_high,
        overkill_low=overkill_low,
        slip=_against(slip_low, slip_high, r.max_slip_rate),
        overkill=_against(overkill_low, overkill_high, r.max_overkill_rate),
        recheck=recheck,
        is_dear=bool(over),
        is_unknown=bool(unknown),
        is_no_better=informedness(rates, confidence=confidence).high <= 0,
    )


def _recheck(r: Requirements, overkill: float) -> tuple[float, float]:
    """Least and greatest share of the line that is checked again, whatever the slip rate is."""
    low, high = r.defect_rate or (0.0, 0.0)
    return (1 - high) * overkill, high + (1 - high) * overkill


def _recheck_limit(r: Requirements) -> float:
    """Overkill rate up to which the recheck share meets its limit; 0 or less where none does."""
    high = r.defect_rate[1] if r.defect_rate else 0.0
    return (r.max_recheck_share - high) / (1 - high) if high < 1 else 0.0


def _against(low: float, high: float, limit: float) -> bool | None:
    if high <= limit:
        return True
    return False if low > limit else None


def _name(e: Evidence, s: _Standing) -> str:
    if e.n_parts and (e.n_parts - e.n_unanswered) / e.n_parts < MIN_JUDGED_SHARE:
        return "did_not_judge"
    if s.slip and s.overkill and not s.is_dear and not s.is_unknown:
        return "ready"
    if s.slip and not s.overkill and s.recheck:
        return "assist"
    return "not_ready" if s.excluded == ("ready", "assist") else "cannot_tell"


def _reasons(
    decision: str, e: Evidence, r: Requirements, s: _Standing, confidence: float, upper: float
) -> tuple[list[str], int | None, int | None]:
    """Clauses of the reason, and further defective and good parts that would settle it."""
    slip = _bounded(
        ("defective part slips", "defective parts slip"),
        (e.missed, e.unanswered_nok, e.n_nok),
        s.slip_high,
        r.max_slip_rate,
        upper,
    )
    overkill = _bounded(
        ("good part is rejected", "good parts are rejected"),
        (e.rejected, e.unanswered_ok, e.n_ok),
        s.overkill_high,
        r.max_overkill_rate,
        upper,
    )
    over, unknown = _cost_and_time(e, r)
    other = [*over, *unknown]
    n_nok = parts_to_settle(e.slip_wrong, e.n_nok, r.max_slip_rate, confidence=upper)
    n_ok = parts_to_settle(e.overkill_wrong, e.n_ok, r.max_overkill_rate, confidence=upper)
    more_nok, more_ok = _practicable(n_nok, e.n_nok), _practicable(n_ok, e.n_ok)
    too_much = _too_much(e, r, s, confidence)

    if decision == "did_not_judge":
        return _not_judged(e, r, upper)
    if decision == "ready":
        return [f"{slip}; {overkill}{_met(e, r)}"], 0, 0
    if decision == "assist":
        wanted = ""
        if s.overkill is False or _rate(e.overkill_wrong, e.n_ok) > r.max_overkill_rate:
            more_ok = 0
        else:
            wanted = _further(more_ok, n_ok, "good", e.overkill_wrong == 0, "make it ready")
        of_line = ""
        if r.defect_rate is not None:
            share = _percent(_recheck(r, s.overkill_high)[1])
            of_line = f"of the line's parts, people would check {share} again at most"
        return [slip, f"{overkill}, so {_checked(e)}", of_line, wanted, *other], 0, more_ok
    over_slip = (
        f"{_counted(('defective part slips', 'defective parts slip'), e.missed, e.n_nok)}, "
        f"{_percent(s.slip_low)} at least at {_confidence(confidence)} confidence, over the limit "
        f"of {_percent(r.max_slip_rate)}"
    )
    if decision == "not_ready":
        if s.slip is False:
            return [over_slip], 0, 0
        if s.is_no_better:
            return [_no_better(e)], 0, 0
        alone = _not_alone(e, r, s, confidence) if s.overkill is False else ""
        return [alone, *over, too_much], 0, 0
    if s.slip and s.overkill:  # cost or time is what stands against it
        return [slip, overkill, f"but {' and '.join(other)}"], 0, 0

    is_slip_worse = _rate(e.slip_wrong, e.n_nok) > r.max_slip_rate
    is_overkill_worse = _rate(e.overkill_wrong, e.n_ok) > r.max_overkill_rate
    end = "show that it is not ready" if is_slip_worse else "settle it"
    if s.overkill is False and not is_slip_worse:
        end = "show that it may assist"
    if s.slip and e.n_ok:  # whether people would check too much again is not known
        limit = _recheck_limit(r)
        n_ok = None
        if 0 < limit < 1:
            n_ok = parts_to_settle(e.overkill_wrong, e.n_ok, limit, confidence=upper)
        more_ok = _practicable(n_ok, e.n_ok)
        is_worse = _rate(e.overkill_wrong, e.n_ok) > limit
        end = "show that it is no help" if is_worse else "show that it may assist"
        wanted = _further(more_ok, n_ok, "good", e.overkill_wrong == 0, end)
        return [slip, overkill, wanted, *other], 0, more_ok
    if is_slip_worse or is_overkill_worse or s.overkill is not None:
        more_ok = 0  # the slip rate alone settles it
    wanted = [
        _further(more_nok, n_nok, "defective", e.slip_wrong == 0, end),
        _further(more_ok, n_ok, "good", e.overkill_wrong == 0, "settle it"),
    ]
    alone = _not_alone(e, r, s, confidence) if s.overkill is False else ""
    shown = overkill if more_ok != 0 else ""
    return [slip, alone or shown, too_much, *wanted, *other], more_nok, more_ok


def _practicable(in_all: int | None, n: int) -> int | None:
    return None if in_all is None or in_all - n > PRACTICABLE_PARTS else in_all - n


def _not_judged(
    e: Evidence, r: Requirements, confidence: float
) -> tuple[list[str], int | None, int | None]:
    """Say what a method without an error would need where there are none or few verdicts."""
    n_nok = parts_to_settle(0, 0, r.max_slip_rate, confidence=confidence)
    n_ok = parts_to_settle(0, 0, r.max_overkill_rate, confidence=confidence)
    n_judged = e.n_parts - e.n_unanswered
    how_many = f"only {n_judged}" if n_judged else "none"
    reason = f"{how_many} of the {e.n_parts} parts {'have' if n_judged > 1 else 'has'} a verdict"
    if e.unanswered_why:
        reason += f" ({e.unanswered_why})"
    reasons = [reason]
    if n_nok is not None and n_ok is not None:
        reasons.append(
            f"{n_nok:,} defective and {n_ok:,} good parts without an error would settle it"
        )
    further = [
        None if n is None else _practicable(max(n, own), own)
        for n, own in ((n_nok, e.n_nok), (n_ok, e.n_ok))
    ]
    return reasons, *further


def _no_better(e: Evidence) -> str:
    return (
        f"no better than no model: {e.missed} of {e.n_nok} defective parts slip and {e.rejected} "
        f"of {e.n_ok} good ones are rejected, and tossing a coin does as well"
    )


def _not_alone(e: Evidence, r: Requirements, s: _Standing, confidence: float) -> str:
    what = ("good part is rejected", "good parts are rejected")
    return (
        f"it cannot decide alone: {_counted(what, e.rejected, e.n_ok)}, "
        f"{_percent(s.overkill_low)} at least at {_confidence(confidence)} confidence, over the "
        f"limit of {_percent(r.max_overkill_rate)}"
    )


def _too_much(e: Evidence, r: Requirements, s: _Standing, confidence: float) -> str:
    """Say that people would check too much again, where that is known."""
    if s.recheck is not False:
        return ""
    of = "good parts" if r.defect_rate is None else "the line's parts"
    return (
        f"it is no help to people: they would check {_percent(_recheck(r, s.overkill_low)[0])} "
        f"of {of} again at least, at {_confidence(confidence)} confidence, and the limit is "
        f"{_percent(r.max_recheck_share)}"
    )


def _checked(e: Evidence) -> str:
    n_nok = e.n_nok - e.missed
    if n_nok + e.overkill_wrong == e.n_parts:
        return "a person checks all parts, as without any model"
    return (
        f"a person checks what is rejected: {e.overkill_wrong} of {e.n_ok} good parts "
        f"({_percent(e.overkill_wrong / e.n_ok)}) and {n_nok} of {e.n_nok} defective ones"
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
        f"{_counted(what, wrong, n)}{extra}, {_percent(high)} at most at "
        f"{_confidence(confidence)} confidence, {verdict} {_percent(limit)}"
    )


def _have(n: int) -> str:
    return "has" if n == 1 else "have"


def _further(more: int | None, in_all: int | None, kind: str, is_perfect: bool, end: str) -> str:
    if more is None:
        return (
            f"no practicable number of further {kind} parts (up to {PRACTICABLE_PARTS:,}) would "
            f"{end} at this rate"
        )
    if more == 0:
        return ""
    how = "without an error" if is_perfect else "at this rate"
    return f"{in_all:,} {kind} parts in all, {more:,} more, {how} would {end}"


def _cost_and_time(e: Evidence, r: Requirements) -> tuple[list[str], list[str]]:
    """Say what does not meet its limit, and what is not known."""
    over, unknown = [], []
    for name, value, limit, unit in (
        ("time", e.seconds_per_part, r.max_seconds_per_part, "s"),
        ("cost", e.cost_per_part_usd, r.max_cost_per_part_usd, "USD"),
    ):
        if limit is None:
            continue
        if value is None or math.isnan(value):
            unknown.append(f"the {name} of a part is not known, and the limit is {limit:g} {unit}")
        elif value > limit:
            verb = "takes" if unit == "s" else "costs"
            over.append(f"a part {verb} {value:.3g} {unit}, and the limit is {limit:g} {unit}")
    return over, unknown


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


def _confidence(value: float) -> str:
    """Confidence in words, with as many digits as its distance from 100 % needs."""
    return f"{100 * value:.{max(4, 1 - math.floor(math.log10(1 - value)))}g} %"


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %" if value < 0.1 else f"{100 * value:.1f} %"
