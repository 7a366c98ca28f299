"""Pictures between stages: aligned images and warped truth masks, read only as they were written.

They are no outputs of a rule; a table lists them. Where one is damaged or gone, the table goes too,
so that the next run makes both again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from realitycheck.core.files import image_file
from realitycheck.core.images import read_image
from realitycheck.core.parquet import ArtifactError, read_frame

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_aligned(folder: str | Path, image_id: str) -> np.ndarray:
    """Read an aligned image, uint8 RGB (H, W, 3).

    Args:
        folder: Folder of the data set's aligned images.
        image_id: Of the image.

    Raises:
        ArtifactError: If it is damaged or gone; the tables of the shards that list it then go, too.
    """
    path = image_file(folder, image_id)
    check_listed(path, image_id, tables=Path(folder).glob("shards/*.parquet"))
    return read_image(path)


def read_warped(folder: str | Path, image_id: str) -> np.ndarray:
    """Read a truth mask that the align stage wrote, uint8 (H, W): 0, 128 or 255.

    Args:
        folder: Folder of the data set's warped truth masks.
        image_id: Of the image.

    Raises:
        ArtifactError: If it is damaged or gone; the table of the truth then goes, too.
    """
    path = image_file(folder, image_id)
    check_listed(path, image_id, tables=Path(folder).glob("truth.parquet"))
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)


def check_listed(path: Path, image_id: str, *, tables: Iterable[Path]) -> None:
    """Make sure that a PNG is as it was written; else remove the tables that list its image.

    Args:
        path: The PNG.
        image_id: Of its image.
        tables: Tables that may list it.

    Raises:
        ArtifactError: If it is not; names it.
    """
    if is_sound_png(path):
        return
    for table in tables:
        if image_id in set(read_frame(table, ["image_id"])["image_id"]):
            table.unlink(missing_ok=True)
    raise ArtifactError(
        f"{path}: this picture is missing or damaged; run again, which makes it anew, and what "
        "follows from it"
    )


def is_sound_png(path: str | Path) -> bool:
    """Whether a PNG is there and every part of it fits its checksum, to the last byte."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return False
    if not data.startswith(_SIGNATURE):
        return False
    start, name = len(_SIGNATURE), b""
    while start < len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        name = data[start + 4 : start + 8]
        if zlib.crc32(data[start + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        start = end + 4
    return start == len(data) and name == b"IEND"
