"""Hold the scores on the easy data set against what they are known to be."""

from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.parquet import read_frame
from realitycheck.report.tables.self_test import SELF_TEST, self_test, self_test_text
from realitycheck.report.text import write_evidence

with job_log(snakemake.log[0]):
    params = snakemake.params
    table = self_test(
        read_frame(snakemake.input.segmentation), datasets=params.datasets, kinds=params.kinds
    )
    write_evidence(
        {"self_test": (table, SELF_TEST)},
        [self_test_text(table)],
        Path(snakemake.output.parquet).parent,
        stem="self_test",
        facts=run_facts({"kinds": params.kinds, "code": params.code}),
    )
