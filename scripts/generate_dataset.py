"""Draw a synthetic data set with exact truth."""

from pathlib import Path

from realitycheck.core.job import counting, job_log
from realitycheck.datasets.synthetic.generators import generate

with job_log(snakemake.log[0]):
    folder = Path(snakemake.output.truth).parent
    with counting(f"{snakemake.wildcards.dataset}: images drawn") as count:
        generate(
            folder,
            snakemake.params.settings,
            format=snakemake.params.format,
            progress=count,
        )
