"""The decision, in its order, with the numbers that would settle it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realitycheck.metrics.intervals import clopper_pearson
from realitycheck.metrics.readiness import Evidence, Requirements, decide

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
    assert "a person checks the 60.0 % of the 500 parts that are rejected" in found.reason
    assert found.more_ok_needed == 0


def test_assist_says_how_many_good_parts_would_make_it_ready():
    """No good part was rejected, but there were too few to prove it."""
    found = decide(Evidence(200, 10, 0, 0), LIMITS)
    assert found.decision == "assist"
    assert found.more_ok_needed == 49
    assert "59 good parts in all, 49 more, without an error would make it ready" in found.reason


def test_rejecting_everything_assists_as_no_model_does():
    """The order of the specification puts assist first; the reason says what it is worth."""
    found = decide(Evidence(200, 300, 0, 300, is_no_better=True), LIMITS)
    assert found.decision == "assist"
    assert "which is all of them, as without any model" in found.reason


def test_not_ready_by_the_lower_bound():
    """5 of 32 missed are 6.4 % at least."""
    found = decide(Evidence(32, 231, 5, 0), LIMITS)
    assert found.decision == "not_ready"
    assert "6.37 % at least at 95 % confidence, over the limit of 2 %" in found.reason


def test_not_ready_when_no_better_than_no_model():
    """Whatever the rates, a score that needs no model is no reason to use one."""
    evidence = Evidence(32, 231, 1, 200, is_no_better=True, f2_high=0.37, f2_floor=0.409)
    found = decide(evidence, LIMITS)
    assert found.decision == "not_ready"
    assert "F2 is 0.37 at most, and 0.41 is reached without any model" in found.reason


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
    assert found.decision == "cannot_tell"
    assert found.reason == (
        "None of the 23 parts has a verdict; 149 defective and 59 good parts without an error "
        "would settle it."
    )
    assert (found.more_nok_needed, found.more_ok_needed) == (140, 45)


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
@settings(max_examples=120)
def test_order_of_the_specification_holds(n_nok, n_ok, data):
    """Each decision implies its own condition, and none before it was met."""
    missed = data.draw(st.integers(0, min(n_nok, 12)))
    rejected = data.draw(st.integers(0, n_ok))
    is_no_better = data.draw(st.booleans())
    found = decide(Evidence(n_nok, n_ok, missed, rejected, is_no_better=is_no_better), LIMITS)
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
