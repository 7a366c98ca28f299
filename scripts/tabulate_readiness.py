"""Readiness: for each data set, method and prompt a decision, with its reason."""

from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.parquet import read_frame
from realitycheck.report.tables.readiness import READINESS, readiness_table, readiness_text
from realitycheck.report.text import write_evidence
from realitycheck.stages.report import part_times, untrained_notes

with job_log(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    table = readiness_table(
        read_frame(inputs.classification),
        part_times([*inputs.masks, *inputs.verdicts], params.area_runs),
        requirements=params.requirements,
    )
    write_evidence(
        {"readiness": (table, READINESS)},
        [readiness_text(table)],
        Path(snakemake.output.parquet).parent,
        stem="readiness",
        facts=run_facts({**params.requirements, "code": params.code}),
        notes=untrained_notes(params.methods),
    )
