"""Put the shards' transforms together, one row an image of the manifest."""

from realitycheck.artifacts import MANIFEST, TRANSFORMS, check_rows, gather, read_table
from realitycheck.job import job_log

with job_log(snakemake.log[0]):
    manifest = read_table(snakemake.input.manifest, schema=MANIFEST, columns=["image_id"])
    table = gather(snakemake.input.shards, snakemake.output.table, schema=TRANSFORMS)
    check_rows(table, manifest["image_id"], where=snakemake.output.table)
