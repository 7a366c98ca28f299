"""What a backend is, and the closed list of ways in which a request can end."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from realitycheck.lvlm.backends.dialect import Dialect
from realitycheck.lvlm.gates import address_faults, proxy_of, without_login
from realitycheck.lvlm.hints import is_about_key
from realitycheck.lvlm.keys import Redactor
from realitycheck.lvlm.questions import Question
from realitycheck.lvlm.reading import UnreadableError, read_json, writable
from realitycheck.lvlm.verdict import is_completion

log = logging.getLogger(__name__)

MAX_REPLY_BYTES = 16_000_000
"""Largest body of a reply that is read; an answer of 65,536 tokens takes about 300,000."""

_MAX_ERROR_CHARACTERS = 100_000

KEPT_HEADERS = frozenset(
    {"content-type", "date", "retry-after", "server", "x-request-id", "x-goog-request-id", "via"}
)
"""Headers of a reply that are stored; others may carry what belongs to the account."""


@dataclass(frozen=True)
class Reply:
    """A whole reply with status 200, as received; `client` as in `Backend`, for this reply."""

    http: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)
    client: str | None = None


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


class Backend(Protocol):
    """Sends one question at a time; used inside one event loop.

    Attributes:
        service: Kind of endpoint; a question's must be the same.
        base_url: Address of the endpoint.
        on_site: What the settings say of it; see `realitycheck.lvlm.gates.is_on_site`.
        client: Library and version, and what of the protocol is left out; see `Dialect`.
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
    body, kept = redact(body[:_MAX_ERROR_CHARACTERS]), kept_headers(headers, redact)
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


def error_of_reply(service: str, reply: Reply, redact: Redactor) -> SendError | None:
    """The error that a reply with status 200 holds; None if it is an answer.

    An error that gives its own status (gateways pass on what others answered) is taken for one. A
    reply of nothing may be one of the service's moods; it is asked for again as what was cut is.
    """
    if is_completion(service, reply.body):
        return None
    known = {"body": reply.body[:_MAX_ERROR_CHARACTERS], "headers": reply.headers}
    message, _ = _message(known["body"])
    status = _status_of(reply.body)
    if status is not None:
        return error_of_status(status, redact=redact, **known)
    if reply.body.strip() in ("", "{}", "[]", "null"):
        return UnknownOutcomeError("the reply is empty", http=reply.http, **known)
    return ForeignReplyError(
        f"the reply has status 200 but is no answer; it says: {message}", http=reply.http, **known
    )


def _status_of(body: str) -> int | None:
    """Status that an error inside of a reply gives, as a number."""
    try:
        error = read_json(body).get("error")
        code = error.get("code")
    except (UnreadableError, AttributeError):
        return None
    code = int(code) if isinstance(code, str) and re.fullmatch("[45][0-9][0-9]", code) else code
    return code if isinstance(code, int) and 400 <= code <= 599 else None


def _message(body: str) -> tuple[str, list[Any]]:
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


def error_of_library(error: Exception, *, redact: Redactor) -> SendError:
    """The error that an exception of a library stands for, whatever it made of a reply.

    Only where it is certain that no request was sent is the outcome known.
    """
    import httpx2

    causes = [error]
    while (cause := causes[-1].__cause__) is not None and isinstance(cause, Exception):
        causes.append(cause)
    for cause in causes:
        if isinstance(cause, SendError):
            return cause
    transport = [c for c in causes if isinstance(c, httpx2.HTTPError | httpx2.InvalidURL)]
    cause = (transport or causes)[0]
    detail = writable(redact(f"{type(cause).__name__}: {cause}".rstrip(": ")))[:1000]
    unsent = (
        httpx2.ConnectError,
        httpx2.ConnectTimeout,
        httpx2.PoolTimeout,
        httpx2.ProxyError,
        httpx2.UnsupportedProtocol,
    )
    return UnreachableError(detail) if isinstance(cause, unsent) else UnknownOutcomeError(detail)


