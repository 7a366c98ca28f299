"""Verdicts counted against the labels, those without an answer by their status."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from realitycheck.core.tables import Schema
from realitycheck.report.results import Results
from realitycheck.report.tables.classification import CLASSIFICATION
from realitycheck.report.text import MISSING, TableText, table_by_run

_COLUMNS = (
    *("dataset", "method", "prompt", "n_images", "n_ok", "n_nok", "n_answered"),
    *("tp", "fp", "fn", "tn", "n_unanswered_nok", "n_unanswered_ok", "unanswered_status"),
    *("dataset_name", "method_name", "kind", "verdict_by", "is_floor"),
)
CONFUSION = Schema(
    "confusion",
    tuple((name, dict(CLASSIFICATION.fields)[name]) for name in _COLUMNS),
    CLASSIFICATION.keys,
)
SCHEMAS = {"confusion": CONFUSION}
SETTINGS = ()


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Take the counts out of Table 2."""
    return {"confusion": confusion_table(results.table("classification"))}


def confusion_table(classification: pd.DataFrame) -> pd.DataFrame:
    """Verdicts against labels, and who gave none: the columns of `CONFUSION` out of Table 2."""
    return classification[CONFUSION.columns].copy()


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Format one row per run."""

    def cells(row: pd.Series) -> list[str]:
        return [
            *(_count(row[name]) for name in ("tp", "fn", "fp", "tn")),
            f"{row['n_answered']} of {row['n_images']}",
            row["unanswered_status"] or MISSING,
        ]

    text = table_by_run(
        "Verdicts counted against the labels",
        [
            *("Data set", "Method", "Prompt", "NOK rejected (tp)", "NOK passed (fn)"),
            *("OK rejected (fp)", "OK passed (tn)", "Answered", "Not answered"),
        ],
        tables["confusion"],
        cells,
        n_text_columns=3,
        legend=[
            "NOK is the positive class: a hit is a defective part that is rejected. A method with "
            "masks rejects a part with any mask; '(area)': with a predicted area above what good "
            "parts reach. Counts of the coin are expected ones."
        ],
    )
    return {"confusion": [text]}


def _count(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"
