"""The tables of evidence as people read them on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from realitycheck.report.table_text import MISSING, TableText, percent_text, score_text
from realitycheck.report.tables import NO_PROMPT

#: What a breakdown is by, for people.
BREAKDOWN_NAMES = {
    "category": "kind of product",
    "defect_type": "type of defect",
    "defect_size": "size of the defect",
}
QUANTITY_NAMES = {
    "iou": "IoU",
    "f2": "F2",
    "verdict": "share of right verdicts",
}
AUDIT_NAMES = {
    "reference_is_scored": "A reference image is among the scored ones",
    "group_in_two_splits": "Views of one part lie in two splits",
    "group_in_two_folds": "Views of one part lie in two folds",
    "near_duplicate_across_splits": "Near-duplicates across splits",
    "near_duplicate_parts": "Near-duplicates that count as different parts",
    "size_by_label": "Good and defective images differ in form",
    "threshold_on_scored": "A threshold was set on the scored images",
    "prompt_names_defects": "A prompt names the defects of the scored images",
}
UNIT_NAMES = {"px": "px", "mm2": "mm²"}


def simple_table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    n_text_columns: int,
    legend: Sequence[str] = (),
) -> TableText:
    """Make a table without bold cells and footnotes.

    Args:
        caption: What the table shows.
        header: Column titles.
        rows: Cells.
        n_text_columns: How many columns are set left.
        legend: Sentences below.
    """
    return TableText(
        caption=caption,
        header=list(header),
        rows=[list(row) for row in rows],
        bold=[[False] * len(header) for _ in rows],
        marks=[""] * len(rows),
        footnotes=[],
        legend=list(legend),
        n_text_columns=n_text_columns,
        rules_before=[],
    )


def breakdown_tables(breakdown: pd.DataFrame) -> list[TableText]:
    """One table a data set and thing that it is broken down by.

    What has only one value in a data set says no more than tables 1 and 2, and is left out.
    """
    tables = []
    for (_, by), rows in breakdown.groupby(["dataset", "by"], sort=False):
        if rows["value"].nunique() < 2:
            continue
        cells, rules, last = [], [], None
        for _, row in rows.sort_values(["rank"], kind="stable").iterrows():
            is_new = row["value"] != last
            if is_new and cells:
                rules.append(len(cells))
            last = row["value"]
            n_ok = row["n_images"] - row["n_nok"]
            cells.append(
                [
                    str(row["value"]).replace("_", " ") if is_new else "",
                    row["method_name"],
                    prompt_text(row["prompt"]),
                    f"{row['n_nok']} / {n_ok}",
                    _interval(row, "mean_iou"),
                    _bounded(row, "slip_rate", row["n_nok"]),
                    _bounded(row, "overkill_rate", n_ok),
                    percent_text(row["ok_with_mask_rate"]) if n_ok else MISSING,
                    percent_text(row["ok_mask_area_share"]) if n_ok else MISSING,
                ]
            )
        name = BREAKDOWN_NAMES.get(by, str(by).replace("_", " "))
        text = simple_table(
            f"{rows['dataset_name'].iloc[0]} by {name}",
            [
                *(name.capitalize(), "Method", "Prompt", "NOK / OK", "IoU [interval]"),
                *("Slip rate (bound)", "Overkill rate (bound)", "Good parts with a mask"),
                "Area of such a mask",
            ],
            cells,
            n_text_columns=3,
        )
        text.rules_before.extend(rules)
        tables.append(text)
    return [_without_empty_columns(table) for table in tables]


def detection_table(probability: pd.DataFrame) -> TableText | None:
    """Sizes that are found with some probability, or why they cannot be told."""
    rows = probability[probability["n_defects"] > 0]
    if rows.empty:
        return None
    cells = []
    for _, row in rows.iterrows():
        unit = UNIT_NAMES.get(row["unit"], row["unit"])
        sizes = [
            MISSING if pd.isna(row[name]) else f"{row[name]:,.3g} {unit}"
            for name in ("a50", "a90", "a90_95")
        ]
        why = row["reason"] if pd.notna(row["reason"]) else ""
        cells.append(
            [
                row["dataset_name"],
                row["method_name"],
                prompt_text(row["prompt"]),
                str(why),
                f"{row['n_hits']} of {row['n_defects']}",
                *sizes,
            ]
        )
    text = simple_table(
        "Area of a defect that is found",
        [
            *("Data set", "Method", "Prompt", "What can be said", "Defects found"),
            *("with probability 0.5", "0.9", "0.9, at the bound"),
        ],
        cells,
        n_text_columns=4,
        legend=[
            "A defect is a connected region of the ground truth; it counts as found if enough of "
            "its area is predicted. The last column is a90/95: the area that is found with "
            "probability 0.9 at the lower 95 % confidence bound of the curve."
        ],
    )
    return _without_empty_columns(text)


def comparison_tables(comparison: pd.DataFrame) -> list[tuple[str, TableText]]:
    """For each data set and quantity a sentence, and the pairs, surest first."""
    tables = []
    for (_, quantity), rows in comparison.groupby(["dataset", "quantity"], sort=False):
        rows = rows.sort_values(["p_value_holm", "p_value"], kind="stable")
        name = QUANTITY_NAMES.get(quantity, quantity)
        n_sure = int((rows["p_value_holm"] < 0.05).sum())
        said = (
            f"{rows['dataset_name'].iloc[0]}, {name}: {n_sure} of {len(rows)} pairs of methods "
            "differ (p below 0.05 after Holm's correction)."
        )
        cells = [
            [
                _named(row["method_name"], row["prompt"]),
                _named(row["other_method_name"], row["other_prompt"]),
                str(row["n"]),
                score_text(row["value"]),
                score_text(row["other_value"]),
                _difference(row),
                _p_text(row["p_value"]),
                _p_text(row["p_value_holm"]),
            ]
            for _, row in rows.iterrows()
        ]
        text = simple_table(
            f"{rows['dataset_name'].iloc[0]}: {name} of two methods on the same parts",
            [
                "Method",
                "Other method",
                "n",
                name,
                "Other's",
                "Difference [interval]",
                "p",
                "p, Holm",
            ],
            cells,
            n_text_columns=2,
        )
        tables.append((said, text))
    return tables


def pixel_table(scores: pd.DataFrame) -> TableText | None:
    """Scores of maps, for the methods that give one."""
    if scores.empty:
        return None
    cells = [
        [
            row["dataset_name"],
            row["method_name"],
            prompt_text(row["prompt"]),
            "yes" if row["uses_test_truth"] else "no",
            f"{row['n_defective']} / {row['n_images'] - row['n_defective']}",
            score_text(row["auroc"]),
            score_text(row["aupro"]),
            score_text(row["f1_max"]),
        ]
        for _, row in scores.iterrows()
    ]
    return simple_table(
        "Score maps, pixel by pixel",
        [
            *("Data set", "Method", "Prompt", "Looks at the test truth", "NOK / OK images"),
            *("AUROC", "AUPRO", "Best F1"),
        ],
        cells,
        n_text_columns=4,
        legend=[
            "AUPRO: up to a false positive rate of 0.3. The best F1 takes its threshold from the "
            "truth it is scored with: an upper limit, not a result."
        ],
    )


def audit_findings(audit: pd.DataFrame) -> list[dict[str, Any]]:
    """What the audit found, and last what it looked for in vain."""
    found = []
    for _, row in audit[audit["n_affected"] > 0].iterrows():
        found.append(
            {
                "title": AUDIT_NAMES.get(row["check"], str(row["check"]).replace("_", " ")),
                "dataset": row["dataset_name"],
                "method": "" if row["method"] == "*" else _named(row["method_name"], row["prompt"]),
                "finding": row["finding"],
                "n_affected": int(row["n_affected"]),
                "example": row["example"] if pd.notna(row["example"]) else "",
                "consequence": row["consequence"] if pd.notna(row["consequence"]) else "",
            }
        )
    return found


def audit_passed(audit: pd.DataFrame) -> list[str]:
    """Names of the checks that found nothing on any data set."""
    found = set(audit.loc[audit["n_affected"] > 0, "check"])
    passed = [check for check in dict.fromkeys(audit["check"]) if check not in found]
    return [AUDIT_NAMES.get(check, check.replace("_", " ")) for check in passed]


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


def prompt_text(prompt: str) -> str:
    """Print the name of a prompt set, a dash for none."""
    return MISSING if prompt == NO_PROMPT else prompt


def _named(method: str, prompt: str) -> str:
    return method if prompt == NO_PROMPT else f"{method} ({prompt})"


def _interval(row: pd.Series, name: str) -> str:
    value = score_text(row[name])
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return value if pd.isna(low) or pd.isna(high) else f"{value} [{low:.2f}, {high:.2f}]"


def _bounded(row: pd.Series, name: str, n: int) -> str:
    if not n:
        return MISSING
    value, high = percent_text(row[name]), row[f"{name}_high"]
    return value if pd.isna(high) else f"{value} (≤ {percent_text(high)})"


def _difference(row: pd.Series) -> str:
    low, high = row["difference_low"], row["difference_high"]
    value = f"{row['difference']:+.2f}".replace("-", "−")
    if pd.isna(low) or pd.isna(high):
        return value
    return f"{value} [{low:+.2f}, {high:+.2f}]".replace("-", "−")


def _p_text(value: float) -> str:
    if pd.isna(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _without_empty_columns(text: TableText) -> TableText:
    """Drop columns of numbers in which no row has a value."""
    kept = [
        column
        for column in range(len(text.header))
        if column < text.n_text_columns or any(row[column] != MISSING for row in text.rows)
    ]
    return TableText(
        caption=text.caption,
        header=[text.header[column] for column in kept],
        rows=[[row[column] for column in kept] for row in text.rows],
        bold=[[row[column] for column in kept] for row in text.bold],
        marks=text.marks,
        footnotes=text.footnotes,
        legend=text.legend,
        n_text_columns=text.n_text_columns,
        rules_before=text.rules_before,
    )
