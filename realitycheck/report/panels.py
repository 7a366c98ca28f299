"""Panels: what a method saw on one image, side by side, for a person who asks why.

A panel is a row or two of views (pictures with boxes or points, maps with their scale, ranked
candidates) under the name of the image and above a line that says what became of it. The functions
`boxes_view` to `mask_view` make views from arrays; `plot_panel` lays them out.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from realitycheck.core.views import (
    N_LISTED,
    PLOT_YELLOW,
    Candidate,
    View,
    covered_mask,
    display_size,
)
from realitycheck.report.words import STATUS_WORDS

_DARK = "#141414"
_STYLE = {"font.family": "DejaVu Sans", "font.size": 7.0}
_MARGIN, _GAP = 0.12, 0.16
_WIDTH_INCHES = 11.0
_TITLE, _LINE = 0.2, 0.125  # inches: a view's title, a line of notes
_ROW, _AXIS = 0.165, 0.2  # inches of a line in a list, of the axis below it
_DPI = 150
_MAX_ASPECT = 1.35  # height over width of a picture's place


def result_words(score: Mapping[str, Any], *, threshold: float | None = None) -> str:
    """Describe the outcome of an image: status, score, threshold, IoU, verdict.

    Args:
        score: Row of the scores table.
        threshold: Of this image, where each has one of its own.
    """
    status = str(score["status"])
    parts = [f"Status {status}: {STATUS_WORDS[status].sentence}."]
    if not pd.isna(score["score"]):
        parts.append(f"Score {score['score']:.3g}.")
    if threshold is not None:
        limit = f"{threshold:.3g}" if np.isfinite(threshold) else "above every value"
        parts.append(f"Threshold {limit}.")
    if not pd.isna(score["iou"]):
        parts.append(
            f"IoU {score['iou']:.2f} ({int(score['intersection_px'])} px in common of "
            f"{int(score['union_px'])} px)."
        )
    elif score["label"] == "OK":
        parts.append("No IoU: the part is good.")
    elif pd.isna(score["label_predicted"]):
        parts.append("No IoU: the image was not judged.")
    else:
        parts.append("No IoU: nobody drew where the defect is.")
    verdicts = {
        ("OK", "OK"): "OK, rightly: a good part passes",
        ("OK", "NOK"): "NOK, wrongly: a good part is rejected (overkill)",
        ("NOK", "NOK"): "NOK, rightly: a defective part is rejected",
        ("NOK", "OK"): "OK, wrongly: a defective part passes (slip)",
    }
    if pd.isna(score["label_predicted"]):
        return " ".join([*parts, "No verdict."])
    verdict = verdicts[score["label"], score["label_predicted"]]
    if score["label_predicted"] == "NOK" and not pd.isna(score["iou"]) and not score["iou"]:
        verdict += ", though none of the defect is marked"
    parts.append(f"Verdict {verdict}.")
    return " ".join(parts)


# ----------------------------------------------------------------------------------------- drawing


def plot_panel(views: Sequence[View], *, title: str, subtitle: str, caption: str) -> Figure:
    """Lay views out, five a row at most, fewer where the image is wide.

    Args:
        views: What to show, in reading order.
        title: Method and data set.
        subtitle: The image.
        caption: What became of it.

    Returns:
        The figure; save it with `save_panel`.

    Raises:
        ValueError: If there is no view.
    """
    if not views:
        raise ValueError("a panel needs at least one view, but got none")
    aspects = [v.extent_hw[0] / v.extent_hw[1] for v in views if v.picture is not None]
    aspect = min(aspects, default=1.0)
    n_columns = _n_columns(len(views), aspect)
    width = (_WIDTH_INCHES - 2 * _MARGIN - (n_columns - 1) * _GAP) / n_columns
    rows = [views[start : start + n_columns] for start in range(0, len(views), n_columns)]
    heights = [max(_view_height(view, width) for view in row) for row in rows]
    captions = textwrap.wrap(caption, 185)
    head = 0.06 + 0.24 + 0.2
    foot = 0.16 * len(captions) + 0.14
    total = head + sum(heights) + 0.1 * len(rows) + foot
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, total), facecolor="white")
        FigureCanvasAgg(figure)
        page = _Page(figure, _WIDTH_INCHES, total)
        y = 0.06
        page.text(_MARGIN, y, title, size=10, weight="bold")
        page.text(_MARGIN, y + 0.21, subtitle, size=8)
        y = head
        for row, height in zip(rows, heights, strict=True):
            for column, view in enumerate(row):
                _draw_view(page, view, x=_MARGIN + column * (width + _GAP), y=y, width=width)
            y += height + 0.1
        for line in captions:
            page.text(_MARGIN, y, line, size=8)
            y += 0.16
    return figure


def save_panel(figure: Figure, path: Any) -> None:
    """Write a panel as PNG; the same panel gives the same bytes."""
    with matplotlib.rc_context(_STYLE):
        figure.savefig(path, format="png", dpi=_DPI, metadata={"Software": None})


class _Page:
    """A figure addressed in inches from its upper left corner."""

    def __init__(self, figure: Figure, width: float, height: float):
        self.figure, self.width, self.height = figure, width, height

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        style = {"ha": "left", "va": "top", **style}
        # Prompts and file names are the user's: a dollar sign must not start a formula.
        self.figure.text(x / self.width, 1 - y / self.height, text, parse_math=False, **style)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        return self.figure.add_axes(
            (
                x / self.width,
                1 - (y + height) / self.height,
                width / self.width,
                height / self.height,
            )
        )


def _n_columns(n_views: int, aspect: float) -> int:
    if aspect < 0.2:
        return 1
    if aspect < 0.45:
        return 2
    return n_views if n_views <= 5 else math.ceil(n_views / 2)


def _picture_height(view: View, width: float) -> float:
    if view.picture is None:
        return len(view.candidates) * _ROW + _AXIS if view.candidates else 0.0
    return width * min(_MAX_ASPECT, view.extent_hw[0] / view.extent_hw[1])


def _view_height(view: View, width: float) -> float:
    below = len(_legend(view)) + len(_note_lines(view, width))
    scale = _scale_height(view) if _is_map(view) else 0.0
    return _TITLE + _picture_height(view, width) + scale + 0.05 + _LINE * below


def _is_map(view: View) -> bool:
    return view.picture is not None and view.picture.ndim == 2


def _scale_height(view: View) -> float:
    is_marked = view.threshold is not None and np.isfinite(view.threshold)
    return 0.4 if is_marked else 0.27


def _note_lines(view: View, width: float) -> list[str]:
    return textwrap.wrap(view.note, max(20, int(width * 19)))


def _legend(view: View) -> list[tuple[str, dict[str, Any]]]:
    """Entries below a picture: text, and the style of the line or marker before it."""
    found: dict[str, dict[str, Any]] = {}
    counts: dict[str, int] = {}
    for each in reversed(view.boxes):
        style = each.style
        counts[style.name] = counts.get(style.name, 0) + 1
        found[style.name] = {
            "color": style.colour,
            "ls": (0, (3, 2)) if style.is_dashed else "-",
            "lw": 1.0 if style.is_dashed else 2.0,
        }
    entries = [(f"{name} ({counts[name]})", style) for name, style in found.items()]
    for _, colour, name in view.contours:
        if name:
            entries.append((name, {"color": colour, "ls": "-", "lw": 1.6}))
    for positive, name in ((True, "belongs to it"), (False, "does not")):
        n_points = sum(each[2] is positive for each in view.points)
        if n_points:
            entries.append((f"{name} ({n_points})", {"ls": "none", **_marker(positive)}))
    return entries


def _marker(positive: bool) -> dict[str, Any]:
    if positive:
        return {"marker": "o", "mfc": PLOT_YELLOW, "mec": _DARK, "mew": 0.8, "ms": 5}
    return {"marker": "X", "mfc": "white", "mec": _DARK, "mew": 0.6, "ms": 4.5}


def _draw_view(page: _Page, view: View, *, x: float, y: float, width: float) -> None:
    page.text(x, y, _shortened(view.title, int(width * 17)), weight="bold", size=7.5)
    y += _TITLE
    height = _picture_height(view, width)
    if view.candidates:
        _draw_list(page.axes(x, y, min(width, 5.0), height - _AXIS), view)
        y += height
    elif view.picture is not None:
        drawn = _draw_picture(page.axes(x, y, width, height), view)
        y += height
        if _is_map(view):
            _draw_scale(page, view, drawn, x=x, y=y + 0.06, width=width)
            y += _scale_height(view)
    y += 0.04
    for text, style in _legend(view):
        middle = 1 - (y + 0.055) / page.height
        rim = [patheffects.withStroke(linewidth=style.get("lw", 1) + 1.4, foreground=_DARK)]
        line = Line2D(
            [x / page.width, (x + 0.1) / page.width, (x + 0.2) / page.width],
            [middle] * 3,
            transform=page.figure.transFigure,
            figure=page.figure,
            **({"markevery": [1]} if "marker" in style else {"path_effects": rim}),
            **style,
        )
        page.figure.lines.append(line)
        page.text(x + 0.25, y, text, size=6.5)
        y += _LINE
    for text in _note_lines(view, width):
        page.text(x, y, text, size=6.5, color="#333")
        y += _LINE


def _draw_picture(axes: Axes, view: View) -> Any:
    height, width = view.extent_hw
    drawn = axes.imshow(
        view.picture,
        extent=(0, width, height, 0),
        interpolation="nearest" if _is_map(view) else "antialiased",
        aspect="equal",
        cmap="viridis" if _is_map(view) else None,
        **(_scale_limits(view.picture) if _is_map(view) else {}),
    )
    axes.set_anchor("NW")
    for mask, colour, _ in view.contours:
        _draw_contour(axes, mask, colour, extent_hw=view.extent_hw)
    for each in view.boxes:
        _draw_box(axes, each)
    for x, y, positive in view.points:
        axes.plot([x], [y], ls="none", **_marker(positive))
    for x, y, text in view.labels:
        axes.text(x, y, text, ha="center", va="center", **_tag())
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    return drawn


def _scale_limits(values: np.ndarray) -> dict[str, float]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return {"vmin": low, "vmax": high if high > low else low + 1.0}


def _draw_scale(page: _Page, view: View, drawn: Any, *, x: float, y: float, width: float) -> None:
    axes = page.axes(x, y, width, 0.08)
    page.figure.colorbar(drawn, cax=axes, orientation="horizontal")
    low, high = drawn.get_clim()
    level = view.threshold
    axes.set_xticks([low, high], [f"{low:.3g}", f"{high:.3g}"])
    axes.tick_params(labelsize=6, length=2, pad=1)
    for label, side in zip(axes.get_xticklabels(), ("left", "right"), strict=True):
        label.set_ha(side)
    if level is not None and np.isfinite(level):
        place = min(max(level, low), high)
        outside = " (below)" if level < low else " (above)" if level > high else ""
        rim = [patheffects.withStroke(linewidth=3, foreground=_DARK)]
        axes.axvline(place, color="white", lw=1.4, path_effects=rim)
        share = (place - low) / (high - low)
        axes.annotate(
            f"threshold {level:.3g}{outside}",
            (min(max(share, 0.28), 0.72), -1.9),
            xycoords="axes fraction",
            ha="center",
            va="top",
            size=6,
            weight="bold",
        )


def _draw_contour(axes: Axes, mask: np.ndarray, colour: Any, *, extent_hw: tuple[int, int]) -> None:
    covered = covered_mask(mask, display_size(extent_hw)).astype(np.uint8)
    height, width = covered.shape
    scale = np.array([extent_hw[1] / width, extent_hw[0] / height])
    rim = [patheffects.withStroke(linewidth=2.2, foreground=_DARK)]
    outlines, _ = cv2.findContours(covered, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for outline in outlines:
        places = (outline[:, 0, :] + 0.5) * scale
        closed = np.concatenate([places, places[:1]])
        axes.plot(closed[:, 0], closed[:, 1], color=colour, lw=1.0, path_effects=rim)


def _draw_box(axes: Axes, each: Candidate) -> None:
    x_min, y_min, x_max, y_max = each.box
    style = each.style
    line = 0.9 if style.is_dashed else 1.8
    axes.add_patch(
        Rectangle(
            (x_min, y_min),
            x_max - x_min,
            y_max - y_min,
            fill=False,
            edgecolor=style.colour,
            lw=line,
            ls=(0, (4, 3)) if style.is_dashed else "-",
            path_effects=[patheffects.withStroke(linewidth=line + 1.2, foreground=_DARK)],
        )
    )
    if each.number <= N_LISTED:
        x_limit, y_limit = axes.get_xlim()[1], axes.get_ylim()[0]
        place = (min(max(x_min, 0), 0.97 * x_limit), min(max(y_min, 0), 0.97 * y_limit))
        axes.text(*place, str(each.number), ha="left", va="top", **_tag())


def _tag() -> dict[str, Any]:
    return {
        "size": 6,
        "weight": "bold",
        "color": _DARK,
        "parse_math": False,
        "clip_on": True,
        "bbox": {
            "boxstyle": "round,pad=0.12",
            "fc": "white",
            "ec": _DARK,
            "lw": 0.4,
            "alpha": 0.85,
        },
    }


def _draw_list(axes: Axes, view: View) -> None:
    scores = [each.score for each in view.candidates]
    level = view.threshold
    high = 1.08 * max([*scores, level, 1e-9])
    for place, each in enumerate(view.candidates):
        colour = PLOT_YELLOW if each.is_kept else "#d8d8d8"
        axes.barh(place, each.score, height=0.86, color=colour, align="center")
        axes.text(
            0.01 * high,
            place,
            _shortened(f"{each.number}:  {each.score:.3f}  {each.text}", 44),
            va="center",
            size=6.3,
            parse_math=False,
            clip_on=True,
            zorder=4,
            path_effects=[patheffects.withStroke(linewidth=1.6, foreground=colour, alpha=0.85)],
        )
    axes.axvline(level, color=_DARK, lw=1.0, ls=(0, (4, 3)))
    axes.set_xlim(0, high)
    axes.set_ylim(len(view.candidates) - 0.45, -0.55)
    axes.set_yticks([])
    axes.set_xticks([level], [f"threshold {level:.3g}"])
    axes.tick_params(labelsize=6, length=2, pad=1)
    (label,) = axes.get_xticklabels()
    label.set_ha("left" if level < 0.3 * high else "right" if level > 0.7 * high else "center")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _shortened(text: str, n_characters: int) -> str:
    return text if len(text) <= n_characters else text[: n_characters - 1] + "…"
