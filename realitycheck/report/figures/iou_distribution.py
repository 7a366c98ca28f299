"""The IoU of every defective part with a truth, its mean with its interval, the study's mean."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from realitycheck.report.figures.style import (
    FONT_PT,
    STUDY_MARK,
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
from realitycheck.report.tables.study_text import BOLD_ABOVE_IOU
from realitycheck.report.text import named_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "How well masks fit, part by part"
CAPTION = (
    "IoU of every defective part with a truth, the mean with its interval, and, where there is "
    "one, the mean in the study."
)
ALT = "A line of points for each method; means and intervals stand in Table 1."


def plot(results: Results, dataset: None, *, title: str) -> Figure:
    """Draw the figure of all data sets; see `plot_iou_distribution`."""
    return plot_iou_distribution(
        results.scores(results.runs("masks")),
        results.table("segmentation"),
        rng=np.random.default_rng(results.facts["report"]["seed"]),
        title=title,
    )


def plot_iou_distribution(
    scores: pd.DataFrame,
    table: pd.DataFrame,
    *,
    rng: np.random.Generator,
    title: str = "",
    footnote: str = "",
) -> Figure:
    """Draw the IoU of every defective image, its mean with its interval, and the study's mean.

    Args:
        scores: One row per image, data set, method and prompt (see `segmentation_table`).
        table: The table made from them; its rows are drawn, in their order.
        rng: Source of chance, only for the vertical spread of the points.
        title: Title of the figure.
        footnote: Text below.

    Returns:
        The figure: one panel per data set with a truth, one line per method and prompt; one
        sentence where nobody drew a truth.

    Raises:
        ValueError: If the table has no row.
    """
    if table.empty:
        raise ValueError("there is no row to draw: the segmentation table is empty")
    table = table[table.groupby("dataset")["n_scored"].transform("max") > 0]
    if table.empty:
        sentence = "No defective part has a ground truth, so there is no IoU."
        return sentence_figure(sentence, title=title)
    panels = list(dict.fromkeys(table["dataset"]))
    n_lines = [int((table["dataset"] == dataset).sum()) for dataset in panels]
    line_height, panel_head, width, left = 0.3, 0.3, 7.2, 2.3
    foot_lines = textwrap.wrap(footnote, int(width * 17)) if footnote else []
    head = head_inches(title=title)
    bottom = 0.72 + 0.15 * len(foot_lines)
    height = head + sum(n_lines) * line_height + panel_head * len(panels) + bottom
    with styled():
        figure = new_figure(width, height)
        y = write_head(figure, title=title)
        axes = None
        for dataset, count in zip(panels, n_lines, strict=True):
            rows = table[table["dataset"] == dataset].reset_index(drop=True)
            y += panel_head + count * line_height
            axes = place_axes(
                figure,
                left,
                y - count * line_height,
                width=width - left - 0.2,
                height=count * line_height,
            )
            _draw_distribution(axes, rows, scores, rng)
            name = f"{rows['dataset_name'].iloc[0]}, n = {rows['n_scored'].max()} defective parts"
            axes.set_title(name, loc="left", weight="bold", size=FONT_PT, parse_math=False)
            axes.tick_params(labelbottom=dataset == panels[-1])
        axes.set_xlabel("IoU of a defective image")
        inches = 0.05 + 0.15 * len(foot_lines)
        legend_below(figure, inches=inches, n_columns=4, handletextpad=0.4, columnspacing=1.4)
        for number, line in enumerate(foot_lines):
            write_text(
                figure,
                0.08,
                height - 0.15 * (len(foot_lines) - number),
                line,
                ha="left",
                va="top",
                size=6.5,
                color="#444",
            )
    return figure


def _draw_distribution(
    axes: Axes, rows: pd.DataFrame, scores: pd.DataFrame, rng: np.random.Generator
) -> None:
    labels = []
    for line, row in rows.iterrows():
        is_own = (
            (scores["dataset"] == row["dataset"])
            & (scores["method"] == row["method"])
            & (scores["prompt"] == row["prompt"])
            & (scores["label"] == "NOK")
            & (scores["truth_px"].fillna(0) > 0)
        )
        ious = scores.loc[is_own, "iou"].astype(float).dropna().to_numpy()
        spread = rng.uniform(-0.27, 0.27, size=len(ious))
        axes.scatter(
            ious,
            line + spread,
            s=7,
            color="#5b7c99",
            alpha=0.45,
            linewidths=0,
            label="one image",
            clip_on=False,
        )
        axes.plot(
            [row["mean_iou_low"], row["mean_iou_high"]],
            [line, line],
            color="black",
            lw=1.4,
            solid_capstyle="butt",
        )
        axes.scatter(
            row["mean_iou"],
            line,
            s=26,
            color="black",
            zorder=3,
            label="mean with interval",
            clip_on=False,
        )
        if pd.notna(row["published_iou"]):
            axes.plot(
                row["published_iou"],
                line,
                ms=5.5,
                zorder=4,
                label="mean in the study",
                clip_on=False,
                **STUDY_MARK,
            )
        labels.append(named_run(row))
    axes.axvline(
        BOLD_ABOVE_IOU,
        color="#777",
        lw=0.8,
        ls=(0, (4, 3)),
        zorder=0,
        label=f"practical value above {BOLD_ABOVE_IOU:.2f}",
    )
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(-0.01, 1.01)
    axes.tick_params(axis="y", length=0)
    plain_axes(axes, grid="x", bare=("top", "right", "left"))
