"""Run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from realitycheck.lvlm.backends.base import (
    AdaptedError,
    Backend,
    ForeignReplyError,
    RefusedError,
    Reply,
    SendError,
    ThrottledError,
    UnknownOutcomeError,
    error_of_reply,
)
from realitycheck.lvlm.budget import stake_of
from realitycheck.lvlm.gates import (
    is_on_site,
    proxy_of,
    without_login,
)
from realitycheck.lvlm.hints import remedy
from realitycheck.lvlm.ledger import Claim, Ledger
from realitycheck.lvlm.ledger_locks import LedgerFullError, LedgerLockedError
from realitycheck.lvlm.limiter import Limiter
from realitycheck.lvlm.limits import check_images, limits_of
from realitycheck.lvlm.owners import BEAT_S
from realitycheck.lvlm.pricing import PriceTable, quote_of
from realitycheck.lvlm.questions import Question
from realitycheck.lvlm.verdict import Verdict, is_same_model, verdict_of
from realitycheck.lvlm.verdict_rows import _cost, _known

log = logging.getLogger(__name__)

MAX_REFUSED = 4
"""Questions that may be turned away one after the other before any is answered; images from all
over the data set are tried, so it is not the images then."""


class RunStoppedError(RuntimeError):
    """A run that ended early. What was answered is in the ledger and is not asked again.

    Attributes:
        reason: One of `STOP_REASONS`.
        is_resumable: Whether the same command, later, goes on; else something must be changed
            first.
        exit_code: 3 if resumable, else 4.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason
        self.is_resumable = reason in (
            *("signal", "daily_quota", "throttled", "unavailable", "ledger_locked", "disk_full"),
        )
        self.exit_code = 3 if self.is_resumable else 4


@dataclass(frozen=True)
class Pace:
    """How fast and how patiently questions are asked.

    Attributes:
        in_flight: Questions sent at once.
        requests_per_minute: Requests in any 60 s; None: no limit.
        timeout_s: Time for one answer, in seconds; afterwards its outcome is unknown.
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

    def __post_init__(self):
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


@dataclass
class Progress:
    """How far a run is; given to the progress function after every change.

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


def _check_images(questions: Iterable[Question], *, on_site: bool) -> None:
    questions = list(questions)
    if questions:
        check_images(questions, limits_of(questions[0].service, on_site=on_site))


_LOOK_AGAIN_S = 0.5


