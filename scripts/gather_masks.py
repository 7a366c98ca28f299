"""Put the shards' masks together, one row an image, and write each as PNG."""

from pathlib import Path

from realitycheck.artifacts import MASKS, TRANSFORMS, check_rows, gather, masks_of, read_table
from realitycheck.job import job_log
from realitycheck.stages.segment import write_mask_images

with job_log(snakemake.log[0]):
    transforms = read_table(snakemake.input.transforms, schema=TRANSFORMS, columns=["image_id"])
    output = snakemake.output.table
    table = gather(snakemake.input.shards, output, schema=MASKS)
    check_rows(table, transforms["image_id"], where=output)
    write_mask_images(masks_of(table), Path(output).parent / "masks")
