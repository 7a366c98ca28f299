"""How probably a defect of some size is found: raw shares, fitted curves and their bands."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from realitycheck.report.figures.style import (
    BLUE,
    FAINT,
    INK,
    VERMILION,
    head_inches,
    new_figure,
    place_axes,
    plain_axes,
    sentence_figure,
    styled,
    write_head,
)
from realitycheck.report.results import Results
from realitycheck.report.tables.detection_probability import UNITS
from realitycheck.report.text import named_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "how small a defect is found"
CAPTION = (
    "Share of defects found against their area, by size and as a fitted curve with its band. "
    "Numbers on top: defects of that size."
)
ALT = "A panel for each method; the sizes found stand in the table on how small a defect is found."
_N_COLUMNS = 2


def plot(results: Results, dataset: str, *, title: str) -> Figure:
    """Draw the figure of a data set; see `plot_detection_probability`."""
    names = ("detection_probability", "detection_curve", "detection_bins")
    read = [results.table(name) for name in names]
    tables = [table[table["dataset"] == dataset] for table in read]
    return plot_detection_probability(*tables, title=title)


def plot_detection_probability(
    probability: pd.DataFrame,
    curve: pd.DataFrame,
    bins: pd.DataFrame,
    *,
    title: str = "",
) -> Figure:
    """Draw how probably a defect of some size is found, one panel per method and prompt.

    Points with bars: the share found in a bin of sizes, with its interval and its number of
    defects. Line and band: the fitted curve, where one could be fitted; else the reason stands
    there. Marked: the sizes found with probability 0.9, by the curve (a90) and at the lower
    confidence bound (a90/95).

    Args:
        probability: One row per method and prompt of one data set: unit, status, reason, n_defects,
            n_hits, a90, a90_95, method_name, prompt.
        curve: Points of the curves: size, probability, probability_low, probability_high.
        bins: Raw shares: size_low, size_high, n_defects, n_hits, recall, recall_low, recall_high.
        title: Title of the figure.

    Returns:
        The figure; one sentence where the data set has no defect with a truth.
    """
    if probability.empty or not probability["n_defects"].sum():
        return sentence_figure(
            "No defect has a ground truth, so there is nothing to be found or missed.", title=title
        )
    n_rows = -(-len(probability) // _N_COLUMNS)
    panel_width, panel_height, head = 3.55, 2.45, 0.75
    width = 0.2 + _N_COLUMNS * panel_width
    bottom = 0.42
    top = head_inches(title=title)
    height = top + n_rows * (panel_height + head) + bottom
    limits = _size_limits(probability, curve, bins)
    with styled():
        figure = new_figure(width, height)
        top = write_head(figure, title=title)
        for number, (_, row) in enumerate(probability.iterrows()):
            left = 0.62 + (number % _N_COLUMNS) * panel_width
            y = top + head + (number // _N_COLUMNS) * (panel_height + head)
            axes = place_axes(figure, left, y, width=panel_width - 0.75, height=panel_height - 0.35)
            own = [_of_run(table, row) for table in (curve, bins)]
            _draw_detection(axes, row, *own, limits=limits)
            name = "\n".join(textwrap.wrap(named_run(row), 46)[:2])
            reason = "" if len(own[0]) else _why_no_curve(row)
            pad = 4 + 9 * len(reason.splitlines())
            axes.set_title(name, loc="left", weight="bold", size=8, parse_math=False, pad=pad)
            above = {"transform": axes.transAxes, "va": "bottom", "parse_math": False}
            axes.text(0, 1.02, reason, size=7, color=FAINT, **above)
            if number % _N_COLUMNS == 0:
                axes.set_ylabel("share of defects found")
    return figure


def _draw_detection(
    axes: Axes, row: pd.Series, curve: pd.DataFrame, bins: pd.DataFrame, *, limits: tuple
) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    unit = UNITS[row["unit"]]
    axes.set_xscale("log")
    is_wide = limits[1] / limits[0] > 200
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if is_wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(*limits)
    axes.set_ylim(-0.04, 1.16)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 0.9, 1.0])
    axes.set_xlabel(f"area of the defect in {unit} (logarithmic scale)")
    plain_axes(axes, grid="both")
    if len(curve):
        curve = curve.sort_values("size")
        axes.fill_between(
            curve["size"],
            curve["probability_low"],
            curve["probability_high"],
            color=BLUE,
            alpha=0.18,
            linewidth=0,
        )
        axes.plot(curve["size"], curve["probability"], color=BLUE, lw=1.8)
        axes.axhline(0.9, color=FAINT, lw=0.7, ls=(0, (4, 3)))
        marks = (("a90", "a90", "-", 0.30), ("a90_95", "a90/95", (0, (2, 2)), 0.16))
        for name, label, style, place in marks:
            size = row[name]
            if pd.notna(size) and limits[0] <= size <= limits[1]:
                axes.axvline(size, color=VERMILION, lw=1.1, ls=style)
                is_right = np.log(size / limits[0]) > 0.6 * np.log(limits[1] / limits[0])
                axes.annotate(
                    f"{label} = {size:,.3g} {unit}",
                    (size, place),
                    xytext=(-3 if is_right else 3, 0),
                    textcoords="offset points",
                    ha="right" if is_right else "left",
                    va="center",
                    size=7,
                    color="#8a3b00",
                    bbox={"facecolor": "white", "alpha": 0.8, "pad": 0.8, "linewidth": 0},
                )
    for _, one in bins.iterrows():
        if not one["n_defects"]:
            continue
        middle = _middle(one["size_low"], one["size_high"], limits)
        axes.plot([middle, middle], [one["recall_low"], one["recall_high"]], color=INK, lw=1)
        axes.plot(middle, one["recall"], marker="o", ms=4, color=INK, ls="none")
        axes.annotate(
            f"{int(one['n_defects'])}",
            (middle, 1.09),
            ha="center",
            va="center",
            size=6.5,
            color=FAINT,
        )
    axes.annotate("n", (0.005, 1.09), xycoords=("axes fraction", "data"), size=6.5, color=FAINT)


def _why_no_curve(row: pd.Series) -> str:
    reason = row["reason"] if pd.notna(row["reason"]) and row["reason"] else row["status"]
    return textwrap.fill(f"No curve: {reason}", 54, max_lines=3, placeholder="…")


def _size_limits(
    probability: pd.DataFrame, curve: pd.DataFrame, bins: pd.DataFrame
) -> tuple[float, float]:
    """Smallest and largest size on any panel, so that panels can be compared."""
    sizes = pd.concat(
        [
            curve["size"],
            bins.loc[bins["n_defects"] > 0, "size_low"],
            bins.loc[bins["n_defects"] > 0, "size_high"],
        ]
    ).astype(float)
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if sizes.empty:
        return 1.0, 10.0
    marks = probability[["a90", "a90_95"]].astype(float).to_numpy().ravel()
    # A mark far outside of what was seen would squeeze everything else.
    marks = marks[np.isfinite(marks) & (marks <= 4 * sizes.max()) & (marks >= sizes.min() / 4)]
    low, high = sizes.min(), max([sizes.max(), *marks])
    return float(low / 1.15), float(max(high, low * 1.5) * 1.15)


def _middle(low: float, high: float, limits: tuple[float, float]) -> float:
    low = low if np.isfinite(low) and low > 0 else limits[0]
    high = high if np.isfinite(high) else limits[1]
    return float(np.sqrt(low * high))


def _of_run(table: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    return table[(table["method"] == row["method"]) & (table["prompt"] == row["prompt"])]
