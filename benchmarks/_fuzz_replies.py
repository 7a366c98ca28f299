"""Damaged replies, sent by a real server on this machine to the client of each service.

A reply may end in a row with a status or in a run that stops with a reason; then the run goes on
with the next reply. Anything else is a failure: another exception, a row that cannot be written, a
quote that disagrees with the run, a request at another host, a run that takes longer or more memory
than the bounds below.
"""

from __future__ import annotations

import gzip
import json
import logging
import resource
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from realitycheck.core.constants import VERDICT_STATUSES
from realitycheck.core.schemas import VERDICTS
from realitycheck.core.tables import write_table
from realitycheck.lvlm.assembly import Subject, questions_for
from realitycheck.lvlm.backends.base import Backend
from realitycheck.lvlm.backends.gemini import GeminiBackend
from realitycheck.lvlm.backends.openai_compatible import OpenAICompatibleBackend
from realitycheck.lvlm.backends.replay import ReplayBackend
from realitycheck.lvlm.limiter import RateLimits
from realitycheck.lvlm.pricing import read_prices
from realitycheck.lvlm.prompts import PromptTemplate
from realitycheck.lvlm.questions import Question, picture_of
from realitycheck.lvlm.run import RunStoppedError
from realitycheck.lvlm.runner import ask, estimate

SERVICES = ("gemini", "openai_compatible")
#: Why a damaged reply may stop a run.
STOPS = {
    *("daily_quota", "throttled", "unavailable", "refused", "foreign_reply", "wrong_model"),
}
BATCH = 10
MAX_RUN_S = 60.0
MAX_GROWTH_BYTES = 600_000_000

DIGITS = "<digits>"
"""Stands for a number of 5,000 digits, which `json` does not write."""

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 101, 0.87, 1e308, float("nan"), float("inf"), DIGITS),
    *("", "87", "87%", "8/10", "OK", "NOK", "\ud83d", "\x00", "a\nb\tc", "x" * 100_000),
    *([], {}, [[]], [{}], {"a": {"b": []}}, ["\udcff"], 10**300, "stop", "STOP", "length"),
)
WRAPPED = (
    "<think>Is it OK?</think>{}",
    "<think>{}",
    "```json\n{}\n```",
    "```{}```",
    "{{{}",
    "{} {}",
    "Let me see. {}",
    "{} That is all.",
    "\ufeff{}",
    "<|begin_of_box|>{}<|end_of_box|>",
)
BODIES = (
    *(b"", b" ", b"{}", b"[]", b"null", b"true", b"7", b'"x"', b"[" * 50_000, b'{"a":' * 5_000),
    *(b"<html><body>Please log in</body></html>", b"<" * 20_000, b"data: {}\n\ndata: [DONE]\n\n"),
    *(b'{"error":"Unexpected endpoint"}', b'{"error":{"code":503,"message":"busy"}}'),
    *(b'{"error":{"code":"400","message":"\\ud800"}}', b'{"error":{"message":[[1]]}}'),
    *(b'{"model":"m","message":{"content":"{}"},"done":true}', b"\xff\xfe\x00\x01", b"\x00" * 999),
    *(b'{"choices":[{"error":{"code":502},"finish_reason":"error"}]}', b'{"choices":null}'),
    *(b'{"detail":[{"loc":["body","seed"],"msg":"Extra inputs are not permitted"}]}', b"9" * 9_999),
    *(b'{"error":{"message":"response_format is not supported"}}', b'[{"error":{"code":429}}]'),
    b'{"error":{"code":429,"details":[{"@type":"QuotaFailure","violations":7}]}}',
)
TYPES = (
    *("application/json", "text/html", "text/event-stream", "", "application/json; charset=utf-16"),
    *("text/plain; charset=base64", "text/plain; charset=rot13", "x; charset=unicode_escape"),
)


