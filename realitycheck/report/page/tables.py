"""The tables of evidence as the page shows them: a part at a time, without what says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from realitycheck.core.constants import NO_PROMPT
from realitycheck.core.schemas import WHOLE_DATASET
from realitycheck.report.tables.audit import CHECK_WORDS
from realitycheck.report.tables.breakdown import breakdown_text
from realitycheck.report.tables.comparison import comparison_text
from realitycheck.report.tables.detection_probability import detection_texts
from realitycheck.report.tables.pixel_scores import pixel_text
from realitycheck.report.text import (
    MISSING,
    TableText,
    _with_columns,
    simple_table,
    without_empty_columns,
)

_BY_WORDS = {
    "category": "kind of product",
    "defect_type": "type of defect",
    "defect_size": "size of the defect",
}


def breakdown_tables(breakdown: pd.DataFrame) -> list[TableText]:
    """One table a data set and thing that it is broken down by.

    What has only one value in a data set says no more than tables 1 and 2, and is left out.
    """
    tables = []
    for (_, by), rows in breakdown.groupby(["dataset", "by"], sort=False):
        if rows["value"].nunique() > 1:
            text = without_empty_columns(breakdown_text(rows))
            # The caption says what it is by, and of which data set.
            said = {text.header.index("By"), text.header.index("Data set")}
            kept = [column for column in range(len(text.header)) if column not in said]
            caption = f"{rows['dataset_name'].iloc[0]}, by {_BY_WORDS[by]}"
            tables.append(replace(_with_columns(text, kept), caption=caption))
    return tables


def detection_tables(probability: pd.DataFrame, bins: pd.DataFrame) -> list[TableText]:
    """Sizes that are found, or why they cannot be told; none where nobody drew a defect."""
    rows = probability[probability["n_defects"] > 0]
    if rows.empty:
        return []
    return [without_empty_columns(text) for text in detection_texts(rows, bins)]


def comparison_tables(comparison: pd.DataFrame) -> list[TableText]:
    """One table a data set."""
    return [
        replace(
            _with_columns(text, range(1, len(text.header))),
            caption=f"{rows['dataset_name'].iloc[0]}: pairs of methods",
        )
        for _, rows in comparison.groupby("dataset", sort=False)
        for text in [comparison_text(rows)]
    ]


def pixel_tables(scores: pd.DataFrame) -> list[TableText]:
    """Scores of maps, where a method gives one and somebody drew a truth."""
    rows = scores[scores[["auroc", "aupro", "f1_max"]].notna().any(axis=1)]
    return [] if rows.empty else [pixel_text(rows)]


def audit_findings(audit: pd.DataFrame) -> list[dict[str, Any]]:
    """What the audit found, one entry a finding, with all methods that it touches."""
    found: dict[tuple, dict[str, Any]] = {}
    for _, row in audit[audit["n_affected"] > 0].iterrows():
        key = tuple(row[name] for name in ("dataset", "check", "finding", "consequence"))
        entry = found.setdefault(
            key,
            {
                "title": CHECK_WORDS[row["check"]],
                "dataset": row["dataset_name"],
                "methods": [],
                "finding": row["finding"],
                "n_affected": int(row["n_affected"]),
                "example": row["example"] if pd.notna(row["example"]) else "",
                "consequence": row["consequence"] if pd.notna(row["consequence"]) else "",
            },
        )
        if row["method"] != WHOLE_DATASET:
            prompt = "" if row["prompt"] == NO_PROMPT else f" ({row['prompt']})"
            entry["methods"].append(f"{row['method_name']}{prompt}")
    return list(found.values())


def audit_passed(audit: pd.DataFrame) -> list[str]:
    """Names of the checks that found nothing on any data set."""
    found = set(audit.loc[audit["n_affected"] > 0, "check"])
    return [CHECK_WORDS[check] for check in dict.fromkeys(audit["check"]) if check not in found]


def runtime_table(runtimes: Sequence[Mapping[str, Any]]) -> TableText | None:
    """How long the jobs of each rule took."""
    if not runtimes:
        return None
    rows = [
        [
            row["rule"].replace("_", " "),
            str(row["n_jobs"]),
            duration_text(row["seconds"]),
            duration_text(row["seconds"] / row["n_jobs"]),
            MISSING if row["max_rss_mb"] is None else f"{row['max_rss_mb']:,.0f} MB",
        ]
        for row in runtimes
    ]
    total = sum(row["seconds"] for row in runtimes)
    return simple_table(
        "Time and memory of the jobs",
        ["Step", "Jobs", "Time of all", "Time of one", "Most memory"],
        rows,
        n_text_columns=1,
        legend=[
            f"From the workflow's benchmark files; all jobs together: {duration_text(total)}. "
            "Steps that a later run found up to date count with the time they once took."
        ],
    )


def duration_text(seconds: float) -> str:
    """Print a time for people."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
