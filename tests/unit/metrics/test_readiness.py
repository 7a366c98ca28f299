"""The decision, in its order, with the numbers that would settle it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realitycheck.metrics.intervals import clopper_pearson
from realitycheck.metrics.readiness import (
    PRACTICABLE_PARTS,
    Evidence,
    Requirements,
    decide,
    decide_all,
    decision_of,
)

LIMITS = Requirements(max_slip_rate=0.02, max_overkill_rate=0.05)


def test_thirty_two_of_thirty_two_cannot_tell_and_name_149():
    """The study's own number of defective parts proves 8.9 % at best, and never 2 %."""
    found = decide(Evidence(n_nok=32, n_ok=231, missed=0, rejected=2), LIMITS)
    assert found.decision == "cannot_tell"
    assert found.more_nok_needed == 117
    assert found.more_ok_needed == 0
    assert "149 defective parts in all, 117 more, without an error would settle it" in found.reason
    assert "0 of 32 defective parts slip, 8.94 % at most at 95 % confidence" in found.reason


def test_ready_needs_both_bounds():
    """149 of 149 caught and 2 of 231 rejected: 1.99 % and 2.7 % at most."""
    found = decide(Evidence(149, 231, 0, 2), LIMITS)
    assert found.decision == "ready"
    assert (found.more_nok_needed, found.more_ok_needed) == (0, 0)
    assert decide(Evidence(148, 231, 0, 2), LIMITS).decision == "cannot_tell"


def test_assist_prints_the_share_that_is_checked_again():
    """All defective parts are among the rejected, and a third of the good ones."""
    found = decide(Evidence(200, 300, 0, 100), LIMITS)
    assert found.decision == "assist"
    assert found.recheck_share == pytest.approx(300 / 500)
    assert (
        "a person checks what is rejected: 100 of 300 good parts (33.3 %) and 200 of 200 "
        "defective ones"
    ) in found.reason
    assert found.more_ok_needed == 0


def test_assist_says_how_many_good_parts_would_make_it_ready():
    """No good part was rejected, but there were too few to prove it."""
    found = decide(Evidence(200, 10, 0, 0), LIMITS)
    assert found.decision == "assist"
    assert found.more_ok_needed == 49
    assert "59 good parts in all, 49 more, without an error would make it ready" in found.reason


def test_rejecting_everything_assists_as_no_model_does():
    """The order of the specification puts assist first; the reason says what it is worth."""
    found = decide(Evidence(200, 300, 0, 300), LIMITS)
    assert found.decision == "assist"
    assert "a person checks all parts, as without any model" in found.reason
    limits = replace(LIMITS, max_recheck_share=0.9)
    found = decide(Evidence(200, 300, 0, 300), limits)
    assert found.decision == "not_ready"
    assert found.reason == (
        "It cannot decide alone: 300 of 300 good parts are rejected, 99.0 % at least at 95 % "
        "confidence, over the limit of 5 %; it is no help to people: they would check 99.0 % of "
        "good parts again at least, at 95 % confidence, and the limit is 90.0 %."
    )


def test_not_ready_by_the_lower_bound():
    """5 of 32 missed are 6.4 % at least."""
    found = decide(Evidence(32, 231, 5, 0), LIMITS)
    assert found.decision == "not_ready"
    assert "6.37 % at least at 95 % confidence, over the limit of 2 %" in found.reason


def test_not_ready_when_no_better_than_no_model():
    """Whatever the rates, a score that needs no model is no reason to use one."""
    found = decide(Evidence(10, 30, 5, 30), Requirements(0.5, 0.05))
    assert found.decision == "not_ready"
    assert found.reason == (
        "No better than no model: 5 of 10 defective parts slip and 30 of 30 good ones are "
        "rejected, and tossing a coin does as well."
    )


def test_time_and_cost_stand_against_ready():
    """Too slow, too dear, or not known: all three keep it from being ready."""
    limits = Requirements(0.02, 0.05, max_seconds_per_part=2, max_cost_per_part_usd=0.01)

    def found(seconds, cost):
        evidence = Evidence(200, 300, 0, 1, seconds_per_part=seconds, cost_per_part_usd=cost)
        return decide(evidence, limits)

    assert found(1.9, 0.01).decision == "ready"
    assert "1.9 s a part, within 2 s" in found(1.9, 0.01).reason
    assert found(2.1, 0.0).decision == "cannot_tell"
    assert "a part takes 2.1 s, and the limit is 2 s" in found(2.1, 0.0).reason
    assert "a part costs 0.02 USD" in found(1.0, 0.02).reason
    assert "the time of a part is not known" in found(None, 0.0).reason
    assert "the cost of a part is not known" in found(1.0, float("nan")).reason