def run(n: int, seed: int, folder: Path) -> int:
    """Send `n` damaged replies; give the number of failures.

    Args:
        n: Replies, half of them to the client of each service.
        seed: Of the damage.
        folder: Gets ledgers and tables.
    """
    failures: list[str] = []
    ends: Counter[str] = Counter()
    before = _peak_bytes()
    log = logging.getLogger("realitycheck")
    level = log.level
    log.setLevel(logging.ERROR)
    for service in SERVICES:
        with _Server(service, seed) as server:
            first = 0
            while server.n_served < n // len(SERVICES):
                questions = _questions(service, first)
                ledger = folder / f"{service}-{first}.sqlite"
                for _ in range(4):
                    ends.update(_one_run(questions, ledger, server, failures))
                first += BATCH
        if server.n_elsewhere:
            failures.append(f"{service}: {server.n_elsewhere} requests at another host")
    log.setLevel(level)
    if _peak_bytes() - before > MAX_GROWTH_BYTES:
        failures.append(f"memory grew by {_peak_bytes() - before:,} bytes")
    print(*failures, *(f"{name}: {count}" for name, count in sorted(ends.items())), sep="\n")
    return len(failures)


def _one_run(
    questions: list[Question], ledger: Path, server: _Server, failures: list[str]
) -> list[str]:
    """Ask once, check what came of it; gives the names of the ends."""
    service, began = questions[0].service, time.monotonic()
    keys = {"dataset": "d", "method": "m", "prompt": "p", "prices": read_prices()}
    rate_limits = RateLimits(
        in_flight=2,
        requests_per_minute=None,
        timeout_s=2.0,
        max_tries=1,
        max_unknown=0,
        backoff_s=0.001,
        max_backoff_s=0.001,
    )
    found = []
    try:
        ask(
            questions,
            ledger,
            backend=_backend(service, server.url),
            rate_limits=rate_limits,
            may_leave_site=True,
            **keys,
        )
    except RunStoppedError as stop:
        found.append(f"stopped: {stop.reason}")
        if stop.reason not in STOPS:
            failures.append(f"{service}: stopped for {stop.reason}")
    except Exception as error:
        failures.append(f"{service}: {type(error).__name__}: {error!s:.300}; {server.last!r:.300}")
    if time.monotonic() - began > MAX_RUN_S:
        failures.append(f"{service}: a run took {time.monotonic() - began:.0f} s")
    try:
        rows, _ = ask(questions, ledger, backend=ReplayBackend(service), **keys)
        write_table(rows, ledger.with_suffix(".parquet"), schema=VERDICTS, facts={})
        n_open = int(rows["status"].isin(["failed", "not_asked"]).sum())
        told = estimate(questions, ledger, prices=keys["prices"]).n_to_ask
        if told != n_open:
            failures.append(f"{service}: {n_open} rows unanswered, but the estimate says {told}")
        if not set(rows["status"]) <= set(VERDICT_STATUSES):
            failures.append(f"{service}: statuses {sorted(set(rows['status']))}")
        found += rows["status"].tolist()
    except Exception as error:
        failures.append(f"{service}: rows: {type(error).__name__}: {error!s:.300}")
    return found


def _questions(service: str, first: int) -> list[Question]:
    def draw(seed: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)

    reference = picture_of(draw(10**6))
    return questions_for(
        [Subject(str(i), picture_of(draw(i)), reference) for i in range(first, first + BATCH)],
        PromptTemplate("fuzz-1", "Is the part defective?"),
        service=service,
        model="model",
        parameters={"temperature": 0, "seed": 1},
    )


def _backend(service: str, url: str) -> Backend:
    if service == "gemini":
        return GeminiBackend({"base_url": url}, api_key="a-key-for-the-test")
    return OpenAICompatibleBackend({"base_url": f"{url}/v1"})


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# ---------------------------------------------------------------------------------------- damage


