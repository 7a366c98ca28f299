"""Let a segmentation method set its thresholds, or learn."""

from realitycheck.core.job import device_lease, job_log
from realitycheck.methods.base import Inputs, Run
from realitycheck.stages.segment import fit_method

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.get("device"), threads=snakemake.threads) as device,
):
    fit_method(
        Inputs(dict(snakemake.input.items())),
        Run(**snakemake.params.run),
        dict(snakemake.output.items()),
        kind=snakemake.params.kind,
        device=device,
        code=snakemake.params.code,
    )
