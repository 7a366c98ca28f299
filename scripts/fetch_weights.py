"""Download the files of a network, or accept those put there by hand, and check their hashes."""

import json

from realitycheck.core.files import write_text
from realitycheck.core.job import job_log
from realitycheck.stages.weights import obtain

with job_log(snakemake.log[0]):
    record = obtain(
        snakemake.wildcards.network,
        snakemake.params.files,
        trigger=snakemake.params.signature,
    )
    write_text(json.dumps(record, indent=1, sort_keys=True), snakemake.output.record)
