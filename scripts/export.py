"""Write truth, masks and a list of a data set's images in the forms that other tools read."""

from realitycheck.core.job import job_log
from realitycheck.stages.export import export_dataset

with job_log(snakemake.log[0]):
    inputs, outputs = snakemake.input, snakemake.output
    export_dataset(
        snakemake.wildcards.dataset,
        dict(inputs.items()),
        dict(outputs.items()),
        methods=snakemake.params.methods,
    )