def test_unanswered_parts_count_as_wrong_above_and_as_right_below():
    """Silence proves neither that a part slips nor that it is caught."""
    found = decide(Evidence(200, 300, 0, 0, unanswered_nok=20), LIMITS)
    assert found.decision == "cannot_tell"
    assert "0 of 200 defective parts slip and 20 have no verdict" in found.reason
    high = clopper_pearson(20, 200, side="upper")[1]
    assert f"{100 * high:.1f} % at most" in found.reason


def test_nothing_answered_says_so():
    """A method that was never asked has not let anything slip."""
    found = decide(Evidence(9, 14, 0, 0, unanswered_nok=9, unanswered_ok=14), LIMITS)
    assert found.decision == "did_not_judge"
    assert found.reason == (
        "None of the 23 parts has a verdict; 149 defective and 59 good parts without an error "
        "would settle it."
    )
    assert (found.more_nok_needed, found.more_ok_needed) == (140, 45)
    assert found.still_open == ("ready", "assist")


def test_few_judged_parts_are_no_judgement_and_say_why():
    """Two of 81 comparable to the reference, both missed: that says nothing of the method."""
    evidence = Evidence(
        40, 41, 2, 0, unanswered_nok=38, unanswered_ok=41, unanswered_why="not comparable"
    )
    found = decide(evidence, LIMITS)
    assert found.decision == "did_not_judge"
    assert found.reason.startswith("Only 2 of the 81 parts have a verdict (not comparable); ")
    half = Evidence(40, 40, 20, 0, unanswered_nok=0, unanswered_ok=40)
    assert decide(half, LIMITS).decision == "not_ready"


@pytest.mark.parametrize(("n_nok", "n_ok"), [(0, 50), (50, 0), (0, 0)])
def test_missing_kinds_of_parts_are_told(n_nok, n_ok):
    """Without defective parts nothing is known of slip, and it is never ready."""
    found = decide(Evidence(n_nok, n_ok, 0, 0), LIMITS)
    assert found.decision == "cannot_tell"
    assert found.more_nok_needed == 149 - n_nok
    if n_nok == 0:
        assert "here is no part to show how many defective parts slip" in found.reason


def test_without_good_parts_nobody_knows_what_is_checked_again():
    """200 of 200 defective parts caught; half of the good ones may be rejected, or none."""
    found = decide(Evidence(200, 0, 0, 0), LIMITS)
    assert found.decision == "cannot_tell"
    assert "there is no part to show how many good parts are rejected" in found.reason
    assert "59 good parts in all, 59 more, without an error would settle it" in found.reason


counts = st.integers(0, 400)


@given(counts, counts, st.data())
@settings(max_examples=120, deadline=None)
def test_order_of_the_specification_holds(n_nok, n_ok, data):
    """Each decision implies its own condition, and none before it was met."""
    missed = data.draw(st.integers(0, min(n_nok, 12)))
    rejected = data.draw(st.integers(0, n_ok))
    evidence = Evidence(n_nok, n_ok, missed, rejected)
    found = decide(evidence, LIMITS)
    caught_low = clopper_pearson(missed, n_nok, confidence=0.95**0.5, side="lower")[0]
    rejected_low = clopper_pearson(rejected, n_ok, confidence=0.95**0.5, side="lower")[0]
    is_no_better = caught_low + rejected_low >= 1
    slip_high = clopper_pearson(missed, n_nok, side="upper")[1]
    slip_low = clopper_pearson(missed, n_nok, side="lower")[0]
    overkill_high = clopper_pearson(rejected, n_ok, side="upper")[1]
    if slip_high <= 0.02 and n_ok:
        expected = "ready" if overkill_high <= 0.05 else "assist"
    elif slip_high <= 0.02:
        expected = "not_ready" if is_no_better else "cannot_tell"
    else:
        expected = "not_ready" if slip_low > 0.02 or is_no_better else "cannot_tell"
    assert found.decision == expected
    assert found.reason.endswith(".")
    if found.decision in ("ready", "not_ready"):
        assert (found.more_nok_needed, found.more_ok_needed) == (0, 0)
    assert found.decision == decision_of(evidence, LIMITS)
    is_over = clopper_pearson(rejected, n_ok, side="lower")[0] > 0.05
    assert ("ready" in found.excluded) == (is_over or found.decision == "not_ready")
    assert not set(found.excluded) & set(found.still_open)
    assert (found.decision == "cannot_tell") <= bool(found.still_open)


def test_excluded_and_open_are_told_apart():
    """Eight defective parts are too few, but its overkill is proven over the limit."""
    found = decide(Evidence(8, 14, 0, 8), LIMITS)
    assert found.decision == "cannot_tell"
    assert (found.excluded, found.still_open) == (("ready",), ("assist",))
    assert (
        "it cannot decide alone: 8 of 14 good parts are rejected, 32.5 % at least at 95 % "
        "confidence, over the limit of 5 %; 149 defective parts in all, 141 more, without an "
        "error would show that it may assist"
    ) in found.reason


