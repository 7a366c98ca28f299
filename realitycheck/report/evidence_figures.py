"""Figures of the evidence: detection probability, slip against overkill, ours against the study.

What a figure says does not hang on colour: methods are told apart by numbers and names, estimates
by their marks, limits by lines with a text. All is drawn on white, for print.
"""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from realitycheck.names import NO_PROMPT
from realitycheck.report.figures import STYLE, new_figure, sentence_figure, write_head, write_text

# Of Okabe and Ito's palette, which colour-blind readers tell apart.
BLUE, VERMILION, ORANGE, GREEN = "#0072b2", "#d55e00", "#e69f00", "#009e73"
_INK, _FAINT, _GRID = "#1b1b1b", "#6b6b6b", "#dddddd"
_RATE_TICKS = (0, 0.01, 0.02, 0.05, 0.10, 0.20, 0.40, 0.60, 0.80, 1.0)
_N_COLUMNS = 2
#: Points closer than this, on the axes of square roots, share one mark.
_SAME_PLACE = 0.035
#: Letters of a label from which on it is kept inside the axes.
_LONG_LABEL = 10
_NO_ANSWER = ": no part was judged"


def run_label(row: Any) -> str:
    """Name a method, with its prompt where it takes one, for people."""
    name, prompt = row["method_name"], row["prompt"]
    return name if prompt == NO_PROMPT else f"{name} ({prompt})"


# ---------------------------------------------------------------------------- detection probability


def plot_detection_probability(
    probability: pd.DataFrame,
    curve: pd.DataFrame,
    bins: pd.DataFrame,
    *,
    title: str = "",
    banner: str = "",
) -> Figure:
    """Draw how probably a defect of some size is found, a panel a method and prompt.

    Points with bars: the share found in a bin of sizes, with its interval and its number of
    defects. Line and band: the fitted curve, where one could be fitted; else the reason stands
    there. Marked: the sizes found with probability 0.9, by the curve (a90) and at the lower
    confidence bound (a90/95).

    Args:
        probability: One row a method and prompt of one data set: unit, status, reason, n_defects,
            n_hits, a90, a90_95, method_name, prompt.
        curve: Points of the curves: size, probability, probability_low, probability_high.
        bins: Raw shares: size_low, size_high, n_defects, n_hits, recall, recall_low, recall_high.
        title: Title of the figure.
        banner: Warning in a red band on top.

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
    top = (0.3 if banner else 0.0) + (0.32 if title else 0.06)
    height = top + n_rows * (panel_height + head) + bottom
    limits = _size_limits(probability, curve, bins)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(width, height)
        top = write_head(figure, title=title, banner=banner)
        for number, (_, row) in enumerate(probability.iterrows()):
            left = 0.62 + (number % _N_COLUMNS) * panel_width
            y = top + head + (number // _N_COLUMNS) * (panel_height + head)
            axes = figure.add_axes(
                (
                    left / width,
                    1 - (y + panel_height - 0.35) / height,
                    (panel_width - 0.75) / width,
                    (panel_height - 0.35) / height,
                )
            )
            own = [_of_run(table, row) for table in (curve, bins)]
            _draw_detection(axes, row, *own, limits=limits)
            name = "\n".join(textwrap.wrap(run_label(row), 46)[:2])
            reason = "" if len(own[0]) else _why_no_curve(row)
            pad = 4 + 9 * len(reason.splitlines())
            axes.set_title(name, loc="left", weight="bold", size=8, parse_math=False, pad=pad)
            above = {"transform": axes.transAxes, "va": "bottom", "parse_math": False}
            axes.text(0, 1.02, reason, size=7, color=_FAINT, **above)
            if number % _N_COLUMNS == 0:
                axes.set_ylabel("share of defects found")
    return figure


def _draw_detection(
    axes: Any, row: pd.Series, curve: pd.DataFrame, bins: pd.DataFrame, *, limits: tuple
) -> None:
    unit = {"px": "px", "mm2": "mm²"}.get(row["unit"], row["unit"])
    axes.set_xscale("log")
    is_wide = limits[1] / limits[0] > 200
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if is_wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(*limits)
    axes.set_ylim(-0.04, 1.16)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 0.9, 1.0])
    axes.set_xlabel(f"area of the defect in {unit} (logarithmic scale)")
    axes.grid(color=_GRID, lw=0.5)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
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
        axes.axhline(0.9, color=_FAINT, lw=0.7, ls=(0, (4, 3)))
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
        axes.plot([middle, middle], [one["recall_low"], one["recall_high"]], color=_INK, lw=1)
        axes.plot(middle, one["recall"], marker="o", ms=4, color=_INK, ls="none")
        axes.annotate(
            f"{int(one['n_defects'])}",
            (middle, 1.09),
            ha="center",
            va="center",
            size=6.5,
            color=_FAINT,
        )
    axes.annotate("n", (0.005, 1.09), xycoords=("axes fraction", "data"), size=6.5, color=_FAINT)


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


# ---------------------------------------------------------------------------- slip against overkill


def plot_slip_overkill(readiness: pd.DataFrame, *, title: str = "", banner: str = "") -> Figure:
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
        banner: Warning in a red band on top.

    Returns:
        The figure; one sentence where there is no method.
    """
    if readiness.empty:
        return sentence_figure("There is no method to compare.", title=title)
    width, left, side = 7.2, 0.75, 3.5
    panels = [rows for _, rows in readiness.groupby("dataset", sort=False)]
    keys = [_legend_lines(rows) for rows in panels]
    heights = [max(side, 0.5 + 0.15 * sum(map(len, key))) for key in keys]
    top = (0.3 if banner else 0.0) + (0.32 if title else 0.06)
    gap = 0.9
    height = top + sum(heights) + gap * len(panels) + 0.05
    with matplotlib.rc_context(STYLE):
        figure = new_figure(width, height)
        y = write_head(figure, title=title, banner=banner)
        for rows, key, panel_height in zip(panels, keys, heights, strict=True):
            y += 0.32
            axes = figure.add_axes(
                (left / width, 1 - (y + side) / height, side / width, side / height)
            )
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


