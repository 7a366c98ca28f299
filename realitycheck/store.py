"""A content-addressed store of what networks computed from an image without any prompt.

One file an entry, named by the digest of everything it depends on (the image's content, the
settings, the weights). So an entry is never stale, a killed job loses at most the image in hand, a
change of `shards` recomputes nothing, and memory stays flat. The folder is safe to delete.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from realitycheck.provenance import digest_of

log = logging.getLogger(__name__)


class EncodingStore:
    """Arrays on disk under the digest of what they were computed from.

    Args:
        folder: Folder of the store; made when needed.
        facts: What every entry of this store depends on besides the image: settings that matter,
            the digests of weights and of code. Part of every key.
    """

    def __init__(self, folder: str | Path, *, facts: Mapping[str, object] | None = None):
        self.folder = Path(folder)
        self._facts = digest_of(dict(facts or {}))

    def key(self, image_sha256: str) -> str:
        """Key of one image's entry, 40 hexadecimal digits."""
        return hashlib.sha256(f"{self._facts}/{image_sha256}".encode()).hexdigest()[:40]

    def path(self, key: str) -> Path:
        """File of an entry."""
        return self.folder / key[:2] / f"{key}.safetensors"

    def has(self, key: str) -> bool:
        """Whether a sound entry exists; a damaged file is removed and counts as absent."""
        try:
            return self._opened(key) is not None
        except FileNotFoundError:
            return False

    def put(
        self, key: str, arrays: Mapping[str, np.ndarray], *, seconds: float | None = None
    ) -> None:
        """Write an entry in one step: it is there whole, or not at all.

        Args:
            key: Of the entry.
            arrays: What is kept.
            seconds: How long it took to compute.
        """
        contiguous = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
        noted = {} if seconds is None else {"seconds": f"{seconds:.6g}"}
        content = _content_digest(contiguous, noted.get("seconds"))
        data = save(contiguous, metadata={"content": content, **noted})
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def get(self, key: str) -> dict[str, np.ndarray]:
        """Read one entry.

        Raises:
            FileNotFoundError: If there is none, or it was damaged; says how to make it again.
        """
        arrays = self._opened(key)
        if arrays is None:
            raise FileNotFoundError(
                f"{self.path(key)}: this encoding is missing or damaged; delete the shard tables "
                f"in {self.folder} and run again, which recomputes only what is not there"
            )
        return arrays

    def seconds(self, key: str) -> float | None:
        """How long an entry took to compute; None where that was not noted."""
        with safe_open(self.path(key), framework="numpy") as file:
            taken = (file.metadata() or {}).get("seconds")
        return float(taken) if taken else None

    def _opened(self, key: str) -> dict[str, np.ndarray] | None:
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                noted = file.metadata() or {}
                if noted.get("content") == _content_digest(arrays, noted.get("seconds")):
                    return arrays
            problem = "its content has changed"
        except (SafetensorError, OSError) as error:
            problem = str(error)
        log.warning("%s: damaged (%s); it will be computed again", path, problem)
        path.unlink(missing_ok=True)
        return None


def _content_digest(arrays: Mapping[str, np.ndarray], seconds: str | None) -> str:
    digest = hashlib.blake2b(str(seconds).encode(), digest_size=16)
    for name in sorted(arrays):
        value = arrays[name]
        digest.update(f"{name}/{value.dtype}/{value.shape}/".encode())
        digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()
