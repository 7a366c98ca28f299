"""Files that are there whole or not at all, and what killed jobs leave of them.

A file is written under a temporary name beside its own and then renamed. As long as that lasts the
writer holds a lock of the operating system on it, which is gone with the process however that
ended. So a temporary file that nobody holds is a leftover.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Begins the name of a temporary file; the name of the machine follows.
_PREFIX = ".writing-"
#: Where locks of other machines may not show, a file that nobody has touched for this long is left.
_OTHERS_S = 24 * 3600.0


def write_atomically(path: str | Path, write: Callable[[str], Any]) -> None:
    """Call `write(temporary)` and move the result to `path`: it exists whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _held_file(path)
    try:
        write(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def write_text(text: str, path: str | Path) -> None:
    """Write a text file in one step."""
    write_atomically(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


def unwritable(path: Path) -> str | None:
    """Why a folder cannot be made or written; None if it can."""
    if path.exists() and not path.is_dir():
        return f"{path} is a file"
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not there.is_dir():
        return f"{there} is a file"
    try:
        with tempfile.TemporaryFile(dir=there):
            return None
    except OSError as error:
        return f"{there} cannot be written ({error.strerror})"


def _held_file(path: Path) -> tuple[int, str]:
    """Make a temporary file beside `path` and lock it; return its handle and its name."""
    while True:
        handle, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f"{_PREFIX}{_machine()}-", suffix=path.suffix
        )
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            return handle, temporary  # a file system without locks, where nothing is swept
        if os.path.exists(temporary):
            return handle, temporary
        os.close(handle)  # swept before it was locked


def sweep(folder: str | Path) -> list[Path]:
    """Remove temporary files of killed jobs below a folder; those of living ones stay.

    Args:
        folder: Folder of the results.

    Returns:
        What was removed.
    """
    swept = []
    for place, _, names in os.walk(folder):
        for name in names:
            if name.startswith(_PREFIX) and _is_left(path := Path(place, name)):
                path.unlink(missing_ok=True)
                swept.append(path)
    return sorted(swept)


def _is_left(path: Path) -> bool:
    is_ours = path.name.startswith(f"{_PREFIX}{_machine()}-")
    try:
        if not is_ours and time.time() - path.stat().st_mtime < _OTHERS_S:
            return False
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, gone, or on a file system without locks
        return False
    return True


def _machine() -> str:
    return re.sub(r"\W", "_", platform.node())[:40]


def image_file(folder: str | Path, image_id: str) -> Path:
    """File of an aligned image, a mask or a truth mask below the folder of its kind."""
    return Path(folder) / f"{image_id}.png"
