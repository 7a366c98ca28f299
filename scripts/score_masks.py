"""Score the masks of a method against the truth, and take any mask as the verdict NOK."""

from itertools import chain
from pathlib import Path

from realitycheck.artifacts import MANIFEST, MASKS, SCORES, TRUTH, read_together, write_parts
from realitycheck.job import job_log, run_facts
from realitycheck.stages.evaluate import score_masks

with job_log(snakemake.log[0]):
    inputs, ignore_border = snakemake.input, snakemake.params.ignore_border
    parts = read_together((inputs.manifest, MANIFEST), (inputs.truth, TRUTH), (inputs.masks, MASKS))
    rows = (
        score_masks(*part, truth_folder=Path(inputs.truth).parent, ignore_border=ignore_border)
        for part in parts
    )
    write_parts(
        chain.from_iterable(rows),
        snakemake.output.scores,
        schema=SCORES,
        facts=run_facts({"ignore_border": ignore_border, "code": snakemake.params.code}),
    )
