"""Style."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from realitycheck.core.constants import NO_PROMPT

# Of Okabe and Ito's palette, which colour-blind readers tell apart.
BLUE, VERMILION, ORANGE, GREEN = "#0072b2", "#d55e00", "#e69f00", "#009e73"

_INK, _FAINT, _GRID = "#1b1b1b", "#6b6b6b", "#dddddd"

_RATE_TICKS = (0, 0.01, 0.02, 0.05, 0.10, 0.20, 0.40, 0.60, 0.80, 1.0)

#: Letters of a label from which on it is kept inside the axes.
_LONG_LABEL = 10

_NO_ANSWER = ": no part was judged"


def run_label(row: Any) -> str:
    """Name a method, with its prompt where it takes one, for people."""
    name, prompt = row["method_name"], row["prompt"]
    return name if prompt == NO_PROMPT else f"{name} ({prompt})"


def _legend_lines(rows: pd.DataFrame) -> list[list[str]]:
    """Names of a panel's methods, wrapped; of one that judged no part, with a word that it did."""
    return [
        textwrap.wrap(run_label(row) + ("" if row["n_answered"] else _NO_ANSWER), 42) or [""]
        for _, row in rows.iterrows()
    ]


def _centre(row: pd.Series) -> tuple[float, float]:
    """Rates of a row; the middle of the bounds where unanswered images leave a range."""
    return tuple(
        float(row[name]) if pd.notna(row[name]) else (row[f"{name}_low"] + row[f"{name}_high"]) / 2
        for name in ("overkill_rate", "slip_rate")
    )


_FONT_PT = 8.0

_BANNER_COLOUR = "#b3261e"

#: Settings of matplotlib that every figure is drawn with.
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": _FONT_PT,
    "svg.hashsalt": "realitycheck",
    "svg.fonttype": "none",
}


def save_figure(
    figure: Figure, folder: str | Path, *, stem: str, dpi: int = 200, metadata: str = ""
) -> dict[str, Path]:
    """Write a figure as PNG and SVG; the same figure gives the same bytes.

    Args:
        figure: The figure.
        folder: Where to write; created if it is not there.
        stem: File name without its ending.
        dpi: Resolution of the PNG, and of the images inside the SVG, in pixels an inch.
        metadata: Description written into both files.

    Returns:
        The paths by "png" and "svg".
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {ending: folder / f"{stem}.{ending}" for ending in ("png", "svg")}
    with matplotlib.rc_context(STYLE):
        # Without a date and a version, or the bytes would differ between runs.
        figure.savefig(
            paths["png"], dpi=dpi, metadata={"Software": None, "Description": metadata or None}
        )
        figure.savefig(paths["svg"], dpi=dpi, metadata={"Date": None, "Description": metadata})
    return paths


def new_figure(width: float, height: float) -> Figure:
    """Make an empty white figure, width and height in inches."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def write_head(figure: Figure, *, title: str, banner: str) -> float:
    """Draw the banner and the title; return how many inches they take from the top."""
    y = 0.0
    width, height = figure.get_size_inches()
    if banner:
        figure.patches.append(
            matplotlib.patches.Rectangle(
                (0, 1 - 0.26 / height),
                1,
                0.26 / height,
                transform=figure.transFigure,
                color=_BANNER_COLOUR,
                figure=figure,
            )
        )
        write_text(figure, width / 2, 0.13, banner, va="center", color="white", weight="bold")
        y += 0.3
    if title:
        write_text(figure, 0.08, y + 0.08, title, ha="left", va="top", size=10, weight="bold")
        y += 0.32
    else:
        y += 0.06
    return y


def sentence_figure(sentence: str, *, title: str = "") -> Figure:
    """Say in the place of a figure why there is none."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(7.2, 0.9)
        write_head(figure, title=title, banner="")
        write_text(figure, 0.08, 0.52, sentence, ha="left", va="top")
    return figure


def write_text(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Write text at inches from the left and the top."""
    width, height = figure.get_size_inches()
    style = {"ha": "center", **style}
    # Prompts and file names are the user's: a dollar sign must not start a formula.
    figure.text(x / width, 1 - y / height, text, parse_math=False, **style)


def _row_label(record: dict[str, Any]) -> str:
    parts = [_wrap(str(record["image_id"]).rpartition("/")[2], 19)]
    kinds = [record.get("category"), record.get("defect_type")]
    about = ", ".join(str(kind) for kind in kinds if kind is not None and not pd.isna(kind))
    return "\n".join([*parts, *([_wrap(about, 19)] if about else [])])


def _wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=True)) or text