def test_nobody_collects_as_many_parts():
    """At a rate near its limit a number can be computed, but not a part of it is worth it."""
    found = decide(Evidence(230, 300, 5, 0), LIMITS)
    assert found.more_nok_needed is None
    assert (
        "no practicable number of further defective parts (up to 10,000) would show that it is not "
        "ready"
    ) in found.reason
    found = decide(Evidence(0, 3000, 0, 0), Requirements(0.0004, 0.05))
    assert 0 < found.more_nok_needed <= PRACTICABLE_PARTS
    found = decide(Evidence(0, 3000, 0, 0), Requirements(0.0002, 0.05))
    assert found.more_nok_needed is None


def test_recheck_share_of_the_line_not_of_the_parts_at_hand():
    """Half of the parts at hand are defective, a hundredth of the line."""
    limits = replace(LIMITS, max_recheck_share=0.15, defect_rate=(0.0, 0.01))
    assert decide(Evidence(300, 300, 0, 30), limits).decision == "assist"  # 13.3 % at most
    assert decide(Evidence(300, 300, 0, 80), limits).decision == "not_ready"  # 22.5 % at least
    found = decide(Evidence(300, 300, 0, 36), limits)  # 15.5 % of good parts at most
    assert (found.decision, found.excluded) == ("cannot_tell", ("ready",))
    assert found.more_ok_needed > 0
    assert f"{found.more_ok_needed} more, at this rate would show that it may assist" in (
        found.reason
    )
    found = decide(Evidence(300, 300, 0, 36), replace(limits, defect_rate=(0.2, 0.3)))
    assert "no practicable number of further good parts" in found.reason


@pytest.mark.parametrize("times", [1, 10, 100])
@pytest.mark.parametrize(
    ("missed", "rejected"), [(0, 0), (0, 3), (20, 40), (100, 100), (50, 60), (0, 100)]
)
def test_mixture_changes_no_decision(missed, rejected, times):
    """More good parts at the same rate sharpen overkill's bound, and move nothing else."""
    one = decide(Evidence(1000, 1000, missed * 10, rejected * 10), LIMITS)
    other = decide(Evidence(1000, 1000 * times, missed * 10, rejected * 10 * times), LIMITS)
    assert one.decision == other.decision
    assert one.excluded == other.excluded


def test_decision_among_twenty_needs_more_than_one_alone():
    """With 149 defective parts one may be ready; of 20 tried each would need 297."""
    few = [Evidence(149, 300, 0, 0)] + [Evidence(149, 300, 6, 0)] * 19
    alone, among = decide_all(few, LIMITS, n_tries=20)[0]
    assert (alone.decision, among.decision) == ("ready", "cannot_tell")
    assert among.confidence == pytest.approx(0.9975)
    assert "297 defective parts in all, 148 more, without an error" in among.reason
    assert among.reason.endswith(
        "it is one of 20 tried on these parts, and at 95 % confidence none is wrongly found fit."
    )
    many = [Evidence(297, 300, 0, 0)] + [Evidence(297, 300, 12, 0)] * 19
    assert decide_all(many, LIMITS, n_tries=20)[0][1].decision == "ready"
    assert decide_all(many, LIMITS, n_tries=21)[0][1].decision == "cannot_tell"


def test_what_is_proven_leaves_the_error_to_the_rest():
    """One is proven among two; the other needs to be proven alone then."""
    limits = Requirements(0.02, 0.05)
    clear, close = Evidence(400, 400, 0, 0), Evidence(149, 400, 0, 0)
    assert decide_all([close, close], limits, n_tries=2)[0][1].decision == "cannot_tell"
    found = decide_all([clear, close], limits, n_tries=2)
    assert [among.decision for _, among in found] == ["ready", "ready"]
    assert decide_all([], limits, n_tries=3) == []


@given(st.integers(1, 30), st.integers(0, 400), st.integers(0, 8), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_more_tries_never_prove_more(n_tries, n, missed, rejected):
    """Among all tries nothing is ready or assists that would not alone."""
    evidence = Evidence(n, n, min(n, missed), min(n, rejected))
    alone, among = decide_all([evidence], LIMITS, n_tries=n_tries)[0]
    if among.decision in ("ready", "assist", "not_ready"):
        assert alone.decision in (among.decision, "ready")
    if n_tries == 1:
        assert alone == among


def test_name_of_a_decision_among_tries_is_that_of_its_sentence():
    """Tipping numbers ask for the name alone, at the confidence of the sentence."""
    evidence = Evidence(200, 300, 0, 0)
    _, among = decide_all([evidence], LIMITS, n_tries=9)[0]
    assert among.decision == "cannot_tell"
    assert decision_of(evidence, LIMITS, confidence_upper=among.confidence) == "cannot_tell"
    assert decision_of(evidence, LIMITS) == "ready"
