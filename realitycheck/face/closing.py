"""What a run says when it is finished: where the report lies, and what it found."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from realitycheck.core.tables import read_table
from realitycheck.report.tables.readiness import DECISIONS, READINESS
from realitycheck.report.tables.self_test import SELF_TEST, verdict


def closing_lines(results: str | Path, *, self_tested: bool) -> list[str]:
    """Say in a few lines what a finished run has found, as far as it was asked for.

    Args:
        results: Folder of the results.
        self_tested: Whether the run tests itself on an easy data set.
    """
    results = Path(results)
    tables = results / "tables"
    lines = []
    if (tables / "readiness.parquet").is_file():
        lines += decision_lines(read_table(tables / "readiness.parquet", schema=READINESS))
    if self_tested and (tables / "self_test.parquet").is_file():
        lines.append(verdict(read_table(tables / "self_test.parquet", schema=SELF_TEST)))
    places = {"Tables": tables, "Report": results / "report.html"}
    return lines + [f"{name}: {place}" for name, place in places.items() if place.exists()]


def decision_lines(readiness: pd.DataFrame) -> list[str]:
    """Count the decisions of each data set; none for a table without rows."""
    told = []
    for name, rows in readiness.groupby("dataset_name", sort=False):
        counts = rows["decision"].value_counts()
        found = [
            f"{counts[key]} {word.lower()}"
            for key, (word, *_) in DECISIONS.items()
            if key in counts
        ]
        told.append(f"{name}: {', '.join(found)}")
    return [f"Decisions (method and prompt): {'; '.join(told)}"] if told else []
