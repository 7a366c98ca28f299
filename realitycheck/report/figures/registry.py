"""Every figure of the report by name, and what the workflow must know to plan it.

A figure is the module of its name. It gives

- `TITLE`, `CAPTION`, `ALT`: its heading, what it shows, and what a reader who cannot see it needs;
  of a figure per data set the name of the data set stands before heading and `ALT`;
- `plot(results, dataset, title=…)`: the figure, from a
  `realitycheck.report.results.Results`; `dataset` is None where there is one figure for all.

The page shows figures in the order that they have here. The workflow plans from this module, and
the page reads the words from theirs, so modules import matplotlib only where they draw.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from realitycheck.core.registry import Registry


@dataclass(frozen=True)
class FigureEntry:
    """One figure of the report.

    Attributes:
        title: What Snakemake's report lists it as.
        needs: What a run must have for it: a kind of files or a fact; nothing if every run has it.
        per_dataset: Whether each data set with masks has one of its own.
    """

    title: str
    needs: str = ""
    per_dataset: bool = False


FIGURES = {
    "domain_gap": FigureEntry("Domain gap", needs="domain_gap"),
    "slip_overkill": FigureEntry("Slip against overkill"),
    "agreement": FigureEntry("People and repeats", needs="agreement"),
    "iou_distribution": FigureEntry("IoU part by part"),
    "published_scores": FigureEntry("Beside the study", needs="published"),
    "detection_probability": FigureEntry("Detection probability", per_dataset=True),
    "overlays": FigureEntry("Overlays", per_dataset=True),
}
FIGURE_MODULES = Registry(
    "figure", shipped={name: f"realitycheck.report.figures.{name}" for name in FIGURES}
)


def wanted_figures(
    present: Container[str], datasets: Iterable[str]
) -> dict[str, tuple[str, str | None]]:
    """Figures of a run, in their order.

    Args:
        present: Kinds of files and facts that the run has.
        datasets: Data sets with masks.

    Returns:
        Figure and data set (None: all) by the name of the file without ending.
    """
    datasets = list(datasets)
    found: dict[str, tuple[str, str | None]] = {}
    for name, figure in FIGURES.items():
        if figure.needs and figure.needs not in present:
            continue
        if figure.per_dataset:
            found |= {f"{name}_{dataset}": (name, dataset) for dataset in datasets}
        else:
            found[name] = (name, None)
    return found
