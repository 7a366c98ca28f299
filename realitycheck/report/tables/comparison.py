"""Every two methods and prompts compared on the same parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.tables import INTEGER, REAL, TEXT, Schema
from realitycheck.metrics.baselines import FLOORS
from realitycheck.metrics.intervals import stratified_bootstrap
from realitycheck.metrics.paired import (
    exact_mcnemar,
    f2_of_sums,
    holm,
    mean_of_sums,
    paired_permutation,
)
from realitycheck.report.results import KEYS, Notes, Results
from realitycheck.report.tables.base import (
    Section,
    categories_of,
    dataset_name,
    groups_of,
    method_name,
    rows_by_run,
    stream_of,
    typed_table,
)
from realitycheck.report.text import (
    MISSING,
    TableText,
    named_run,
    plain_table,
    score_text,
    signed,
    with_columns,
)

COMPARISON = Schema(
    "comparison",
    (
        ("dataset", TEXT),
        ("quantity", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("other_method", TEXT),
        ("other_prompt", TEXT),
        ("n", INTEGER),  # parts that both were scored on
        ("difference", REAL),  # value minus other value
        ("difference_low", REAL),
        ("difference_high", REAL),
        ("p_value", REAL),
        ("p_value_holm", REAL),  # within the pairs of one data set and quantity
        ("value", REAL),  # of the method on those parts; of verdicts the share that is right
        ("other_value", REAL),
        ("test", TEXT),
        ("n_pairs", INTEGER),  # comparisons of the same data set and quantity
        ("dataset_name", TEXT),
        ("method_name", TEXT),
        ("other_method_name", TEXT),
    ),
    ("dataset", "quantity", "method", "prompt", "other_method", "other_prompt"),
    {"quantity": frozenset({"iou", "f2", "verdict"})},
    ("p_value", "p_value_holm"),
)
SCHEMAS = {"comparison": COMPARISON}
SETTINGS = ("evaluation",)

#: Permutations for each pair that a p value is corrected for: the least corrected p is 1/40.
_PERMUTATIONS_PER_PAIR = 40


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Make the table of a run; see `comparison_table`."""
    table = comparison_table(
        results.scores(results.runs("compared")),
        datasets=results.datasets,
        methods=results.methods,
        **results.facts["evaluation"],
    )
    return {"comparison": table}


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Put the table into words."""
    return {"comparison": [comparison_text(tables["comparison"])]}


def section(tables: Mapping[str, pd.DataFrame]) -> Section:
    """Show one table per data set."""
    shown = [
        replace(
            with_columns(text, range(1, len(text.header))),
            caption=f"{rows['dataset_name'].iloc[0]}: pairs of methods",
        )
        for _, rows in tables["comparison"].groupby("dataset", sort=False)
        for text in [comparison_text(rows)]
    ]
    return Section(shown, heading="Which methods differ", is_folded=True)


def comparison_table(
    scores: pd.DataFrame,
    *,
    datasets: Notes,
    methods: Notes,
    seed: int,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare every two runs on the parts that both were scored on.

    Mean IoU and F2: paired permutation. Verdicts: exact McNemar on the share of right ones, or,
    where parts have groups, a paired permutation of groups. p values are corrected by Holm within
    a data set and quantity. The interval of the difference is a bootstrap over parts, stratified by
    label and category.

    Args:
        scores: Scores of the runs, baselines left out.
        datasets: Description of each data set.
        methods: Description of each method.
        seed: Of bootstrap and permutations.
        n_resamples: Of the bootstrap, and the fewest permutations: there are more where many pairs
            are corrected for, since no p value can fall below their inverse.
        confidence: Of the interval.

    Returns:
        The table, columns of `COMPARISON`.
    """
    rows: list[dict[str, Any]] = []
    runs = [
        (key, images.set_index("image_id").sort_index())
        for key, images in rows_by_run(scores, datasets, methods)
        if methods.get(key[1], {}).get("kind", key[1]) not in FLOORS
    ]
    for dataset in dict.fromkeys(key[0] for key, _ in runs):
        own = [run for run in runs if run[0][0] == dataset]
        for quantity in ("iou", "f2", "verdict"):
            family = []
            compared = own
            if quantity == "iou":  # the masks of verdicts by area are those of the method itself
                compared = [
                    (key, images)
                    for key, images in own
                    if methods.get(key[1], {}).get("verdict_by") != "area"
                    and images["predicted_px"].notna().any()
                ]
            pairs = list(combinations(compared, 2))
            n_permutations = max(n_resamples, _PERMUTATIONS_PER_PAIR * len(pairs))
            for (key, first), (other, second) in pairs:
                rng = stream_of(seed, quantity, *key, *other[1:])
                family.append(
                    dict(zip(KEYS, key, strict=True))
                    | {"other_method": other[1], "other_prompt": other[2], "quantity": quantity}
                    | _difference(
                        first,
                        second,
                        quantity,
                        rng,
                        n_resamples=n_resamples,
                        n_permutations=n_permutations,
                        confidence=confidence,
                    )
                    | {
                        "dataset_name": dataset_name(dataset, datasets),
                        "method_name": method_name(key[1], methods),
                        "other_method_name": method_name(other[1], methods),
                    }
                )
            for row, corrected in zip(family, holm([r["p_value"] for r in family]), strict=True):
                rows.append(row | {"p_value_holm": corrected, "n_pairs": len(family)})
    return typed_table(rows, COMPARISON)


