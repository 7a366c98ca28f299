"""Score the maps of a method against the truth, pixel by pixel."""

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import MANIFEST, PIXEL_SCORES, TRANSFORMS, TRUTH
from realitycheck.core.tables import write_table
from realitycheck.methods.base import Inputs, Run
from realitycheck.methods.registry import open_part
from realitycheck.stages.score_pixels import score_pixels

with job_log(snakemake.log[0]):
    params, run = snakemake.params, Run(**snakemake.params.run)
    inputs = Inputs(dict(snakemake.input.items()))
    segmenter = open_part(params.kind, "segmenter").open(inputs, run, "cpu")
    rows = score_pixels(
        inputs.table("manifest", MANIFEST),
        inputs.table("truth", TRUTH),
        inputs.table("transforms", TRANSFORMS),
        segmenter.score_map,
        truth_folder=inputs.path("truth").parent,
        ignore_border=params.ignore_border,
        method=run.method,
        prompt=run.prompt,
    )
    write_table(
        list(rows),
        snakemake.output.pixels,
        schema=PIXEL_SCORES,
        facts=run_facts(
            {**run.settings, "ignore_border": params.ignore_border, "code": params.code},
            weights=run.weights,
        ),
    )
