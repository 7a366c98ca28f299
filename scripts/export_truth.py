"""Write the truth of a data set in COCO's form."""

from pathlib import Path

from realitycheck.core.job import job_log
from realitycheck.core.provenance import package_version
from realitycheck.core.schemas import MANIFEST, TRANSFORMS, TRUTH
from realitycheck.core.tables import read_table
from realitycheck.stages.export import aligned_images, truth_annotations, write_coco

with job_log(snakemake.log[0]):
    inputs = snakemake.input
    images = aligned_images(
        read_table(inputs.manifest, schema=MANIFEST),
        read_table(inputs.transforms, schema=TRANSFORMS),
    ).merge(read_table(inputs.truth, schema=TRUTH), on=["dataset", "image_id"])
    write_coco(
        snakemake.output.coco,
        images,
        truth_annotations(images, Path(inputs.truth).parent),
        description=f"Ground truth of {snakemake.wildcards.dataset}; undecided pixels are left out",
        version=package_version(),
    )
