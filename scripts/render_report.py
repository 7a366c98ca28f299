"""Put decision, tables, figures, every image and their provenance on one page."""

import logging

from realitycheck.core.job import job_log
from realitycheck.stages.page import write_page

with job_log(snakemake.log[0]):
    params = snakemake.params
    written = write_page(
        snakemake.output.page,
        runs=params.runs,
        datasets=params.datasets,
        methods=params.methods,
        tables=params.tables,
        figures=params.figures,
        about=params.about,
        benchmarks_folder="benchmarks",
        n_threads=snakemake.threads,
    )
    logging.getLogger("realitycheck").info("%s", written)
