"""Measure by simulation how often intervals hold the truth, and how often tests cry wolf.

Parts are drawn again and again from a population whose truth is known, in the numbers of the
study's data sets. For each kind of interval one line says how often it held the truth (95 % is
promised), with the standard error of that share; for each test how often it found a difference at
5 % between methods that do not differ. Clopper-Pearson bounds and exact tests hold at least what
they promise and usually more, because counts are whole numbers.

Usage: python benchmarks/coverage.py --n-simulations 2000 --seed 0
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import special

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from realitycheck.metrics.detection_probability import fit_pod, pod_band
from realitycheck.metrics.intervals import (
    clopper_pearson,
    f2_interval,
    mean_iou_interval,
    pooled_iou_interval,
    stratified_bootstrap,
)
from realitycheck.metrics.line import Costs, Rates, line_figures
from realitycheck.metrics.paired import (
    exact_mcnemar,
    f2_of_sums,
    mean_of_sums,
    paired_permutation,
)

N_NOK, N_OK = 76, 253
COSTS = Costs(escape=100, false_reject=5, check=0.5, inspection=0.01)
IS_NOK = np.array([True] * N_NOK + [False] * N_OK)
LABELS = np.where(IS_NOK, "NOK", "OK")
CATEGORIES = ["a", "b"] * ((N_NOK + N_OK) // 2) + ["a"]

#: Gives once more whether the truth was held, or a difference found; None: no interval was given.
Trial = Callable[[np.random.Generator, int], bool | None]


def rejected(rng: np.random.Generator, recall: float, overkill: float) -> np.ndarray:
    """Draw which parts are rejected, bool, (N,)."""
    return rng.random(len(IS_NOK)) < np.where(IS_NOK, recall, overkill)


def f2_sums(is_rejected: np.ndarray) -> np.ndarray:
    """Summands of F2, (N, 3)."""
    counts = (IS_NOK & is_rejected, ~IS_NOK & is_rejected, IS_NOK & ~is_rejected)
    return np.column_stack(counts).astype(float)


def true_f2(recall: float, overkill: float) -> float:
    """F2 of the population in the numbers of the sample."""
    hits = 5 * recall * N_NOK
    return hits / (hits + 4 * (1 - recall) * N_NOK + overkill * N_OK)


def ious(rng: np.random.Generator, shift: float = 0.0) -> np.ndarray:
    """Draw the IoU of each defective part: a third are missed, the rest Beta(2 + shift, 2)."""
    return rng.beta(2 + shift, 2, N_NOK) * (rng.random(N_NOK) < 2 / 3)


def upper_rate(rng: np.random.Generator, n_resamples: int) -> bool:
    """Whether a true rate, drawn anew, lies under its one-sided upper bound."""
    rate = rng.uniform(0.02, 0.3)
    n_wrong = int(rng.binomial(N_OK, rate))
    return rate <= clopper_pearson(n_wrong, N_OK, side="upper")[1]


def two_sided_rate(rng: np.random.Generator, n_resamples: int) -> bool:
    """Whether a true rate, drawn anew, lies in its two-sided interval."""
    rate = rng.uniform(0.1, 0.9)
    low, high = clopper_pearson(int(rng.binomial(N_OK, rate)), N_OK)
    return low <= rate <= high


def of_line(figure: str, truth: Callable[[float, float], float]) -> Trial:
    """A figure of a line with 1 % defective parts, whose true slip and overkill are drawn anew."""

    def held(rng: np.random.Generator, n_resamples: int) -> bool:
        slip, overkill = rng.uniform(0.005, 0.3, 2)
        counts = rng.binomial(N_NOK, slip), rng.binomial(N_OK, overkill)
        found = getattr(line_figures(Rates.of(N_NOK, N_OK, *counts), 0.01, costs=COSTS), figure)
        return found.low <= truth(slip, overkill) <= found.high

    return held


def f2(rng: np.random.Generator, n_resamples: int) -> bool:
    """F2 with recall 0.8 and 10 % of good parts rejected."""
    found = f2_interval(
        LABELS,
        np.where(rejected(rng, 0.8, 0.1), "NOK", "OK"),
        categories=CATEGORIES,
        rng=rng,
        n_resamples=n_resamples,
    )
    return found.low <= true_f2(0.8, 0.1) <= found.high


def mean_iou(rng: np.random.Generator, n_resamples: int) -> bool:
    """Mean IoU of 76 parts, a third of them missed."""
    found = mean_iou_interval(ious(rng), CATEGORIES[:N_NOK], rng=rng, n_resamples=n_resamples)
    return found.low <= 1 / 3 <= found.high


def mean_iou_of_groups(rng: np.random.Generator, n_resamples: int) -> bool:
    """Mean IoU of 76 parts with three views each, which are alike."""
    views = np.repeat(ious(rng), 3) + 0.02 * rng.normal(size=3 * N_NOK)
    groups = [str(part) for part in np.repeat(np.arange(N_NOK), 3)]
    found = mean_iou_interval(
        views, ["a"] * len(views), groups=groups, rng=rng, n_resamples=n_resamples
    )
    return found.low <= 1 / 3 <= found.high


def mean_iou_of_small_categories(size: int) -> Trial:
    """Mean IoU of 60 parts in categories of so many, whose levels go from 0.1 to 0.7."""
    level = np.repeat(np.linspace(0.1, 0.7, 60 // size), size)
    categories = np.repeat([f"{k:02}" for k in range(60 // size)], size).tolist()

    def held(rng: np.random.Generator, n_resamples: int) -> bool:
        found = mean_iou_interval(
            level + rng.uniform(-0.1, 0.3, 60), categories, rng=rng, n_resamples=n_resamples
        )
        return found.low <= level.mean() + 0.1 <= found.high

    return held


def pooled_iou(rng: np.random.Generator, n_resamples: int) -> bool:
    """Pooled IoU, sizes of defects log-normal and without influence on the share that is found."""
    union = np.exp(rng.normal(6, 0.5, N_NOK))
    found = pooled_iou_interval(
        union * ious(rng), union, categories=["a"] * N_NOK, rng=rng, n_resamples=n_resamples
    )
    return found.low <= 1 / 3 <= found.high


def f2_difference(rng: np.random.Generator, n_resamples: int) -> bool:
    """Difference in F2 of two methods on the same parts."""
    sums = [f2_sums(rejected(rng, recall, 0.1)) for recall in (0.8, 0.6)]
    found = stratified_bootstrap(
        np.hstack(sums),
        lambda total: f2_of_sums(total[..., :3]) - f2_of_sums(total[..., 3:]),
        strata=list(LABELS),
        rng=rng,
        n_resamples=n_resamples,
    )
    return found.low <= true_f2(0.8, 0.1) - true_f2(0.6, 0.1) <= found.high


def defects(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw 150 defects of 7 to 3,000 px, half of which are found at 100 px."""
    areas = np.exp(rng.uniform(2, 8, 150))
    return areas, rng.random(150) < special.expit(-6 + 1.3 * np.log(areas))