def _legend_lines(rows: pd.DataFrame) -> list[list[str]]:
    """Names of a panel's methods, wrapped; of one that judged no part, with a word that it did."""
    return [
        textwrap.wrap(run_label(row) + ("" if row["n_answered"] else _NO_ANSWER), 42) or [""]
        for _, row in rows.iterrows()
    ]


def _draw_rates(axes: Any, rows: pd.DataFrame) -> None:
    for scale in (axes.set_xscale, axes.set_yscale):
        scale("function", functions=(lambda v: np.sqrt(np.clip(v, 0, None)), np.square))
    labels = [f"{100 * tick:g} %" for tick in _RATE_TICKS]
    axes.set_xticks(_RATE_TICKS, labels, size=7, rotation=60)
    axes.set_yticks(_RATE_TICKS, labels, size=7)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.grid(color=_GRID, lw=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel("overkill: good parts rejected (square-root scale)")
    axes.set_ylabel("slip: defective parts passed (square-root scale)")
    share = np.linspace(0, 1, 200)
    axes.plot(share, 1 - share, color=_FAINT, lw=0.9, ls=(0, (4, 3)))
    axes.annotate(
        "no look at the part",
        (0.28, 0.72),
        xytext=(4, 4),
        textcoords="offset points",
        size=6.5,
        color=_FAINT,
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


def _centre(row: pd.Series) -> tuple[float, float]:
    """Rates of a row; the middle of the bounds where unanswered images leave a range."""
    return tuple(
        float(row[name]) if pd.notna(row[name]) else (row[f"{name}_low"] + row[f"{name}_high"]) / 2
        for name in ("overkill_rate", "slip_rate")
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


# --------------------------------------------------------------------------- ours against the study


def plot_published_scores(
    segmentation: pd.DataFrame,
    classification: pd.DataFrame,
    *,
    title: str = "",
    banner: str = "",
) -> Figure:
    """Draw our score with its interval beside the study's, one line per method.

    A method without any answer has no mark of ours, and one with some has its range but no point.

    Args:
        segmentation: Table 1.
        classification: Table 2.
        title: Title of the figure.
        banner: Warning in a red band on top.

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
    top = (0.3 if banner else 0.0) + (0.32 if title else 0.06)
    panel_head, panel_foot = 0.28, 0.5
    n_lines = [len(table) + table["dataset"].nunique() for *_, table in parts]
    height = top + sum(n_lines) * line + (panel_head + panel_foot) * len(parts)
    height += 0.35
    with matplotlib.rc_context(STYLE):
        figure = new_figure(width, height)
        y = write_head(figure, title=title, banner=banner)
        for (label, ours, theirs, table), count in zip(parts, n_lines, strict=True):
            y += panel_head
            tall = count * line
            axes = figure.add_axes(
                (left / width, 1 - (y + tall) / height, (width - left - 0.3) / width, tall / height)
            )
            _draw_pairs(axes, table, ours=ours, theirs=theirs, n_lines=count)
            axes.set_xlabel(label)
            y += tall + panel_foot
        handles, labels = axes.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(
            unique.values(),
            unique.keys(),
            ncols=3,
            frameon=False,
            fontsize=7,
            loc="lower center",
            bbox_to_anchor=(0.5, 0.05 / height),
        )
    return figure


def _draw_pairs(axes: Any, table: pd.DataFrame, *, ours: str, theirs: str, n_lines: int) -> None:
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
                marker="D",
                ms=6,
                mfc="#ffdd00",
                mec="black",
                mew=0.8,
                ls="none",
                label="in the study",
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
                    label="best floor, without any model",
                )
            places.append(place)
            names.append(f"   {run_label(row)}" + ("" if is_answered else _NO_ANSWER))
            place += 1
    labels = axes.set_yticks(places, [textwrap.shorten(n, 46, placeholder="…") for n in names])
    for tick, name in zip(labels, names, strict=True):
        tick.label1.set_parse_math(False)
        if not name.startswith("   "):
            tick.label1.set_fontweight("bold")
    axes.set_ylim(n_lines - 0.5, -0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=_GRID, lw=0.5)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
