"""Download a public data set, check its hash and unpack it, or say what to put where."""

import json
from pathlib import Path

from realitycheck.core.files import write_text
from realitycheck.core.job import job_log
from realitycheck.datasets.download import fetch_archives
from realitycheck.datasets.registry import FORMATS

with job_log(snakemake.log[0]):
    root = Path(snakemake.params.root)
    files = FORMATS.open(snakemake.params.format).ARCHIVES
    if not root.is_dir():
        fetch_archives(files, root, archives=root.parent / "archives")
    record = {"root": str(root), "archives": [file.sha256 for file in files]}
    write_text(json.dumps(record, indent=1), snakemake.output.record)