def a90_95(rng: np.random.Generator, n_resamples: int) -> bool | None:
    """Whether the true a90 lies under its one-sided bound."""
    fit = fit_pod(*defects(rng))
    true_a90 = np.exp((np.log(9) + 6) / 1.3)
    return None if fit.status != "estimated" else true_a90 <= fit.a90_95


def pod_lower(rng: np.random.Generator, n_resamples: int) -> bool | None:
    """Whether the true probability at 300 px lies above the curve's one-sided lower bound."""
    areas, hits = defects(rng)
    fit = fit_pod(areas, hits)
    if fit.status != "estimated":
        return None
    return pod_band(areas, hits, fit, [300.0])[0, 1] <= special.expit(-6 + 1.3 * np.log(300))


def mcnemar_alarm(rng: np.random.Generator, n_resamples: int) -> bool:
    """Two methods that are right equally often."""
    first, second = rng.random((2, N_NOK + N_OK)) < 0.85
    return exact_mcnemar(int((first & ~second).sum()), int((~first & second).sum())) <= 0.05


def iou_alarm(rng: np.random.Generator, n_resamples: int) -> bool:
    """Two methods with the same distribution of IoU."""
    one, other = (np.column_stack([ious(rng), np.ones(N_NOK)]) for _ in range(2))
    return paired_permutation(one, other, mean_of_sums, rng=rng, n_resamples=n_resamples) <= 0.05


