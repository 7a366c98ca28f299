"""Stage 7: tables and masks become figures, one after the other."""

from __future__ import annotations

from collections.abc import Mapping

from realitycheck.report.figures.registry import FIGURE_MODULES
from realitycheck.report.figures.style import save_figure
from realitycheck.report.results import Results
from realitycheck.report.tables.base import dataset_name


def draw_figures(results: Results, figures: Mapping[str, tuple[str, str | None]]) -> None:
    """Draw figures as PNG and SVG; only one is in memory at a time.

    Args:
        results: What the run left, its tables written.
        figures: Figure and data set (None: all) by the name of the file without ending.

    Raises:
        RuntimeError: If a figure cannot be drawn; names it, and says why.
    """
    for stem, (name, dataset) in figures.items():
        module = FIGURE_MODULES.open(name)
        title = module.TITLE
        if dataset is not None:
            title = f"{dataset_name(dataset, results.datasets)}: {title}"
        try:
            figure = module.plot(results, dataset, title=title)
            save_figure(figure, results.folder / "figures", stem=stem)
        except Exception as error:
            raise RuntimeError(f"figure {stem}: {error}") from error
