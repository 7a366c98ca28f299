"""Hold the scores on the easy data set against their stored bands."""

from pathlib import Path

import pandas as pd

from realitycheck.job import job_log
from realitycheck.report.self_test import markdown, self_test

with job_log(snakemake.log[0]):
    tested = self_test(
        pd.read_parquet(snakemake.input.segmentation),
        datasets=snakemake.params.datasets,
        kinds=snakemake.params.kinds,
    )
    tested.to_parquet(snakemake.output.parquet, index=False)
    tested.to_csv(snakemake.output.csv, index=False)
    Path(snakemake.output.md).write_text(markdown(tested), encoding="utf-8")
