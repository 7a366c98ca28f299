"""Tables for people: Markdown and LaTeX beside Parquet and CSV with every digit.

A table is first turned into a `TableText` (strings, bold cells, footnotes), which Markdown, LaTeX
and the HTML report then set in their own way.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from realitycheck.core.constants import AREA_SUFFIX, NO_PROMPT
from realitycheck.core.files import write_text
from realitycheck.core.schemas import WHOLE_DATASET
from realitycheck.core.tables import Schema, write_table
from realitycheck.report.csv_text import csv_text

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


def score_text(value: object) -> str:
    """Print a score with two decimals, a dash for a missing one."""
    return MISSING if value is None or pd.isna(value) else f"{value:.2f}"


def confidence_text(table: pd.DataFrame) -> str:
    """Print the confidence of a table's intervals."""
    levels = sorted(set(table["confidence"].dropna()))
    return " or ".join(f"{level * 100:g}\u00a0%" for level in levels)


def percent_text(value: object) -> str:
    """Print a share in per cent with one decimal, a dash for a missing one."""
    return MISSING if value is None or pd.isna(value) else f"{100 * value:.1f}\u00a0%"


def score_range(row: pd.Series, name: str) -> str:
    """Print one number where the range is a point, else the range itself."""
    if pd.notna(row[name]):
        return score_text(row[name])
    if pd.isna(row[f"{name}_worst"]) and pd.isna(row[f"{name}_best"]):
        return MISSING
    return f"{score_text(row[f'{name}_worst'])}–{score_text(row[f'{name}_best'])}"


def percent_range(row: pd.Series, name: str) -> str:
    """Print a share in per cent, or the range that it lies in."""
    if pd.notna(row[name]):
        return percent_text(row[name])
    ends = sorted(end for end in (row[f"{name}_worst"], row[f"{name}_best"]) if pd.notna(end))
    if len(ends) < 2 or ends[0] == ends[1]:
        return percent_text(ends[0]) if ends else MISSING
    return f"{100 * ends[0]:.1f}–{percent_text(ends[1])}"


def with_interval(row: pd.Series, name: str) -> str:
    """Print a score, or its range, with its interval in brackets."""
    return interval_text(score_range(row, name), row[f"{name}_low"], row[f"{name}_high"])


def interval_text(value: str, low: Any, high: Any) -> str:
    """Put an interval in brackets behind a printed score."""
    return value if pd.isna(low) or pd.isna(high) else f"{value} [{low:.2f}, {high:.2f}]"


def with_bound(row: pd.Series, name: str) -> str:
    """Print a share, or its range, with its upper bound in brackets."""
    value, high = percent_range(row, name), row[f"{name}_high"]
    return value if pd.isna(high) or value == MISSING else f"{value} (≤\u00a0{percent_text(high)})"


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


UNITS = {"px": "px", "mm2": "mm²"}


def write_report_table(
    tables: Mapping[str, tuple[pd.DataFrame, Schema]],
    texts: Mapping[str, Sequence[TableText]],
    folder: str | Path,
    *,
    facts: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> None:
    """Write a table for machines and for people, each file in one step.

    Args:
        tables: Tables and their schemas by file name without ending, written as Parquet; the first
            one also as CSV.
        texts: What people read, one below the other, by file name without ending; each becomes
            Markdown and LaTeX, whose label is "tab:" and the name.
        folder: Where to write.
        facts: What the numbers were computed from.
        notes: Lines below each text.

    Raises:
        ArtifactError: If a table does not keep its schema.
    """
    folder = Path(folder)
    for name, (table, schema) in tables.items():
        write_table(table, folder / f"{name}.parquet", schema=schema, facts=facts, sort=False)
    main = next(iter(tables))
    write_text(csv_text(tables[main][0]), folder / f"{main}.csv")
    for name, parts in texts.items():
        markdown = [render_markdown(each, notes) for each in parts]
        latex = [
            render_latex(each, f"tab:{name}{'' if number == 1 else f'_{number}'}", notes=notes)
            for number, each in enumerate(parts, start=1)
        ]
        write_text("\n".join(markdown), folder / f"{name}.md")
        write_text("\n".join(latex), folder / f"{name}.tex")


def plain_table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    n_text_columns: int,
    legend: Sequence[str] = (),
    rules_before: Sequence[int] = (),
) -> TableText:
    """Make a table without bold cells and footnotes; see `TableText`."""
    return TableText(
        caption=caption,
        header=list(header),
        rows=[list(row) for row in rows],
        bold=[[False] * len(header) for _ in rows],
        marks=[""] * len(rows),
        footnotes=[],
        legend=list(legend),
        n_text_columns=n_text_columns,
        rules_before=list(rules_before),
    )


