"""Put the shards' masks together, one row per image, and write each as PNG."""

from itertools import chain
from pathlib import Path

from realitycheck.core.job import job_log
from realitycheck.core.masks import masks_of
from realitycheck.core.schemas import MASKS, TRANSFORMS
from realitycheck.core.tables import check_rows, gather, read_parts, read_table
from realitycheck.stages.segment import write_mask_images

with job_log(snakemake.log[0]):
    output = snakemake.output.table
    gather(snakemake.input.shards, output, schema=MASKS)
    images, found = (
        read_table(path, schema=schema, columns=["image_id"])
        for path, schema in ((snakemake.input.transforms, TRANSFORMS), (output, MASKS))
    )
    check_rows(found, images["image_id"], where=output)
    masks = chain.from_iterable(map(masks_of, read_parts(output, schema=MASKS)))
    write_mask_images(masks, Path(output).parent / "masks")
