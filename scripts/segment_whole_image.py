"""Floor: the whole image as the mask."""

from realitycheck.artifacts import MASKS, TRANSFORMS, read_table, write_table
from realitycheck.job import job_log, run_facts
from realitycheck.stages.segment import segment_shard
from realitycheck.stages.whole_image import whole_image_segmenter

with job_log(snakemake.log[0]):
    rows = segment_shard(
        read_table(snakemake.input.transforms, schema=TRANSFORMS),
        whole_image_segmenter,
        method=snakemake.wildcards.method,
        prompt=snakemake.wildcards.prompt,
    )
    write_table(
        list(rows),
        snakemake.output.masks,
        schema=MASKS,
        facts=run_facts({"code": snakemake.params.code}),
    )
