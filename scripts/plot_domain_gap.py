"""Draw the scores of every method against the domain gap of the data sets."""

from pathlib import Path

from realitycheck.core.job import job_log
from realitycheck.core.parquet import read_frame
from realitycheck.core.tables import read_table
from realitycheck.report.figures.domain_gap import plot_domain_gap
from realitycheck.report.figures.style import save_figure
from realitycheck.report.page.words import FIGURE_WORDS
from realitycheck.report.tables.domain_gap import DOMAIN_GAP
from realitycheck.stages.report import untrained_banner

with job_log(snakemake.log[0]):
    figure = plot_domain_gap(
        read_table(snakemake.input.gap, schema=DOMAIN_GAP),
        read_frame(snakemake.input.segmentation),
        title=FIGURE_WORDS["domain_gap"]["title"],
        banner=untrained_banner(snakemake.params.methods),
    )
    png = Path(snakemake.output.png)
    save_figure(figure, png.parent, stem=png.stem)
