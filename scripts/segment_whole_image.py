"""Floor: the whole image as the mask."""

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import MASKS, TRANSFORMS
from realitycheck.core.tables import read_table, write_table
from realitycheck.methods.whole_image import whole_image_segmenter
from realitycheck.stages.segment import segment_shard

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
