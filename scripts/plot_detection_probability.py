"""Draw how probably a defect of some size is found, a panel a method and prompt."""

from pathlib import Path

from realitycheck.core.job import job_log
from realitycheck.core.tables import read_table
from realitycheck.report.figures.detection_probability import plot_detection_probability
from realitycheck.report.figures.style import save_figure
from realitycheck.report.page.words import FIGURE_WORDS
from realitycheck.report.tables.detection_probability import (
    DETECTION_BINS,
    DETECTION_CURVE,
    DETECTION_PROBABILITY,
)
from realitycheck.stages.report import untrained_banner

with job_log(snakemake.log[0]):
    params, dataset = snakemake.params, snakemake.wildcards.dataset
    tables = [
        read_table(path, schema=schema).query("dataset == @dataset")
        for path, schema in (
            (snakemake.input.probability, DETECTION_PROBABILITY),
            (snakemake.input.curve, DETECTION_CURVE),
            (snakemake.input.bins, DETECTION_BINS),
        )
    ]
    figure = plot_detection_probability(
        *tables,
        title=": ".join(
            (params.datasets[dataset]["name"], FIGURE_WORDS["detection_probability"]["title"])
        ),
        banner=untrained_banner(params.methods),
    )
    png = Path(snakemake.output.png)
    save_figure(figure, png.parent, stem=png.stem)
