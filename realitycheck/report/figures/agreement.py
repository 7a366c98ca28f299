"""How far raters agree with themselves, with the truth and with each other."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from realitycheck.core.schemas import WHOLE_DATASET
from realitycheck.report.figures.style import (
    BLUE,
    FAINT,
    VERMILION,
    head_inches,
    legend_below,
    new_figure,
    place_axes,
    plain_axes,
    sentence_figure,
    styled,
    write_head,
    write_text,
)
from realitycheck.report.results import Results
from realitycheck.report.text import MISSING, named_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "People and repeats"
CAPTION = (
    "Share of parts on which all repeats of a rater are the same, and on which all of them are "
    "right, with exact intervals; hollow in the middle of the range where parts lack a verdict. "
    "Squares: Cohen's kappa of every two raters, where a method has three or more."
)
ALT = "A mark with its interval for each rater; all numbers stand in the table People and repeats."

#: What is drawn: quantity of one rater, that of all, words, colour, mark, place beside the line.
_SERIES = (
    ("within", "between", "agree with themselves, or with each other", BLUE, "o", -0.14),
    ("truth", "all_truth", "agree with the truth in every repeat", VERMILION, "s", 0.14),
)
_LINE_INCHES, _GAP, _LEFT, _WIDTH = 0.34, 0.62, 2.5, 4.4
_SIDE, _MIN_RATERS = 0.42, 3


def plot(results: Results, dataset: None, *, title: str) -> Figure:
    """Draw the figure of all data sets; see `plot_agreement`."""
    return plot_agreement(results.table("agreement"), title=title)


def plot_agreement(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw shares of agreement by rater, and kappas of pairs.

    Args:
        table: The agreement table.
        title: Title of the figure.

    Returns:
        The figure, one panel per data set, below it one of squares for each method with three
        raters or more; one sentence where there is nothing to compare.
    """
    if table.empty:
        return sentence_figure("No part has more than one verdict.", title=title)
    panels = [_lines(rows) for _, rows in table.groupby("dataset", sort=False)]
    squares = [
        (rows, _raters(rows))
        for _, rows in table[table["quantity"] == "pair"].groupby(["dataset", "method"], sort=False)
        if len(_raters(rows)) >= _MIN_RATERS
    ]
    heights = [_LINE_INCHES * len(lines) for _, lines in panels]
    sides = [min(_SIDE * len(raters), _WIDTH) for _, raters in squares]
    foot = 0.3
    height = head_inches(title=title) + sum(heights) + (_GAP + 0.3) * len(panels) + foot
    height += sum(side + 1.1 for side in sides)
    with styled():
        figure = new_figure(7.2, height)
        y = write_head(figure, title=title)
        for (name, lines), inches in zip(panels, heights, strict=True):
            y += 0.3
            style = {"ha": "left", "va": "bottom", "weight": "bold"}
            write_text(figure, _LEFT, y - 0.06, name, **style)
            _draw_shares(place_axes(figure, _LEFT, y, width=_WIDTH, height=inches), lines)
            y += inches + _GAP
        for (rows, raters), side in zip(squares, sides, strict=True):
            y += 0.75
            first = rows.iloc[0]
            words = f"{first['dataset_name']}, {first['method_name']}: Cohen's kappa of pairs"
            style = {"ha": "left", "va": "bottom", "weight": "bold"}
            write_text(figure, _LEFT, y - 0.45, words, **style)
            _draw_kappas(place_axes(figure, _LEFT, y, width=side, height=side), rows, raters)
            y += side + 0.35
        legend_below(figure, inches=0.02, n_columns=2)
    return figure


def _lines(rows: pd.DataFrame) -> tuple[str, list[tuple[str, dict[str, pd.Series]]]]:
    """Name of a data set, and of each of its lines the name and rows by quantity."""
    lines: list[tuple[str, dict[str, pd.Series]]] = []
    for (_, prompt), own in rows[rows["quantity"] != "pair"].groupby(
        ["method", "prompt"], sort=False
    ):
        first = own.iloc[0]
        is_all = prompt == WHOLE_DATASET
        name = f"{first['method_name']}: all together" if is_all else named_run(first)
        lines.append((name, {row["quantity"]: row for _, row in own.iterrows()}))
    return str(rows["dataset_name"].iloc[0]), lines


def _raters(rows: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys([*rows["prompt"], *rows["other_prompt"]]))


def _draw_shares(axes: Axes, lines: list[tuple[str, dict[str, pd.Series]]]) -> None:
    for place, (_, found) in enumerate(lines):
        for own, of_all, words, colour, mark, beside in _SERIES:
            row = found.get(own, found.get(of_all))
            if row is None or pd.isna(row["agreement_low"]):
                continue
            low, high = row["agreement_low"], row["agreement_high"]
            is_range = pd.isna(row["agreement"])
            middle = (row["agreement_worst"] + row["agreement_best"]) / 2
            axes.plot([low, high], [place + beside] * 2, color=colour, lw=1.2)
            style = {"marker": mark, "ms": 5, "mec": colour, "ls": "none"}
            style["mfc"] = "white" if is_range else colour
            axes.plot([middle if is_range else row["agreement"]], [place + beside], **style)
            axes.plot([], [], color=colour, marker=mark, ms=5, lw=1.2, label=words)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlim(-0.01, 1.01)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{share:.0f} %" for share in range(0, 101, 20)])
    axes.set_xlabel("parts on which all verdicts are the same")
    axes.set_yticks(
        range(len(lines)), [textwrap.fill(name, 40) for name, _ in lines], parse_math=False
    )
    plain_axes(axes, grid="x")


def _draw_kappas(axes: Axes, rows: pd.DataFrame, raters: list[str]) -> None:
    """Squares of every two raters, each pair once above and once below the diagonal."""
    kappas = np.full((len(raters), len(raters)), np.nan)
    for row in rows.itertuples():
        i, j = raters.index(row.prompt), raters.index(row.other_prompt)
        kappas[i, j] = kappas[j, i] = row.kappa
    axes.imshow(kappas, vmin=0, vmax=1, cmap="Blues")
    for (i, j), kappa in np.ndenumerate(kappas):
        if i != j:
            text = MISSING if np.isnan(kappa) else f"{kappa:.2f}".replace("-", "−")
            colour = "white" if kappa > 0.6 else "black"
            axes.text(j, i, text, ha="center", va="center", size=7, color=colour)
        else:
            axes.text(j, i, "·", ha="center", va="center", color=FAINT)
    places = range(len(raters))
    axes.xaxis.tick_top()
    axes.set_xticks(places, raters, rotation=30, ha="left", size=7, parse_math=False)
    axes.set_yticks(places, raters, size=7, parse_math=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