def f2_alarm(rng: np.random.Generator, n_resamples: int) -> bool:
    """Two methods with the same recall and overkill."""
    one, other = (f2_sums(rejected(rng, 0.7, 0.1)) for _ in range(2))
    return paired_permutation(one, other, f2_of_sums, rng=rng, n_resamples=n_resamples) <= 0.05


INTERVALS: dict[str, Trial] = {
    "slip or overkill rate, upper bound (Clopper-Pearson)": upper_rate,
    "precision or recall, two-sided (Clopper-Pearson)": two_sided_rate,
    "escapes of a line": of_line("escapes", lambda s, o: 10 * s),
    "rejects of a line": of_line("rejects", lambda s, o: 10 * (1 - s) + 990 * o),
    "good rejects of a line": of_line("good_rejects", lambda s, o: 990 * o),
    "share of a line's rejects that are defective": of_line(
        "ppv", lambda s, o: (1 - s) / ((1 - s) + 99 * o)
    ),
    "share of a line's passes that are good": of_line(
        "npv", lambda s, o: 99 * (1 - o) / (99 * (1 - o) + s)
    ),
    "cost of a line that throws rejects away": of_line(
        "cost_alone", lambda s, o: 10 + 1000 * s + 5 * 990 * o
    ),
    "cost of a line whose rejects people check": of_line(
        "cost_checked", lambda s, o: 10 + 1000 * s + 0.5 * (10 * (1 - s) + 990 * o)
    ),
    "F2 (BCa)": f2,
    "mean IoU (BCa)": mean_iou,
    "mean IoU of groups of three views (BCa)": mean_iou_of_groups,
    **{
        f"mean IoU, categories of {size} (BCa)": mean_iou_of_small_categories(size)
        for size in (1, 2, 3, 5, 20)
    },
    "pooled IoU (BCa)": pooled_iou,
    "difference in F2 (BCa)": f2_difference,
    "a90/95 (likelihood ratio)": a90_95,
    "probability of detection, lower bound (likelihood ratio)": pod_lower,
}
ALARMS: dict[str, Trial] = {
    "verdicts (exact McNemar)": mcnemar_alarm,
    "mean IoU (paired permutation)": iou_alarm,
    "F2 (paired permutation)": f2_alarm,
}


def lines(
    trials: dict[str, Trial], *, n_simulations: int, n_resamples: int, seed: int
) -> Iterator[str]:
    """Run trials, and tell of each how often it was so."""
    for number, (name, trial) in enumerate(trials.items()):
        rng = np.random.default_rng([seed, number])
        outcomes = [trial(rng, n_resamples) for _ in range(n_simulations)]
        known = [outcome for outcome in outcomes if outcome is not None]
        share = float(np.mean(known))
        error = (share * (1 - share) / len(known)) ** 0.5
        yield f"{name:<58} {100 * share:5.1f} %  ± {100 * error:.1f}  of {len(known)}"


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-simulations", type=int, default=2000)
    parser.add_argument("--n-resamples", type=int, default=2000, help="of bootstrap, permutation")
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args())
    print("interval: how often it holds the truth; 95 % is promised")
    for line in lines(INTERVALS, **options):
        print(line, flush=True)
    print("test: how often it finds a difference at 5 % where there is none")
    for line in lines(ALARMS, **options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
