"""The best of several methods, and how much worse it is to be expected on new parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.tables import INTEGER, REAL, TEXT, Schema
from realitycheck.metrics.optimism import winners_optimism
from realitycheck.report.results import KEYS, Notes, Results
from realitycheck.report.tables.base import (
    Section,
    dataset_name,
    method_name,
    stream_of,
    typed_table,
)
from realitycheck.report.text import TableText, named_run, plain_table, score_text

#: Scores by which a method is picked, for people.
QUANTITIES = {
    "f2": "F2",
    "informedness": "1 − slip − overkill",
    "mean_iou": "Mean IoU of defective parts",
}
#: More splits change the second digit of a shrinkage no further.
_MAX_SPLITS = 1000

BEST_OF = Schema(
    "best of several",
    (
        ("dataset", TEXT),
        ("quantity", TEXT),
        ("method", TEXT),  # the best one
        ("prompt", TEXT),
        ("score", REAL),  # unanswered parts count as wrong
        ("shrinkage", REAL),  # by how much it is expected to be worse; null: halves too small
        ("expected", REAL),  # score after that
        ("n_compared", INTEGER),  # among which it is the best here
        ("n_tries", INTEGER),  # everything ever tried on the parts
        ("dataset_name", TEXT),
        ("method_name", TEXT),
    ),
    ("dataset", "quantity"),
    {"quantity": frozenset(QUANTITIES)},
)
SCHEMAS = {"best_of": BEST_OF}
SETTINGS = ("evaluation",)


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Make the table of a run; see `best_of_table`."""
    tried = results.table("readiness").drop_duplicates("dataset")
    table = best_of_table(
        results.scores(results.runs("compared")),
        results.datasets,
        results.methods,
        n_tries=dict(zip(tried["dataset"], tried["n_tries"], strict=True)),
        **{name: results.facts["evaluation"][name] for name in ("n_resamples", "seed")},
    )
    return {"best_of": table}


