"""Threshold the difference to the reference."""

from pathlib import Path

from realitycheck.core.job import job_log, progress, run_facts
from realitycheck.core.references import read_references
from realitycheck.core.schemas import MANIFEST, MASKS, THRESHOLDS, TRANSFORMS
from realitycheck.core.tables import read_table, write_table
from realitycheck.methods.pixel_difference.segmenter import pixel_difference_segmenter
from realitycheck.stages.segment import segment_shard

with job_log(snakemake.log[0]):
    settings, wildcards = snakemake.params.settings, snakemake.wildcards
    transforms = read_table(snakemake.input.transforms, schema=TRANSFORMS)
    segment_one = pixel_difference_segmenter(
        read_table(snakemake.input.manifest, schema=MANIFEST),
        read_table(snakemake.input.thresholds, schema=THRESHOLDS),
        references=read_references(
            snakemake.input.references, intensity=snakemake.params.intensity
        ),
        images_folder=Path(snakemake.input.transforms).parents[1],
        settings=settings,
    )
    rows = segment_shard(transforms, segment_one, method=wildcards.method, prompt=wildcards.prompt)
    what = f"{wildcards.dataset}, {wildcards.method}: images segmented"
    write_table(
        list(progress(rows, total=len(transforms), what=what)),
        snakemake.output.masks,
        schema=MASKS,
        facts=run_facts({**settings, "code": snakemake.params.code}),
    )
