"""Draw our scores with their intervals beside those that the study gives."""

from pathlib import Path

from realitycheck.core.job import job_log
from realitycheck.core.parquet import read_frame
from realitycheck.report.figures.published_scores import plot_published_scores
from realitycheck.report.figures.style import save_figure
from realitycheck.report.page.words import FIGURE_WORDS
from realitycheck.stages.report import untrained_banner

with job_log(snakemake.log[0]):
    figure = plot_published_scores(
        read_frame(snakemake.input.segmentation),
        read_frame(snakemake.input.classification),
        title=FIGURE_WORDS["published_scores"]["title"],
        banner=untrained_banner(snakemake.params.methods),
    )
    png = Path(snakemake.output.png)
    save_figure(figure, png.parent, stem=png.stem)
