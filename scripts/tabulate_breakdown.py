"""Scores by category, by defect type and by defect size."""

from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.report.tables.breakdown import BREAKDOWN, breakdown_table, breakdown_text
from realitycheck.report.text import write_evidence
from realitycheck.stages.report import mask_sizes, read_scores, untrained_notes

with job_log(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    table = breakdown_table(
        read_scores(inputs.scores),
        mask_sizes(inputs.masks, params.area_runs),
        datasets=params.datasets,
        methods=params.methods,
        pixel_pitch_mm=params.pixel_pitch_mm,
        **params.evaluation,
    )
    write_evidence(
        {"breakdown": (table, BREAKDOWN)},
        [breakdown_text(table)],
        Path(snakemake.output.parquet).parent,
        stem="breakdown",
        facts=run_facts({**params.evaluation, "code": params.code}),
        notes=untrained_notes(params.methods),
    )