def _difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    quantity: str,
    rng: np.random.Generator,
    *,
    n_resamples: int,
    n_permutations: int,
    confidence: float,
) -> dict[str, Any]:
    column = "iou" if quantity == "iou" else "label_predicted"
    both = first[column].notna() & second[column].notna()
    if quantity == "iou":
        both &= first["label"] == "NOK"
    first, second = first[both], second[both]
    statistic = f2_of_sums if quantity == "f2" else mean_of_sums
    one, other = _summands(first, quantity), _summands(second, quantity)
    groups = groups_of(first)
    n_columns = one.shape[1]
    interval = stratified_bootstrap(
        np.hstack([one, other]),
        lambda sums: statistic(sums[..., :n_columns]) - statistic(sums[..., n_columns:]),
        strata=list(zip(first["label"], categories_of(first), strict=True)),
        groups=groups,
        rng=rng,
        n_resamples=n_resamples,
        confidence=confidence,
    )
    if quantity == "verdict" and groups is None:
        test = "exact McNemar"
        right, also_right = one[:, 0] > 0, other[:, 0] > 0
        p_value = exact_mcnemar(int((right & ~also_right).sum()), int((~right & also_right).sum()))
    else:
        test = "paired permutation" if groups is None else "paired permutation of groups"
        p_value = paired_permutation(
            one, other, statistic, rng=rng, groups=groups, n_resamples=n_permutations
        )
    value, other_value = float(statistic(one.sum(axis=0))), float(statistic(other.sum(axis=0)))
    return {
        "n": len(first),
        "value": value,
        "other_value": other_value,
        "difference": value - other_value,
        "difference_low": interval.low,
        "difference_high": interval.high,
        "p_value": p_value if len(first) else np.nan,
        "test": test,
    }


def _summands(images: pd.DataFrame, quantity: str) -> np.ndarray:
    """The per-image sums that a statistic is computed from, float, one row per image."""
    ones = np.ones(len(images))
    if quantity == "iou":
        return np.column_stack([images["iou"].to_numpy(float), ones])
    is_nok = (images["label"] == "NOK").to_numpy()
    is_rejected = (images["label_predicted"] == "NOK").to_numpy()
    if quantity == "verdict":
        return np.column_stack([is_nok == is_rejected, ones]).astype(float)
    counts = [is_nok & is_rejected, ~is_nok & is_rejected, is_nok & ~is_rejected]
    return np.column_stack(counts).astype(float)


_QUANTITY_WORDS = {"iou": "Mean IoU", "f2": "F2", "verdict": "Right verdicts"}

#: Of comparisons, those below this p value are set in the table, and at least so many others.
_SIGNIFICANT, _N_SHOWN = 0.05, 5


def comparison_text(table: pd.DataFrame) -> TableText:
    """Show statistically significant differences, and the nearest of the others."""
    shown = []
    legend = [
        "Difference: first minus second, with its bootstrap interval, on the parts that both were "
        "scored on. p: paired permutation for IoU and F2, exact McNemar for verdicts, corrected by "
        "Holm for all pairs of a data set and quantity."
    ]
    for (_, quantity), own in table.groupby(["dataset", "quantity"], sort=False):
        ordered = own.sort_values(["p_value_holm", "p_value"], kind="stable")
        n_clear = int((ordered["p_value_holm"] < _SIGNIFICANT).sum())
        shown.append(ordered.head(max(n_clear, _N_SHOWN)))
        legend.append(
            f"{own['dataset_name'].iloc[0]}, {_QUANTITY_WORDS[quantity]}: {n_clear} of {len(own)} "
            f"differences have a corrected p below {_SIGNIFICANT}; "
            f"{len(own) - len(shown[-1])} further pairs stand in the CSV file only."
        )
    header = [
        *("Data set", "Quantity", "First", "Second", "Parts", "First's", "Second's"),
        *("Difference [interval]", "p", "p (Holm)"),
    ]
    rows, rules, last = [], [], None
    for own in shown:
        for _, row in own.iterrows():
            is_new = row["dataset"] != last
            if is_new and rows:
                rules.append(len(rows))
            last = row["dataset"]
            difference = signed(row["difference"])
            if pd.notna(row["difference_low"]):
                low, high = signed(row["difference_low"]), signed(row["difference_high"])
                difference += f" [{low}, {high}]"
            rows.append(
                [
                    row["dataset_name"] if is_new else "",
                    _QUANTITY_WORDS[row["quantity"]],
                    named_run(row),
                    named_run(row, "other_"),
                    str(row["n"]),
                    score_text(row["value"]),
                    score_text(row["other_value"]),
                    difference,
                    _p_text(row["p_value"]),
                    _p_text(row["p_value_holm"]),
                ]
            )
    return plain_table(
        "Differences on the same parts",
        header,
        rows,
        n_text_columns=4,
        legend=legend,
        rules_before=rules,
    )


def _p_text(value: Any) -> str:
    if pd.isna(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
