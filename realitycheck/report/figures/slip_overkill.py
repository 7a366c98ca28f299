"""Slip rate against overkill rate of every method, with bounds and limits.

Figures are readable without colour: methods are told apart by numbers and names, estimates by their
marks, limits by lines with a text. All is drawn on white, for print.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from realitycheck.report.figures.style import (
    BLUE,
    FAINT,
    GREEN,
    NO_ANSWER,
    head_inches,
    new_figure,
    place_axes,
    plain_axes,
    sentence_figure,
    styled,
    write_head,
    write_text,
)
from realitycheck.report.results import Results
from realitycheck.report.text import named_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Slip against overkill"
CAPTION = (
    "Defective parts that pass against good parts that are rejected, each with the bounds that the "
    "parts at hand prove. A method is ready if its bars lie in the hatched corner."
)
ALT = (
    "A point with two bars for each method; the same numbers stand in Table 2 and on the decision "
    "cards."
)

_RATE_TICKS = (0, 0.01, 0.02, 0.05, 0.10, 0.20, 0.40, 0.60, 0.80, 1.0)
#: Letters of a label from which on it is kept inside the axes.
_LONG_LABEL = 10
#: Points closer than this, on the axes of square roots, share one mark.
_SAME_PLACE = 0.035


def plot(results: Results, dataset: None, *, title: str) -> Figure:
    """Draw the figure of all data sets; see `plot_slip_overkill`."""
    return plot_slip_overkill(results.table("readiness"), title=title)


def plot_slip_overkill(readiness: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw the share of defective parts that pass against that of good parts rejected.

    One panel per data set. Bars are the bounds; the shaded corner is what the limits allow, and a
    method is ready only if its bars lie in it. On the dashed line lies whoever does not look at the
    part. Axes are scaled by the square root, so that a few per cent can be read. A method with
    unanswered parts has no rate but a range: its mark is hollow, in the middle of the range. One
    without any answer has no mark, and the legend says so.

    Args:
        readiness: One row per data set, method and prompt, with the rates, their bounds, the
            limits, n_ok, n_nok, n_answered, dataset_name, method_name and prompt.
        title: Title of the figure.

    Returns:
        The figure; one sentence where there is no method.
    """
    if readiness.empty:
        return sentence_figure("There is no method to compare.", title=title)
    width, left, side = 7.2, 0.75, 3.5
    panels = [rows for _, rows in readiness.groupby("dataset", sort=False)]
    keys = [_legend_lines(rows) for rows in panels]
    heights = [max(side, 0.5 + 0.15 * sum(map(len, key))) for key in keys]
    top = head_inches(title=title)
    gap = 0.9
    height = top + sum(heights) + gap * len(panels) + 0.05
    with styled():
        figure = new_figure(width, height)
        y = write_head(figure, title=title)
        for rows, key, panel_height in zip(panels, keys, heights, strict=True):
            y += 0.32
            axes = place_axes(figure, left, y, width=side, height=side)
            _draw_rates(axes, rows.reset_index(drop=True))
            first = rows.iloc[0]
            write_text(
                figure,
                left,
                y - 0.08,
                f"{first['dataset_name']}: {first['n_nok']} defective, {first['n_ok']} good parts",
                ha="left",
                va="bottom",
                weight="bold",
            )
            line = y + 0.02
            for number, words in enumerate(key, start=1):
                x = left + side + 0.25
                write_text(
                    figure, x + 0.2, line, str(number), ha="right", va="top", weight="bold", size=7
                )
                for word in words:
                    write_text(figure, x + 0.28, line, word, ha="left", va="top", size=7)
                    line += 0.15
            y += panel_height + gap - 0.32
    return figure


