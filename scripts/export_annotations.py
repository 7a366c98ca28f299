"""Write the masks of a method in COCO's form."""

from realitycheck.core.job import job_log
from realitycheck.core.provenance import package_version
from realitycheck.core.schemas import MANIFEST, MASKS, TRANSFORMS
from realitycheck.core.tables import read_table
from realitycheck.stages.export import aligned_images, mask_annotations, write_coco

with job_log(snakemake.log[0]):
    inputs, wildcards = snakemake.input, snakemake.wildcards
    images = aligned_images(
        read_table(inputs.manifest, schema=MANIFEST),
        read_table(inputs.transforms, schema=TRANSFORMS),
    )
    write_coco(
        snakemake.output.coco,
        images,
        mask_annotations(images, read_table(inputs.masks, schema=MASKS)),
        description=f"What {wildcards.method} marks under the prompt {wildcards.prompt} on "
        f"{wildcards.dataset}",
        version=package_version(),
    )
