"""Put the shards' boxes together."""

from realitycheck.artifacts import BOXES, gather
from realitycheck.job import job_log

with job_log(snakemake.log[0]):
    gather(snakemake.input.shards, snakemake.output.table, schema=BOXES)
