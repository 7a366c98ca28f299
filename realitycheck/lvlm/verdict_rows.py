"""Verdict rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import pandas as pd

from realitycheck.lvlm.ledger import Ledger, StoredReply
from realitycheck.lvlm.pricing import PriceTable
from realitycheck.lvlm.questions import Question
from realitycheck.lvlm.verdict import Verdict, is_completion, is_same_model, verdict_of

VERDICT_COLUMNS = (
    "dataset",
    "image_id",
    "method",
    "prompt",
    "sample",
    "label_predicted",
    "score",
    "reasoning",
    "status",
    "fold",
    "model_requested",
    "model_returned",
    "finish_reason",
    "tokens_in",
    "tokens_out",
    "tokens_thinking",
    "cost_usd",
    "latency_s",
)
"""Columns of the rows, keys first; `score` 0 to 1, money in USD, times in seconds."""


@dataclass(frozen=True)
class Bill:
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
        """The bill in one line."""
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
    """Rows, one a question, and the bill."""

    rows: pd.DataFrame
    bill: Bill


def unasked_rows(
    image_ids: Iterable[str],
    *,
    dataset: str,
    method: str,
    prompt: str,
    model: str,
    reason: str,
    n_samples: int = 1,
) -> pd.DataFrame:
    """Rows of questions that are not put at all, for example for want of a key.

    Args:
        image_ids: Images in order.
        dataset: Key of the rows.
        method: Key of the rows.
        prompt: Key of the rows.
        model: The model that would be asked.
        reason: Why not, in one word, such as `no_key`; stands in `finish_reason`.
        n_samples: Rows for each image.
    """
    rows = [
        _row(
            (dataset, image_id, method, prompt, sample),
            model,
            Verdict("not_asked", finish_reason=reason),
            None,
            None,
        )
        for image_id in image_ids
        for sample in range(n_samples)
    ]
    return _frame(rows)


# ----------------------------------------------------------------------------------------- the rows


def _answers(
    questions: Sequence[Question],
    ledger: Ledger,
    dataset: str,
    method: str,
    prompt: str,
    prices: PriceTable,
    accepted_models: Sequence[str],
    *,
    budget: str | None = None,
    run: str | None = None,
) -> Answers:
    replies = ledger.replies(question.key for question in questions)
    rows, notices, clients, lacking = [], set(), set(), 0
    for question in questions:
        reply = replies.get(question.key)
        verdict = _verdict(question, reply, accepted_models)
        cost = _cost(question, verdict, prices, day=None if reply is None else reply.day)
        lacking += cost is None and reply is not None and reply.body is not None
        notices |= {verdict.model_notice} - {None}
        if reply is not None and reply.body is not None:
            clients |= {reply.client} - {None}
        keys = (dataset, question.image_id, method, prompt, question.sample)
        latency = reply.latency_s if reply is not None and reply.body is not None else None
        rows.append(_row(keys, question.model, verdict, cost, latency))
    table = _frame(rows)
    n_parts = len({question.image_id for question in questions})
    counts = Counter(table["status"])
    bill = Bill(
        n_questions=len(questions),
        n_answered=int(counts["answered"]),
        status_counts=dict(counts.most_common()),
        n_requests=ledger.n_attempts(run) if run else {},
        spent_usd=0.0 if budget is None else ledger.spent_usd(budget),
        cost_per_1000_parts_usd=(
            None if lacking or not n_parts else 1000 * float(table["cost_usd"].sum()) / n_parts
        ),
        price_date=prices.date,
        model_notices=tuple(sorted(notices)),
        clients=tuple(sorted(clients)),
    )
    return Answers(table, bill)


def _verdict(
    question: Question, reply: StoredReply | None, accepted_models: Sequence[str]
) -> Verdict:
    if reply is None:
        return Verdict("not_asked", finish_reason="not_in_ledger")
    if reply.body is None or not is_completion(question.service, reply.body):
        if reply.state == "failed":
            return Verdict("failed", finish_reason=reply.detail or reply.outcome)
        return Verdict("not_asked", finish_reason="no_answer_in_ledger")
    verdict = verdict_of(question.service, reply.body)
    if is_same_model(question.model, verdict.model_returned, accepted=accepted_models):
        return verdict
    kept = {name: getattr(verdict, name) for name in _KEPT_OF_WRONG_MODEL}
    return Verdict("wrong_model", **kept)


_KEPT_OF_WRONG_MODEL = (
    "finish_reason",
    "model_returned",
    "tokens_in",
    "tokens_cached",
    "tokens_image",
    "tokens_out",
    "tokens_thinking",
    "model_notice",
)


def _cost(
    question: Question, verdict: Verdict, prices: PriceTable, day: date | None = None
) -> float | None:
    """What an answer of a day cost, at the price of the model that gave it where that has one."""
    returned = (verdict.model_returned or "").rsplit("/", 1)[-1]
    model = returned if prices.knows(returned, day) else question.model
    return prices.cost_usd(model, verdict, day)


def _row(
    keys: tuple[str, str, str, str, int],
    model: str,
    verdict: Verdict,
    cost_usd: float | None,
    latency_s: float | None,
) -> dict[str, Any]:
    values = (
        *keys,
        verdict.label,
        verdict.score,
        verdict.reasoning,
        verdict.status,
        None,
        model,
        verdict.model_returned,
        verdict.finish_reason,
        verdict.tokens_in,
        verdict.tokens_out,
        verdict.tokens_thinking,
        cost_usd,
        latency_s,
    )
    return dict(zip(VERDICT_COLUMNS, values, strict=True))


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))
    counts = {n: "Int64" for n in ("fold", "tokens_in", "tokens_out", "tokens_thinking")}
    numbers = dict.fromkeys(("score", "cost_usd", "latency_s"), "float64")
    return table.astype(counts | numbers | {"sample": "int64"})


def _known(questions: Sequence[Question], replies: Mapping[str, StoredReply]) -> dict[str, Verdict]:
    """Verdicts of the questions that are answered already, by key."""
    return {
        question.key: verdict_of(question.service, reply.body)
        for question in questions
        if (reply := replies.get(question.key)) is not None
        and reply.body is not None
        and is_completion(question.service, reply.body)
    }