def adapted(
    now: Dialect, *, used: Dialect, failure: SendError, sent: Collection[str]
) -> tuple[Dialect, SendError]:
    """The dialect from now on and the error to raise, after a request failed.

    Args:
        now: The dialect of the backend; another question may have changed it meanwhile.
        used: The dialect of the request.
        failure: What became of it.
        sent: See `Dialect.after`.
    """
    if failure.http not in (400, 422, 500, 501):
        return now, failure
    next_one = used.after(failure.detail, sent=sent)
    if next_one is None:
        return now, failure
    if now == used:
        now = next_one
        log.warning("%s; asking from now on with: %s", failure.detail, now)
    known = {"http": failure.http, "body": failure.body, "headers": failure.headers}
    return now, AdaptedError(failure.detail, **known)


def http_client(
    service: str,
    base_url: str,
    *,
    on_site: bool | None,
    redact: Redactor,
    timeout_s: float,
    max_connections: int,
) -> Any:
    """An asynchronous HTTP client that talks to one host only, and whose replies are tame.

    A proxy of the environment is used as `realitycheck.lvlm.gates.proxy_of` says, never for the
    site. A redirect, or an address that a library took from elsewhere, is not followed. Replies
    that are no success are raised as `SendError` before a library reads them; the body of the
    others is bounded, and text in UTF-8.

    Raises:
        ValueError: If the environment's proxy cannot be used.
    """
    import httpx2

    allowed = httpx2.URL(base_url)
    proxy = proxy_of(service, base_url, on_site=on_site)
    redact.add(urlsplit(proxy or "").password)
    try:
        inner = httpx2.AsyncHTTPTransport(
            limits=httpx2.Limits(max_connections=max_connections), proxy=proxy
        )
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        raise ValueError(
            f"the proxy {without_login(proxy or '')} of the environment cannot be used ({error}); "
            f"change HTTPS_PROXY or ALL_PROXY, or list {allowed.host} in NO_PROXY"
        ) from None

    class Tame(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: Any) -> Any:
            url = request.url
            if (url.scheme, url.host, url.port) != (allowed.scheme, allowed.host, allowed.port):
                raise RefusedError(
                    f"a request to {url.host} was about to be sent, but only {allowed.host} is "
                    "configured; nothing was sent"
                )
            # Of the codings that libraries offer, some have no bound on what a few bytes become.
            request.headers["accept-encoding"] = "gzip"
            redact.add(request.headers.get("authorization", "").partition(" ")[2])
            response = await inner.handle_async_request(request)
            try:
                body = await _text_of(response)
            finally:
                await response.aclose()
            if 300 <= response.status_code < 400:
                elsewhere = re.match(r"\w+://([\w.:-]+)", response.headers.get("location", ""))
                raise RefusedError(
                    f"HTTP {response.status_code}: {allowed.host} passes on to "
                    f"{elsewhere[1] if elsewhere else 'another place'}; nothing was sent there. "
                    "Set base_url to the address that is meant",
                    http=response.status_code,
                )
            if not response.is_success:
                raise error_of_status(
                    response.status_code, body=body, headers=response.headers, redact=redact
                )
            kept = {n: v for n, v in response.headers.items() if n.lower() in KEPT_HEADERS}
            kept["content-type"] = "application/json; charset=utf-8"
            return httpx2.Response(200, headers=kept, content=body.encode())

        async def aclose(self) -> None:
            await inner.aclose()

    return httpx2.AsyncClient(transport=Tame(), timeout=timeout_s)


async def _text_of(response: Any) -> str:
    """Body of a response, as text; bytes that are no UTF-8 become U+FFFD."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", ""):
        raise UnknownOutcomeError(f"the reply is packed as {coding[:40]}, which was not asked for")
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_REPLY_BYTES:
            raise UnknownOutcomeError(f"the reply is larger than {MAX_REPLY_BYTES:,} bytes")
        parts.append(part)
    return b"".join(parts).decode("utf-8-sig", "replace")


def check_address(base_url: str) -> str:
    """Check that an address is one, and give it back.

    Raises:
        ValueError: If it is none, or holds user name or password.
    """
    faults = address_faults(base_url)
    if faults:
        raise ValueError("; ".join(faults))
    return base_url
