"""Warp the truth masks with the transforms of their images, nearest neighbour."""

from pathlib import Path

from realitycheck.artifacts import MANIFEST, TRANSFORMS, TRUTH, read_table, write_table
from realitycheck.job import job_log, progress, run_facts
from realitycheck.stages.align import align_truth

with job_log(snakemake.log[0]):
    manifest = read_table(snakemake.input.manifest, schema=MANIFEST)
    encoding = snakemake.params.truth_encoding
    rows = align_truth(
        manifest,
        read_table(snakemake.input.transforms, schema=TRANSFORMS),
        truth_encoding=encoding,
        folder=Path(snakemake.output.truth).parent,
    )
    what = f"{snakemake.wildcards.dataset}: masks aligned"
    write_table(
        list(progress(rows, total=len(manifest), what=what)),
        snakemake.output.truth,
        schema=TRUTH,
        facts=run_facts({"truth_encoding": encoding, "code": snakemake.params.code}),
    )
