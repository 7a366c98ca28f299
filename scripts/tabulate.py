"""Make every table of the report."""

from pathlib import Path

from realitycheck.core.job import job_log
from realitycheck.stages.tabulate import results_of, write_tables

with job_log(snakemake.log[0]):
    params = snakemake.params
    results = results_of(
        Path(params.folder),
        dict(snakemake.input.items()),
        params.facts,
        tries=params.tries,
        locked=params.locked,
    )
    write_tables(results, params.tables, code=params.code)