def damaged(service: str, rng: np.random.Generator, *, elsewhere: str) -> bytes:
    """A whole HTTP reply, damaged at random.

    Args:
        service: Kind of endpoint whose reply it begins as.
        rng: Of the damage.
        elsewhere: Address that redirects name.
    """
    body = _body(service, rng)
    status = 200 if rng.random() < 0.7 else int(rng.choice(_STATUSES))
    headers = {"Content-Type": str(rng.choice(TYPES)), "Retry-After": str(rng.choice(_PAUSES))}
    if 300 <= status < 400:
        headers["Location"] = str(rng.choice([elsewhere, "/other", "http://[", "\udcff"]))
    length = len(body)
    how = rng.random()
    if how < 0.04:
        body = gzip.compress(bytes(40_000_000) if how < 0.01 else body)
        headers["Content-Encoding"], length = "gzip", len(body)
    elif how < 0.06:
        headers["Content-Encoding"] = str(rng.choice(["gzip", "br", "zstd", "gzip, gzip", "x"]))
    elif how < 0.09:
        length += 100
    elif how < 0.11:
        length = max(0, length - 5)
    elif how < 0.13:
        headers["Transfer-Encoding"], body = "chunked", b"%x\r\n" % (length + 9) + body
    elif how < 0.15:
        headers["X-Odd"] = "\x01" * 100 + "\udcff"
    if "Transfer-Encoding" not in headers:
        headers["Content-Length"] = str(length)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    line = f"HTTP/1.1 {status} X\r\n" if rng.random() > 0.01 else "HTTP/9 what\r\n"
    return f"{line}{head}\r\n".encode("utf-8", "surrogateescape") + body


_STATUSES = (
    *(201, 204, 206, 301, 302, 307, 308, 400, 400, 400, 401, 403, 404, 408, 413, 415, 422, 429),
    *(429, 500, 502, 503, 504, 599, 999),
)
_PAUSES = ("0", "0.001", "soon", "-1", "", "nan", "Wed, 21 Oct 2015 07:28:00 GMT", "Mon, 99 Foo")


def _body(service: str, rng: np.random.Generator) -> bytes:
    if rng.random() < 0.25:
        return BODIES[rng.integers(len(BODIES))]
    answer = {"reasoning": "Flawless.", "label": "OK", "score": 5}
    if rng.random() < 0.5:
        answer[str(rng.choice([*answer, "more"]))] = _value(rng)
    text = _written(answer)
    if rng.random() < 0.3:
        text = WRAPPED[rng.integers(len(WRAPPED))].replace("{}", text)
    if rng.random() < 0.1:
        text = text.replace("}", ', "label": "NOK"}')
    if service == "gemini":
        candidate = {"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}
        usage = {"promptTokenCount": 600, "candidatesTokenCount": 90, "promptTokensDetails": []}
        whole: Any = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "model"}
    else:
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 600, "completion_tokens": 90, "prompt_tokens_details": {}}
        whole = {"choices": [choice], "usage": usage, "model": "model", "error": None}
    if rng.random() < 0.5:
        _replace_somewhere(whole, rng)
    body = _written(whole).encode("utf-8", "surrogatepass")
    how = rng.random()
    if how < 0.1:
        return body[: rng.integers(len(body))]
    if how < 0.2:
        changed = bytearray(body)
        for place in rng.integers(len(body), size=5):
            changed[place] = rng.integers(256)
        return bytes(changed)
    if how < 0.25:
        return body.decode("utf-8", "replace").encode(str(rng.choice(["utf-16", "utf-8-sig"])))
    return body + body if how < 0.28 else body


def _written(value: Any) -> str:
    return json.dumps(value).replace(json.dumps(DIGITS), "9" * 5_000)


def _value(rng: np.random.Generator) -> Any:
    return VALUES[rng.integers(len(VALUES))]


def _replace_somewhere(whole: Any, rng: np.random.Generator) -> None:
    """Put an odd value in some place of a tree."""
    node = whole
    while True:
        names = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not names:
            return
        name = names[rng.integers(len(names))]
        if not isinstance(node[name], dict | list) or rng.random() < 0.3:
            node[name] = _value(rng)
            return
        node = node[name]


class _Server:
    """Answers every request with a damaged reply; counts what arrives beside its own address."""

    def __init__(self, service: str, seed: int):
        self.n_served = self.n_elsewhere = 0
        self.last = b""
        guard = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                with guard:
                    rng = np.random.default_rng([seed, outer.n_served])
                    reply = damaged(service, rng, elsewhere=f"{outer.other_url}/v1")
                    outer.last, outer.n_served = reply, outer.n_served + 1
                with suppress(OSError):
                    self.wfile.write(reply)
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                return

        class Other(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.n_elsewhere += 1

            do_GET = do_POST

        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), kind) for kind in (Handler, Other)]
        self.url, self.other_url = (
            f"http://127.0.0.1:{s.server_address[1]}" for s in self._servers
        )

    def __enter__(self) -> _Server:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
