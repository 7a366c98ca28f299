"""Ask a list of questions and return one row each: what is known already, and what is paid for now.

`ask` and `estimate` are what others call; the engine is `realitycheck.lvlm.run`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from realitycheck.lvlm.backends.base import Backend
from realitycheck.lvlm.backends.replay import ReplayBackend
from realitycheck.lvlm.keys import hidden
from realitycheck.lvlm.ledger import Ledger
from realitycheck.lvlm.ledger_locks import LedgerEmptyError, LedgerFullError, LedgerLockedError
from realitycheck.lvlm.limiter import RateLimits
from realitycheck.lvlm.pricing import CostEstimate, PriceTable, estimate_of
from realitycheck.lvlm.progress import Progress
from realitycheck.lvlm.questions import Question
from realitycheck.lvlm.run import Run, RunStoppedError, check_service_limits
from realitycheck.lvlm.verdict import Verdict
from realitycheck.lvlm.verdict_rows import Answers, answers_of, known_verdicts


def ask(
    questions: Sequence[Question],
    ledger_path: str | Path,
    *,
    backend: Backend,
    dataset: str,
    method: str,
    prompt: str,
    prices: PriceTable,
    may_leave_site: bool = False,
    max_cost_usd: float | None = None,
    budget: str | None = None,
    accepted_models: Sequence[str] = (),
    rate_limits: RateLimits | None = None,
    progress: Callable[[Progress], None] | None = None,
    rng: np.random.Generator | None = None,
) -> Answers:
    """Answer every question, from the ledger where it can be, by asking where it must.

    In the main thread SIGINT and SIGTERM end the run in good order: nothing new is sent, requests
    in flight are waited for and stored. Only a second SIGINT, from somebody at the keyboard, does
    not wait. A ledger that cannot be written will do where it holds every answer.

    Args:
        questions: From `realitycheck.lvlm.assembly.questions_for`.
        ledger_path: The reply ledger; shared by all runs, outside of what a workflow deletes.
        backend: Sends them; a `ReplayBackend` only reads the ledger.
        dataset: Key of the rows; its setting `may_leave_site` counts.
        method: Key of the rows.
        prompt: Key of the rows.
        prices: Prices, see `realitycheck.lvlm.pricing`.
        may_leave_site: Whether the data set's images may be sent off the site.
        max_cost_usd: Limit on all money ever spent from the budget, in USD; None: none.
        budget: Name of the budget; default: the method. Runs with one name share the limit.
        accepted_models: Names a reply may give besides the requested model.
        rate_limits: Speed and retries.
        progress: Called with a `Progress` after every change.
        rng: Random generator for the back-off jitter.

    Returns:
        One row per question, in their order, and what they cost.

    Raises:
        LeavesSiteError: Before anything is sent.
        RunStoppedError: If the run ended early; all answers so far are in the ledger.
        ValueError: If questions and backend do not fit, images are larger than the service
            accepts, or a limit on money is set for a model without a price.
    """
    _check_fit(questions, backend)
    budget = method if budget is None else budget
    keys = {"dataset": dataset, "method": method, "prompt": prompt}

    def answers(ledger: Ledger, **of_run: str) -> Answers:
        return answers_of(
            questions, ledger, keys=keys, prices=prices, accepted_models=accepted_models, **of_run
        )

    if isinstance(backend, ReplayBackend):
        with Ledger(ledger_path, read_only=True) as ledger:
            return answers(ledger)
    model = questions[0].model if questions else ""
    replace(backend.endpoint, model=model).check(dataset, may_leave_site=may_leave_site)
    _check_prices(questions, prices, max_cost_usd)
    run = Run(
        questions=questions,
        backend=backend,
        prices=prices,
        budget=budget,
        max_cost_usd=max_cost_usd,
        accepted_models=tuple(accepted_models),
        limits=rate_limits or RateLimits(),
        progress=progress or (lambda _: None),
        rng=rng or np.random.default_rng(),
    )
    with _ledger_stops(), hidden(backend.redact):
        # A ledger that holds every answer is only read: it may be one that cannot be written.
        with contextlib.suppress(LedgerEmptyError):
            if Path(ledger_path).is_file():
                with Ledger(ledger_path, read_only=True) as ledger:
                    run.check_before(ledger)
                    if not run.pending:
                        return answers(ledger, budget=budget, run=run.name)
        with Ledger(ledger_path) as ledger:
            if run.ledger is None:
                run.check_before(ledger)
            run.ledger = ledger
            if run.pending:
                _in_event_loop(run)
            return answers(ledger, budget=budget, run=run.name)


@contextlib.contextmanager
def _ledger_stops() -> Iterator[None]:
    """Turn ledger errors that may be gone later into a stop."""
    try:
        yield
    except LedgerLockedError as error:
        raise RunStoppedError("ledger_locked", str(error)) from error
    except LedgerFullError as error:
        raise RunStoppedError("disk_full", str(error)) from error


def estimate(
    questions: Sequence[Question],
    ledger_path: str | Path | None,
    *,
    prices: PriceTable,
    on_site: bool = True,
) -> CostEstimate:
    """Estimate what asking these questions would cost; needs no key and sends nothing.

    Args:
        questions: All questions of a run.
        ledger_path: The reply ledger; None or missing: nothing is answered yet.
        prices: Prices.
        on_site: Whether they go to a server of the site, which has no cloud's limits.

    Raises:
        ValueError: If images are larger than the service accepts.
    """
    known: dict[str, Verdict] = {}
    if ledger_path is not None and Path(ledger_path).is_file():
        with Ledger(ledger_path, read_only=True) as ledger:
            known = known_verdicts(questions, ledger.replies(q.key for q in questions))
    check_service_limits(questions, known, on_site=on_site)
    return estimate_of(questions, prices, known=known)


def _check_fit(questions: Sequence[Question], backend: Backend) -> None:
    foreign = sorted({q.service for q in questions} - {backend.service})
    if foreign:
        raise ValueError(
            f"the questions are for {', '.join(foreign)}, but the backend is {backend.service}; "
            "their keys would not fit: put the questions together for the backend's service"
        )
    models = sorted({q.model for q in questions})
    if len(models) > 1:
        raise ValueError(
            f"one run asks one model, got {len(models)} ({', '.join(models)}); ask them one by one"
        )


def _check_prices(
    questions: Sequence[Question], prices: PriceTable, max_cost_usd: float | None
) -> None:
    if max_cost_usd is None or not questions:
        return
    if not max_cost_usd >= 0:
        raise ValueError(f"max_cost_usd: expected 0 or more, got {max_cost_usd}")
    if lack := prices.lack_of(questions[0].model):
        raise ValueError(
            f"max_cost_usd is {max_cost_usd}, but {lack}, so the limit could not be kept; give its "
            "price (price: {input, output}, USD per million tokens; 0 for a server of your own), "
            "name a model that is served, or set no limit"
        )


def _in_event_loop(run: Run) -> None:
    """Run to the end; in a thread of its own where this one has a loop already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(run.main())
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, run.main()).result()
