"""Put the shards' tables of many runs together; those that are up to date stay."""

import logging

from realitycheck.core.job import job_log
from realitycheck.stages.gather import gather_runs

with job_log(snakemake.log[0]):
    outputs = snakemake.output
    n_written = gather_runs(
        snakemake.input.shards,
        outputs,
        code=snakemake.params.code,
        transforms=snakemake.input.get("transforms"),
    )
    logging.getLogger("realitycheck").info("%d of %d tables written", n_written, len(outputs))
