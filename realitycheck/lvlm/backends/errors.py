"""The closed list of ways in which a request can end without an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from realitycheck.lvlm.hints import is_about_key
from realitycheck.lvlm.keys import Redactor
from realitycheck.lvlm.reading import UnreadableError, read_json, writable

MAX_ERROR_CHARACTERS = 100_000

KEPT_HEADERS = frozenset(
    {"content-type", "date", "retry-after", "server", "x-request-id", "x-goog-request-id", "via"}
)
"""Headers of a reply that are stored; others may carry what belongs to the account."""


class SendError(Exception):
    """A request that brought no reply to read.

    Attributes:
        outcome: One of `realitycheck.lvlm.ledger.OUTCOMES`.
        detail: What happened, in short; free of keys.
        http: Status of the reply, if one came.
        body: Its body, free of keys.
        headers: Its headers.
        wait_s: Pause that the service asks for, in seconds.
    """

    outcome = "unknown"

    def __init__(
        self,
        detail: str,
        *,
        http: int | None = None,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        wait_s: float | None = None,
    ):
        super().__init__(detail)
        self.detail = detail
        self.http = http
        self.body = body
        self.headers = dict(headers or {})
        self.wait_s = wait_s


class ThrottledError(SendError):
    """429: too many requests.

    Attributes:
        is_daily: Whether a daily quota is used up, so that waiting does not help today.
    """

    outcome = "throttled"
    is_daily = False


class UnavailableError(SendError):
    """5xx: the service cannot answer at the moment."""

    outcome = "unavailable"


class UnreachableError(SendError):
    """No connection; nothing was sent."""

    outcome = "unreachable"


class RefusedError(SendError):
    """4xx: asking again would not help."""

    outcome = "refused"

    @property
    def is_about_question(self) -> bool:
        """Whether this one question may be the reason, such as its image; others could pass."""
        return self.http in (400, 413, 415, 422) and not is_about_key(self.detail)


class ForeignReplyError(RefusedError):
    """Status 200, but an error, a page, or the reply of something else than this service."""

    is_about_question = False


class AdaptedError(RefusedError):
    """The request held what the model does not take; the next one is put without it."""


class UnknownOutcomeError(SendError):
    """Sent, but no whole reply came; it may have been answered and paid for."""

    outcome = "unknown"


def error_of_status(
    status: int, *, body: str, headers: Mapping[str, str], redact: Redactor
) -> SendError:
    """The error that a reply with another status than 200 stands for."""
    body, kept = redact(body[:MAX_ERROR_CHARACTERS]), kept_headers(headers, redact)
    message, details = message_of(body)
    detail = f"HTTP {status}: {message}" if message else f"HTTP {status}"
    wait_s = max(
        (w for w in (_retry_after(headers), _retry_info(details)) if w is not None), default=None
    )
    known = {"http": status, "body": body, "headers": kept, "wait_s": wait_s}
    if status == 429:
        error = ThrottledError(detail, **known)
        error.is_daily = any("PerDay" in name for name in _quota_names(details))
        return error
    if status >= 500 or status in (408, 425):
        return UnavailableError(detail, **known)
    return RefusedError(detail, **known)


def kept_headers(headers: Mapping[str, str], redact: Redactor) -> dict[str, str]:
    """Headers of a reply that may be stored."""
    return {
        name.lower(): redact(str(value))
        for name, value in headers.items()
        if name.lower() in KEPT_HEADERS
    }


def status_of(body: str) -> int | None:
    """Status that an error inside of a reply gives, as a number."""
    try:
        error = read_json(body).get("error")
        code = error.get("code")
    except (UnreadableError, AttributeError):
        return None
    code = int(code) if isinstance(code, str) and re.fullmatch("[45][0-9][0-9]", code) else code
    return code if isinstance(code, int) and 400 <= code <= 599 else None


def message_of(body: str) -> tuple[str, list[Any]]:
    """Message and details of an error's body, in Google's or OpenAI's form or in none."""
    try:
        parsed = read_json(body)
    except UnreadableError:
        text = re.sub(r"<[^>]{0,500}>|\s+", " ", body[:4000])
        return " ".join(writable(text).split())[:300], []
    if isinstance(parsed, list) and parsed:  # Google's gateways wrap the error into a list
        parsed = parsed[0]
    error = parsed.get("error") or parsed if isinstance(parsed, dict) else parsed
    if not isinstance(error, dict):
        return str(error)[:300], []
    status, message = error.get("status") or error.get("code"), error.get("message")
    message = message if isinstance(message, str) else _validation_message(error.get("detail"))
    details = error.get("details")
    text = f"{status}: {message}" if status and message else message or str(status or "")
    text = text or " ".join(str(error).split())[:300]
    return text[:1000], details if isinstance(details, list) else []


def _validation_message(detail: Any) -> str:
    """Message in the form of FastAPI: a text, or a list of places and messages."""
    rows = detail if isinstance(detail, list) else []
    found = [
        f"{'.'.join(map(str, place)) if isinstance(place := row.get('loc'), list) else ''}: "
        f"{row.get('msg')}"
        for row in rows
        if isinstance(row, dict)
    ]
    return "; ".join(found) if found else str(detail or "")


def _retry_info(details: list[Any]) -> float | None:
    """Pause that google.rpc.RetryInfo asks for, in seconds."""
    for row in details:
        if isinstance(row, dict) and str(row.get("@type", "")).endswith("RetryInfo"):
            found = re.fullmatch(r"(\d+(?:\.\d+)?)s", str(row.get("retryDelay", "")))
            if found:
                return float(found[1])
    return None


def _quota_names(details: list[Any]) -> list[str]:
    """Names of the quotas that google.rpc.QuotaFailure reports."""
    return [
        str(violation.get("quotaId", ""))
        for row in details
        if isinstance(row, dict) and str(row.get("@type", "")).endswith("QuotaFailure")
        if isinstance(violations := row.get("violations"), list)
        for violation in violations
        if isinstance(violation, dict)
    ]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Pause that the header Retry-After asks for, in seconds: a number or a date (RFC 9110).

    A date counts from the reply's own date, since clocks differ. What is neither asks for nothing.
    """
    known = {name.lower(): str(value).strip() for name, value in headers.items()}
    value = known.get("retry-after", "")
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    when, now = _moment(value), _moment(known.get("date", ""))
    if when is None:
        return None
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def _moment(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
