"""Every method's mean IoU against the domain gap of each data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from realitycheck.report.figures.style import (
    FAINT,
    GRID,
    PALETTE,
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
    from matplotlib.figure import Figure

TITLE = "How well the networks transfer to other image domains"
CAPTION = (
    "Mean IoU of each method against the distance of each data set from the drawn everyday scenes "
    "that the networks were trained on; 1 is the distance of such scenes from each other. Grey "
    "bars: the whole image as the mask."
)
ALT = (
    "A mark for each method and data set; distances stand in the table on the domain gap, scores "
    "in Table 1."
)
_MARKS = ("o", "s", "^", "D")


def plot(results: Results, dataset: None, *, title: str) -> Figure:
    """Draw the figure of all data sets; see `plot_domain_gap`."""
    tables = results.table("domain_gap"), results.table("segmentation")
    return plot_domain_gap(*tables, title=title)


def plot_domain_gap(table: pd.DataFrame, segmentation: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw every run's mean IoU against the domain gap of its data set.

    Args:
        table: The domain gap.
        segmentation: Table 1; rows without a mean IoU are left out.
        title: Title of the figure.

    Returns:
        The figure, one mark per data set, method and prompt; one sentence where there is no score.
        Data sets are things of their own, so nothing is drawn between them.
    """
    gaps = table.set_index("dataset")["nearest_neighbour_ratio"]
    known = segmentation["dataset"].isin(gaps.index) & segmentation["mean_iou"].notna()
    scored = segmentation[known].assign(gap=segmentation["dataset"].map(gaps))
    if scored.empty:
        return sentence_figure("No defective part has a ground truth and a mask.", title=title)
    width, left, axes_width, axes_height, foot = 7.2, 0.6, 4.0, 3.2, 0.55
    names_height = 0.75
    top = head_inches(title=title) + names_height
    height = top + axes_height + foot
    with styled():
        figure = new_figure(width, height)
        write_head(figure, title=title)
        axes = place_axes(figure, left, top, width=axes_width, height=axes_height)
        number = 0
        for _, rows in scored.groupby(["method", "prompt"], sort=False):
            rows = rows.sort_values("gap")
            is_floor = bool(rows["is_floor"].any())
            style = {"color": FAINT, "marker": "_", "ms": 14, "mew": 1.4}
            if not is_floor:
                style = {
                    "ms": 5.5,
                    "color": PALETTE[number % len(PALETTE)],
                    "marker": _MARKS[number // len(PALETTE) % len(_MARKS)],
                }
                number += 1
            label = named_run(rows.iloc[0])
            axes.plot(rows["gap"], rows["mean_iou"], ls="none", label=label, **style)
        low, high = float(gaps.min()), float(gaps.max())
        margin = 0.08 * (high - low) or 0.5
        axes.set_xlim(min(low - margin, 1.0), high + margin)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("distance from everyday scenes (1: theirs from each other)")
        axes.set_ylabel("mean IoU of defective images")
        plain_axes(axes, grid="y")
        for row in table.itertuples(index=False):
            axes.axvline(row.nearest_neighbour_ratio, color=GRID, lw=0.8, zorder=0)
            at = axes.transData.transform((row.nearest_neighbour_ratio, 0))[0] / figure.dpi
            style = {"ha": "left", "va": "bottom", "rotation": 25, "size": 7}
            write_text(figure, at, top - 0.04, row.dataset_name, **style)
        handles, labels = axes.get_legend_handles_labels()
        legend = figure.legend(
            handles,
            labels,
            frameon=False,
            fontsize=7,
            loc="upper left",
            bbox_to_anchor=((left + axes_width + 0.2) / width, 1 - top / height),
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure
