"""Score the masks of a method against the truth, and take any mask as the verdict NOK."""

from pathlib import Path

from realitycheck.artifacts import MANIFEST, MASKS, SCORES, TRUTH, read_table, write_table
from realitycheck.job import job_log, run_facts
from realitycheck.stages.evaluate import score_masks

with job_log(snakemake.log[0]):
    ignore_border = snakemake.params.ignore_border
    rows = score_masks(
        read_table(snakemake.input.manifest, schema=MANIFEST),
        read_table(snakemake.input.truth, schema=TRUTH),
        read_table(snakemake.input.masks, schema=MASKS),
        truth_folder=Path(snakemake.input.truth).parent,
        ignore_border=ignore_border,
    )
    write_table(
        list(rows),
        snakemake.output.scores,
        schema=SCORES,
        facts=run_facts({"ignore_border": ignore_border, "code": snakemake.params.code}),
    )
