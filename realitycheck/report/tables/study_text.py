"""Tables 1 and 2 in the study's shape."""

from __future__ import annotations

import pandas as pd

from realitycheck.metrics.baselines import FLOORS
from realitycheck.report.text import MISSING, TableText, named_run, score_range, score_text

#: The study sets only IoU above this in bold, "since lower values are too low to offer practical
#: value". Compared before rounding.
BOLD_ABOVE_IOU = 0.60


def study_text(table: pd.DataFrame, caption: str) -> TableText:
    """Put a table into the study's shape: a row per data set, a column per method.

    Below each data set stand the study's own values. A method with more than one prompt on a data
    set has a column per prompt. Baselines of verdicts are one column, the best of them; that
    of masks is a column like a method.

    Args:
        table: Table 1 or 2.
        caption: What the table shows.

    Returns:
        The text of the table.

    Raises:
        ValueError: If two rows fall into one cell.
    """
    is_segmentation = "mean_iou" in table
    value, published = ("mean_iou", "published_iou") if is_segmentation else ("f2", "published_f2")
    shown = table
    if not is_segmentation:
        shown = table[~table["kind"].isin(FLOORS) & (table["verdict_by"] != "area")]
    n_prompts = shown.groupby(["dataset", "method"])["prompt"].nunique()
    has_prompts = n_prompts.groupby("method").max() > 1
    titles = {}
    for _, row in shown.iterrows():
        by_prompt = bool(has_prompts[row["method"]])
        key = (row["method"], row["prompt"] if by_prompt else "")
        titles[key] = named_run(row) if by_prompt else row["method_name"]
    header = ["Data set", *titles.values()] + ([] if is_segmentation else ["Best baseline"])
    rows, bold, rules = [], [], []
    for dataset in dict.fromkeys(table["dataset"]):
        own = table[table["dataset"] == dataset]
        cells, theirs = {}, {}
        for _, row in own[own["method"].isin(shown["method"])].iterrows():
            key = next(
                key
                for key in ((row["method"], row["prompt"]), (row["method"], ""))
                if key in titles
            )
            if key in cells:
                raise ValueError(
                    f"the study's table has one cell for {key[0]} on {dataset}, but the table has "
                    "two rows for it"
                )
            cells[key], theirs[key] = row, row[published]
        if rows:
            rules.append(len(rows))
        line = [score_range(cells[key], value) if key in cells else MISSING for key in titles]
        strong = [is_segmentation and key in cells and is_bold(cells[key][value]) for key in titles]
        if not is_segmentation:
            line.append(score_text(own["f2_floor"].iloc[0]))
            strong.append(False)
        rows.append([own["dataset_name"].iloc[0], *line])
        bold.append([False, *strong])
        if any(pd.notna(number) for number in theirs.values()):
            line = [score_text(theirs.get(key)) for key in titles]
            strong = [is_segmentation and is_bold(theirs.get(key)) for key in titles]
            padding = len(header) - 1 - len(line)
            rows.append(["  as published", *line, *[MISSING] * padding])
            bold.append([False, *strong, *[False] * padding])
    return TableText(
        caption=caption,
        header=header,
        rows=rows,
        bold=bold,
        marks=[""] * len(rows),
        footnotes=[],
        legend=_study_legend(table, is_segmentation),
        n_text_columns=1,
        rules_before=rules,
    )


def _study_legend(table: pd.DataFrame, is_segmentation: bool) -> list[str]:
    own = table[["dataset", "dataset_name"]].drop_duplicates()
    counts = []
    for dataset, name in own.itertuples(index=False):
        rows = table[table["dataset"] == dataset]
        if is_segmentation:
            numbers = sorted(set(rows["n_scored"]))
            counts.append(f"{name}: {' or '.join(map(str, numbers))} defective images")
        else:
            counts.append(f"{name}: {rows['n_nok'].iloc[0]} NOK, {rows['n_ok'].iloc[0]} OK")
    what = (
        f"Mean IoU over defective images; bold: above {BOLD_ABOVE_IOU:.2f}."
        if is_segmentation
        else "F2; best baseline: the highest F2 without any model on the same images."
    )
    return [f"{what} Our numbers of images: {'; '.join(counts)}."]


def is_bold(iou: object) -> bool:
    """Whether the study would set an IoU in bold."""
    return bool(pd.notna(iou) and iou > BOLD_ABOVE_IOU)
