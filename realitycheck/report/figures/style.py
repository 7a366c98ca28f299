"""How figures look: one palette, and places in inches from the top left.

Drawn without pyplot, whose global state would keep every figure of a long run alive. matplotlib is
imported only where something is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realitycheck.core.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers tell apart.
BLUE, VERMILION, ORANGE, GREEN = "#0072b2", "#d55e00", "#e69f00", "#009e73"
PALETTE = (BLUE, VERMILION, GREEN, "#cc79a7", ORANGE, "#56b4e9")
INK, FAINT, GRID = "#1b1b1b", "#6b6b6b", "#dddddd"

FONT_PT = 8.0
#: Behind the name of a method that judged no part.
NO_ANSWER = ": no part was judged"
#: Mark of the study's values.
STUDY_MARK = {"marker": "D", "mfc": "#ffdd00", "mec": "black", "mew": 0.8, "ls": "none"}

#: Settings of matplotlib that every figure is drawn with.
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": FONT_PT,
    "svg.hashsalt": "realitycheck",
    "svg.fonttype": "none",
}


def styled() -> AbstractContextManager:
    """Draw in the style of all figures."""
    import matplotlib

    return matplotlib.rc_context(STYLE)


def save_figure(figure: Figure, folder: str | Path, *, stem: str, dpi: int = 200) -> None:
    """Write a figure as PNG and SVG, each in one step; the same figure gives the same bytes.

    Args:
        figure: The figure.
        folder: Where to write; created if it is not there.
        stem: File name without its ending.
        dpi: Resolution of the PNG, and of the images inside the SVG, in pixels per inch.
    """
    # Without a date and a version, or the bytes would differ between runs.
    metadata: dict[str, dict] = {"png": {"Software": None}, "svg": {"Date": None}}
    for ending, facts in metadata.items():
        with styled():
            write_atomically(
                Path(folder, f"{stem}.{ending}"),
                lambda path, facts=facts: figure.savefig(path, dpi=dpi, metadata=facts),
            )


def new_figure(width: float, height: float) -> Figure:
    """Make an empty white figure, width and height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def head_inches(*, title: str) -> float:
    """How many inches `write_head` takes from the top."""
    return 0.32 if title else 0.06


def write_head(figure: Figure, *, title: str) -> float:
    """Draw the title; return how many inches it takes from the top."""
    if title:
        write_text(figure, 0.08, 0.08, title, ha="left", va="top", size=10, weight="bold")
    return head_inches(title=title)


def place_axes(figure: Figure, left: float, top: float, *, width: float, height: float) -> Axes:
    """Add axes at inches from the left and the top, width and height in inches."""
    whole_width, whole_height = figure.get_size_inches()
    corner = (left / whole_width, 1 - (top + height) / whole_height)
    return figure.add_axes((*corner, width / whole_width, height / whole_height))


def plain_axes(axes: Axes, *, grid: str, bare: Sequence[str] = ("top", "right")) -> None:
    """Draw a faint grid below everything, along `x`, `y` or both, and no spines on bare sides."""
    axes.grid(axis=grid, color=GRID, lw=0.5)
    axes.set_axisbelow(True)
    for side in bare:
        axes.spines[side].set_visible(False)


def legend_below(figure: Figure, *, inches: float, n_columns: int, **style: Any) -> None:
    """Put each label of all axes once below the figure, inches from the bottom."""
    unique: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        unique |= dict(zip(labels, handles, strict=True))
    figure.legend(
        unique.values(),
        unique.keys(),
        ncols=n_columns,
        frameon=False,
        fontsize=7,
        loc="lower center",
        bbox_to_anchor=(0.5, inches / figure.get_size_inches()[1]),
        **style,
    )


def sentence_figure(sentence: str, *, title: str = "") -> Figure:
    """Say in the place of a figure why there is none."""
    with styled():
        figure = new_figure(7.2, 0.9)
        write_head(figure, title=title)
        write_text(figure, 0.08, 0.52, sentence, ha="left", va="top")
    return figure


def write_text(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Write text at inches from the left and the top."""
    width, height = figure.get_size_inches()
    style = {"ha": "center", **style}
    # Prompts and file names are the user's: a dollar sign must not start a formula.
    figure.text(x / width, 1 - y / height, text, parse_math=False, **style)
