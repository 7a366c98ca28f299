"""Draw every figure of the report."""

from pathlib import Path

from realitycheck.core.job import job_log
from realitycheck.report.results import Results
from realitycheck.stages.plot import draw_figures

with job_log(snakemake.log[0]):
    params = snakemake.params
    results = Results(Path(params.folder), dict(snakemake.input.items()), params.facts)
    draw_figures(results, params.figures)
