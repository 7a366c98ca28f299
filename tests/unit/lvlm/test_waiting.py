"""Pauses that a service asks for: short ones are kept and said, long ones end the run resumable."""

import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from realitycheck.lvlm.backends.base import error_of_status
from realitycheck.lvlm.keys import Redactor
from realitycheck.lvlm.limiter import RateLimits
from realitycheck.lvlm.run import RunStoppedError

NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


def http_date(**later):
    return format_datetime(NOW + timedelta(**later), usegmt=True)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({"Retry-After": "999999999999"}, "999,999,999,999 s, until a time that no calendar has"),
        ({"Retry-After": "9" * 400}, "inf s, until a time that no calendar has"),
        ({"Retry-After": "86400"}, "86,400 s, until "),
        ({"Retry-After": format_datetime(datetime.now(UTC) + timedelta(days=2))}, "17[12],"),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, "until 31 Dec 9999|no calendar"),
    ],
)
def test_long_pause_stops_the_run_and_says_until_when(
    put, make_questions, servers, status, headers, asked
):
    """It could not be told from a run that hangs."""
    later = servers.Served(status, {"error": {"message": "later"}}, headers=headers)
    with servers.gemini.GeminiServer({2: later}) as server:
        began = time.monotonic()
        with pytest.raises(RunStoppedError, match="asks to wait for") as caught:
            put(make_questions(4), server.url)
        assert time.monotonic() - began < 30
        assert re.search(asked, str(caught.value)) and "max_wait_s" in str(caught.value)
        reason = "throttled" if status == 429 else "unavailable"
        assert (caught.value.reason, caught.value.exit_code) == (reason, 3)
        rows, _ = put(make_questions(4), server.url)
    assert (rows["status"] == "answered").all()
    assert len(server.paid) == 5


def test_pause_in_the_body_counts_as_well(put, make_questions, servers):
    """Google's services name it there."""
    later = servers.gemini.failure(429, retry_s=86_400)
    with (
        servers.gemini.GeminiServer({1: later}) as server,
        pytest.raises(RunStoppedError, match="asks to wait for 86,400 s"),
    ):
        put(make_questions(1), server.url)


@pytest.mark.parametrize("status", [429, 503])
def test_short_pause_is_kept_and_said(put, make_questions, servers, status):
    later = servers.Served(status, "", headers={"Retry-After": "1"})
    seen = []
    with servers.gemini.GeminiServer({1: later}) as server:
        put(
            make_questions(1),
            server.url,
            rate_limits={"max_wait_s": 1.0},
            progress=lambda at: seen.append(at.waits_for),
        )
    times = [arrival.at for arrival in server.paid]
    assert times[1] - times[0] >= 1.0
    assert any("by the service" in text and " until " in text for text in seen)
    assert seen[-1] == ""


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("0", 0.0),
        ("1.5", 1.5),
        (http_date(seconds=90), 90.0),
        (http_date(days=-3), 0.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("1e9", None),
        ("NaN", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("Mon, 30 Nov 2026 12:00:00 +99999999999999999999", None),
        ("Mon, 30 Nov 2026 99:99:99 GMT", None),
        ("Mon, 30 Nov", None),
        ("\x00", None),
        (", , ,", None),
    ],
)
def test_pause_is_read_from_numbers_and_dates_and_nothing_else(value, wait_s):
    """A date counts from the reply's own date: the clock here may show another day."""
    headers = {"date": http_date(), "retry-after": value}
    error = error_of_status(429, body="", headers=headers, redact=Redactor())
    assert error.wait_s == wait_s


def test_limit_on_pauses_must_make_sense():
    with pytest.raises(ValueError, match="max_wait_s: expected more than 0"):
        RateLimits(max_wait_s=0)
