"""Iou distribution."""

import textwrap
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from realitycheck.core.constants import NO_PROMPT
from realitycheck.report.figures.style import (
    _FONT_PT,
    STYLE,
    new_figure,
    sentence_figure,
    write_head,
    write_text,
)
from realitycheck.report.tables.study_text import BOLD_ABOVE_IOU


def iou_notes(scores: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Word the IoU of each image and method for the cells of `plot_overlays`.

    Args:
        scores: One row an image and method of one data set and prompt, columns image_id, method,
            iou, predicted_px, status.

    Returns:
        By (image_id, method): "IoU 0.83"; with the status where it is not "ok"; "nothing found"
        or "no mask" where there is no IoU to give.

    Raises:
        ValueError: If an image and method has two rows.
    """
    notes: dict[tuple[str, str], str] = {}
    for row in scores.to_dict("records"):
        key = (row["image_id"], row["method"])
        if key in notes:
            raise ValueError(
                f"one row an image and method is expected, but {key[0]} under {key[1]} has two; "
                "choose one prompt"
            )
        if pd.isna(row["predicted_px"]):
            note = "no mask"
        elif pd.isna(row["iou"]):
            note = "no ground truth" if row["predicted_px"] else "nothing found"
        else:
            note = f"IoU {row['iou']:.2f}"
        status = row["status"]
        is_plain = pd.isna(status) or status == "ok"
        notes[key] = note if is_plain else f"{note} ({str(status).replace('_', ' ')})"
    return notes


def plot_iou_distribution(
    scores: pd.DataFrame,
    table: pd.DataFrame,
    *,
    rng: np.random.Generator,
    title: str = "",
    banner: str = "",
    footnote: str = "",
) -> Figure:
    """Draw the IoU of every defective image, its mean with its interval, and the study's mean.

    Args:
        scores: One row an image, data set, method and prompt (see `segmentation_table`).
        table: The table made from them; its rows are drawn, in their order.
        rng: Source of chance, only for the vertical spread of the points.
        title: Title of the figure.
        banner: Warning in a red band on top.
        footnote: Text below.

    Returns:
        The figure: a panel a data set with a truth, a line a method and prompt; one sentence where
        nobody drew a truth.

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
    head = (0.3 if banner else 0.0) + (0.32 if title else 0.06)
    bottom = 0.72 + 0.15 * len(foot_lines)
    height = head + sum(n_lines) * line_height + panel_head * len(panels) + bottom
    with matplotlib.rc_context(STYLE):
        figure = new_figure(width, height)
        y = write_head(figure, title=title, banner=banner)
        axes = None
        for dataset, count in zip(panels, n_lines, strict=True):
            rows = table[table["dataset"] == dataset].reset_index(drop=True)
            y += panel_head + count * line_height
            axes = figure.add_axes(
                (
                    left / width,
                    1 - y / height,
                    1 - (left + 0.2) / width,
                    count * line_height / height,
                )
            )
            _draw_distribution(axes, rows, scores, rng)
            name = f"{rows['dataset_name'].iloc[0]}, n = {rows['n_scored'].max()} defective parts"
            axes.set_title(name, loc="left", weight="bold", size=_FONT_PT, parse_math=False)
            axes.tick_params(labelbottom=dataset == panels[-1])
        axes.set_xlabel("IoU of a defective image")
        unique = {}
        for each in figure.axes:
            handles, labels = each.get_legend_handles_labels()
            unique |= dict(zip(labels, handles, strict=True))
        figure.legend(
            unique.values(),
            unique.keys(),
            ncols=4,
            frameon=False,
            loc="lower center",
            bbox_to_anchor=(0.5, (0.05 + 0.15 * len(foot_lines)) / height),
            fontsize=7,
            handletextpad=0.4,
            columnspacing=1.4,
        )
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
    axes: Any, rows: pd.DataFrame, scores: pd.DataFrame, rng: np.random.Generator
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
            axes.scatter(
                row["published_iou"],
                line,
                s=34,
                marker="D",
                facecolor="#ffdd00",
                edgecolor="black",
                linewidth=0.8,
                zorder=4,
                label="mean in the study",
                clip_on=False,
            )
        prompt = "" if row["prompt"] == NO_PROMPT else f" ({row['prompt']})"
        labels.append(f"{row['method_name']}{prompt}")
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
    axes.grid(axis="x", color="#ddd", lw=0.5)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
