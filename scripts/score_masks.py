"""Score the masks of a method against the truth, and take any mask as the verdict NOK."""

from itertools import chain
from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import DEFECTS, MANIFEST, MASKS, SCORES, TRUTH
from realitycheck.core.tables import read_together, write_parts
from realitycheck.stages.evaluate import score_defects, score_masks

with job_log(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    tables = ((inputs.manifest, MANIFEST), (inputs.truth, TRUTH), (inputs.masks, MASKS))
    shared = {
        "truth_folder": Path(inputs.truth).parent,
        "ignore_border": params.ignore_border,
    }
    facts = run_facts({"ignore_border": params.ignore_border, "code": params.code})
    scores = (score_masks(*part, **shared) for part in read_together(*tables))
    write_parts(chain.from_iterable(scores), snakemake.output.scores, schema=SCORES, facts=facts)
    defects = (score_defects(*part, **shared, **params.defects) for part in read_together(*tables))
    write_parts(
        chain.from_iterable(defects),
        snakemake.output.defects,
        schema=DEFECTS,
        facts={**facts, **params.defects},
    )
