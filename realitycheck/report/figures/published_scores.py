"""Our scores with their intervals beside the study's."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pandas as pd

from realitycheck.report.figures.style import (
    BLUE,
    NO_ANSWER,
    STUDY_MARK,
    VERMILION,
    head_inches,
    legend_below,
    new_figure,
    place_axes,
    plain_axes,
    sentence_figure,
    styled,
    write_head,
)
from realitycheck.report.results import Results
from realitycheck.report.text import named_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Beside the study"
CAPTION = "Our score with its interval, and the score that the study gives."
ALT = "Two points for each method, ours and the study's; both stand in Tables 1 and 2."


def plot(results: Results, dataset: None, *, title: str) -> Figure:
    """Draw the figure of all data sets; see `plot_published_scores`."""
    tables = results.table("segmentation"), results.table("classification")
    return plot_published_scores(*tables, title=title)


def plot_published_scores(
    segmentation: pd.DataFrame,
    classification: pd.DataFrame,
    *,
    title: str = "",
) -> Figure:
    """Draw our score with its interval beside the study's, one line per method.

    A method without any answer has no mark of ours, and one with some has its range but no point.

    Args:
        segmentation: Table 1.
        classification: Table 2.
        title: Title of the figure.

    Returns:
        The figure: a panel for IoU, one for F2; one sentence where the study gives no number.
    """
    parts = [
        ("IoU, mean over the defective parts", "mean_iou", "published_iou", segmentation),
        ("F2 of the verdicts", "f2", "published_f2", classification),
    ]
    parts = [
        (label, ours, theirs, table[table[theirs].notna()].reset_index(drop=True))
        for label, ours, theirs, table in parts
    ]
    parts = [part for part in parts if len(part[3])]
    if not parts:
        return sentence_figure("The study gives no number for these data sets.", title=title)
    width, left, line = 7.2, 2.75, 0.3
    top = head_inches(title=title)
    panel_head, panel_foot = 0.28, 0.5
    n_lines = [len(table) + table["dataset"].nunique() for *_, table in parts]
    height = top + sum(n_lines) * line + (panel_head + panel_foot) * len(parts)
    height += 0.35
    with styled():
        figure = new_figure(width, height)
        y = write_head(figure, title=title)
        for (label, ours, theirs, table), count in zip(parts, n_lines, strict=True):
            y += panel_head
            tall = count * line
            axes = place_axes(figure, left, y, width=width - left - 0.3, height=tall)
            _draw_pairs(axes, table, ours=ours, theirs=theirs, n_lines=count)
            axes.set_xlabel(label)
            y += tall + panel_foot
        legend_below(figure, inches=0.05, n_columns=3)
    return figure


def _draw_pairs(axes: Axes, table: pd.DataFrame, *, ours: str, theirs: str, n_lines: int) -> None:
    places, names = [], []
    place = 0
    for _, rows in table.groupby("dataset", sort=False):
        first = rows.iloc[0]
        n = first["n_scored"] if ours == "mean_iou" else first["n_images"]
        places.append(place)
        names.append(f"{first['dataset_name']}, n = {n}")
        place += 1
        for _, row in rows.iterrows():
            line = [place, place]
            is_answered = bool(row["n_scored" if ours == "mean_iou" else "n_answered"])
            if is_answered:
                limits = [row[f"{ours}_low"], row[f"{ours}_high"]]
                axes.plot(limits, line, color=BLUE, lw=2.2, solid_capstyle="butt")
            if is_answered and pd.notna(row[ours]):
                between = [row[ours], row[theirs]]
                axes.plot(between, line, color="#bbbbbb", lw=0.9, zorder=1)
                mark = {"marker": "o", "ms": 6, "color": BLUE, "ls": "none"}
                axes.plot(row[ours], place, label="ours, with interval", **mark)
            axes.plot(
                row[theirs],
                place,
                ms=6,
                label="in the study",
                **STUDY_MARK,
            )
            if ours == "f2":
                axes.plot(
                    row["f2_floor"],
                    place,
                    marker="|",
                    ms=13,
                    mew=1.6,
                    color=VERMILION,
                    ls="none",
                    label="best baseline, without any model",
                )
            places.append(place)
            names.append(f"   {named_run(row)}" + ("" if is_answered else NO_ANSWER))
            place += 1
    labels = axes.set_yticks(places, [textwrap.shorten(n, 46, placeholder="…") for n in names])
    for tick, name in zip(labels, names, strict=True):
        tick.label1.set_parse_math(False)
        if not name.startswith("   "):
            tick.label1.set_fontweight("bold")
    axes.set_ylim(n_lines - 0.5, -0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.tick_params(axis="y", length=0)
    plain_axes(axes, grid="x", bare=("top", "right", "left"))
