"""Draw the figure of docs/performance.md from the ratios that stand in docs/performance.csv.

Usage: python benchmarks/plot_performance.py
"""

import sys
from pathlib import Path

import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from realitycheck.report.figures.style import STYLE, new_figure  # noqa: E402

COLOURS = {"float32": "#1f5a8a", "bfloat16": "#d98c1f"}
_BAR = 0.36


def plot(ratios: pd.DataFrame, path: Path) -> None:
    """Draw a pair of bars for each part: time as a share of the published code's, float32.

    Args:
        ratios: Columns part, precision (float32 or bfloat16) and ratio; parts in their order.
        path: PNG to write.
    """
    import matplotlib

    parts = list(dict.fromkeys(ratios["part"]))
    with matplotlib.rc_context(STYLE):
        figure = new_figure(6.4, 0.9 + 0.52 * len(parts))
        axes = figure.add_axes((0.30, 0.9 / (1.7 + len(parts)), 0.66, 0.74))
        for shift, (precision, colour) in enumerate(COLOURS.items()):
            own = ratios[ratios["precision"] == precision].set_index("part")["ratio"]
            places = [parts.index(part) + (shift - 0.5) * _BAR for part in own.index]
            axes.barh(places, own, height=_BAR, color=colour, label=precision)
            for place, ratio in zip(places, own, strict=True):
                axes.text(ratio + 0.01, place, f"{ratio:.2f}", va="center")
        axes.axvline(1, color="0.3", linewidth=1)
        axes.text(0.995, -0.72, "published code", ha="right", va="bottom", color="0.3")
        axes.set_yticks(range(len(parts)), parts)
        axes.set_ylim(len(parts) - 0.4, -0.75)
        axes.set_xlim(0, 1.05)
        axes.set_xlabel("time, as a share of the published code's in float32 (shorter is faster)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower right", bbox_to_anchor=(0.93, 0), frameon=False)
        figure.savefig(path, dpi=160)


if __name__ == "__main__":
    folder = REPOSITORY / "docs"
    plot(pd.read_csv(folder / "performance.csv"), folder / "performance.png")
