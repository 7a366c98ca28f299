"""The HTTP client that all backends share, and what its exceptions mean."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from realitycheck.lvlm.backends.egress import Endpoint, without_login
from realitycheck.lvlm.backends.errors import (
    KEPT_HEADERS,
    RefusedError,
    SendError,
    UnknownOutcomeError,
    UnreachableError,
    error_of_status,
)
from realitycheck.lvlm.keys import Redactor
from realitycheck.lvlm.reading import writable

MAX_REPLY_BYTES = 16_000_000
"""Largest body of a reply that is read; an answer of 65,536 tokens takes about 300,000."""


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


def http_client(endpoint: Endpoint, *, redact: Redactor, max_connections: int) -> Any:
    """An asynchronous HTTP client that sends to one host only and checks replies before a library.

    It uses the proxy of the endpoint. It follows no redirect, and refuses an address that a library
    took from elsewhere. Replies that are no success are raised as `SendError` before a library
    reads them; the body of the others is bounded, and text in UTF-8.

    Raises:
        ValueError: If the environment's proxy cannot be used.
    """
    import httpx2

    allowed = httpx2.URL(endpoint.address)
    proxy = endpoint.proxy
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

    class Checked(httpx2.AsyncBaseTransport):
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

    return httpx2.AsyncClient(transport=Checked(), timeout=600.0)


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
