"""Parquet files in which no damage passes for data.

Parquet's own checksums guard its pages, not the headers and the footer that say how to read them.
So a file also carries a seal, the digest of all its other bytes, just before its footer, where
readers do not look: to them it is an ordinary Parquet file. The seal is checked whenever this
package reads. A damaged file is removed, so that the next run makes it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from realitycheck.core.files import write_atomically

#: Begins the seal; no other bytes of a file are like it by any chance worth a thought.
_MARK = bytes.fromhex("89524353454c0d0a9fd1c2b37a0e4f68")
_DIGEST_BYTES = 32
#: Says in the file's metadata that there must be a seal; files of before have none.
_SEALED = {b"realitycheck_sealed": b"1"}
#: After the footer: its length in 4 bytes, and Parquet's own mark.
_ENDING_BYTES = 8


class ArtifactError(ValueError):
    """A table that does not keep its contract."""


def write_parquet(path: str | Path, tables: Iterable[pa.Table], *, schema: pa.Schema) -> None:
    """Write tables of one schema, one after the other, into a sealed file, in one step.

    Args:
        path: File to write.
        tables: What it holds.
        schema: Of each of them; its metadata are the file's.
    """
    schema = schema.with_metadata({**(schema.metadata or {}), **_SEALED})

    def write(temporary: str) -> None:
        options = {"compression": "zstd", "write_page_checksum": True}
        with pq.ParquetWriter(temporary, schema, **options) as writer:
            for table in tables:
                writer.write_table(table.cast(schema))
        _seal(temporary)

    write_atomically(path, write)


@contextlib.contextmanager
def open_parquet(path: str | Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file, once its seal is found unbroken; one of before has none.

    Raises:
        ArtifactError: If the file is missing, damaged or of another kind. A damaged one is removed.
        OSError: If it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path}: not a readable Parquet file (not there); run again")
    is_sealed = _is_sealed(path)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if not is_sealed and _SEALED.items() <= (file.schema_arrow.metadata or {}).items():
                raise ArtifactError(f"{path}: damaged (its seal is gone); {removed(path)}")
            yield file
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None):  # of the disk, and no fault of the file
            raise
        raise ArtifactError(
            f"{path}: not a readable Parquet file ({error}); {removed(path)}"
        ) from error


def read_frame(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a Parquet file, or some columns of it; errors as of `open_parquet`."""
    with open_parquet(path) as file:
        return file.read(columns=None if columns is None else list(columns)).to_pandas()


def read_foreign(path: Path) -> pa.Table:
    """Read a file that is none of the results: it has no seal, and stays if it is damaged.

    Raises:
        ValueError: If it is no readable Parquet file.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read()
    except pa.ArrowException as error:
        raise ValueError(str(error).splitlines()[0]) from None


def removed(path: Path) -> str:
    """Remove a damaged file of the results; say so, and what comes next."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        return f"delete it ({error.strerror}) and run again, which makes it anew"
    return "it was removed: run again, which makes it anew, and what follows from it"


def _seal(path: str) -> None:
    """Put the digest of a Parquet file before its footer."""
    with open(path, "r+b") as file:
        file.seek(-_ENDING_BYTES, os.SEEK_END)
        ending = file.read()
        place = file.seek(-_ENDING_BYTES - int.from_bytes(ending[:4], "little"), os.SEEK_END)
        footer = file.read()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            digest = _digest(content)
        file.seek(place)
        file.write(_MARK + digest + footer)


def _is_sealed(path: Path) -> bool:
    """Whether a file has a seal; one that is broken is refused."""
    if not path.stat().st_size:
        return False
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        place = content.rfind(_MARK)
        if place < 0:
            return False
        end = place + len(_MARK) + _DIGEST_BYTES
        is_whole = content[place + len(_MARK) : end] == _digest(content, place, end)
    if not is_whole:
        raise ArtifactError(
            f"{path}: damaged (its content is not what was written); {removed(path)}"
        )
    return True


def _digest(content: mmap.mmap, place: int = 0, end: int = 0) -> bytes:
    """Digest the bytes of a file but for those from `place` to `end`."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    with memoryview(content) as view:
        digest.update(view[:place])
        digest.update(view[end:])
    return digest.digest()
