"""Warp the truth masks with the transforms of their images, nearest neighbour."""

from itertools import chain
from pathlib import Path

from realitycheck.core.job import job_log, progress, run_facts
from realitycheck.core.schemas import MANIFEST, TRANSFORMS, TRUTH
from realitycheck.core.tables import read_table, read_together, write_parts
from realitycheck.stages.align import align_truth

with job_log(snakemake.log[0]):
    inputs = snakemake.input
    n_images = len(read_table(inputs.manifest, schema=MANIFEST, columns=["image_id"]))
    rows = (
        align_truth(*part, folder=Path(snakemake.output.truth).parent)
        for part in read_together((inputs.manifest, MANIFEST), (inputs.transforms, TRANSFORMS))
    )
    what = f"{snakemake.wildcards.dataset}: masks aligned"
    write_parts(
        progress(chain.from_iterable(rows), total=n_images, what=what),
        snakemake.output.truth,
        schema=TRUTH,
        facts=run_facts({"code": snakemake.params.code}),
    )
