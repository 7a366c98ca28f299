"""Simulate runs whose answers cost far more than expected, and see whether the limit is kept.

Several runs at once pay from one pot of one ledger. What answers take is drawn from heavy-tailed
distributions, or grows suddenly, as when a service ignores the limit on an answer. For each kind
one line says in how many runs more was spent than the limit, by how much at most, and in how many
more than the stated bound: the limit and what one question cost beyond its own limits
(`realitycheck.lvlm.budget`). Ends with 1 if one passed the bound.

Usage: python benchmarks/money.py --n-simulations 200 --seed 0
"""

from __future__ import annotations

import argparse
import heapq
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from realitycheck.lvlm.budget import LONGEST_ANSWER, Stake
from realitycheck.lvlm.ledger import Ledger

IN, OUT = 1.25e-6, 10e-6  # USD a token
TOKENS_IN = 1200

Draw = Callable[[np.random.Generator, int, int], np.ndarray]

#: Draws the tokens of N answers, given the limit on an answer.
KINDS: dict[str, Draw] = {
    "as expected": lambda rng, n, limit: rng.uniform(50, limit, n),
    "log-normal": lambda rng, n, limit: 0.1 * limit * np.exp(1.5 * rng.standard_normal(n)),
    "Pareto, 1.5": lambda rng, n, limit: 0.1 * limit * (1 + rng.pareto(1.5, n)),
    "Pareto, 1.1": lambda rng, n, limit: 0.1 * limit * (1 + rng.pareto(1.1, n)),
    "rare and huge": lambda rng, n, limit: np.where(
        rng.random(n) < 0.05, rng.uniform(limit, 65_536, n), 0.1 * limit
    ),
    "limit ignored": lambda rng, n, limit: rng.uniform(0.5, 1, n) * 65_536,
    "ignored from some moment on": lambda rng, n, limit: np.where(
        np.arange(n) < rng.integers(1, n), 0.1 * limit, 65_536
    ),
    "growing": lambda rng, n, limit: 0.1 * limit * 1.04 ** np.arange(n),
}


@dataclass(frozen=True)
class Outcome:
    """One simulation, in USD.

    Attributes:
        spent: All money spent.
        limit: The limit.
        excess: The most that one question cost beyond its own limits.
        n_at_once: The most questions in flight.
    """

    spent: float
    limit: float
    excess: float
    n_at_once: int

    @property
    def passes_bound(self) -> bool:
        """Whether more was spent than the limit and one question's excess."""
        return self.spent > self.limit + self.excess + 1e-9


def simulate(draw: Draw, rng: np.random.Generator, ledger: Ledger, name: str) -> Outcome:
    """Let one to three runs pay from one pot until all is asked or the limit is reached."""
    n = int(rng.integers(20, 250))
    in_flight = int(rng.choice([1, 4, 16, 64]))
    n_runs = int(rng.integers(1, 4))
    most_out = int(rng.choice([512, 8192, 32_768]))
    tokens_in = TOKENS_IN * rng.uniform(0.5, 1, n)
    tokens_in[rng.random(n) < rng.choice([0, 0.3])] *= 10  # images that take more than documented
    tokens_out = np.minimum(draw(rng, n, most_out), LONGEST_ANSWER)
    costs = tokens_in * IN + tokens_out * OUT
    stake = Stake(
        TOKENS_IN * IN + most_out * OUT, TOKENS_IN * IN + max(most_out, LONGEST_ANSWER) * OUT
    )
    limit = stake.limit_usd + float(costs.sum() * rng.uniform(0.1, 1.2))
    events: list[tuple[float, int, int]] = []
    now, spent, excess, n_at_once, asked, is_over = 0.0, 0.0, 0.0, 0, 0, False
    while True:
        while asked < n and not is_over and len(events) < in_flight * n_runs:
            claim = ledger.claim(
                f"{name}/{asked}",
                "{}",
                run=f"{name}/{asked % n_runs}",
                run_began=0,
                budget=name,
                model="m",
                stake=stake,
                max_cost_usd=limit,
            )
            is_over = claim.kind == "over_budget"
            if claim.kind != "granted":
                break
            seconds = rng.exponential(1.0) + tokens_out[asked] / 1000
            heapq.heappush(events, (now + seconds, asked, claim.attempt_id))
            n_at_once = max(n_at_once, len(events))
            asked += 1
        if not events:
            break
        now, question, attempt = heapq.heappop(events)
        ledger.finish(attempt, outcome="answered", state="answered", body="{}")
        ledger.settle(attempt, float(costs[question]))
        spent += float(costs[question])
        excess = max(excess, float(costs[question]) - stake.limit_usd)
    if abs(ledger.spent_usd(name) - spent) > 1e-6:
        raise AssertionError(f"{name}: {spent} USD were spent, but the ledger says otherwise")
    return Outcome(spent, limit, excess, n_at_once)


def outcomes(kind: str, *, n: int, seed: int, folder: str | Path) -> list[Outcome]:
    """Simulate one kind n times."""
    with Ledger(Path(folder) / f"{kind.replace(' ', '_')}.sqlite") as ledger:
        ledger.rows("pragma synchronous=off")  # nothing here is worth a wait for the disk
        return [
            simulate(KINDS[kind], np.random.default_rng([seed, i]), ledger, str(i))
            for i in range(n)
        ]


def main() -> int:
    """Simulate all kinds and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n-simulations", type=int, default=200, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    n_passed = 0
    print(f"{'kind':30}  runs  over the limit  by at most  over the bound  at once")
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            found = outcomes(kind, n=options.n_simulations, seed=options.seed, folder=folder)
            over = [o.spent / o.limit - 1 for o in found if o.spent > o.limit]
            passed = sum(o.passes_bound for o in found)
            n_passed += passed
            most, at_once = max(over, default=0.0), max(o.n_at_once for o in found)
            print(f"{kind:30} {len(found):5} {len(over):15} {most:11.1%} {passed:15} {at_once:8}")
    return 1 if n_passed else 0


if __name__ == "__main__":
    sys.exit(main())