def best_of_table(
    scores: pd.DataFrame,
    datasets: Notes,
    methods: Notes,
    *,
    n_tries: Mapping[str, int],
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Find the best method and prompt of each data set, and how lucky it was.

    Args:
        scores: Scores of all runs that are no baselines.
        datasets: What is said of each data set.
        methods: What is said of each method.
        n_tries: How many were ever tried on the parts of each data set.
        n_resamples: Splits into halves, `_MAX_SPLITS` at most.
        seed: Of the splits.

    Returns:
        The table, columns of `BEST_OF`; no row where fewer than two runs have the score.
    """
    rows = []
    for dataset, images in scores.groupby("dataset", sort=False, observed=True):
        by_area = [methods.get(str(m), {}).get("verdict_by") == "area" for m in images["method"]]
        masks = images[~np.array(by_area)]  # by area the same masks would be compared twice
        for quantity, (values, statistic) in {
            "f2": (_counts, _f2),
            "informedness": (_counts, _informedness),
            "mean_iou": (_ious, _mean),
        }.items():
            found = _summands(masks if quantity == "mean_iou" else images, values)
            if found is None:
                continue
            runs, parts, summands = found
            if len(runs) < 2:
                continue
            best = winners_optimism(
                summands,
                statistic,
                strata=list(zip(parts["label"], parts["category"], strict=True)),
                rng=stream_of(seed, str(dataset), quantity, "best of"),
                groups=[None if pd.isna(group) else str(group) for group in parts["group"]],
                n_resamples=min(n_resamples, _MAX_SPLITS),
            )
            method, prompt = runs[best.winner]
            rows.append(
                {
                    "dataset": dataset,
                    "quantity": quantity,
                    "method": method,
                    "prompt": prompt,
                    "score": best.score,
                    "shrinkage": best.shrinkage,
                    "expected": best.expected,
                    "n_compared": len(runs),
                    "n_tries": max(n_tries.get(str(dataset), 0), len(runs)),
                    "dataset_name": dataset_name(str(dataset), datasets),
                    "method_name": method_name(method, methods),
                }
            )
    return typed_table(rows, BEST_OF)


def _summands(
    images: pd.DataFrame, values: Callable[[pd.DataFrame], np.ndarray | None]
) -> tuple[list[tuple[str, str]], pd.DataFrame, np.ndarray] | None:
    """Runs that have a score, their parts, and summands of each, float, (N, T, C)."""
    runs, columns, parts = [], [], None
    for (_, method, prompt), own in images.groupby(KEYS, sort=False, observed=True):
        own = own.sort_values("image_id")
        found = values(own)
        if found is None:
            continue
        runs.append((str(method), str(prompt)))
        columns.append(found)
        parts = own
    if parts is None:
        return None
    summands = np.stack(columns, axis=1)
    counts = ~np.isnan(summands).all(axis=(1, 2))
    return (runs, parts[counts], np.nan_to_num(summands[counts])) if counts.any() else None


def _counts(images: pd.DataFrame) -> np.ndarray | None:
    """Summands tp, fp, fn, tn; a part without a verdict is wrong. None where none has one."""
    said, is_nok = images["label_predicted"], (images["label"] == "NOK").to_numpy()
    if said.isna().all():
        return None
    is_right = (said == images["label"]).fillna(False).to_numpy(bool)
    return np.stack(
        [is_nok & is_right, ~is_nok & ~is_right, is_nok & ~is_right, ~is_nok & is_right], axis=1
    ).astype(float)


def _ious(images: pd.DataFrame) -> np.ndarray | None:
    """Summands IoU and 1 of defective parts with truth, NaN of others; 0 without a mask."""
    if images["predicted_px"].isna().all():
        return None
    has_truth = ((images["label"] == "NOK") & (images["truth_px"].fillna(0) > 0)).to_numpy()
    iou = images["iou"].fillna(0.0).to_numpy(float)
    values = np.stack([iou, np.ones(len(iou))], axis=1)
    values[~has_truth] = np.nan
    return values


def _f2(sums: np.ndarray) -> np.ndarray:
    tp, fp, fn, _ = np.moveaxis(sums, -1, 0)
    return _ratio(5 * tp, 5 * tp + 4 * fn + fp)


def _informedness(sums: np.ndarray) -> np.ndarray:
    tp, fp, fn, tn = np.moveaxis(sums, -1, 0)
    return _ratio(tp, tp + fn) + _ratio(tn, tn + fp) - 1


def _mean(sums: np.ndarray) -> np.ndarray:
    return _ratio(sums[..., 0], sums[..., 1])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Put the table into words."""
    return {"best_of": [best_of_text(tables["best_of"])]}


def section(tables: Mapping[str, pd.DataFrame]) -> Section:
    """Show the table beside those from which a reader would pick a method."""
    table = tables["best_of"]
    return Section([best_of_text(table)] if len(table) else [], place="tables")


def best_sentence(table: pd.DataFrame, dataset: str) -> str:
    """Say which method is the best of a data set, and what to expect of it; nothing without one."""
    rows = table[(table["dataset"] == dataset) & (table["quantity"] == "f2")]
    if rows.empty:
        return ""
    row = rows.iloc[0]
    told = f"{named_run(row)}, {score_text(row['score'])} on these parts"
    if pd.notna(row["expected"]):
        told += f"; expect about {score_text(row['expected'])} on new ones"
    return f"Best of {row['n_tries']} by F2: {told}."


def best_of_text(table: pd.DataFrame) -> TableText:
    """Say what each best one is the best of.

    Args:
        table: One row per data set and quantity, columns of `BEST_OF`.
    """
    rows: list[Sequence[Any]] = [
        [
            row["dataset_name"],
            QUANTITIES[row["quantity"]],
            named_run(row),
            f"best of {row['n_tries']}",
            score_text(row["score"]),
            score_text(row["shrinkage"]),
            score_text(row["expected"]),
        ]
        for _, row in table.iterrows()
    ]
    return plain_table(
        "The best of several, and what to expect of it on new parts",
        ["Data set", "Score", "Best", "Of all tried", "Seen", "Shrinkage", "Expected"],
        [list(row) for row in rows],
        n_text_columns=4,
        legend=[
            "Of methods that were scored on the same parts the best one was also lucky. Shrinkage: "
            "the mean difference between the score where it was chosen and the score elsewhere, "
            "over random halves of the parts, groups kept whole, times 1 / √2. It is estimated "
            "from the methods and prompts of this run; where more were tried, it may be larger. "
            "Parts without a verdict or mask count as wrong."
        ],
    )
