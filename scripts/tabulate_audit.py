"""What the audit found, beside every row of the tables that it touches."""

from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import AUDIT_FINDINGS, MANIFEST, TRUTH
from realitycheck.core.tables import read_table
from realitycheck.report.tables.audit import AUDIT, audit_text
from realitycheck.report.text import write_evidence
from realitycheck.stages.audit import audit_table
from realitycheck.stages.report import audited_runs, read_folds, read_tables, untrained_notes

with job_log(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    manifests = {
        dataset: read_table(path, schema=MANIFEST)
        for dataset, path in zip(params.datasets, inputs.manifests, strict=True)
    }
    table = audit_table(
        read_tables(inputs.findings, schema=AUDIT_FINDINGS),
        audited_runs(params.runs, manifests, datasets=params.datasets, methods=params.methods),
        manifests,
        read_folds(inputs.folds, params.fold_runs),
        {
            dataset: read_table(path, schema=TRUTH)
            for dataset, path in zip(params.datasets, inputs.truths, strict=True)
        },
    )
    write_evidence(
        {"audit": (table, AUDIT)},
        [audit_text(table)],
        Path(snakemake.output.parquet).parent,
        stem="audit",
        facts=run_facts({"code": params.code}),
        notes=untrained_notes(params.methods),
    )
