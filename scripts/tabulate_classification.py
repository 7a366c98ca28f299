"""Table 2: verdicts of every method, floors and published values beside it."""

from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.provenance import package_version
from realitycheck.report.tables.classification import classification_table
from realitycheck.report.tables.study_text import write_table
from realitycheck.stages.report import answer_facts, read_scores, untrained_notes

with job_log(snakemake.log[0]):
    params = snakemake.params
    table = classification_table(
        read_scores(snakemake.input.scores),
        datasets=params.datasets,
        methods=params.methods,
        answers=answer_facts(snakemake.input.verdicts),
        **params.evaluation,
    )
    facts = run_facts({**params.evaluation, "code": params.code})
    write_table(
        table,
        Path(snakemake.output.parquet).parent,
        stem="classification",
        notes=untrained_notes(params.methods),
        metadata={"version": package_version(), **{k: str(v) for k, v in facts.items()}},
    )
