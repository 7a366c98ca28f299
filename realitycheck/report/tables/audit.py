"""Audit."""

from __future__ import annotations

import pandas as pd

from realitycheck.core.constants import AUDIT_CHECKS
from realitycheck.core.tables import INTEGER, TEXT, Schema
from realitycheck.report.text import (
    TableText,
    text_by_run,
)

AUDIT = Schema(
    "audit",
    (
        ("dataset", TEXT),
        ("method", TEXT),  # "*" with the prompt: the check found nothing in the data set
        ("prompt", TEXT),
        ("check", TEXT),
        ("finding", TEXT),
        ("n_affected", INTEGER),  # images; 0: nothing was found
        ("example", TEXT),
        ("consequence", TEXT),
        ("dataset_name", TEXT),
        ("method_name", TEXT),
    ),
    ("dataset", "method", "prompt", "check"),
    {"check": frozenset(AUDIT_CHECKS)},
)

CHECK_WORDS = {
    "reference_is_scored": "Reference among the scored images",
    "group_in_two_splits": "One part in training and in scored images",
    "group_in_two_folds": "One part in two folds",
    "near_duplicate_across_splits": "Near-duplicates across splits",
    "near_duplicate_parts": "Near-duplicates among scored images",
    "size_by_label": "Size or depth tells the label",
    "threshold_on_scored": "Threshold fitted on scored images",
    "prompt_names_defects": "Prompt names defects of the scored images",
    "truth_by_rule": "Truth read by a rule",
    "defects_lost": "Defects out of the image after alignment",
}


def audit_text(table: pd.DataFrame) -> TableText:
    """What the audit found, with what follows from it; clean checks in one sentence."""
    found = table[table["n_affected"] > 0]
    clean = table[table["n_affected"] == 0]
    legend = [
        f"{name}: nothing found by the checks: {', '.join(CHECK_WORDS[c].lower() for c in checks)}."
        for name, checks in clean.groupby("dataset_name", sort=False)["check"]
    ]

    def cells(row: pd.Series) -> list[str]:
        return [CHECK_WORDS[row["check"]], row["finding"], row["example"], str(row["n_affected"])]

    return text_by_run(
        "Audit",
        ["Data set", "Method", "Prompt", "Check", "Finding", "Example", "Images"],
        found,
        cells,
        n_text_columns=6,
        notes=lambda row: [row["consequence"]],
        legend=legend,
    )
