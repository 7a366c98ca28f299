"""Check every image and mask of a data set and list them in a manifest."""

from realitycheck.core.job import job_log
from realitycheck.datasets.inventory import inventory
from realitycheck.stages.prepare import prepare_dataset

with job_log(snakemake.log[0]):
    settings = snakemake.params.settings
    is_generated = snakemake.params.inventory == "generated"
    prepare_dataset(
        snakemake.wildcards.dataset,
        settings,
        manifest_path=snakemake.output.manifest,
        train_path=snakemake.output.train,
        references_path=snakemake.output.references,
        digests_path=snakemake.output.digests,
        inventory_path=snakemake.output.inventory,
        trigger=snakemake.params.inventory,
        signature="generated" if is_generated else inventory(settings["root"]),
        n_workers=snakemake.threads,
    )
