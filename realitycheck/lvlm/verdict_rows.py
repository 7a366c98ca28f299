"""Rows of verdicts from the ledger's replies, and what a run cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple

import pandas as pd

from realitycheck.core.schemas import VERDICTS
from realitycheck.lvlm.backends.registry import service_of
from realitycheck.lvlm.ledger import Ledger, StoredReply
from realitycheck.lvlm.pricing import PriceTable
from realitycheck.lvlm.questions import Question
from realitycheck.lvlm.verdict import Verdict, is_same_model


@dataclass(frozen=True)
class RunCost:
    """What a finished run cost and did.

    Attributes:
        n_questions: Rows of the table.
        n_answered: Of these, with a label.
        status_counts: Rows by status.
        n_requests: Requests that this run sent, by outcome.
        spent_usd: Money ever spent from the budget, with reserves for what never came back.
        cost_per_1000_parts_usd: Mean cost of an image, all its samples, times 1,000; None if a row
            that was answered has no cost.
        price_date: Date of the prices.
        model_notices: What the service says of the model's future.
        clients: Libraries that sent the questions, each with what it left out or renamed because
            the model does not take it.
    """

    n_questions: int
    n_answered: int
    status_counts: Mapping[str, int]
    n_requests: Mapping[str, int]
    spent_usd: float
    cost_per_1000_parts_usd: float | None
    price_date: str
    model_notices: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()

    def text(self) -> str:
        """The cost in one line."""
        counts = ", ".join(f"{n} {status}" for status, n in self.status_counts.items())
        price = (
            "the model has no price"
            if self.cost_per_1000_parts_usd is None
            else f"{self.cost_per_1000_parts_usd:.2f} USD per 1,000 parts (prices of "
            f"{self.price_date})"
        )
        return (
            f"{self.n_questions} questions: {counts}; {sum(self.n_requests.values())} requests "
            f"sent now; {self.spent_usd:.4f} USD spent from this budget so far; {price}"
            + "".join(f"; sent by {client}" for client in self.clients)
        )


class Answers(NamedTuple):
    """One row per question, as `VERDICTS`, and what they cost."""

    rows: pd.DataFrame
    cost: RunCost


def answers_of(
    questions: Sequence[Question],
    ledger: Ledger | None,
    *,
    keys: Mapping[str, str],
    prices: PriceTable,
    accepted_models: Sequence[str],
    budget: str | None = None,
    run: str | None = None,
) -> Answers:
    """Read the rows of questions out of the ledger.

    Args:
        questions: All questions of a run.
        ledger: The ledger; None: there is none yet.
        keys: `dataset`, `method` and `prompt` of the rows.
        prices: Prices.
        accepted_models: See `is_same_model`.
        budget: Budget whose spent money is reported; None: none.
        run: Run whose requests are counted; None: none were sent.
    """
    replies = {} if ledger is None else ledger.replies(question.key for question in questions)
    rows, notices, clients, lacking = [], set(), set(), 0
    for question in questions:
        reply = replies.get(question.key)
        is_answered = reply is not None and reply.body is not None
        verdict = _verdict(question, reply, accepted_models)
        cost_usd = cost_of(question, verdict, prices, day=None if reply is None else reply.day)
        lacking += cost_usd is None and is_answered
        notices |= {verdict.model_notice} - {None}
        clients |= ({reply.client} if is_answered else set()) - {None}
        rows.append(
            {
                **keys,
                "image_id": question.image_id,
                "sample": question.sample,
                "label_predicted": verdict.label,
                "model_requested": question.model,
                "cost_usd": cost_usd,
                "latency_s": reply.latency_s if is_answered else None,
                **{name: getattr(verdict, name) for name in _SAME_NAMES},
            }
        )
    table = pd.DataFrame(rows, columns=VERDICTS.columns).astype(
        dict.fromkeys(("fold", *_COUNTS), "Int64")
        | dict.fromkeys(("score", "cost_usd", "latency_s"), "float64")
        | {"sample": "int64"}
    )
    n_parts = len({question.image_id for question in questions})
    counts = Counter(table["status"])
    cost = RunCost(
        n_questions=len(questions),
        n_answered=int(counts["answered"]),
        status_counts=dict(counts.most_common()),
        n_requests=ledger.n_attempts(run) if ledger and run else {},
        spent_usd=ledger.spent_usd(budget) if ledger and budget is not None else 0.0,
        cost_per_1000_parts_usd=(
            None if lacking or not n_parts else 1000 * float(table["cost_usd"].sum()) / n_parts
        ),
        price_date=prices.date,
        model_notices=tuple(sorted(notices)),
        clients=tuple(sorted(clients)),
    )
    return Answers(table, cost)


_COUNTS = ("tokens_in", "tokens_out", "tokens_thinking")
_SAME_NAMES = ("score", "reasoning", "status", "model_returned", "finish_reason", *_COUNTS)


def _verdict(
    question: Question, reply: StoredReply | None, accepted_models: Sequence[str]
) -> Verdict:
    if reply is None:
        return Verdict("not_asked", finish_reason="not_in_ledger")
    service = service_of(question.service)
    if reply.body is None or not service.is_answer(reply.body):
        if reply.state == "failed":
            return Verdict("failed", finish_reason=reply.detail or reply.outcome)
        return Verdict("not_asked", finish_reason="no_answer_in_ledger")
    verdict = service.verdict_of(reply.body)
    if is_same_model(question.model, verdict.model_returned, accepted=accepted_models):
        return verdict
    return replace(verdict, status="wrong_model", label=None, score=None, reasoning=None)


def cost_of(
    question: Question, verdict: Verdict, prices: PriceTable, day: date | None = None
) -> float | None:
    """What an answer of a day cost, at the price of the model that gave it where that has one."""
    returned = (verdict.model_returned or "").rsplit("/", 1)[-1]
    model = returned if prices.knows(returned, day) else question.model
    return prices.cost_usd(model, verdict, day)


def known_verdicts(
    questions: Sequence[Question], replies: Mapping[str, StoredReply]
) -> dict[str, Verdict]:
    """Verdicts of the questions that are answered already, by key."""
    found = {}
    for question in questions:
        reply, service = replies.get(question.key), service_of(question.service)
        if reply is not None and reply.body is not None and service.is_answer(reply.body):
            found[question.key] = service.verdict_of(reply.body)
    return found
