"""Table 1: IoU of every mask method, floors and published values beside it."""

from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.provenance import package_version
from realitycheck.report.tables.segmentation import segmentation_table
from realitycheck.report.tables.study_text import write_table
from realitycheck.stages.report import read_scores, untrained_notes

with job_log(snakemake.log[0]):
    params = snakemake.params
    table = segmentation_table(
        read_scores(snakemake.input.scores),
        datasets=params.datasets,
        methods=params.methods,
        **params.evaluation,
    )
    facts = run_facts({**params.evaluation, "code": params.code})
    write_table(
        table,
        Path(snakemake.output.parquet).parent,
        stem="segmentation",
        notes=untrained_notes(params.methods),
        metadata={"version": package_version(), **{k: str(v) for k, v in facts.items()}},
    )
