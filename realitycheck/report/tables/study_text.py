"""Study text."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from realitycheck.core.files import write_text
from realitycheck.core.parquet import write_parquet
from realitycheck.metrics.baselines import FLOORS
from realitycheck.report.csv_text import csv_text
from realitycheck.report.tables.classification import (
    _CLASSIFICATION_HEADER,
    _CONFUSION_HEADER,
    _classification_row,
)
from realitycheck.report.tables.segmentation import (
    _SEGMENTATION_HEADER,
    _is_segmentation,
    _segmentation_row,
)
from realitycheck.report.text import (
    _AGREEMENT,
    _COST,
    MISSING,
    TableText,
    _answer_cells,
    _confidence,
    _count,
    _letters,
    _notes,
    _prompt,
    _score_range,
    render_latex,
    render_markdown,
    score_text,
)

# The study sets only IoU above this in bold, "since lower values are too low to offer
# practical value". Compared before rounding.
BOLD_ABOVE_IOU = 0.60


def table_text(table: pd.DataFrame, caption: str | None = None) -> TableText:
    """Put a segmentation or classification table into words.

    Two decimals for scores, one for percentages; the published value stands beside ours with the
    difference; a score that is a range is printed as one ("0.31–0.45"); a value that is not
    known is a dash.

    Args:
        table: What `segmentation_table` or `classification_table` gives.
        caption: Caption; a plain description of the table if not given.

    Returns:
        The text of the table.

    Raises:
        ValueError: If the table is neither of the two.
    """
    names = {True: "mean_iou", False: "f2"}
    is_segmentation = _is_segmentation(table)
    describe = _segmentation_row if is_segmentation else _classification_row
    header = list(_SEGMENTATION_HEADER if is_segmentation else _CLASSIFICATION_HEADER)
    further = {} if is_segmentation else _answer_cells(table)
    header += further
    letters = _letters([note for text in table["note"] for note in _notes(text)])
    rows, bold, marks, rules = [], [], [], []
    for position, (_, row) in enumerate(table.iterrows()):
        is_new = position == 0 or row["dataset"] != table["dataset"].iloc[position - 1]
        if is_new and position:
            rules.append(position)
        cells = [row["dataset_name"] if is_new else "", row["method_name"], _prompt(row["prompt"])]
        rows.append(cells + describe(row) + [cell(row) for cell in further.values()])
        is_bold = is_segmentation and _is_bold(row[names[is_segmentation]])
        bold.append([False] * 3 + [is_bold] + [False] * (len(header) - 4))
        marks.append(", ".join(letters[note] for note in _notes(row["note"])))
    legend = _legend(table, is_segmentation)
    legend += [_ANSWER_LEGENDS[name] for name in further]
    return TableText(
        caption=caption or _CAPTIONS[is_segmentation],
        header=header,
        rows=rows,
        bold=bold,
        marks=marks,
        footnotes=[(letter, note) for note, letter in letters.items()],
        legend=legend,
        n_text_columns=3,
        rules_before=rules,
    )


def study_text(table: pd.DataFrame, caption: str | None = None) -> TableText:
    """Put a table into the study's shape: a row a data set, a column a method.

    Below each data set stand the study's own values. A method with more than one prompt on a data
    set has a column a prompt. Floors of verdicts are one column, the best of them; the floor of
    masks is a column like a method.

    Args:
        table: As for `table_text`.
        caption: As for `table_text`.

    Returns:
        The text of the table.

    Raises:
        ValueError: If the table is neither of the two, or two rows fall into one cell.
    """
    is_segmentation = _is_segmentation(table)
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
        titles[key] = f"{row['method_name']} ({row['prompt']})" if by_prompt else row["method_name"]
    header = ["Data set", *titles.values()] + ([] if is_segmentation else ["Best floor"])
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
        line = [_score_range(cells[key], value) if key in cells else MISSING for key in titles]
        strong = [
            is_segmentation and key in cells and _is_bold(cells[key][value]) for key in titles
        ]
        if not is_segmentation:
            line.append(score_text(own["f2_floor"].iloc[0]))
            strong.append(False)
        rows.append([own["dataset_name"].iloc[0], *line])
        bold.append([False, *strong])
        if any(pd.notna(number) for number in theirs.values()):
            line = [score_text(theirs.get(key)) for key in titles]
            strong = [is_segmentation and _is_bold(theirs.get(key)) for key in titles]
            padding = len(header) - 1 - len(line)
            rows.append(["  as published", *line, *[MISSING] * padding])
            bold.append([False, *strong, *[False] * padding])
    return TableText(
        caption=caption or _CAPTIONS[is_segmentation],
        header=header,
        rows=rows,
        bold=bold,
        marks=[""] * len(rows),
        footnotes=[],
        legend=_study_legend(table, is_segmentation),
        n_text_columns=1,
        rules_before=rules,
    )


def write_table(
    table: pd.DataFrame,
    folder: str | Path,
    *,
    stem: str,
    caption: str | None = None,
    notes: Sequence[str] = (),
    metadata: Mapping[str, str] | None = None,
) -> dict[str, Path]:
    """Write a table for machines and for people.

    `{stem}.parquet` and `{stem}.csv` hold every column in full precision; `{stem}.md` and
    `{stem}.tex` what people read; `{stem}_study.md` and `{stem}_study.tex` the study's shape.

    Args:
        table: What `segmentation_table` or `classification_table` gives.
        folder: Where to write; created if it is not there.
        stem: File name without its ending, also LaTeX's label ("tab:" before it).
        caption: Caption of the tables for people.
        notes: Lines below them: where the numbers come from, a warning.
        metadata: Written into the Parquet file's metadata.

    Returns:
        The path of each file by "parquet", "csv", "md", "tex", "study_md", "study_tex".

    Raises:
        ValueError: If the table is neither of the two.
    """
    texts = {"": table_text(table, caption), "study": study_text(table, caption)}
    return _write(table, texts, Path(folder), stem=stem, notes=notes, metadata=metadata)


def write_confusion_table(
    table: pd.DataFrame,
    folder: str | Path,
    *,
    stem: str,
    notes: Sequence[str] = (),
    metadata: Mapping[str, str] | None = None,
) -> dict[str, Path]:
    """Write the confusion counts for machines and for people; see `write_table`.

    Args:
        table: What `confusion_table` gives.
        folder: As for `write_table`.
        stem: As for `write_table`.
        notes: As for `write_table`.
        metadata: As for `write_table`.

    Returns:
        The path of each file by "parquet", "csv", "md", "tex".
    """
    texts = {"": confusion_text(table)}
    return _write(table, texts, Path(folder), stem=stem, notes=notes, metadata=metadata)


def confusion_text(table: pd.DataFrame) -> TableText:
    """Put confusion counts into words: a row a data set, method and prompt."""
    rows, rules = [], []
    for position, (_, row) in enumerate(table.iterrows()):
        is_new = position == 0 or row["dataset"] != table["dataset"].iloc[position - 1]
        if is_new and position:
            rules.append(position)
        counts = [_count(row[name]) for name in ("tp", "fn", "fp", "tn")]
        answered = f"{row['n_answered']} of {row['n_images']}"
        why = row["unanswered_status"] or MISSING
        cells = [row["dataset_name"] if is_new else "", row["method_name"], _prompt(row["prompt"])]
        rows.append([*cells, *counts, answered, why])
    return TableText(
        caption="Verdicts counted against the labels",
        header=_CONFUSION_HEADER,
        rows=rows,
        bold=[[False] * len(_CONFUSION_HEADER) for _ in rows],
        marks=[""] * len(rows),
        footnotes=[],
        legend=[
            "NOK is the positive class: a hit is a defective part that is rejected. A method with "
            "masks rejects a part with any mask; '(area)': with a predicted area above what good "
            "parts reach. Counts of the coin are expected ones."
        ],
        n_text_columns=3,
        rules_before=rules,
    )


def _write(
    table: pd.DataFrame,
    texts: Mapping[str, TableText],
    folder: Path,
    *,
    stem: str,
    notes: Sequence[str],
    metadata: Mapping[str, str] | None,
) -> dict[str, Path]:
    """Write a table as Parquet and CSV, and each of its texts as Markdown and LaTeX."""
    paths = {name: folder / f"{stem}.{name}" for name in ("parquet", "csv")}
    content = pa.Table.from_pandas(table, preserve_index=False)
    described = {**(content.schema.metadata or {}), **(metadata or {})}
    write_parquet(paths["parquet"], [content], schema=content.schema.with_metadata(described))
    write_text(csv_text(table), paths["csv"])
    for shape, text in texts.items():
        name = f"{stem}_{shape}" if shape else stem
        sources = {
            "md": render_markdown(text, notes),
            "tex": render_latex(text, f"tab:{name}", notes=notes),
        }
        for ending, source in sources.items():
            path = folder / f"{name}.{ending}"
            write_text(source, path)
            paths[f"{shape}_{ending}" if shape else ending] = path
    return paths


_CAPTIONS = {
    True: "Segmentation: IoU of predicted defect masks",
    False: "Classification: F2 of verdicts on parts",
}

_ANSWER_LEGENDS = {
    _AGREEMENT: "Fleiss' κ: agreement of repeated answers on one part beyond chance; flips: share "
    "of parts whose answers do not all agree.",
    _COST: "USD: price of all answers, whatever their status, for 1,000 parts.",
}


def _legend(table: pd.DataFrame, is_segmentation: bool) -> list[str]:
    confidence = _confidence(table)
    if is_segmentation:
        return [
            "IoU: mean over the given number of defective images with ground truth; in brackets "
            f"the {confidence} bootstrap interval, stratified by category. Bold: above "
            f"{BOLD_ABOVE_IOU:.2f}. Pooled IoU: over all pixels of the same images. Difference: "
            "ours minus the study's."
        ]
    return [
        f"NOK is the positive class. F2 with its {confidence} bootstrap interval, stratified by "
        "label and category; best floor: the highest F2 without any model on the same images. "
        "Slip rate: defective parts that pass; overkill rate: good parts that are rejected; in "
        f"brackets their one-sided {confidence} Clopper–Pearson upper bounds. Difference: ours "
        "minus the study's."
    ]


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
        else "F2; best floor: the highest F2 without any model on the same images."
    )
    return [f"{what} Our numbers of images: {'; '.join(counts)}."]


def _is_bold(iou: object) -> bool:
    return bool(pd.notna(iou) and iou > BOLD_ABOVE_IOU)
