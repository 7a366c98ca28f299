"""Every two methods and prompts compared on the same parts."""

from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.report.tables.comparison import COMPARISON, comparison_table, comparison_text
from realitycheck.report.text import write_evidence
from realitycheck.stages.report import read_scores, untrained_notes

with job_log(snakemake.log[0]):
    params = snakemake.params
    table = comparison_table(
        read_scores(snakemake.input.scores),
        datasets=params.datasets,
        methods=params.methods,
        **params.evaluation,
    )
    write_evidence(
        {"comparison": (table, COMPARISON)},
        [comparison_text(table)],
        Path(snakemake.output.parquet).parent,
        stem="comparison",
        facts=run_facts({**params.evaluation, "code": params.code}),
        notes=untrained_notes(params.methods),
    )
