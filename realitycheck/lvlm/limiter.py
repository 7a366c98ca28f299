"""How fast questions are sent: requests per minute, and a pause of everyone when the service asks.

The number in flight is the number of workers; see `realitycheck.lvlm.runner`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque


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