def table_by_run(
    caption: str,
    header: Sequence[str],
    table: pd.DataFrame,
    cells: Callable[[pd.Series], list[str]],
    *,
    n_text_columns: int,
    legend: Sequence[str],
    notes: Callable[[pd.Series], list[str]] = lambda row: [],
    is_bold: Callable[[pd.Series], bool] = lambda row: False,
) -> TableText:
    """Format one row per run: data set, method and prompt, where they change, then its cells.

    Verdicts by the area of a mask stand in a block of their own, behind the other rows of their
    data set. A column of numbers in which no row has a value is left out.

    Args:
        caption: What the table shows.
        header: Column titles, those of the three names among them.
        table: One row per run, or several below each other.
        cells: Gives the cells behind the names.
        n_text_columns: How many columns are set left.
        legend: Sentences that explain the columns.
        notes: Gives the footnotes of a row.
        is_bold: Tells whether the first cell of numbers is bold.
    """
    rows, bold, marks, rules = [], [], [], []
    letters: dict[str, str] = {}
    last: tuple[Any, ...] = (None, None, None, None)
    for _, row in _area_behind(table).iterrows():
        key = (row["dataset"], _is_by_area(row), row["method"], row["prompt"])
        is_new = key[:2] != last[:2]
        if is_new and rows:
            rules.append(len(rows))
        block = f"{row['dataset_name']}, by area" if key[1] else row["dataset_name"]
        names = ["", ""] if key == last else [row["method_name"], prompt_text(row["prompt"])]
        last = key
        rows.append([block if is_new else "", *names, *cells(row)])
        bold.append([place == n_text_columns and is_bold(row) for place in range(len(header))])
        for note in notes(row):
            letters.setdefault(note, _letter(len(letters)))
        marks.append(", ".join(letters[note] for note in notes(row)))
    text = plain_table(
        caption, header, rows, n_text_columns=n_text_columns, legend=legend, rules_before=rules
    )
    footnotes = [(letter, note) for note, letter in letters.items()]
    return without_empty_columns(replace(text, bold=bold, marks=marks, footnotes=footnotes))


def _is_by_area(row: Mapping[str, Any]) -> bool:
    return str(row["method"]).endswith(AREA_SUFFIX)


def _area_behind(table: pd.DataFrame) -> pd.DataFrame:
    """Move the rows of verdicts by area behind the others of their data set."""
    ranks = {dataset: rank for rank, dataset in enumerate(dict.fromkeys(table["dataset"]))}
    order = table["dataset"].map(ranks).astype(float) + 0.5 * table["method"].astype(
        str
    ).str.endswith(AREA_SUFFIX)
    return table.iloc[order.argsort(kind="stable").to_numpy()]


def _letter(number: int) -> str:
    """Footnote letter: a to z, then aa, ab and so on."""
    letter = ""
    while number >= 0:
        letter = string.ascii_lowercase[number % 26] + letter
        number = number // 26 - 1
    return letter


def split_notes(note: Any) -> list[str]:
    """Split the notes of a row, which a semicolon parts."""
    return [part for part in str(note).split("; ") if part] if pd.notna(note) else []


def prompt_text(prompt: str) -> str:
    """Print the name of a prompt set, a dash for none."""
    return MISSING if prompt in (NO_PROMPT, WHOLE_DATASET) else prompt


def named_run(row: Mapping[str, Any], prefix: str = "") -> str:
    """Name a method, with its prompt set in brackets where it takes one.

    Args:
        row: Holds `method_name` and `prompt`.
        prefix: Begins the names of both columns.
    """
    name, prompt = row[f"{prefix}method_name"], row[f"{prefix}prompt"]
    return name if prompt == NO_PROMPT else f"{name} ({prompt})"


def bounded(row: pd.Series, name: str) -> str:
    """Print a rate with its upper bound; the bound alone where the rate is a range."""
    value, high = row[name], row[f"{name}_high"]
    if pd.isna(high):
        return MISSING
    bound = f"≤\u00a0{percent_text(high)}"
    return bound if pd.isna(value) else f"{percent_text(value)} ({bound})"


def with_unit(value: Any, unit: str) -> str:
    """Print a quantity with three digits and its unit."""
    if pd.isna(value):
        return MISSING
    if value == 0:
        return f"0\u00a0{unit}"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if abs(value) < 1e9 else 0
    return f"{value:,.{min(digits, 6)}f}\u00a0{unit}"


def signed(value: Any) -> str:
    """Print a difference with two decimals and its sign."""
    if pd.isna(value):
        return MISSING
    rounded = round(float(value), 2)
    sign = "−" if rounded < 0 else "+" if rounded > 0 else "±"
    return f"{sign}{math.fabs(rounded):.2f}"


def without_empty_columns(text: TableText) -> TableText:
    """Drop columns of numbers in which no row has a value; an empty table keeps them."""
    if not text.rows:
        return text
    return with_columns(
        text,
        [
            column
            for column in range(len(text.header))
            if column < text.n_text_columns or any(row[column] != MISSING for row in text.rows)
        ],
    )


def with_columns(text: TableText, kept: Sequence[int]) -> TableText:
    """Keep some columns of a table."""
    return replace(
        text,
        header=[text.header[column] for column in kept],
        rows=[[row[column] for column in kept] for row in text.rows],
        bold=[[row[column] for column in kept] for row in text.bold],
        n_text_columns=sum(column < text.n_text_columns for column in kept),
    )
