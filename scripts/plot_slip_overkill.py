"""Draw the share of defective parts that pass against that of good parts that are rejected."""

from pathlib import Path

from realitycheck.core.job import job_log
from realitycheck.core.tables import read_table
from realitycheck.report.figures.slip_overkill import plot_slip_overkill
from realitycheck.report.figures.style import save_figure
from realitycheck.report.page.words import FIGURE_WORDS
from realitycheck.report.tables.readiness import READINESS
from realitycheck.stages.report import untrained_banner

with job_log(snakemake.log[0]):
    figure = plot_slip_overkill(
        read_table(snakemake.input.readiness, schema=READINESS),
        title=FIGURE_WORDS["slip_overkill"]["title"],
        banner=untrained_banner(snakemake.params.methods),
    )
    png = Path(snakemake.output.png)
    save_figure(figure, png.parent, stem=png.stem)
