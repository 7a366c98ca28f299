"""Score the masks of a method against the truth, and take any mask as the verdict NOK."""

from pathlib import Path

from realitycheck.artifacts import (
    DEFECTS,
    MANIFEST,
    MASKS,
    SCORES,
    TRUTH,
    read_table,
    write_table,
)
from realitycheck.job import job_log, run_facts
from realitycheck.stages.evaluate import score_defects, score_masks

with job_log(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    tables = (
        read_table(inputs.manifest, schema=MANIFEST),
        read_table(inputs.truth, schema=TRUTH),
        read_table(inputs.masks, schema=MASKS),
    )
    shared = {
        "truth_folder": Path(inputs.truth).parent,
        "ignore_border": params.ignore_border,
    }
    facts = run_facts({"ignore_border": params.ignore_border, "code": params.code})
    write_table(
        list(score_masks(*tables, **shared)), snakemake.output.scores, schema=SCORES, facts=facts
    )
    write_table(
        list(score_defects(*tables, **shared, **params.defects)),
        snakemake.output.defects,
        schema=DEFECTS,
        facts={**facts, **params.defects},
    )
