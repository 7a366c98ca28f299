"""Safetensors files in which no damage passes for weights.

The format has no checksums. So a file's metadata hold the digest of all its bytes, taken with zeros
in the digest's own place.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

from realitycheck.core.parquet import ArtifactError, removed

_KEY = "seal"
_N_DIGITS = 64
#: Metadata to write a file with that is then sealed.
UNSEALED = {_KEY: "0" * _N_DIGITS}
_BEFORE = f'"{_KEY}":"'.encode()


def seal_tensors(path: str | Path) -> None:
    """Put its digest into a file that was written with the metadata `UNSEALED`."""
    content = bytearray(Path(path).read_bytes())
    place = content.index(_BEFORE) + len(_BEFORE)
    content[place : place + _N_DIGITS] = _digest(content)
    Path(path).write_bytes(content)


def check_tensors(path: str | Path) -> None:
    """Make sure that a sealed file is as it was written; one of before has no seal.

    Raises:
        ArtifactError: If it is damaged. It is removed then.
    """
    content = bytearray(Path(path).read_bytes())
    place = content.find(_BEFORE)
    problem = None
    if place >= 0:
        place += len(_BEFORE)
        told = bytes(content[place : place + _N_DIGITS])
        content[place : place + _N_DIGITS] = UNSEALED[_KEY].encode()
        if told != _digest(content):
            problem = "its content is not what was written"
    else:
        try:
            with safe_open(path, framework="numpy"):
                pass
        except SafetensorError as error:
            problem = str(error)
    if problem:
        raise ArtifactError(f"{path}: damaged ({problem}); {removed(Path(path))}")


def _digest(content: bytearray) -> bytes:
    return hashlib.blake2b(content, digest_size=_N_DIGITS // 2).hexdigest().encode()
