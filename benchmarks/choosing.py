"""Measure by simulation what trying many methods on the same parts does to decisions.

First the level: all methods, or half of them, have a true rate just above its limit, and a data set
counts as wrong if any of those is found *ready* or, with the slip over its limit, *assist*. "Alone"
takes each bound at 95 %, "together" shares the error among the tries
(`realitycheck.metrics.tries`), "resampled" takes the critical value from resampled parts: a
step-down that was tried, does not hold, and is not used. Then the power: how often one fit method
among 19 unfit ones is found ready with all parts used for all ("together"), or chosen on some parts
and confirmed on the rest.

Parts are more or less difficult for all methods alike: each method's latent value is
sqrt(s) common + sqrt(1 - s) own, both standard normal, and it errs where that lies below the
quantile of its rate; s is the share.

Usage: python benchmarks/choosing.py --n-sets 1000 --seed 0
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from realitycheck.metrics.sample_size import PLANNED_TRIES, parts_needed, power_of_split
from realitycheck.metrics.tries import n_unproven, upper_bounds

MAX_SLIP, MAX_OVERKILL = 0.02, 0.05
LIMITS = {"max_slip_rate": MAX_SLIP, "max_overkill_rate": MAX_OVERKILL}
SHARES = (0.0, 0.5, 0.9)
TAIL = 0.05
#: True rates of slip and overkill: just above the limit, and fit.
JUST_ABOVE, FIT = 1.01, (0.002, 0.01)
#: Of the unfit methods among which the fit one is looked for.
UNFIT = (0.04, 0.03)
SIZES = (150, 200, 300, 400, 600, 1000)
N_AMONG = 20
#: Latent values drawn at once: 8 million float32 are 32 MB.
CELLS_PER_CHUNK = 8_000_000


def errors(
    rng: np.random.Generator, n_sets: int, n_parts: int, rates: Sequence[float], shared: float
) -> Iterator[np.ndarray]:
    """Draw which parts each method errs on, bool, (sets of a chunk, n_parts, K)."""
    limit = special.ndtri(np.asarray(rates)).astype(np.float32)
    chunk = max(1, CELLS_PER_CHUNK // (max(1, n_parts) * len(limit)))
    for start in range(0, n_sets, chunk):
        n = min(chunk, n_sets - start)
        own = rng.standard_normal((n, n_parts, len(limit)), dtype=np.float32)
        own *= np.float32((1 - shared) ** 0.5)
        own += np.float32(shared**0.5) * rng.standard_normal((n, n_parts, 1), dtype=np.float32)
        yield own < limit


def error_counts(*drawn: object) -> np.ndarray:
    """Draw how many parts each method errs on, (n_sets, K)."""
    return np.concatenate([each.sum(axis=1) for each in errors(*drawn)])


def is_below(counts: np.ndarray, n_parts: int, limit: float, tail: np.ndarray | float):
    """Whether upper bounds meet a limit, like the counts; tail is a number or one a data set."""
    return upper_bounds(counts, n_parts, np.reshape(tail, (-1, 1))) <= limit


def together(slip: np.ndarray, overkill: np.ndarray, n_nok: int, n_ok: int) -> np.ndarray:
    """Chance of error of each bound in the end, for each data set."""
    return TAIL / n_unproven(slip, n_nok, overkill, n_ok, **LIMITS)


def resampled(is_error: np.ndarray, limit: float, draws: np.ndarray) -> np.ndarray:
    """Prove rates by a step-down over resampled parts, bool, (sets, K).

    Each method's rate is centred; proven is what lies farther below the limit than 95 % of the
    resamples' farthest, in units of the limit's standard error, and whose bound alone meets it.
    What is proven leaves, and the rest is looked at again.
    """
    n_parts = is_error.shape[1]
    rates = is_error.mean(axis=1)
    moved = rates[:, None] - draws @ is_error.astype(np.float32) / n_parts
    is_alone = is_below(is_error.sum(axis=1), n_parts, limit, TAIL)
    is_proven = np.zeros(rates.shape, bool)
    while True:
        farthest = np.where(is_proven[:, None], -1.0, moved).max(axis=2)
        critical = np.quantile(farthest, 1 - TAIL, axis=1)[:, None]
        found = is_proven | (is_alone & (limit - rates >= critical))
        if (found == is_proven).all():
            return is_proven
        is_proven = found


def level_lines(n_sets: int, n_parts: int, seed: int) -> Iterator[str]:
    """Share of data sets in which any unfit method is found fit, in %, for each way."""
    yield f"level: {n_parts} defective and {n_parts} good parts"
    columns = (("over its limit", "<20"), ("tries", ">6"), ("shared", ">8"), ("alone", ">9"))
    columns += (("together", ">10"), ("resampled", ">11"))
    yield "".join(f"{name:{form}}" for name, form in columns)
    for case, what in enumerate(("slip", "overkill", "slip of half")):
        for k in PLANNED_TRIES:
            for number, shared in enumerate(SHARES):
                rng = np.random.default_rng([seed, n_parts, k, number, case])
                shares = wrong_shares(rng, n_sets, n_parts, what, k, shared)
                values = (what, k, shared, *(f"{100 * share:.1f}" for share in shares))
                forms = (form for _, form in columns)
                yield "".join(f"{v:{form}}" for v, form in zip(values, forms, strict=True))


def wrong_shares(
    rng: np.random.Generator, n_sets: int, n_parts: int, what: str, k: int, shared: float
) -> tuple[float, float, float]:
    """Share of data sets with any wrong finding: alone, together, resampled."""
    is_slip = what != "overkill"
    limit = MAX_SLIP if is_slip else MAX_OVERKILL
    n_unfit = (k + 1) // 2 if what == "slip of half" else k
    rates = [limit * JUST_ABOVE] * n_unfit + [FIT[0 if is_slip else 1]] * (k - n_unfit)
    draws = rng.multinomial(n_parts, np.full(n_parts, 1 / n_parts), size=200).astype(np.float32)
    chunks = [
        (each.sum(axis=1), resampled(each, limit, draws))
        for each in errors(rng, n_sets, n_parts, rates, shared)
    ]
    over, by_resampling = (np.concatenate(each) for each in zip(*chunks, strict=True))
    other = error_counts(rng, n_sets, n_parts, [FIT[1 if is_slip else 0]] * k, shared)
    tail = together(*((over, other) if is_slip else (other, over)), n_parts, n_parts)
    # Of a slip over its limit *assist* is wrong too, so the other rate does not matter.
    ways = (
        is_below(over, n_parts, limit, TAIL) & (is_slip | is_below(other, n_parts, MAX_SLIP, TAIL)),
        is_below(over, n_parts, limit, tail) & (is_slip | is_below(other, n_parts, MAX_SLIP, tail)),
        by_resampling & (is_slip | is_below(other, n_parts, MAX_SLIP, TAIL)),
    )
    return tuple(float(way[:, :n_unfit].any(axis=1).mean()) for way in ways)


class Split(NamedTuple):
    """How parts are shared between choosing a method and confirming it.

    Attributes:
        n_choose: Parts on which all are tried.
        n_confirm: Parts that are locked away until one is chosen.
        power: Chance that the fit one is chosen and proven; 0 where the parts cannot prove it.
    """

    n_choose: int
    n_confirm: int
    power: float


def best_split(
    n_parts: int,
    limit: float,
    *,
    n_tries: int,
    fit_rate: float,
    unfit_rate: float,
    confidence: float = 0.95,
) -> Split:
    """Find the split that most likely chooses the one fit method and proves it.

    Only sizes of the second part that allow one error more than a smaller one can be best: between
    them every further part only adds chances of an error. So the best is found exactly.

    Args:
        n_parts: Parts of one label in all.
        limit: As for `power_of_split`, and so the rest.
        n_tries: See there.
        fit_rate: See there.
        unfit_rate: See there.
        confidence: See there.

    Returns:
        The split; all parts to choose on and no chance where they are too few to prove the limit.
    """
    best = Split(n_parts, 0, 0.0)
    n_errors = 0
    while (n := parts_needed(limit, n_errors=n_errors, confidence=confidence)) <= n_parts:
        power = power_of_split(
            n_parts - n,
            n,
            limit,
            n_tries=n_tries,
            fit_rate=fit_rate,
            unfit_rate=unfit_rate,
            confidence=confidence,
        )
        best = max(best, Split(n_parts - n, n, power), key=lambda split: split.power)
        n_errors += 1
    return best


def power_lines(n_sets: int, seed: int) -> Iterator[str]:
    """Share of data sets in which the one fit method is found ready, in %, for each way."""
    yield (
        f"power: one fit method (slip {FIT[0]:.1%}, overkill {FIT[1]:.0%}) among {N_AMONG}, the "
        f"others with slip {UNFIT[0]:.0%} and overkill {UNFIT[1]:.0%}"
    )
    yield f"{'parts':<8}{'shared':>8}{'together':>10}{'confirm 40 %':>14}{'planned split':>15}"
    for n_parts in SIZES:
        split = best_split(n_parts, MAX_SLIP, n_tries=N_AMONG, fit_rate=FIT[0], unfit_rate=UNFIT[0])
        for number, shared in enumerate(SHARES):
            rng = np.random.default_rng([seed, n_parts, number])
            found = [
                power_together(rng, n_sets, n_parts, shared),
                power_confirmed(rng, n_sets, n_parts, round(0.4 * n_parts), shared),
                power_confirmed(rng, n_sets, n_parts, split.n_confirm, shared),
            ]
            told = "".join(f"{100 * x:>{w}.1f}" for x, w in zip(found, (10, 14, 8), strict=True))
            yield f"{n_parts:<8}{shared:>8}{told} ({split.n_confirm} last)"


def rates_among(which: int) -> list[float]:
    """Rates of the fit method, the first one, and of the others."""
    return [FIT[which]] + [UNFIT[which]] * (N_AMONG - 1)


def power_together(rng: np.random.Generator, n_sets: int, n_parts: int, shared: float) -> float:
    """All parts are used for all methods."""
    slip, overkill = (error_counts(rng, n_sets, n_parts, rates_among(w), shared) for w in (0, 1))
    tail = together(slip, overkill, n_parts, n_parts)
    is_ready = is_below(slip[:, :1], n_parts, MAX_SLIP, tail) & is_below(
        overkill[:, :1], n_parts, MAX_OVERKILL, tail
    )
    return float(is_ready.mean())


def power_confirmed(
    rng: np.random.Generator, n_sets: int, n_parts: int, n_confirm: int, shared: float
) -> float:
    """The method with the fewest slips, then the fewest rejects, is confirmed on the last parts."""
    n_choose = n_parts - n_confirm
    slip, overkill = (error_counts(rng, n_sets, n_choose, rates_among(w), shared) for w in (0, 1))
    # Equal ones are told apart by chance, which the fraction below 1 does.
    order = slip * (n_choose + 2.0) + overkill + rng.random(slip.shape)
    is_chosen = order.argmin(axis=1) == 0
    last = [rng.binomial(n_confirm, rate, (n_sets, 1)) for rate in FIT]
    is_ready = is_below(last[0], n_confirm, MAX_SLIP, TAIL) & is_below(
        last[1], n_confirm, MAX_OVERKILL, TAIL
    )
    return float((is_chosen & is_ready[:, 0]).mean())


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-sets", type=int, default=1000, help="data sets of each line")
    parser.add_argument(
        "--n-parts", type=int, nargs="+", default=[200, 400], help="of each label, for the level"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    error = (TAIL * (1 - TAIL) / options.n_sets) ** 0.5
    print(f"shares of {options.n_sets} data sets in %; 5 % is known up to ± {100 * error:.1f}")
    for n_parts in options.n_parts:
        for line in level_lines(options.n_sets, n_parts, options.seed):
            print(line, flush=True)
    for line in power_lines(options.n_sets, options.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
