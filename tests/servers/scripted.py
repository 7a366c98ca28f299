"""What the project's test servers have in common: HTTP on this machine, answers by plan, a record.

A plan says what each paid request gets, by its number from 1; what it does not name gets the answer
of the server's own rule. Every request is recorded, so that a test can say what arrived.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Served:
    """How one request is answered.

    Attributes:
        status: HTTP status.
        body: A mapping or list (sent as JSON), or text or bytes (sent as they are).
        headers: Further headers.
        wait_s: Silence before the first byte.
        keep_bytes: So many bytes of the body are sent, then the connection ends.
        hang_up: The connection is reset instead of answered.
        drip_s: Pause after every byte of the body.
    """

    status: int = 200
    body: Any = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    keep_bytes: int | None = None
    hang_up: bool = False
    drip_s: float = 0.0

    def payload(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return text.encode()


@dataclass
class Arrival:
    """One request as it came in; `number` counts the paid ones from 1, others have 0."""

    number: int
    method: str
    path: str
    headers: dict[str, str]
    data: bytes
    at: float
    served: int | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.path.encode() + b"\0" + self.data).hexdigest()


class ScriptedServer:
    """A threaded HTTP server on a free port of 127.0.0.1; use it in a `with` block.

    Args:
        plan: What a paid request gets: a mapping from its number, or a function of the Arrival.
        wait_s: Silence before every answer.
        port: 0 takes a free one.
        log_path: File that gets one JSON line a request.
    """

    def __init__(
        self,
        plan: Mapping[int, Any] | Callable[[Arrival], Any] | None = None,
        *,
        wait_s: float = 0.0,
        port: int = 0,
        log_path: str | None = None,
    ):
        self.plan = plan or {}
        self.wait_s = wait_s
        self.arrivals: list[Arrival] = []
        self.most_at_once = 0
        self._n_now = 0
        self._guard = threading.Lock()
        self._log_path = log_path
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_args):
                return

            def handle(self):
                with suppress(ConnectionError, TimeoutError):
                    super().handle()

            def do_POST(self):
                outer._handle(self)

            do_GET = do_POST

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, request, client_address):
                return

        self._server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    # ------------------------------------------------------------------ for the two protocols

    def is_paid(self, method: str, path: str) -> bool:
        raise AssertionError("a protocol says which requests are paid")

    def usual(self, arrival: Arrival) -> Any:
        raise AssertionError("a protocol says what an answer looks like")

    def served(self, arrival: Arrival, wish: Any) -> Served:
        raise AssertionError("a protocol says how a wish becomes an answer")

    # ------------------------------------------------------------------------------- running

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_exc):
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length") or 0)
        data = handler.rfile.read(length)
        if len(data) < length:  # the client left while sending: nothing to answer or to pay
            raise ConnectionAbortedError
        path = handler.path.split("?")[0]
        paid = self.is_paid(handler.command, path)
        with self._guard:
            arrival = Arrival(
                len(self.paid) + 1 if paid else 0,
                handler.command,
                path,
                {name.lower(): value for name, value in handler.headers.items()},
                data,
                time.monotonic(),
            )
            self.arrivals.append(arrival)
            self._n_now += 1
            self.most_at_once = max(self.most_at_once, self._n_now)
        try:
            if paid:
                wish = self.plan(arrival) if callable(self.plan) else self.plan.get(arrival.number)
                answer = self.served(arrival, self.usual(arrival) if wish is None else wish)
            else:
                answer = Served(404, {"error": {"code": 404, "message": f"no route {path}"}})
            self._write(handler, arrival, answer)
        finally:
            with self._guard:
                self._n_now -= 1
                if self._log_path:
                    with open(self._log_path, "a", encoding="utf-8") as log:
                        line = {"number": arrival.number, "path": path, "served": arrival.served}
                        print(json.dumps(line | {"sha256": arrival.fingerprint}), file=log)

    def _write(self, handler: BaseHTTPRequestHandler, arrival: Arrival, answer: Served) -> None:
        time.sleep(self.wait_s + answer.wait_s)
        if answer.hang_up:
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.close_connection = True
            handler.connection.close()
            return
        payload = answer.payload()
        arrival.served = answer.status
        handler.send_response(answer.status)
        headers = {"Content-Type": "application/json", **answer.headers}
        for name, value in (headers | {"Content-Length": str(len(payload))}).items():
            handler.send_header(name, value)
        handler.end_headers()
        if answer.drip_s:
            for position in range(len(payload)):
                handler.wfile.write(payload[position : position + 1])
                handler.wfile.flush()
                time.sleep(answer.drip_s)
            return
        handler.wfile.write(payload[: answer.keep_bytes])
        if answer.keep_bytes is not None:
            handler.close_connection = True

    # --------------------------------------------------------------------------- what arrived

    @property
    def paid(self) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.number]

    def repeats(self) -> int:
        """How many paid requests were, byte for byte, one that had been made before."""
        counts = Counter(arrival.fingerprint for arrival in self.paid)
        return sum(counts.values()) - len(counts)


def label_by_difference(images: list[bytes]) -> dict[str, Any]:
    """A made-up inspector: NOK where the last image differs much from the first somewhere."""
    import cv2
    import numpy as np

    pictures = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in images]
    test, reference = pictures[-1], pictures[0]
    if len(pictures) < 2 or test.shape != reference.shape:
        score = 50
    else:
        difference = cv2.absdiff(cv2.blur(test, (5, 5)), cv2.blur(reference, (5, 5)))
        score = int(min(100, np.quantile(difference, 0.999)))
    label = "NOK" if score > 50 else "OK"
    return {"reasoning": f"Largest difference {score}.", "label": label, "score": score}


def serve(kind: type[ScriptedServer], description: str) -> None:
    """Run a server from the command line until it is ended."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0, help="0: a free one, which is printed")
    parser.add_argument("--wait-s", type=float, default=0.0, help="silence before every answer")
    parser.add_argument("--log", help="file that gets one JSON line a request")
    parser.add_argument("--plan", help="JSON file: answers by number of the request")
    parser.add_argument("--look", action="store_true", help="compare the last image to the first")
    options = parser.parse_args()
    plan: Any = {}
    if options.plan:
        with open(options.plan, encoding="utf-8") as file:
            plan = {int(n): Served(**wish) for n, wish in json.load(file).items()}
    server = kind(plan, wait_s=options.wait_s, port=options.port, log_path=options.log)
    server.looks = options.look
    with server:
        print(server.url, flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    sys.exit(0)
