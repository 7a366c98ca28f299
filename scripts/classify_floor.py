"""Floors: the verdicts that need no model at all."""

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import MANIFEST, VERDICTS
from realitycheck.core.tables import read_table, write_table
from realitycheck.stages.classify import floor_verdicts

with job_log(snakemake.log[0]):
    params = snakemake.params
    manifest = read_table(snakemake.input.manifest, schema=MANIFEST)
    for floor, path in zip(params.floors, snakemake.output.labels, strict=True):
        write_table(
            floor_verdicts(manifest, floor=floor, prompt=params.prompt),
            path,
            schema=VERDICTS,
            facts=run_facts({"code": params.code}),
        )
