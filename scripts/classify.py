"""Make the verdicts of a classifier."""

from realitycheck.core.job import device_lease, job_log
from realitycheck.methods.base import Inputs, Run
from realitycheck.stages.classify import make_verdicts

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.get("device"), threads=snakemake.threads) as device,
):
    make_verdicts(
        Inputs(dict(snakemake.input.items())),
        Run(**snakemake.params.run),
        snakemake.output.labels,
        kind=snakemake.params.kind,
        device=device,
        code=snakemake.params.code,
    )
