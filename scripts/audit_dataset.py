"""Check a data set for leakage, duplicates and label faults, and stop the run if there are any."""

from functools import partial

from realitycheck.core.images import read_image
from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import AUDIT_FINDINGS, MANIFEST, REFERENCES
from realitycheck.core.tables import read_table, write_table
from realitycheck.stages.audit import audit_dataset

with job_log(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    rows = audit_dataset(
        snakemake.wildcards.dataset,
        read_table(inputs.manifest, schema=MANIFEST),
        read_table(inputs.train, schema=MANIFEST),
        read_table(inputs.references, schema=REFERENCES),
        read=partial(read_image, intensity=params.intensity),
        **params.audited,
        n_workers=snakemake.threads,
    )
    write_table(
        rows,
        snakemake.output.findings,
        schema=AUDIT_FINDINGS,
        facts=run_facts({**params.audited, "code": params.code}),
    )
