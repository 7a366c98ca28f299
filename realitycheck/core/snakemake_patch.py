"""Snakemake's record of a file counts only for the file as it is.

Snakemake notes under which params a file was made when it sees the job end. It does not see the end
of a job that outlives its killed run, as on a cluster. Where such a job ends after the next run has
made the file again under other settings, and no file lock keeps the two apart
(`realitycheck.core.job.job_log`), the file holds what the old settings gave, the record names the
new ones, and no later run would repair it. Snakemake compares neither content nor date of an output
with its record and offers no hook for that, so two methods of its private class for records are
replaced here. A test holds which parts of that class this relies on.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord, PersistenceBase

from realitycheck.core.provenance import file_digest

#: Seconds by which the date of a file and the recorded end of its job may differ.
_SAME_DATE_S = 0.01


def install() -> None:
    """Replace the two methods, once; for the process that plans, not for jobs."""
    if PersistenceBase.metadata is not _metadata:
        PersistenceBase.metadata = _metadata
        PersistenceBase.finished = _finished


_recorded_metadata = PersistenceBase.metadata
_recorded_end = PersistenceBase.finished


@functools.cache
def _content_of(path: str, _size: int, _mtime_ns: int) -> str:
    """Digest of a file's content, as Snakemake notes those of inputs."""
    return f"sha256:{file_digest(path)}"


def _metadata(persistence: PersistenceBase, target: Any) -> MetadataRecord | None:
    """Snakemake's record of a file, or, where it is not of the file as it is, one unlike any other.

    Whether it is says the file's date, or, where a copy was given another, its content.
    """
    record = _recorded_metadata(persistence, target)
    try:
        found = Path(str(target)).stat()
    except FileNotFoundError:
        return record
    if record and record.endtime and abs(record.endtime - found.st_mtime) < _SAME_DATE_S:
        return record
    noted = record and (record.input_checksums or {}).get(str(target))
    if noted and noted == _content_of(str(target), found.st_size, found.st_mtime_ns):
        return record
    return MetadataRecord(
        record_format_version=RECORD_FORMAT_VERSION, params=["no record of this file"]
    )


async def _finished(persistence: PersistenceBase, job: Any) -> None:
    """Let Snakemake record what a job made, and note its content beside that of the inputs."""
    await _recorded_end(persistence, job)
    persistence.deactivate_cache()
    for path in map(str, job.output):
        record = persistence._read_record(path)
        if record and Path(path).is_file():
            found = Path(path).stat()
            content = _content_of(path, found.st_size, found.st_mtime_ns)
            record.input_checksums = {**(record.input_checksums or {}), path: content}
            persistence._write_record(path, record)