def _draw_rates(axes: Axes, rows: pd.DataFrame) -> None:
    from matplotlib.patches import Rectangle

    for scale in (axes.set_xscale, axes.set_yscale):
        scale("function", functions=(lambda v: np.sqrt(np.clip(v, 0, None)), np.square))
    labels = [f"{100 * tick:g} %" for tick in _RATE_TICKS]
    axes.set_xticks(_RATE_TICKS, labels, size=7, rotation=60)
    axes.set_yticks(_RATE_TICKS, labels, size=7)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    plain_axes(axes, grid="both", bare=())
    axes.set_xlabel("overkill: good parts rejected (square-root scale)")
    axes.set_ylabel("slip: defective parts passed (square-root scale)")
    share = np.linspace(0, 1, 200)
    axes.plot(share, 1 - share, color=FAINT, lw=0.9, ls=(0, (4, 3)))
    axes.annotate(
        "no look at the part",
        (0.28, 0.72),
        xytext=(4, 4),
        textcoords="offset points",
        size=6.5,
        color=FAINT,
    )
    slip, overkill = rows["max_slip_rate"].iloc[0], rows["max_overkill_rate"].iloc[0]
    axes.add_patch(
        Rectangle(
            (0, 0),
            overkill,
            slip,
            facecolor=GREEN,
            alpha=0.22,
            edgecolor=GREEN,
            hatch="////",
            linewidth=0,
        )
    )
    axes.axhline(slip, color=GREEN, lw=1.2)
    axes.axvline(overkill, color=GREEN, lw=1.2)
    box = {"facecolor": "white", "alpha": 0.85, "pad": 0.6, "linewidth": 0}
    words = {"size": 6.5, "color": "#00634a", "bbox": box}
    axes.annotate(f"limit {100 * slip:g} %", (0.99, slip), ha="right", va="bottom", **words)
    axes.annotate(
        f"limit {100 * overkill:g} %",
        (overkill, 2 * slip),
        ha="left",
        va="bottom",
        rotation=90,
        **words,
    )
    is_known = rows["slip_rate_high"].notna() & rows["overkill_rate_high"].notna()
    drawn = rows[is_known & (rows["n_answered"] > 0)]
    centres = drawn.apply(_centre, axis=1, result_type="expand") if len(drawn) else drawn
    for number, row in drawn.iterrows():
        x, y = centres.loc[number]
        bar = {"color": BLUE, "lw": 0.9, "alpha": 0.65, "solid_capstyle": "butt"}
        axes.plot([row["overkill_rate_low"], row["overkill_rate_high"]], [y, y], **bar)
        axes.plot([x, x], [row["slip_rate_low"], row["slip_rate_high"]], **bar)
    is_range = drawn["slip_rate"].isna() | drawn["overkill_rate"].isna()
    marks = [
        (place, numbers, hollow)
        for hollow in (False, True)
        for place, numbers in _places(centres[is_range == hollow])
    ]
    for place, numbers, hollow in marks:
        label = _numbers_text([number + 1 for number in numbers])
        side = "center"
        if len(label) >= _LONG_LABEL:
            side = "left" if place[0] < 0.02 else "right" if place[0] > 0.9 else "center"
        axes.annotate(
            label,
            place,
            ha=side,
            va="center",
            size=6.5,
            weight="bold",
            color=BLUE if hollow else "white",
            annotation_clip=False,
            bbox={
                "boxstyle": "round,pad=0.35,rounding_size=0.7",
                "facecolor": "white" if hollow else BLUE,
                "edgecolor": BLUE if hollow else "white",
                "linewidth": 0.8,
            },
        )


def _numbers_text(numbers: list[int]) -> str:
    """Name sorted numbers, three and more in a row by the first and the last."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = []
    for run in runs:
        parts += [f"{run[0]}–{run[-1]}"] if len(run) > 2 else [str(number) for number in run]
    return ", ".join(parts)


def _places(centres: pd.DataFrame) -> list[tuple[tuple[float, float], list[int]]]:
    """Gather the points that would lie on each other."""
    places: list[tuple[tuple[float, float], list[int]]] = []
    for number, (x, y) in centres.iterrows():
        for (px, py), numbers in places:
            distance = np.hypot(np.sqrt(x) - np.sqrt(px), np.sqrt(y) - np.sqrt(py))
            if distance < _SAME_PLACE:
                numbers.append(number)
                break
        else:
            places.append(((x, y), [number]))
    return places


def _legend_lines(rows: pd.DataFrame) -> list[list[str]]:
    """Names of a panel's methods, wrapped; of one that judged no part, with a word that it did."""
    return [
        textwrap.wrap(named_run(row) + ("" if row["n_answered"] else NO_ANSWER), 42) or [""]
        for _, row in rows.iterrows()
    ]


def _centre(row: pd.Series) -> tuple[float, float]:
    """Rates of a row; the middle of the bounds where unanswered images leave a range."""
    return tuple(
        float(row[name]) if pd.notna(row[name]) else (row[f"{name}_low"] + row[f"{name}_high"]) / 2
        for name in ("overkill_rate", "slip_rate")
    )
