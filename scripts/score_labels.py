"""Put the verdicts of a method beside the labels."""

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import MANIFEST, SCORES, VERDICTS
from realitycheck.core.tables import read_table, write_table
from realitycheck.stages.evaluate import score_labels

with job_log(snakemake.log[0]):
    rows = score_labels(
        read_table(snakemake.input.manifest, schema=MANIFEST),
        read_table(snakemake.input.labels, schema=VERDICTS),
    )
    write_table(
        list(rows),
        snakemake.output.scores,
        schema=SCORES,
        facts=run_facts({"code": snakemake.params.code}),
    )
