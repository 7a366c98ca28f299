"""Draw a synthetic data set with exact truth."""

from pathlib import Path

from realitycheck.core.job import counting, job_log
from realitycheck.datasets.registry import FORMATS

with job_log(snakemake.log[0]):
    params, folder = snakemake.params, Path(snakemake.output.truth).parent
    with counting(f"{snakemake.wildcards.dataset}: images drawn") as count:
        FORMATS.open(params.format).generate(folder, params.settings, progress=count)
