"""The limiter: requests per window, and pauses of everyone."""

import asyncio
import time

import pytest

from realitycheck.lvlm.limiter import Limiter


def run(coroutine):
    return asyncio.run(coroutine)


async def admitted(limiter, n):
    times = []
    for _ in range(n):
        assert await limiter.admit()
        times.append(time.monotonic())
    return times


def test_no_window_holds_more_than_its_limit():
    """Counted over any window, not over fixed minutes."""

    async def main():
        return await admitted(Limiter(3, stopping=asyncio.Event(), window_s=0.2), 8)

    times = run(main())
    assert times[2] - times[0] < 0.2
    assert all(b - a >= 0.2 for a, b in zip(times, times[3:], strict=False))


def test_without_a_limit_nobody_waits():
    async def main():
        return await admitted(Limiter(None, stopping=asyncio.Event()), 100)

    times = run(main())
    assert times[-1] - times[0] < 1.0


def test_pause_holds_everyone_and_the_longest_counts():
    async def main():
        limiter = Limiter(None, stopping=asyncio.Event())
        limiter.pause(0.2)
        limiter.pause(0.05)
        assert limiter.is_paused
        began = time.monotonic()
        await asyncio.gather(*(limiter.admit() for _ in range(5)))
        return time.monotonic() - began

    assert run(main()) >= 0.19


def test_stop_wakes_whoever_waits():
    """A minute's pause must not delay the end of a run."""

    async def main():
        stopping = asyncio.Event()
        limiter = Limiter(None, stopping=stopping)
        limiter.pause(60)
        waiting = asyncio.create_task(limiter.admit())
        await asyncio.sleep(0.02)
        stopping.set()
        return await asyncio.wait_for(waiting, 1)

    assert run(main()) is False


def test_right_that_was_not_used_counts_for_nobody():
    async def main():
        limiter = Limiter(1, stopping=asyncio.Event(), window_s=60)
        for _ in range(5):
            assert await asyncio.wait_for(limiter.admit(), 1)
            limiter.forgo()

    run(main())


def test_limit_of_none_at_all_is_refused():
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        Limiter(0, stopping=asyncio.Event())
