"""The domain gap for people: its table, and every method's scores drawn against it."""

from __future__ import annotations

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from realitycheck.report.figures.style import (
    STYLE,
    new_figure,
    run_label,
    sentence_figure,
    write_head,
    write_text,
)

# Okabe and Ito's palette, which colour-blind readers tell apart; after it, other marks.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKS = ("o", "s", "^", "D")
_FAINT, _GRID = "#6b6b6b", "#dddddd"


def plot_domain_gap(
    table: pd.DataFrame, segmentation: pd.DataFrame, *, title: str = "", banner: str = ""
) -> Figure:
    """Draw every run's mean IoU against the domain gap of its data set.

    Args:
        table: The domain gap.
        segmentation: Table 1; rows without a mean IoU are left out.
        title: Title of the figure.
        banner: Warning in a red band on top.

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
    top = (0.3 if banner else 0.0) + (0.32 if title else 0.06) + names_height
    height = top + axes_height + foot
    with matplotlib.rc_context(STYLE):
        figure = new_figure(width, height)
        write_head(figure, title=title, banner=banner)
        axes = figure.add_axes(
            (left / width, foot / height, axes_width / width, axes_height / height)
        )
        number = 0
        for _, rows in scored.groupby(["method", "prompt"], sort=False):
            rows = rows.sort_values("gap")
            is_floor = bool(rows["is_floor"].any())
            style = {"color": _FAINT, "marker": "_", "ms": 14, "mew": 1.4}
            if not is_floor:
                style = {
                    "ms": 5.5,
                    "color": _COLOURS[number % len(_COLOURS)],
                    "marker": _MARKS[number // len(_COLOURS) % len(_MARKS)],
                }
                number += 1
            label = run_label(rows.iloc[0])
            axes.plot(rows["gap"], rows["mean_iou"], ls="none", label=label, **style)
        low, high = float(gaps.min()), float(gaps.max())
        margin = 0.08 * (high - low) or 0.5
        axes.set_xlim(min(low - margin, 1.0), high + margin)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("distance from everyday scenes (1: theirs from each other)")
        axes.set_ylabel("mean IoU of defective images")
        axes.grid(axis="y", color=_GRID, lw=0.5)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for row in table.itertuples(index=False):
            axes.axvline(row.nearest_neighbour_ratio, color=_GRID, lw=0.8, zorder=0)
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
