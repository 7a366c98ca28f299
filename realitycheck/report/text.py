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

from realitycheck.core.constants import NO_PROMPT
from realitycheck.core.files import write_text
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


_AGREEMENT, _COST = "Fleiss' κ (flips)", "USD / 1,000 parts"


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


def _confidence(table: pd.DataFrame) -> str:
    levels = sorted(set(table["confidence"].dropna()))
    return " or ".join(f"{level * 100:g} %" for level in levels).replace(" %", "\u00a0%")


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


_UNITS = {"px": "px", "mm2": "mm²"}


def write_evidence(
    tables: Mapping[str, tuple[pd.DataFrame, Schema]],
    texts: Sequence[TableText],
    folder: str | Path,
    *,
    stem: str,
    facts: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> None:
    """Write a table of evidence for machines and for people.

    Args:
        tables: Tables by file name without ending; that of the name `stem` also becomes CSV, the
            others are Parquet only.
        texts: What people read, one below the other.
        folder: Where to write.
        stem: File name without its ending, also LaTeX's label ("tab:" before it).
        facts: What the numbers were computed from.
        notes: Lines below each text.
    """
    folder = Path(folder)
    for name, (table, schema) in tables.items():
        write_table(table, folder / f"{name}.parquet", schema=schema, facts=facts, sort=False)
    main = tables[stem][0]
    write_text(csv_text(main), folder / f"{stem}.csv")
    write_text("\n".join(render_markdown(each, notes) for each in texts), folder / f"{stem}.md")
    labels = [
        f"tab:{stem}{'' if number == 0 else f'_{number + 1}'}" for number in range(len(texts))
    ]
    parts = [
        render_latex(each, label, notes=notes) for each, label in zip(texts, labels, strict=True)
    ]
    write_text("\n".join(parts), folder / f"{stem}.tex")


def text_by_run(
    caption: str,
    header: list[str],
    table: pd.DataFrame,
    cells: Callable[[pd.Series], list[str]],
    *,
    n_text_columns: int,
    legend: Sequence[str],
    notes: Callable[[pd.Series], list[str]] = lambda row: [],
) -> TableText:
    """Set a row a run: its names, a name that stands above already left out, then its cells."""
    rows, marks, rules = [], [], []
    letters: dict[str, str] = {}
    last: tuple[Any, ...] = (None, None, None)
    for _, row in table.iterrows():
        key = (row["dataset"], row["method"], row["prompt"])
        is_new = key[0] != last[0]
        if is_new and rows:
            rules.append(len(rows))
        names = [row["dataset_name"] if is_new else ""]
        is_repeated = key == last
        names += ["", ""] if is_repeated else [row["method_name"], _prompt(row["prompt"])]
        last = key
        rows.append([*names, *cells(row)])
        for note in notes(row):
            letters.setdefault(note, _letter(len(letters)))
        marks.append(", ".join(letters[note] for note in notes(row)))
    text = _as_text(caption, header, rows, n_text_columns, legend, rules)
    text.marks[:] = marks
    text.footnotes.extend((letter, note) for note, letter in letters.items())
    return text


def _as_text(
    caption: str,
    header: list[str],
    rows: list[list[str]],
    n_text_columns: int,
    legend: Sequence[str],
    rules: list[int],
) -> TableText:
    return TableText(
        caption=caption,
        header=header,
        rows=rows,
        bold=[[False] * len(header) for _ in rows],
        marks=[""] * len(rows),
        footnotes=[],
        legend=list(legend),
        n_text_columns=n_text_columns,
        rules_before=rules,
    )


def _letter(number: int) -> str:
    letter = ""
    while number >= 0:
        letter = chr(ord("a") + number % 26) + letter
        number = number // 26 - 1
    return letter


def _split(note: Any) -> list[str]:
    return [part for part in str(note).split("; ") if part] if pd.notna(note) else []


def _prompt(prompt: str) -> str:
    return MISSING if prompt in (NO_PROMPT, "*") else prompt


def named_run(method: str, prompt: str) -> str:
    """Name a method, with its prompt where it takes one."""
    return method if prompt == NO_PROMPT else f"{method}, {prompt}"


def _bounded(row: pd.Series, name: str) -> str:
    """Rate with its upper bound; the bound alone where the rate is a range."""
    value, high = row[name], row[f"{name}_high"]
    if pd.isna(high):
        return MISSING
    bound = f"≤\u00a0{percent_text(high)}"
    return bound if pd.isna(value) else f"{percent_text(value)} ({bound})"


def _with_unit(value: Any, unit: str) -> str:
    if pd.isna(value):
        return MISSING
    if value == 0:
        return f"0\u00a0{unit}"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if abs(value) < 1e9 else 0
    return f"{value:,.{min(digits, 6)}f}\u00a0{unit}"


def _further(value: Any) -> str:
    return "∞" if pd.isna(value) else f"{value:,}"


def _signed(value: Any) -> str:
    if pd.isna(value):
        return MISSING
    rounded = round(float(value), 2)
    sign = "−" if rounded < 0 else "+" if rounded > 0 else "±"
    return f"{sign}{math.fabs(rounded):.2f}"


def _p(value: Any) -> str:
    if pd.isna(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


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


def prompt_text(prompt: str) -> str:
    """Print the name of a prompt set, a dash for none."""
    return MISSING if prompt == NO_PROMPT else prompt


def without_empty_columns(text: TableText) -> TableText:
    """Drop columns of numbers in which no row has a value."""
    return _with_columns(
        text,
        [
            column
            for column in range(len(text.header))
            if column < text.n_text_columns or any(row[column] != MISSING for row in text.rows)
        ],
    )


def _with_columns(text: TableText, kept: Sequence[int]) -> TableText:
    return replace(
        text,
        header=[text.header[column] for column in kept],
        rows=[[row[column] for column in kept] for row in text.rows],
        bold=[[row[column] for column in kept] for row in text.bold],
        n_text_columns=sum(column < text.n_text_columns for column in kept),
    )
