"""Facts."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from realitycheck.core.provenance import (
    digest_of,
    read_record,
)
from realitycheck.settings.run import Settings

UNKNOWN = "unknown"


def _unless_recorded(record: Path, current: str) -> str:
    """The trigger that a record was made under, as long as the files are those it recorded."""
    try:
        found = read_record(record)
    except FileNotFoundError:
        return current
    return found["trigger"] if found.get("signature") == current else current


@functools.lru_cache(maxsize=64)
def _json(path: str, _mtime_ns: int) -> dict[str, Any]:
    return read_record(path)


def settings_digest(settings: Settings) -> str:
    """Digest of all settings."""
    return digest_of(settings.model_dump(mode="json"))[:16]
