"""What a backend is, and the closed list of ways in which a request can end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from realitycheck.lvlm.keys import Redactor
from realitycheck.lvlm.questions import Question

KEPT_HEADERS = frozenset(
    {"content-type", "date", "retry-after", "server", "x-request-id", "x-goog-request-id", "via"}
)
"""Headers of a reply that are stored; others may carry what belongs to the account."""


@dataclass(frozen=True)
class Reply:
    """A whole reply with status 200, as received."""

    http: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)


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


class UnknownOutcomeError(SendError):
    """Sent, but no whole reply came; it may have been answered and paid for."""

    outcome = "unknown"


class Backend(Protocol):
    """Sends one question at a time; used inside one event loop.

    Attributes:
        service: Kind of endpoint; a question's must be the same.
        base_url: Address of the endpoint.
        on_site: What the settings say of it; see `realitycheck.lvlm.gates.is_on_site`.
        client: Library and version.
        redact: Removes the backend's keys from texts.
    """

    service: str
    base_url: str
    on_site: bool | None
    client: str
    redact: Redactor

    async def open(self) -> None:
        """Make ready; called once, inside the event loop."""

    async def send(self, question: Question, *, timeout_s: float) -> Reply:
        """Send one question, once.

        Raises:
            SendError: One of its kinds, never an exception of a library.
        """

    async def close(self) -> None:
        """Let go of connections; called once."""


def error_of_status(
    status: int, *, body: str, headers: Mapping[str, str], redact: Redactor
) -> SendError:
    """The error that a reply with another status than 200 stands for."""
    body, kept = redact(body), kept_headers(headers, redact)
    message, details = _message(body)
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


def _message(body: str) -> tuple[str, list[Any]]:
    """Message and details of an error's body, in Google's or OpenAI's form or in none."""
    import json

    try:
        parsed = json.loads(body)
    except (json.JSONDecodeError, RecursionError):
        text = re.sub(r"<[^>]*>|\s+", " ", body)
        return " ".join(text.split())[:300], []
    if isinstance(parsed, list) and parsed:  # Google's gateways wrap the error into a list
        parsed = parsed[0]
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    if not isinstance(error, dict):
        return str(error)[:300], []
    status, message = error.get("status") or error.get("code"), str(error.get("message") or "")
    details = error.get("details")
    text = f"{status}: {message}" if status and message else message or str(status or "")
    return text[:1000], details if isinstance(details, list) else []


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
        for violation in row.get("violations") or []
        if isinstance(violation, dict)
    ]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Pause that the header Retry-After asks for, in seconds: a number or a date (RFC 9110)."""
    value = next((str(v) for n, v in headers.items() if n.lower() == "retry-after"), "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def error_of_transport(error: BaseException, *, redact: Redactor) -> SendError:
    """The error that an exception of httpx2 stands for.

    Only where it is certain that no request was sent is the outcome known.
    """
    import httpx2

    detail = redact(f"{type(error).__name__}: {error}".rstrip(": "))
    unsent = (
        httpx2.ConnectError,
        httpx2.ConnectTimeout,
        httpx2.PoolTimeout,
        httpx2.ProxyError,
        httpx2.UnsupportedProtocol,
    )
    return UnreachableError(detail) if isinstance(error, unsent) else UnknownOutcomeError(detail)


def http_client(base_url: str, *, timeout_s: float, max_connections: int) -> Any:
    """An asynchronous HTTP client that talks to one host only.

    Proxies of the environment are used. A redirect to another host, or an address that a library
    took from elsewhere, is refused before anything is sent.
    """
    import httpx2

    allowed = httpx2.URL(base_url)

    async def check_host(request: Any) -> None:
        if (request.url.scheme, request.url.host, request.url.port) != (
            allowed.scheme,
            allowed.host,
            allowed.port,
        ):
            raise RefusedError(
                f"a request to {request.url.host} was about to be sent, but only {allowed.host} is "
                "configured; nothing was sent"
            )

    return httpx2.AsyncClient(
        limits=httpx2.Limits(max_connections=max_connections),
        timeout=timeout_s,
        event_hooks={"request": [check_host]},
    )


def check_address(base_url: str) -> str:
    """Check that an address is one, and give it back.

    Raises:
        ValueError: If it is none, or holds user name or password.
    """
    import httpx2

    try:
        url = httpx2.URL(base_url)
        urlsplit(base_url).port  # noqa: B018, raises for what httpx2 passes on: a half bracket
    except (httpx2.InvalidURL, TypeError, ValueError) as error:
        shown = "the text" if "@" in str(base_url) else repr(base_url)
        raise ValueError(f"base_url: {shown} is no address ({error})") from None
    if "@" in base_url or url.query:
        raise ValueError(
            "base_url: an address with a user name, a password or a query may hold a key; give the "
            "key by key_env or key_file"
        )
    if url.scheme not in ("http", "https") or not url.host or " " in base_url:
        raise ValueError(
            f"base_url: expected an address like https://host:port/path, got {base_url!r}"
        )
    return base_url
