"""Content-addressed stores of what long jobs computed from an image.

One file an entry, named by the digest of everything it depends on (the image's content, the
settings, the weights). So an entry is never stale, a killed job loses at most what it has in hand,
a change of `shards` recomputes nothing, and memory stays flat. The folders are safe to delete.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from realitycheck.core.files import write_atomically
from realitycheck.core.provenance import digest_of

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
        _write_bytes(save(contiguous, metadata={"content": content, **noted}), self.path(key))

    def get(self, key: str) -> dict[str, np.ndarray]:
        """Read one entry.

        Raises:
            FileNotFoundError: If there is none, or it was damaged. The tables that list it are then
                removed, so that another run makes it again.
        """
        arrays = self._opened(key)
        if arrays is None:
            self._remove_tables_with(key)
            raise FileNotFoundError(
                f"{self.path(key)}: this encoding is missing or damaged; run again, which computes "
                "it anew, and no other"
            )
        return arrays

    def seconds(self, key: str) -> float | None:
        """How long an entry took to compute; None where that was not noted."""
        with safe_open(self.path(key), framework="numpy") as file:
            taken = (file.metadata() or {}).get("seconds")
        return float(taken) if taken else None

    def _remove_tables_with(self, key: str) -> None:
        """Remove the shard tables that list an entry; they lie in the store's folder or below."""
        from realitycheck.core.parquet import ArtifactError, read_frame

        for path in [*self.folder.glob("*.parquet"), *self.folder.glob("*/*.parquet")]:
            try:
                is_listed = key in set(read_frame(path, ["key"])["key"])
            except ArtifactError as error:  # removed, too
                log.warning("%s", error)
                continue
            if is_listed:
                log.warning("%s: removed, for it lists an encoding that is not there", path)
                path.unlink(missing_ok=True)

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


class FinishedRows:
    """Rows of tables that long jobs have finished, image by image, before the table is written.

    Args:
        folder: Folder of the store; made when needed.
        facts: What the rows depend on besides the image: the job's params, the facts of its input
            tables, the device. Part of every key, so other settings never find these rows.
    """

    def __init__(self, folder: str | Path, *, facts: Mapping[str, Any]):
        self.folder = Path(folder)
        self._facts = digest_of(dict(facts))

    def path(self, content: Any) -> Path:
        """File of the rows that were made from some content, a plain value."""
        key = digest_of([self._facts, content])[:40]
        return self.folder / key[:2] / f"{key}.json"

    def get(self, content: Any) -> list[dict[str, Any]] | None:
        """Rows that are finished; None where there are none, or where the file was damaged."""
        path = self.path(content)
        try:
            digest, _, text = path.read_text(encoding="utf-8").partition("\n")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            digest, text = "", str(error)
        if digest == _text_digest(text):
            return json.loads(text)
        log.warning("%s: damaged; it will be computed again", path)
        path.unlink(missing_ok=True)
        return None

    def put(self, content: Any, rows: list[dict[str, Any]]) -> None:
        """Write the rows of an image in one step."""
        text = json.dumps(rows, default=_plain)
        _write_bytes(f"{_text_digest(text)}\n{text}".encode(), self.path(content))


def _plain(value: Any) -> Any:
    """Turn a number or an array of numpy into plain values, for JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"rows must hold plain values, found {type(value).__name__}")


def _text_digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _write_bytes(data: bytes, path: Path) -> None:
    """Write a file in one step: it is there whole, or not at all."""
    write_atomically(path, lambda temporary: Path(temporary).write_bytes(data))


def _content_digest(arrays: Mapping[str, np.ndarray], seconds: str | None) -> str:
    digest = hashlib.blake2b(str(seconds).encode(), digest_size=16)
    for name in sorted(arrays):
        value = arrays[name]
        digest.update(f"{name}/{value.dtype}/{value.shape}/".encode())
        digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()
