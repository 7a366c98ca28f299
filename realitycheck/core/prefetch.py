"""Work that runs ahead in threads, in order and within bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def run_ahead(
    tasks: Iterable[Callable[[], Result]], *, n_threads: int, depth: int
) -> Iterator[Result]:
    """Run tasks in threads and give their results in the order of the tasks.

    Tasks that have not begun when the results are no longer wanted never begin.

    Args:
        tasks: What to run; taken one by one, by the caller's thread. Errors arise where the result
            would have been given.
        n_threads: How many run at once; 0: each runs when its result is asked for, in the caller's
            thread.
        depth: How many tasks at most are taken beyond the one whose result is asked for.

    Yields:
        What each task returns.
    """
    if not n_threads:
        for task in tasks:
            yield task()
        return
    with ThreadPoolExecutor(n_threads) as threads:
        pending: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                pending.append(threads.submit(task))
                if len(pending) > depth:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)
