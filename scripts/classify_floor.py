"""Floors: the verdicts that need no model at all."""

from realitycheck.artifacts import MANIFEST, VERDICTS, read_table, write_table
from realitycheck.job import job_log, run_facts
from realitycheck.stages.classify import floor_verdicts

with job_log(snakemake.log[0]):
    write_table(
        floor_verdicts(
            read_table(snakemake.input.manifest, schema=MANIFEST),
            floor=snakemake.wildcards.method,
            prompt=snakemake.wildcards.prompt,
        ),
        snakemake.output.labels,
        schema=VERDICTS,
        facts=run_facts({"code": snakemake.params.code}),
    )
