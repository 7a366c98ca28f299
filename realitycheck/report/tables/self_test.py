"""The self-test: an easy data set must be easy.

The drawn pets come from the domain that the everyday networks were trained on. A method that fails
there fails for another reason than a domain gap: settings, versions, files or hardware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from realitycheck.core.tables import BOOLEAN, REAL, TEXT, Schema
from realitycheck.report.results import Results
from realitycheck.report.tables.base import Section
from realitycheck.report.text import TableText, named_run, score_text, table_by_run

SELF_TEST = Schema(
    "self-test",
    (
        ("dataset", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("mean_iou", REAL),  # null: there is no score, so it has not passed
        ("least_iou", REAL),  # the stored band
        ("passed", BOOLEAN),
        ("dataset_name", TEXT),
        ("method_name", TEXT),
    ),
    ("dataset", "method", "prompt"),
    unit_interval=("mean_iou", "least_iou"),
)
SCHEMAS = {"self_test": SELF_TEST}
SETTINGS = ("self_test",)


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Hold the scores of a run against their bands; see `self_test`."""
    tested = self_test(results.table("segmentation"), **results.facts["self_test"])
    return {"self_test": tested}


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Put the table into words."""
    return {"self_test": [self_test_text(tables["self_test"])]}


def section(tables: Mapping[str, pd.DataFrame]) -> Section:
    """Show the table; its verdict stands on top of the page."""
    shown = [replace(self_test_text(tables["self_test"]), legend=[])]
    return Section(shown, heading="Whether the easy case was easy")


@cache
def stored_bands() -> dict[str, float]:
    """Read the least mean IoU of each kind of method."""
    text = Path(__file__).with_name("self_test.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def self_test(
    segmentation: pd.DataFrame,
    *,
    datasets: Sequence[str],
    kinds: Mapping[str, str],
    bands: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Hold the scores on easy data sets against their bands.

    Args:
        segmentation: Table 1.
        datasets: The easy data sets.
        kinds: Kind of each method that runs on everyday networks; others are not tested.
        bands: Least mean IoU by kind; default: the stored ones.

    Returns:
        One row per tested run, columns of `SELF_TEST`. A run without a mean IoU has not passed.
    """
    bands = stored_bands() if bands is None else bands
    rows: list[dict[str, Any]] = []
    for _, row in segmentation.iterrows():
        least = bands.get(kinds.get(row["method"], ""))
        if row["dataset"] in datasets and least is not None:
            kept = {name: row[name] for name in SELF_TEST.columns if name in row}
            rows.append(kept | {"least_iou": least, "passed": bool(row["mean_iou"] >= least)})
    return pd.DataFrame(rows, columns=SELF_TEST.columns)


def verdict(tested: pd.DataFrame) -> str:
    """Say in a sentence what the self-test found."""
    failed = tested[~tested["passed"].astype(bool)]
    if failed.empty:
        return (
            f"Self-test passed: {len(tested)} of {len(tested)} easy runs reach the score that "
            "these networks are known to reach."
        )
    found = "; ".join(
        f"{named_run(row)} on {row['dataset_name']} has a mean "
        f"IoU of {score_text(row['mean_iou'])}, expected at least {score_text(row['least_iou'])}"
        for _, row in failed.iterrows()
    )
    return (
        f"SELF-TEST FAILED: the set-up is broken, not the model, and no score of this run can be "
        f"trusted: {found}. These images are easy for these networks; look for a changed setting, "
        "an altered weights file, or other versions than those of constraints.txt."
    )


def self_test_text(tested: pd.DataFrame) -> TableText:
    """Put the self-test into words, the verdict below it."""

    def cells(row: pd.Series) -> list[str]:
        scores = [score_text(row["mean_iou"]), score_text(row["least_iou"])]
        return [*scores, "passed" if row["passed"] else "FAILED"]

    return table_by_run(
        "Self-test",
        ["Data set", "Method", "Prompt", "Mean IoU", "At least", "Result"],
        tested,
        cells,
        n_text_columns=3,
        legend=[verdict(tested)],
    )
