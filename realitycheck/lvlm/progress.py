"""A progress bar for the terminal and the log: questions done, in flight, and money so far."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

from realitycheck.core.terminal import is_shown_from_logs


@dataclass
class Progress:
    """How far a run is; passed to the progress function after every change.

    Attributes:
        n_questions: Questions of the run.
        n_done: Of these, with an answer or given up.
        n_asked: Requests sent by this run.
        n_in_flight: Requests on their way.
        spent_usd: Money of the budget spent or reserved so far.
        waits_for: What the run waits for, in words; empty: for nothing but answers.
    """

    n_questions: int = 0
    n_done: int = 0
    n_asked: int = 0
    n_in_flight: int = 0
    spent_usd: float = 0.0
    waits_for: str = ""


log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def progress_bar(
    title: str, *, stream: TextIO | None = None, min_interval_s: float = 0.5
) -> Iterator[Callable[[Progress], None]]:
    """Show a bar while questions are asked.

    Args:
        title: What stands before the bar.
        stream: Where to; default: standard error.
        min_interval_s: Shortest time between two lines, in seconds.

    Yields:
        A function for the argument `progress` of `realitycheck.lvlm.runner.ask`.
    """
    if is_shown_from_logs():
        yield _log_lines(title)
        return
    from tqdm import tqdm

    bar: Any = tqdm(total=0, desc=title, unit="question", file=stream, mininterval=min_interval_s)

    def show(at: Progress) -> None:
        bar.total = at.n_questions
        bar.set_postfix_str(_details(at), refresh=False)
        bar.update(at.n_done - bar.n)
        if at.waits_for:  # said at once: nothing more comes for some time
            bar.refresh()

    with bar:
        yield show


def _details(at: Progress) -> str:
    waits = f", {at.waits_for}" if at.waits_for else ""
    return f"{at.n_in_flight} in flight, {at.spent_usd:.3f} USD{waits}"


def _log_lines(title: str) -> Callable[[Progress], None]:
    """A line in the log now and then, and at once where something is waited for."""
    shown, waits_for = time.monotonic(), None

    def show(at: Progress) -> None:
        nonlocal shown, waits_for
        is_news = at.n_done == at.n_questions or at.waits_for != waits_for
        if is_news or time.monotonic() - shown > _SECONDS_BETWEEN_LINES:
            shown, waits_for = time.monotonic(), at.waits_for
            log.info("%s: %d of %d questions, %s", title, at.n_done, at.n_questions, _details(at))

    return show
