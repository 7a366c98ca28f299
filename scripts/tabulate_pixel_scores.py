"""Pixel scores of the methods that give a value for each pixel."""

from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import PIXEL_SCORES
from realitycheck.report.tables.pixel_scores import PIXEL_TABLE, pixel_table, pixel_text
from realitycheck.report.text import write_evidence
from realitycheck.stages.report import read_tables, untrained_notes

with job_log(snakemake.log[0]):
    params = snakemake.params
    table = pixel_table(
        read_tables(snakemake.input.pixels, schema=PIXEL_SCORES),
        datasets=params.datasets,
        methods=params.methods,
    )
    write_evidence(
        {"pixel_scores": (table, PIXEL_TABLE)},
        [pixel_text(table)],
        Path(snakemake.output.parquet).parent,
        stem="pixel_scores",
        facts=run_facts({"code": params.code}),
        notes=untrained_notes(params.methods),
    )
