"""Money: whether one more question may be sent, so that a limit is kept whatever answers cost.

All runs under one name, also at once and in several processes, pay from one pot with one limit.
What a question costs is known only after it has been answered, so before it is sent money is set
aside for it in the ledger, in the same transaction that checks the limit:

- its *own limit* h: every byte of its texts a token, its images as documented, and the answer's
  token limit used up (`realitycheck.lvlm.pricing.highest_cost_usd`);
- its *reserve* r = q h, with q the highest cost, as a multiple of the own limit, that an answer of
  this pot and model has ever had, at least 1;
- its *ceiling* w = q times the larger of `SURPRISE` h and the cost with `LONGEST_ANSWER` tokens
  out, which is what a service that ignores the answer's limit might write.

A question is sent only if, with s spent, over it and all others of the pot that are in flight,

    s + sum of w - largest (w - r) <= limit,

and if fewer are in flight than answers have been seen; the first goes alone. So a lone question
needs its reserve, and several at once need room for every surprise but one. As long as all but one
of them stay below their ceilings, no more is spent than

    limit + what one question cost beyond its own limit h.

What may have been paid for without an answer stays counted as its reserve.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from realitycheck.lvlm.pricing import PriceTable, highest_cost_usd, highest_tokens_in
from realitycheck.lvlm.questions import Question

LONGEST_ANSWER = 131_072
"""Tokens out that no answer is expected to pass: twice the most that Gemini models can write."""

SURPRISE = 16.0
"""How many times its own limit a question in flight beside others is trusted not to cost."""


TOTAL = "select coalesce(sum(cost_usd), 0) from attempt where budget=?"
"""Money of a pot that is spent or set aside, in SQL."""


@dataclass(frozen=True)
class Stake:
    """What one question may cost, in USD.

    Attributes:
        limit_usd: At most, by its own limits.
        ceiling_usd: If the service ignores the limit on the answer.
    """

    limit_usd: float
    ceiling_usd: float


def stake_of(question: Question, prices: PriceTable) -> Stake | None:
    """What a question may cost; None if its model has no price."""
    if not prices.knows(question.model):
        return None
    longest = prices.price(
        question.model,
        tokens_in=highest_tokens_in(question),
        tokens_out=max(LONGEST_ANSWER, question.parameters["max_output_tokens"]),
    )
    return Stake(highest_cost_usd(question, prices), longest)


@dataclass(frozen=True)
class Pot:
    """What has been spent, and what is set aside.

    Attributes:
        spent_usd: Spent for good.
        held: Reserve and ceiling of each question in flight, in USD.
        n_seen: Answers whose cost is known, of the model in question.
        highest_ratio: The highest of their costs as a multiple of the own limit; at least 1.
    """

    spent_usd: float = 0.0
    held: Sequence[tuple[float, float]] = ()
    n_seen: int = 0
    highest_ratio: float = 1.0

    @property
    def total_usd(self) -> float:
        """Spent or set aside."""
        return self.spent_usd + sum(reserve for reserve, _ in self.held)

    def hold(self, stake: Stake) -> tuple[float, float]:
        """Reserve and ceiling of a question, in USD."""
        ratio = self.highest_ratio
        return ratio * stake.limit_usd, ratio * max(SURPRISE * stake.limit_usd, stake.ceiling_usd)

    def decide(self, stake: Stake, limit_usd: float) -> str:
        """Whether to send a question.

        Returns:
            `granted`; `wait`: until others have been answered; or `over_budget`.
        """
        new = self.hold(stake)
        if self.spent_usd + new[0] > limit_usd:
            return "over_budget"
        if not self.held:
            return "granted"
        together = [*self.held, new]
        needed = sum(w for _, w in together) - max(w - r for r, w in together)
        fits = self.spent_usd + needed <= limit_usd and len(self.held) < self.n_seen
        return "granted" if fits else "wait"


def read_pot(
    db: sqlite3.Connection, budget: str, *, model: str, is_gone: Callable[[str], bool]
) -> Pot:
    """Read a pot from the ledger; what owners who are gone had set aside counts as spent.

    Args:
        db: The ledger, in a transaction for writing.
        budget: Name of the pot.
        model: Model whose answers tell what an answer may cost.
        is_gone: Whether nobody is going to finish what an owner has claimed.
    """
    held = []
    for owner, reserve, ceiling in db.execute(
        "select owner, coalesce(cost_usd, 0), coalesce(ceiling_usd, 0) from attempt "
        "where budget=? and owner is not null",
        [budget],
    ).fetchall():
        if is_gone(owner):
            db.execute("update attempt set owner=null where budget=? and owner=?", [budget, owner])
        else:
            held.append((reserve, ceiling))
    n_seen, ratio = db.execute(
        "select n_seen, highest_ratio from usage where budget=? and model=?", [budget, model]
    ).fetchone() or (0, 1.0)
    total = float(db.execute(TOTAL, [budget]).fetchone()[0])
    return Pot(total - sum(reserve for reserve, _ in held), held, n_seen, ratio)


def settle(db: sqlite3.Connection, attempt_id: int, cost_usd: float | None) -> None:
    """Replace what an attempt had set aside by what it cost, and learn from it.

    Args:
        db: The ledger, in a transaction for writing.
        attempt_id: The attempt.
        cost_usd: None: not to be known, so its reserve counts.
    """
    db.execute(
        "update attempt set cost_usd=coalesce(?, cost_usd), owner=null where id=?",
        [cost_usd, attempt_id],
    )
    if cost_usd is None:
        return
    db.execute(
        "insert into usage(budget, model, n_seen, highest_ratio) "
        "select budget, model, 1, max(1.0, case when limit_usd>0 then ?/limit_usd else 1.0 end) "
        "from attempt where id=? and model is not null on conflict(budget, model) do update set "
        "n_seen=n_seen+1, highest_ratio=max(highest_ratio, excluded.highest_ratio)",
        [cost_usd, attempt_id],
    )
