"""Download a public data set, check its hash and unpack it, or say what to put where."""

import json
from pathlib import Path

from realitycheck.core.files import write_text
from realitycheck.core.job import job_log
from realitycheck.datasets.download import DATASET_FILES, fetch_dataset

with job_log(snakemake.log[0]):
    name, root = snakemake.params.format, Path(snakemake.params.root)
    if not root.is_dir():
        fetch_dataset(name, root, archives=root.parent / "archives")
    record = {"root": str(root), "archives": [file.sha256 for file in DATASET_FILES[name]]}
    write_text(json.dumps(record, indent=1), snakemake.output.record)
