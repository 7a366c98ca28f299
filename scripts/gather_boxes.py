"""Put the shards' boxes together."""

from realitycheck.core.job import job_log
from realitycheck.core.schemas import BOXES
from realitycheck.core.tables import gather

with job_log(snakemake.log[0]):
    gather(snakemake.input.shards, snakemake.output.table, schema=BOXES)
