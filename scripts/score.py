"""Score the masks, or the verdicts, of all runs of a data set; those that are up to date stay."""

import logging

from realitycheck.core.job import job_log
from realitycheck.stages.score_runs import score_all_areas, score_all_labels, score_all_masks
from realitycheck.stages.tries import record_scored

SCORE = {"masks": score_all_masks, "areas": score_all_areas, "labels": score_all_labels}

with job_log(snakemake.log[0]):
    params, inputs, outputs = dict(snakemake.params), snakemake.input, snakemake.output
    what = params.pop("what")
    given = [inputs[name] for name in params.pop("given")]
    record_scored(inputs.manifest, inputs.references, given[-1], **params.pop("tries"))
    written = outputs.scores
    if what == "masks":
        written = list(zip(outputs.scores, outputs.defects, strict=True))
    elif what == "labels":
        params["floors"] = outputs.floors
    n_scored = SCORE[what](*given, written, **params)
    logging.getLogger("realitycheck").info("%d of %d runs scored", n_scored, len(written))
