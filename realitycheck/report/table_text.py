"""Tables for people: Markdown and LaTeX beside Parquet and CSV with every digit.

A table is first turned into a `TableText` (strings, bold cells, footnotes), which Markdown, LaTeX
and the HTML report then set in their own way.
"""

import math
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from realitycheck.methods.floors import FLOORS
from realitycheck.names import NO_PROMPT
from realitycheck.parquet import write_parquet
from realitycheck.report.csv_text import csv_text
from realitycheck.writing import write_text

# The study sets only IoU above this in bold, "since lower values are too low to offer
# practical value". Compared before rounding.
BOLD_ABOVE_IOU = 0.60
#: Stands for a value that is not known.
MISSING = "–"

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "–": "--",
    "—": "---",
    "−": r"$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "µ": r"$\mu$",
    "κ": r"$\kappa$",
    "²": r"$^2$",
    "∞": r"$\infty$",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    # A space that does not break, so that a number keeps its unit
    "\u00a0": "~",
}


@dataclass(frozen=True)
class TableText:
    """A table as people read it.

    Attributes:
        caption: What the table shows.
        header: Column titles, length C.
        rows: Cells, R rows of length C; the first column is text, see `n_text_columns`.
        bold: Which cells are bold, R rows of length C.
        marks: Footnote letters of each row ("a, c" or ""), length R; they belong to the cell
            before the numbers.
        footnotes: Letter and text of each footnote.
        legend: Sentences that explain the columns.
        n_text_columns: How many columns are set left; the others are numbers, set right.
        rules_before: Rows that begin a new block (a new data set).
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    bold: list[list[bool]]
    marks: list[str]
    footnotes: list[tuple[str, str]]
    legend: list[str]
    n_text_columns: int
    rules_before: list[int]


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
        cells = [row["dataset_name"] if is_new else "", row["method_name"], _prompt(row)]
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


def render_markdown(text: TableText, notes: Sequence[str] = ()) -> str:
    """Set a table in Markdown (GitHub's tables).

    Args:
        text: The table.
        notes: Further lines below it, such as where the numbers come from.

    Returns:
        The Markdown source, ending in a line break.
    """
    align = [":--"] * text.n_text_columns + ["--:"] * (len(text.header) - text.n_text_columns)
    lines = [f"**{_markdown(text.caption)}**", ""]
    lines += [_markdown_line([_markdown(cell) for cell in text.header]), _markdown_line(align)]
    for cells, strong, mark in zip(text.rows, text.bold, text.marks, strict=True):
        printed = [
            f"**{_markdown(cell)}**" if is_bold else _markdown(cell)
            for cell, is_bold in zip(cells, strong, strict=True)
        ]
        if mark:
            place = min(1, text.n_text_columns - 1)
            printed[place] += f" <sup>{mark}</sup>"
        lines.append(_markdown_line(printed))
    below = [f"<sup>{letter}</sup> {_markdown(note)}" for letter, note in text.footnotes]
    below += [_markdown(line) for line in (*text.legend, *notes)]
    for line in below:
        lines += ["", line]
    return "\n".join(lines) + "\n"


def render_latex(text: TableText, label: str, *, notes: Sequence[str] = ()) -> str:
    r"""Set a table in LaTeX, for `\input` in an article with booktabs and graphicx.

    A table wider than the line is scaled down to it.

    Args:
        text: The table.
        label: What `\ref` finds it by.
        notes: Further lines below it.

    Returns:
        The LaTeX source, ending in a line break.
    """
    columns = "l" * text.n_text_columns + "r" * (len(text.header) - text.n_text_columns)
    lines = [
        r"% needs \usepackage{booktabs} and \usepackage{graphicx}",
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape_latex(text.caption)}}}",
        rf"\label{{{label}}}",
        r"\small",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(escape_latex(cell) for cell in text.header) + r" \\",
        r"\midrule",
    ]
    for number, (cells, strong, mark) in enumerate(
        zip(text.rows, text.bold, text.marks, strict=True)
    ):
        if number in text.rules_before:
            lines.append(r"\addlinespace")
        printed = []
        for cell, is_bold in zip(cells, strong, strict=True):
            escaped = escape_latex(cell)
            if cell.startswith("  "):
                escaped = r"\quad " + escaped.lstrip()
            printed.append(rf"\textbf{{{escaped}}}" if is_bold else escaped)
        if mark:
            printed[min(1, text.n_text_columns - 1)] += rf"\textsuperscript{{{mark}}}"
        lines.append(" & ".join(printed) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}%", "}"]
    below = [
        rf"\textsuperscript{{{letter}}} {escape_latex(note)}" for letter, note in text.footnotes
    ]
    below += [escape_latex(line) for line in (*text.legend, *notes)]
    if below:
        lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize\raggedright"]
        lines += [line + r"\par" for line in below]
        lines.append(r"\end{minipage}")
    lines.append(r"\end{table}")
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    r"""Escape what LaTeX would take as a command, character by character.

    After a line break, `[` and `*` would be an argument of it, so a text that begins so stands
    behind an empty group. Control characters, which LaTeX refuses, become a question mark.
    """
    escaped = "".join(_LATEX.get(character, character) for character in _one_line(text))
    return "{}" + escaped if escaped.startswith(("[", "*")) else escaped


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
        cells = [row["dataset_name"] if is_new else "", row["method_name"], _prompt(row)]
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
_SEGMENTATION_HEADER = [
    *("Data set", "Method", "Prompt", "IoU [interval]", "Images", "Pooled IoU"),
    *("Good parts with a mask", "Study's IoU", "Difference"),
]
_CLASSIFICATION_HEADER = [
    *("Data set", "Method", "Prompt", "F2 [interval]", "Best floor", "NOK / OK", "Precision"),
    *("Slip rate (bound)", "Overkill rate (bound)", "Study's F2", "Difference"),
]


_CONFUSION_HEADER = [
    *("Data set", "Method", "Prompt", "NOK rejected (tp)", "NOK passed (fn)"),
    *("OK rejected (fp)", "OK passed (tn)", "Answered", "Not answered"),
]
_AGREEMENT, _COST = "Fleiss' κ (flips)", "USD / 1,000 parts"
_ANSWER_LEGENDS = {
    _AGREEMENT: "Fleiss' κ: agreement of repeated answers on one part beyond chance; flips: share "
    "of parts whose answers do not all agree.",
    _COST: "USD: price of all answers, whatever their status, for 1,000 parts.",
}


def _answer_cells(table: pd.DataFrame) -> dict[str, Callable[[pd.Series], str]]:
    """Columns about answers that some row has something to say in."""
    cells: dict[str, Callable[[pd.Series], str]] = {}
    if (table["n_samples"].fillna(1) > 1).any():
        cells[_AGREEMENT] = _agreement
    if table["cost_per_1000_parts_usd"].notna().any():
        cells[_COST] = lambda row: score_text(row["cost_per_1000_parts_usd"])
    return cells


def _agreement(row: pd.Series) -> str:
    if pd.isna(row["flip_rate"]):
        return MISSING
    return f"{score_text(row['fleiss_kappa'])} ({percent_text(row['flip_rate'])})"


def _count(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"


def _segmentation_row(row: pd.Series) -> list[str]:
    return [
        _with_interval(row, "mean_iou"),
        str(row["n_scored"]),
        score_text(row["pooled_iou"]),
        _percent_range(row, "ok_with_mask_rate"),
        score_text(row["published_iou"]),
        _difference(row["iou_minus_published"]),
    ]


def _classification_row(row: pd.Series) -> list[str]:
    words = row["published_words"]
    return [
        _with_interval(row, "f2"),
        score_text(row["f2_floor"]),
        f"{row['n_nok']} / {row['n_ok']}",
        _score_range(row, "precision"),
        _with_bound(row, "slip_rate"),
        _with_bound(row, "overkill_rate"),
        words if pd.notna(words) else score_text(row["published_f2"]),
        _difference(row["f2_minus_published"]),
    ]


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


def _is_segmentation(table: pd.DataFrame) -> bool:
    if {"mean_iou", "published_iou", "note"} <= set(table.columns):
        return True
    if {"f2", "published_f2", "note"} <= set(table.columns):
        return False
    raise ValueError(
        "expected a segmentation table (with mean_iou) or a classification table (with f2), but "
        f"got the columns {', '.join(map(str, table.columns))}"
    )


def _letters(notes: list[str]) -> dict[str, str]:
    """Give each note a letter in the order of appearance: a to z, then aa, ab and so on."""
    letters = {}
    for note in dict.fromkeys(notes):
        number, letter = len(letters), ""
        while number >= 0:
            letter = string.ascii_lowercase[number % 26] + letter
            number = number // 26 - 1
        letters[note] = letter
    return letters


def _notes(text: object) -> list[str]:
    return [note for note in str(text).split("; ") if note] if pd.notna(text) else []


def _prompt(row: pd.Series) -> str:
    return MISSING if row["prompt"] == NO_PROMPT else row["prompt"]


def _confidence(table: pd.DataFrame) -> str:
    levels = sorted(set(table["confidence"].dropna()))
    return " or ".join(f"{level * 100:g} %" for level in levels).replace(" %", "\u00a0%")


def _is_bold(iou: object) -> bool:
    return bool(pd.notna(iou) and iou > BOLD_ABOVE_IOU)


def score_text(value: object) -> str:
    """Print a score with two decimals, a dash for a missing one."""
    return MISSING if value is None or pd.isna(value) else f"{value:.2f}"


def percent_text(value: object) -> str:
    """Print a share in per cent with one decimal, a dash for a missing one."""
    return MISSING if value is None or pd.isna(value) else f"{100 * value:.1f}\u00a0%"


def _score_range(row: pd.Series, name: str) -> str:
    """Print one number where the range is a point, else the range itself."""
    if pd.notna(row[name]):
        return score_text(row[name])
    if pd.isna(row[f"{name}_worst"]) and pd.isna(row[f"{name}_best"]):
        return MISSING
    return f"{score_text(row[f'{name}_worst'])}–{score_text(row[f'{name}_best'])}"


def _percent_range(row: pd.Series, name: str) -> str:
    if pd.notna(row[name]):
        return percent_text(row[name])
    ends = sorted(end for end in (row[f"{name}_worst"], row[f"{name}_best"]) if pd.notna(end))
    if len(ends) < 2 or ends[0] == ends[1]:
        return percent_text(ends[0]) if ends else MISSING
    return f"{100 * ends[0]:.1f}–{percent_text(ends[1])}"


def _with_interval(row: pd.Series, name: str) -> str:
    value = _score_range(row, name)
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return value if pd.isna(low) or pd.isna(high) else f"{value} [{low:.2f}, {high:.2f}]"


def _with_bound(row: pd.Series, name: str) -> str:
    value, high = _percent_range(row, name), row[f"{name}_high"]
    return value if pd.isna(high) or value == MISSING else f"{value} (≤\u00a0{percent_text(high)})"


def _difference(value: object) -> str:
    if value is None or pd.isna(value):
        return MISSING
    rounded = round(float(value), 2)
    sign = "−" if rounded < 0 else "+" if rounded > 0 else "±"
    return f"{sign}{math.fabs(rounded):.2f}"


def _markdown(text: str) -> str:
    """Escape what would break a cell or become markup, a link or a picture.

    Also of bare addresses, which readers turn into links: their colon or point is spelt out.
    """
    escaped = re.sub(r"&(?=#?\w+;)", "&amp;", _one_line(text))
    escaped = re.sub(r"([\\|*_`~]|\](?=[(\[:]))", r"\\\1", escaped)
    escaped = escaped.replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"(?i)\b(https?|ftp|mailto|xmpp):", r"\1&#58;", escaped)
    return re.sub(r"(?i)\bwww\.", "www&#46;", escaped)


def _one_line(text: str) -> str:
    """Put a text on one line; what prints nothing becomes a question mark."""
    lines = re.sub(r"[\t\n\v\f\r\x85\u2028\u2029]+", " ", text)
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", lines)


def _markdown_line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
