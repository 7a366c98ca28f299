"""What a card says beside its decision: the line in numbers, and labels that it hangs on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from realitycheck.core.constants import NO_PROMPT
from realitycheck.metrics.line import N_PARTS
from realitycheck.report.tables.line import figure_text, number_text, rate_text
from realitycheck.report.tables.readiness import DECISIONS
from realitycheck.report.text import score_text

#: Parts that a card links to one by one.
_N_LINKS = 4


def line_facts(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Say what happens to the parts of the line, a row for each defect rate.

    Args:
        rows: Those of table `line` of one method and prompt.

    Returns:
        caption, header and rows of a small table, and sentences below it.
    """
    rows = list(rows)
    first = rows[len(rows) // 2]
    whose = "example rates" if first["is_example"] else "the line's rate"
    at = f" at {rate_text(first)} defective" if first["is_example"] else ""
    words = []
    if pd.notna(first["rejects_per_day_high"]):
        words.append(
            f"A day{at}: {figure_text(first, 'escapes_per_day')} pass, "
            f"{figure_text(first, 'rejects_per_day')} are rejected."
        )
    costs = [
        f"{figure_text(first, f'{name}_usd')} {what}"
        for name, what in (
            ("cost_alone", "by itself"),
            ("cost_checked", "with people who check rejects"),
            ("cost_ship_all", "if everything is shipped"),
            ("cost_check_all", "if people check everything"),
        )
        if pd.notna(first[f"{name}_usd_high"])
    ]
    if costs:
        words.append(f"USD for {N_PARTS:,} parts{at}: {'; '.join(costs)}.")
    return {
        "caption": f"Of {N_PARTS:,} parts of the line ({whose})",
        "header": ["Defective", "Pass", "Rejected", "of them good"],
        "rows": [
            [
                rate_text(row),
                f"{figure_text(row, 'escapes').split(' [')[0]} "
                f"(≤\u00a0{number_text(row['escapes_at_most'])})",
                figure_text(row, "rejects"),
                figure_text(row, "good_rejects"),
            ]
            for row in rows
        ],
        "words": words,
    }


def label_facts(row: Mapping[str, Any], images: pd.DataFrame) -> dict[str, Any]:
    """Say how many labels a decision hangs on, with links to their parts.

    Args:
        row: That of table `labels` of one method and prompt.
        images: Its rows of table `label_images`.

    Returns:
        `words`, and `links`: words and filter of the gallery, as JSON.
    """
    if pd.isna(row["n_wrong_labels"]):
        told = f"Even {row['n_searched']} wrong labels among {row['n_images']} would not change it."
        return {"words": told, "links": []}
    n, then = int(row["n_wrong_labels"]), DECISIONS[row["decision_then"]].word.lower()
    many = "label is" if n == 1 else "labels are"
    prompt = "" if row["prompt"] == NO_PROMPT else row["prompt"]
    shown = {"dataset": row["dataset"], "method": row["method"], "prompt": prompt}
    ids = images["image_id"].tolist()
    links = [
        {"words": image_id, "filter": json.dumps(shown | {"images": [image_id]})}
        for image_id in ids[:_N_LINKS]
    ]
    if len(ids) > 1:
        links.append({"words": "all of them", "filter": json.dumps(shown | {"images": ids})})
    told = f"If {n} of {row['n_images']} {many} wrong, it is “{then}”. Most likely: "
    return {"words": told, "links": links}


def gain_fact(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """How much better than no model a method is, whatever the mixture; None where nobody knows."""
    if pd.isna(row["informedness_high"]):
        return None
    low, high = (score_text(row[f"informedness_{end}"]) for end in ("low", "high"))
    return {
        "name": "Gain",
        "value": score_text(row["informedness"]),
        "words": f"1 − slip − overkill, 0 without any model; bounds {low} and {high}",
        "state": None,
    }
