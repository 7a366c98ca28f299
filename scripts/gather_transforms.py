"""Put the shards' transforms together, one row an image of the manifest."""

from realitycheck.artifacts import MANIFEST, TRANSFORMS, check_rows, gather, read_table
from realitycheck.job import job_log

with job_log(snakemake.log[0]):
    output = snakemake.output.table
    gather(snakemake.input.shards, output, schema=TRANSFORMS)
    images, found = (
        read_table(path, schema=schema, columns=["image_id"])
        for path, schema in ((snakemake.input.manifest, MANIFEST), (output, TRANSFORMS))
    )
    check_rows(found, images["image_id"], where=output)
