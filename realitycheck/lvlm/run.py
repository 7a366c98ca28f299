"""The engine of a run: sends questions with a fixed number of workers in one event loop.

Retries, pauses and limits are decided here and nowhere else. A stop (signal, money, quota, another
model) lets the requests in flight finish, stores them, and raises; the next run continues there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from realitycheck.lvlm.backends.base import Backend, Reply
from realitycheck.lvlm.backends.errors import (
    AdaptedError,
    ForeignReplyError,
    RefusedError,
    SendError,
    ThrottledError,
    UnknownOutcomeError,
)
from realitycheck.lvlm.backends.registry import service_of
from realitycheck.lvlm.budget import stake_of
from realitycheck.lvlm.hints import remedy
from realitycheck.lvlm.ledger import Claim, Ledger
from realitycheck.lvlm.ledger_locks import LedgerFullError, LedgerLockedError
from realitycheck.lvlm.limiter import Limiter, RateLimits
from realitycheck.lvlm.limits import check_images
from realitycheck.lvlm.owners import BEAT_S
from realitycheck.lvlm.pricing import PriceTable, estimate_of
from realitycheck.lvlm.progress import Progress
from realitycheck.lvlm.questions import Question
from realitycheck.lvlm.verdict import Verdict, is_same_model
from realitycheck.lvlm.verdict_rows import cost_of, known_verdicts

log = logging.getLogger(__name__)

MAX_REFUSED = 4
"""Questions that may be turned away one after the other before any is answered; images from all
over the data set are tried, so it is not the images then."""


_RESUMABLE = frozenset(
    {"signal", "daily_quota", "throttled", "unavailable", "ledger_locked", "disk_full"}
)


class RunStoppedError(RuntimeError):
    """A run that ended early. What was answered is in the ledger and is not asked again.

    Attributes:
        reason: In one word: `signal` (SIGINT or SIGTERM), `daily_quota` (of the service),
            `throttled` or `unavailable` (still so after many pauses, or a long one is asked for),
            `ledger_locked` (by another process), `disk_full`: the same command continues later.
            Else something must be changed first: `estimate_over_budget` (nothing was asked),
            `over_budget` (the next question could pass the limit), `refused` (the service would
            turn away the other requests as well), `foreign_reply` (of something else than this
            service), `wrong_model` (another model answered).
        exit_code: 3 if the same command continues, else 4.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason
        self.is_resumable = reason in _RESUMABLE
        self.exit_code = 3 if self.is_resumable else 4


def check_service_limits(
    questions: Iterable[Question], known: Collection[str], *, on_site: bool
) -> None:
    """Refuse images that a cloud's service would turn away; a server on the site tells its limits.

    Args:
        questions: All questions of a run.
        known: Keys of those that are answered already.
        on_site: Whether they go to a server on the site.
    """
    asked = [question for question in questions if question.key not in known]
    if asked and not on_site:
        check_images(asked, service_of(asked[0].service).limits)


_LOOK_AGAIN_S = 0.5


@dataclass
class Run:
    """State of one run."""

    questions: Sequence[Question]
    backend: Backend
    prices: PriceTable
    budget: str
    max_cost_usd: float | None
    accepted_models: tuple[str, ...]
    limits: RateLimits
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

    @property
    def address(self) -> str:
        """Where the questions go."""
        return self.backend.endpoint.address

    def check_before(self, ledger: Ledger) -> None:
        """Read the ledger, refuse what can be refused before anything is sent."""
        self.ledger = ledger
        replies = self.ledger.replies(question.key for question in self.questions)
        known = known_verdicts(self.questions, replies)
        self._check_stored_models(known)
        on_site = self.backend.endpoint.is_on_site
        check_service_limits(self.questions, known, on_site=on_site)
        self.refused_before = frozenset(
            key for key, r in replies.items() if (r.state, r.outcome) == ("failed", "refused")
        )
        self.without_answer = [
            key for key, r in replies.items() if r.body is not None and key not in known
        ]
        log.info("before: %s", self.backend.endpoint.text())
        estimate = estimate_of(self.questions, self.prices, known=known)
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
                "estimate_over_budget",
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
            self.limits.requests_per_minute, stopping=self.stopping, window_s=self.limits.window_s
        )
        self.ledger.reopen(self.without_answer)
        self.began = self.ledger.moment()
        self.ledger.hold_room(self.limits.in_flight)
        # SQLite waits for the disk; that must not hold up the answers of others.
        self.disk = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        try:
            await self.backend.open()
            with self._signals():
                n_workers = min(self.limits.in_flight, len(self.pending))
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
                f"{self.address} has not answered one of {self.n_lost} questions; run "
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
                self.limits.timeout_s,
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
                if error.outcome != "unknown" and n_failures >= self.limits.max_tries:
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
            max_unknown=self.limits.max_unknown,
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
            cost = cost_of(question, self.backend.verdict_of(result.body), self.prices)
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
            async with asyncio.timeout(self.limits.timeout_s):
                reply = await self.backend.send(question, timeout_s=self.limits.timeout_s)
            return self.backend.error_of(reply) or reply
        except TimeoutError:
            return UnknownOutcomeError(f"no answer within {self.limits.timeout_s:g} s")
        except SendError as error:
            return error

    def _backoff(self, n_failures: int) -> float:
        """A pause that doubles, spread by half to either side, in seconds."""
        longest = min(self.limits.max_backoff_s, self.limits.backoff_s * 2.0**n_failures)
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
        if self.n_pauses > self.limits.max_pauses:
            self._stop(
                "throttled",
                f"still throttled after {self.limits.max_pauses} pauses ({error.detail}); lower "
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
        if error.wait_s is None or error.wait_s <= self.limits.max_wait_s:
            return False
        self._stop(
            reason,
            f"{self.address} asks to wait for {error.wait_s:,.0f} s, until "
            f"{_clock(error.wait_s)} ({error.detail}); a run waits for "
            f"{self.limits.max_wait_s:,.0f} s at most (max_wait_s). What was answered is kept; run "
            "again then, and it goes on from there",
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
        if self.n_lost >= max(3, self.limits.in_flight):
            self._stop(
                "unavailable",
                f"{self.n_lost} questions in a row were given up (last: {detail}); run again when "
                f"{self.address} answers",
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
        model, address = question.model, self.address
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
        verdict = self.backend.verdict_of(reply.body)
        if not is_same_model(question.model, verdict.model_returned, accepted=self.accepted_models):
            error = self._wrong_model({verdict.model_returned: 1})
            self._stop(error.reason, str(error))

    async def _wait_for_money(self) -> None:
        """Wait until a question in flight, perhaps of another process, is settled."""
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
