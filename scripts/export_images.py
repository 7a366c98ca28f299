"""Write all that is known of each image under each method as one CSV file."""

from pathlib import Path

from realitycheck.core.job import job_log
from realitycheck.core.schemas import MANIFEST, SCORES, VERDICTS
from realitycheck.core.tables import read_table
from realitycheck.stages.export import write_images_csv

with job_log(snakemake.log[0]):
    inputs = snakemake.input
    # Scores and the verdicts behind them lie in folders of the same method and prompt.
    verdicts = {Path(path).parts[-4:-1]: path for path in inputs.verdicts}
    runs = (
        (
            read_table(path, schema=SCORES),
            read_table(verdicts[run], schema=VERDICTS) if run in verdicts else None,
        )
        for path in inputs.scores
        for run in [Path(path).parts[-4:-1]]
    )
    write_images_csv(
        snakemake.output.table,
        read_table(inputs.manifest, schema=MANIFEST),
        runs,
        methods=snakemake.params.methods,
    )
