"""How fast questions are sent: requests per minute, and a pause of everyone when the service asks.

The number in flight is the number of workers; see `realitycheck.lvlm.run`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RateLimits:
    """How fast questions are sent, and how long failures are retried.

    Attributes:
        in_flight: Questions sent at once.
        requests_per_minute: Requests in any 60 s; None: no limit.
        timeout_s: Time limit for one answer, in seconds; afterwards its outcome is unknown.
        max_tries: Tries of a question that the service cannot answer (5xx, no connection).
        max_unknown: Further tries of a question that may have been paid for without an answer.
        backoff_s: First pause after a failure, in seconds; it doubles.
        max_backoff_s: Longest such pause, in seconds.
        max_wait_s: Longest pause that the service may ask for, in seconds; for a longer one the run
            stops, and says until when.
        max_pauses: Pauses in a row without an answer between them, until the run stops.
        window_s: Length of the minute, in seconds; shorter in tests.
    """

    in_flight: int = 4
    requests_per_minute: int | None = 60
    timeout_s: float = 300.0
    max_tries: int = 6
    max_unknown: int = 1
    backoff_s: float = 1.0
    max_backoff_s: float = 60.0
    max_wait_s: float = 300.0
    max_pauses: int = 10
    window_s: float = 60.0

    def __post_init__(self) -> None:
        faults = [
            f"{name}: expected at least {low}, got {getattr(self, name)}"
            for name, low in (("in_flight", 1), ("max_tries", 1), ("max_unknown", 0))
            if getattr(self, name) < low
        ]
        faults += [
            f"{name}: expected more than 0, got {getattr(self, name)}"
            for name in ("timeout_s", "backoff_s", "max_backoff_s", "max_wait_s", "window_s")
            if not getattr(self, name) > 0
        ]
        if faults:
            raise ValueError("; ".join(faults))

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> RateLimits:
        """Those of a method's settings."""
        names = ("in_flight", "requests_per_minute", "timeout_s", "max_wait_s")
        return cls(**{name: settings[name] for name in names})


class Limiter:
    """Lets workers through one by one; for one event loop.

    Args:
        requests_per_window: Requests in any window; None: no limit.
        window_s: Length of the window, in seconds.
        stopping: Set when nothing may be sent any more.
    """

    def __init__(
        self,
        requests_per_window: int | None,
        *,
        stopping: asyncio.Event,
        window_s: float = 60.0,
    ):
        if requests_per_window is not None and requests_per_window < 1:
            raise ValueError(f"requests per minute: expected at least 1, got {requests_per_window}")
        self._limit = requests_per_window
        self._window_s = window_s
        self._stopping = stopping
        self._sent: deque[float] = deque()
        self._paused_until = 0.0

    def pause(self, seconds: float) -> None:
        """Let nobody through for some time; of several pauses the one that ends last counts."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    @property
    def is_paused(self) -> bool:
        """Whether a pause is going on."""
        return time.monotonic() < self._paused_until

    async def admit(self) -> bool:
        """Wait for the right to send.

        Returns:
            Whether to send; False once the run is stopping.
        """
        while not self._stopping.is_set():
            now = time.monotonic()
            wait = self._paused_until - now
            if self._limit is not None:
                while self._sent and self._sent[0] <= now - self._window_s:
                    self._sent.popleft()
                if len(self._sent) >= self._limit:
                    wait = max(wait, self._sent[0] + self._window_s - now)
            if wait <= 0:
                self._sent.append(now)
                return True
            await self.rest(wait)
        return False

    def forgo(self) -> None:
        """Hand back a right that was not used."""
        self._sent.pop()

    async def rest(self, seconds: float) -> None:
        """Sleep, but wake when the run is stopping."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._stopping.wait()
        except TimeoutError:
            return
