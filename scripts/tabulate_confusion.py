"""Verdicts of every method counted against the labels, the unanswered ones by their status."""

from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.parquet import read_frame
from realitycheck.core.provenance import package_version
from realitycheck.report.tables.classification import confusion_table
from realitycheck.report.tables.study_text import write_confusion_table
from realitycheck.stages.report import untrained_notes

with job_log(snakemake.log[0]):
    facts = run_facts({"code": snakemake.params.code})
    write_confusion_table(
        confusion_table(read_frame(snakemake.input.classification)),
        Path(snakemake.output.parquet).parent,
        stem="confusion",
        notes=untrained_notes(snakemake.params.methods),
        metadata={"version": package_version(), **{k: str(v) for k, v in facts.items()}},
    )
