"""Parts that are locked away: nobody scores or sees them before one method is confirmed on them.

Which parts these are follows from the seed and each part's own name (or group) alone, so that new
images lock and unlock no other. Until they are opened their files are read for a digest and never
decoded.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from realitycheck.core.provenance import digest_of, file_digest
from realitycheck.core.tries_file import parts_digest
from realitycheck.datasets.records import Fault, Record

#: Value of `Record.split`.
LOCKED = "locked"


def lock(records: Sequence[Record], *, fraction: float, seed: int) -> list[Record]:
    """Lock a share of the parts that would be scored; views of one part stay together.

    A group that is in part trained on is not locked.

    Args:
        records: Images of a data set.
        fraction: Share, 0 up to but without 1.
        seed: Of the draw.

    Returns:
        The same records, some with the split `locked`.
    """
    splits: dict[str, set[str]] = defaultdict(set)
    for record in records:
        splits[_unit(record)].add(record.split)
    chosen = {
        unit
        for unit, own in splits.items()
        if "train" not in own and _chance(seed, unit) < fraction
    }
    return [
        replace(record, split=LOCKED) if _unit(record) in chosen else record for record in records
    ]


def opened(records: Iterable[Record]) -> list[Record]:
    """What is scored once the locked parts are opened: they alone; training images stay."""
    return [
        replace(record, split="test") if record.split == LOCKED else record
        for record in records
        if record.split != "test"
    ]


def locked_parts(records: Sequence[Record]) -> dict[str, Any]:
    """Count and digest locked parts, by the bytes of their files.

    Args:
        records: The locked ones, or those that were.

    Returns:
        n_ok, n_nok, `parts` (digest of all) and `files` (digest of each image).
    """
    images = [file_digest(record.image_path) for record in records]
    truths = [
        digest_of([None if each.mask_path is None else file_digest(each.mask_path), each.label])
        for each in records
    ]
    return {
        "n_ok": sum(record.label == "OK" for record in records),
        "n_nok": sum(record.label == "NOK" for record in records),
        "parts": parts_digest(zip(images, truths, strict=True)),
        "files": sorted(images),
    }


def lock_faults(
    locked: dict[str, Any], open_digests: dict[str, str], *, fraction: float, root: Path
) -> list[Fault]:
    """Say what makes locked parts worthless.

    Args:
        locked: From `locked_parts`.
        open_digests: Path of each other image, the given references among them, by its digest.
        fraction: Share that was to be locked.
        root: Folder of the data set.
    """
    faults = [
        Fault(
            Path(path),
            "expected a picture of its own, found the same file among the parts that are locked",
            "remove one of both",
        )
        for digest, path in open_digests.items()
        if digest in set(locked["files"])
    ]
    for label, name in (("n_ok", "good"), ("n_nok", "defective")):
        if fraction and not locked[label]:
            faults.append(
                Fault(
                    root,
                    f"expected {name} parts among those that split.confirm_fraction {fraction:g} "
                    "locks, found none",
                    "add parts, lock a larger share, or take another split.seed",
                )
            )
    return faults


def _unit(record: Record) -> str:
    return f"image {record.image_id}" if record.group is None else f"group {record.group}"


def _chance(seed: int, unit: str) -> float:
    """A number in [0, 1) of a part's own."""
    digest = hashlib.sha256(f"{seed}\0confirm\0{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
