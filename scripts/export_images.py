"""Write all that is known of each image under a method as one CSV file."""

from realitycheck.artifacts import MANIFEST, SCORES, VERDICTS, read_table, write_text
from realitycheck.job import job_log
from realitycheck.stages.export import images_csv

with job_log(snakemake.log[0]):
    inputs = snakemake.input
    answers = read_table(inputs.verdicts, schema=VERDICTS) if inputs.get("verdicts") else None
    table = images_csv(
        read_table(inputs.manifest, schema=MANIFEST),
        read_table(inputs.scores, schema=SCORES),
        answers,
    )
    write_text(table.to_csv(index=False, lineterminator="\n"), snakemake.output.table)
