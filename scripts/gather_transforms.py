"""Gather the transforms of all shards: one row per image of the manifest."""

from realitycheck.core.job import job_log
from realitycheck.core.schemas import MANIFEST, TRANSFORMS
from realitycheck.core.tables import check_rows, gather, read_table

with job_log(snakemake.log[0]):
    output = snakemake.output.table
    gather(snakemake.input.shards, output, schema=TRANSFORMS)
    images, found = (
        read_table(path, schema=schema, columns=["image_id"])
        for path, schema in ((snakemake.input.manifest, MANIFEST), (output, TRANSFORMS))
    )
    check_rows(found, images["image_id"], where=output)