@dataclass
class _Run:
    """State of one run."""

    questions: Sequence[Question]
    backend: Backend
    prices: PriceTable
    budget: str
    max_cost_usd: float | None
    accepted_models: tuple[str, ...]
    pace: Pace
    progress: Callable[[Progress], None]
    rng: np.random.Generator

    ledger: Ledger | None = None
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    began: int = 0
    pending: deque[Question] = field(default_factory=deque)
    at: Progress = field(default_factory=Progress)
    stop: RunStoppedError | None = None
    fault: Exception | None = None
    n_pauses: int = 0
    n_lost: int = 0
    n_received: int = 0
    n_known: int = 0
    n_refused: int = 0
    refused_at: float = 0.0
    refused_before: frozenset[str] = frozenset()
    without_answer: Sequence[str] = ()
    last_refused: tuple[Question, RefusedError] | None = None

    def check_before(self, ledger: Ledger) -> None:
        """Read the ledger, refuse what can be refused before anything is sent."""
        self.ledger = ledger
        replies = self.ledger.replies(question.key for question in self.questions)
        known = _known(self.questions, replies)
        self._check_stored_models(known)
        on_site = is_on_site(
            self.backend.service, self.backend.base_url, declared=self.backend.on_site
        )
        _check_images((q for q in self.questions if q.key not in known), on_site=on_site)
        self.refused_before = frozenset(
            key for key, r in replies.items() if (r.state, r.outcome) == ("failed", "refused")
        )
        self.without_answer = [
            key for key, r in replies.items() if r.body is not None and key not in known
        ]
        log.info("before: %s", self._destination())
        estimate = quote_of(self.questions, self.prices, known=known)
        log.info("before: %s", estimate.text())
        # What other runs have set aside is much more than they will spend: not counted here.
        spent = self.ledger.spent_usd(self.budget, in_flight=False)
        expected = estimate.cost_usd or 0.0
        if (
            self.max_cost_usd is not None
            and estimate.n_to_ask
            and (spent + expected > self.max_cost_usd)
        ):
            raise RunStoppedError(
                "quote_over_budget",
                f"{estimate.text()}. Budget {self.budget}: {spent:.2f} USD spent already, so "
                f"{spent + expected:.2f} USD expected in all, but max_cost_usd is "
                f"{self.max_cost_usd:.2f}; nothing was sent. Raise max_cost_usd, or ask about "
                "fewer images or samples",
            )
        first = {q.key: q for q in reversed(self.questions) if q.key not in known}
        self.pending = deque(reversed(first.values()))
        self.n_known = len({q.key for q in self.questions}) - len(self.pending)
        self.at = Progress(
            n_questions=self.n_known + len(self.pending), n_done=self.n_known, spent_usd=spent
        )
        self.progress(self.at)

    def _destination(self) -> str:
        address = self.backend.base_url
        proxy = proxy_of(self.backend.service, address, on_site=self.backend.on_site)
        through = f"through the proxy {without_login(proxy)}" if proxy else "without a proxy"
        return f"questions go to {address}, {through}"

    def _check_stored_models(self, known: Mapping[str, Verdict]) -> None:
        returned = Counter(
            v.model_returned
            for v in known.values()
            if not is_same_model(
                self.questions[0].model, v.model_returned, accepted=self.accepted_models
            )
        )
        if returned:
            raise self._wrong_model(returned)

    def _wrong_model(self, returned: Mapping[str | None, int]) -> RunStoppedError:
        names = ", ".join(f"{name} ({n} answers)" for name, n in returned.items())
        requested = self.questions[0].model
        return RunStoppedError(
            "wrong_model",
            f"{requested} was asked, but the answers come from {names}. They are kept in "
            f"{self.ledger.path} and are not scored as {requested}. If {requested} has been "
            "retired (see the provider's page on deprecations), name the model that you want "
            f"under model; if the name is only another one for {requested}, list it under "
            "accepted_models; to score what is there without asking, use replay",
        )

    async def main(self) -> None:
        """Open, work, close."""
        self.stopping = asyncio.Event()
        self.settled = asyncio.Condition()
        self.limiter = Limiter(
            self.pace.requests_per_minute, stopping=self.stopping, window_s=self.pace.window_s
        )
        self.ledger.reopen(self.without_answer)
        self.began = self.ledger.moment()
        self.ledger.hold_room(self.pace.in_flight)
        # SQLite waits for the disk; that must not hold up the answers of others.
        self.disk = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        try:
            await self.backend.open()
            with self._signals():
                n_workers = min(self.pace.in_flight, len(self.pending))
                heart = asyncio.create_task(self._beat())
                try:
                    await asyncio.gather(*(self._work() for _ in range(n_workers)))
                finally:
                    heart.cancel()
        except asyncio.CancelledError:
            if self.stop is None:
                raise
        finally:
            self.disk.shutdown()
            await self.backend.close()
        if self.fault is not None:
            raise self._without_keys(self.fault) from None
        if self.stop is None and self.n_lost and not self.n_received and not self.n_known:
            self._stop(
                "unavailable",
                f"{self.backend.base_url} has not answered one of {self.n_lost} questions; run "
                "again when it does",
            )
        if self.stop is None and self.last_refused and not self.n_received and not self.n_known:
            self._stop_refused(*self.last_refused)
        if self.stop is not None:
            raise self.stop

    def _without_keys(self, error: Exception) -> Exception:
        text = str(error)
        hidden_text = self.backend.redact(text)
        return (
            error if hidden_text == text else RuntimeError(f"{type(error).__name__}: {hidden_text}")
        )

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into a stop in good order; in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        numbers = (signal.SIGINT, signal.SIGTERM)
        previous = {number: signal.getsignal(number) for number in numbers}

        n_interrupts = 0

        def receive(number: int) -> None:
            nonlocal n_interrupts
            n_interrupts += number == signal.SIGINT
            # Whoever sends SIGTERM often sends it several times; a person presses Ctrl-C again.
            if n_interrupts > 1 and self.stopping.is_set() and task is not None:
                task.cancel()
                return
            name = signal.Signals(number).name
            log.warning(
                "%s: nothing more is sent; waiting up to %.0f s for %d answers on their way, which "
                "are paid for (Ctrl-C twice to leave at once and lose them)",
                name,
                self.pace.timeout_s,
                self.at.n_in_flight,
            )
            self._stop(
                "signal",
                f"stopped by {name}; what was answered is in {self.ledger.path}, and the same "
                "command goes on from there",
            )

        for number in numbers:
            loop.add_signal_handler(number, receive, number)
        try:
            yield
        finally:
            for number, handler in previous.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _stop(self, reason: str, message: str) -> None:
        """Stop in good order; the first reason counts."""
        if self.stop is None:
            self.stop = RunStoppedError(reason, message)
        self.stopping.set()

    async def _on_disk(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # Shielded: what has been paid for is written even if the run is being cancelled.
        return await asyncio.shield(
            asyncio.get_running_loop().run_in_executor(self.disk, lambda: function(*args, **kwargs))
        )

    async def _work(self) -> None:
        """Settle questions until there are no more; a fault of ours lets the others finish."""
        while self.pending and not self.stopping.is_set():
            try:
                await self._settle(self.pending.popleft())
            except LedgerLockedError as error:
                self._stop("ledger_locked", str(error))
            except LedgerFullError as error:
                self._stop("disk_full", str(error))
            except Exception as error:
                self.fault = self.fault or error
                self.stopping.set()

    async def _beat(self) -> None:
        """Let other machines see that this run is at work."""
        while True:
            with contextlib.suppress(LedgerLockedError, LedgerFullError):
                await self._on_disk(self.ledger.beat)
            await asyncio.sleep(BEAT_S)

    async def _settle(self, question: Question) -> None:
        """Bring one question to an end: an answer, given up, or the run's stop."""
        # An image that cannot be encoded is found before the question is claimed.
        await asyncio.to_thread(question.encoded)
        n_failures = 0
        last: SendError | None = None
        while await self.limiter.admit():
            claim = await self._claim(question)
            if claim.kind != "granted":
                self.limiter.forgo()
            if claim.kind == "answered":
                return self._done()
            if claim.kind == "failed":
                self._lost(question, last)
                return self._done()
            if claim.kind == "elsewhere":
                # Another process is sending it: look again, after other work if there is some.
                if not self.pending:
                    self._wait_aloud(f"{claim.owner} asks the same; waiting for its answer")
                await self.limiter.rest(0.05)
                if self.pending:
                    return self.pending.append(question)
                continue
            if claim.kind == "wait":
                await self._wait_for_money()
                continue
            if claim.kind == "over_budget":
                return self._stop_over_budget(claim.spent_usd)
            sent_at = time.monotonic()
            try:
                reply = await self._send(question, claim.attempt_id)
            except AdaptedError:
                continue
            except RefusedError as error:
                if not error.is_about_question:
                    return self._stop_refused(question, error)
                await self._on_disk(self.ledger.give_up, question.key)
                self._turned_away(question, error, sent_at)
                return self._done()
            except ThrottledError as error:
                self._throttled(question, error)
            except SendError as error:
                last = error
                n_failures += 1
                if self._asks_too_long("unavailable", error):
                    return None
                if error.outcome != "unknown" and n_failures >= self.pace.max_tries:
                    await self._on_disk(self.ledger.give_up, question.key)
                    self._lost(question, error)
                    return self._done()
                wait = max(error.wait_s or 0.0, self._backoff(n_failures - 1))
                if error.wait_s:
                    self._wait_aloud(f"asked by the service to wait until {_clock(wait)}")
                await self.limiter.rest(wait)
            else:
                self._received(question, reply)
                return self._done()
        return None

    async def _claim(self, question: Question) -> Claim:
        stake = stake_of(question, self.prices)
        claim = await self._on_disk(
            self.ledger.claim,
            question.key,
            question.canonical,
            run=self.name,
            run_began=self.began,
            budget=self.budget,
            model=question.model,
            stake=stake,
            max_cost_usd=self.max_cost_usd,
            max_unknown=self.pace.max_unknown,
            client=self.backend.client,
            prices=self.prices.date if stake is not None else None,
        )
        if claim.kind == "granted":
            self.at.n_asked += 1
            self.at.n_in_flight += 1
            self.at.waits_for = ""
            self.progress(self.at)
        return claim

    async def _send(self, question: Question, attempt_id: int) -> Reply:
        """Send a claimed question, and store what came of it before anything else is done."""
        try:
            result = await self._sent_and_stored(question, attempt_id)
        finally:
            self.at.n_in_flight -= 1
            async with self.settled:
                self.settled.notify_all()
        self.at.spent_usd = await self._on_disk(self.ledger.spent_usd, self.budget)
        if isinstance(result, SendError):
            raise result
        return result

    async def _sent_and_stored(self, question: Question, attempt_id: int) -> Reply | SendError:
        began = time.monotonic()
        try:
            result = await self._reply_or_error(question)
        except BaseException as error:
            # A second signal, or a fault of ours: the claim must not stay open.
            self.ledger.finish(
                attempt_id, outcome="unknown", state="open", detail=type(error).__name__
            )
            raise
        known: dict[str, Any] = {
            "http": result.http,
            "headers": result.headers,
            "body": result.body,
            "latency_s": time.monotonic() - began,
        }
        if isinstance(result, Reply):
            await self._on_disk(
                self.ledger.finish,
                attempt_id,
                outcome="answered",
                state="answered",
                client=result.client,
                **known,
            )
            cost = _cost(question, verdict_of(question.service, result.body), self.prices)
            await self._on_disk(self.ledger.settle, attempt_id, cost)
            return result
        await self._on_disk(
            self.ledger.finish,
            attempt_id,
            outcome=result.outcome,
            state="open",
            detail=result.detail,
            waited_s=result.wait_s,
            cost_usd=None if result.outcome == "unknown" else 0.0,
            **known,
        )
        return result

    async def _reply_or_error(self, question: Question) -> Reply | SendError:
        try:
            async with asyncio.timeout(self.pace.timeout_s):
                reply = await self.backend.send(question, timeout_s=self.pace.timeout_s)
            return error_of_reply(question.service, reply, self.backend.redact) or reply
        except TimeoutError:
            return UnknownOutcomeError(f"no answer within {self.pace.timeout_s:g} s")
        except SendError as error:
            return error

    def _backoff(self, n_failures: int) -> float:
        """A pause that doubles, spread by half to either side, in seconds."""
        longest = min(self.pace.max_backoff_s, self.pace.backoff_s * 2.0**n_failures)
        return longest * float(self.rng.uniform(0.5, 1.5))

    def _throttled(self, question: Question, error: ThrottledError) -> None:
        """Let everyone wait as long as the service asks, and a little more."""
        if error.is_daily:
            self._stop(
                "daily_quota",
                f"the daily quota of {question.model} is used up ({error.detail}); run again after "
                "the service's midnight, and it goes on from here",
            )
            return
        if self._asks_too_long("throttled", error):
            return
        if not self.limiter.is_paused:
            self.n_pauses += 1
        if self.n_pauses > self.pace.max_pauses:
            self._stop(
                "throttled",
                f"still throttled after {self.pace.max_pauses} pauses ({error.detail}); lower "
                "requests_per_minute or in_flight, or run again later",
            )
            return
        own = self._backoff(self.n_pauses - 1)
        # Never less than asked for; the spread keeps processes from coming back together.
        wait = own if error.wait_s is None else error.wait_s + 0.1 * min(own, error.wait_s + 0.1)
        log.warning("throttled (%s): everyone waits for %.1f s", error.detail, wait)
        self.limiter.pause(wait)
        self._wait_aloud(f"paused by the service until {_clock(wait)}")

    def _asks_too_long(self, reason: str, error: SendError) -> bool:
        """Stop the run if the service asks for a longer pause than it is given."""
        if error.wait_s is None or error.wait_s <= self.pace.max_wait_s:
            return False
        self._stop(
            reason,
            f"{self.backend.base_url} asks to wait for {error.wait_s:,.0f} s, until "
            f"{_clock(error.wait_s)} ({error.detail}); a run waits for {self.pace.max_wait_s:,.0f} "
            "s at most (max_wait_s). What was answered is kept; run again then, and it goes on "
            "from there",
        )
        return True

    def _wait_aloud(self, text: str) -> None:
        if self.at.waits_for != text:
            self.at.waits_for = text
            log.info(text)
            self.progress(self.at)

    def _lost(self, question: Question, error: SendError | None) -> None:
        detail = "given up by another run" if error is None else error.detail
        log.warning("image %s: given up: %s", question.image_id, detail)
        self.n_lost += 1
        if self.n_lost >= max(3, self.pace.in_flight):
            self._stop(
                "unavailable",
                f"{self.n_lost} questions in a row were given up (last: {detail}); run again when "
                f"{self.backend.base_url} answers",
            )

    def _turned_away(self, question: Question, error: RefusedError, sent_at: float) -> None:
        """Go on without one question, unless all questions seem to be turned away."""
        log.warning("image %s: turned away: %s", question.image_id, error.detail)
        self.last_refused = (question, error)
        if self.n_received or question.key in self.refused_before or sent_at < self.refused_at:
            return
        self.n_refused += 1
        self.refused_at = time.monotonic()
        if self.n_refused >= MAX_REFUSED and self.pending:
            return self._stop_refused(question, error)
        # The next one from another part of the data set: neighbours are often alike.
        self.pending.rotate(-round(0.38 * len(self.pending)))

    def _stop_refused(self, question: Question, error: RefusedError) -> None:
        model, address = question.model, self.backend.base_url
        if isinstance(error, ForeignReplyError):
            self._stop(
                "foreign_reply",
                f"image {question.image_id}: {address} does not answer as {question.service}: "
                f"{error.detail}. It is not kept as an answer. Check base_url (with the version "
                "that the server's API has, such as http://127.0.0.1:8000/v1) and what stands "
                "between, such as a login page",
            )
            return
        self._stop(
            "refused",
            f"image {question.image_id}: {address} turned the request for {model} away: "
            f"{error.detail}; {remedy(error.http, error.detail, model=model)}",
        )

    def _received(self, question: Question, reply: Reply) -> None:
        self.n_received += 1
        self.n_pauses = self.n_lost = 0
        verdict = verdict_of(question.service, reply.body)
        if not is_same_model(question.model, verdict.model_returned, accepted=self.accepted_models):
            error = self._wrong_model({verdict.model_returned: 1})
            self._stop(error.reason, str(error))

    async def _wait_for_money(self) -> None:
        """Wait until a question in flight, perhaps of another process, has told its cost."""
        if not self.at.n_in_flight:
            self._wait_aloud(f"budget {self.budget}: waiting for what other runs have set aside")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_AGAIN_S), self.settled:
                await self.settled.wait()

    def _stop_over_budget(self, spent_usd: float) -> None:
        self._stop(
            "over_budget",
            f"budget {self.budget}: {spent_usd:.4f} USD are spent or set aside, and the next "
            f"question could pass max_cost_usd {self.max_cost_usd}; what was answered is in "
            f"{self.ledger.path}. Raise max_cost_usd to go on",
        )

    def _done(self) -> None:
        self.at.n_done += 1
        self.progress(self.at)


def _clock(seconds: float) -> str:
    """The time of day, here, in so many seconds."""
    try:
        return f"{datetime.now() + timedelta(seconds=seconds):%d %b %Y %H:%M:%S}"
    except (OverflowError, ValueError):
        return "a time that no calendar has"
