"""Note that every data set and every network's files passed their checks."""

import json

from realitycheck.core.files import write_text
from realitycheck.core.job import job_log
from realitycheck.stages.prepare import check_inputs

with job_log(snakemake.log[0]):
    record = check_inputs(snakemake.input.manifests, snakemake.input.weights)
    write_text(json.dumps(record, indent=1, sort_keys=True), snakemake.output.record)
