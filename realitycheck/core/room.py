"""Full disks, folders that cannot be written, memory that ran out: in words that say what to do."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MB = 1_000_000
#: What a run needs at least to write its first tables and logs.
LEAST_FREE_BYTES = 5 * _MB
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM}
_NEEDED = (
    "a table takes some MB, an aligned image about its size as PNG, SAM's encoding of an image "
    "4.2 MB (half of it with compute.encoding_dtype: float16)"
)
_NEXT = "then run again: what is finished or in a cache is kept, and only the rest is computed"
#: What libraries say in place of an error number.
_WORDS = {
    errno.ENOSPC: ("database or disk is full", "No space left on device"),
    errno.EDQUOT: ("Disk quota exceeded",),
    errno.EROFS: ("attempt to write a readonly database", "Read-only file system"),
}
_SIZE = re.compile(
    r"(?:allocate|malloc of size|to allocate|reserve) (\d[\d.]*) ?([KMGTPE]?i?B|bytes)?", re.I
)


class NoRoomError(OSError):
    """A folder in which a run cannot work: full, or closed to writing."""


def explained(error: BaseException) -> str | None:
    """Say which folder is full or closed, or how much memory is missing, and what to do.

    Args:
        error: What ended a job.

    Returns:
        One paragraph; None if the error is of another kind, whose own message stands.
    """
    for one in _chain(error):
        if isinstance(one, NoRoomError):
            return str(one)
        if (number := _number(one)) in _FULL:
            return full(_folder(one), quota=number == errno.EDQUOT, limit=number == errno.EFBIG)
        if number == errno.EROFS:
            return closed(_folder(one), read_only=True)
        if number in _DENIED and (folder := _folder(one)) and not os.access(folder, os.W_OK):
            return closed(folder, read_only=False)
        if _is_memory(one):
            return _memory(one)
    return None


def full(folder: Path | None, *, quota: bool = False, limit: bool = False) -> str:
    """Say that a disk is full; without a folder, how much each of the usual ones has left."""
    places = [folder] if folder else [Path.cwd(), Path(tempfile.gettempdir())]
    rooms = "; ".join(f"{place}: {free_bytes(place) // _MB} MB free" for place in places)
    what = "No space is left on the disk"
    if quota:
        what = "The quota of this user is used up"
    elif limit:
        what = "A file would pass the limit on file sizes (ulimit -f)"
    return (
        f"{what} ({rooms}). Needed: {_NEEDED}. Make room there, or name another folder by "
        f"results_dir (for temporary files: TMPDIR); {_NEXT}"
    )


def closed(folder: Path | None, *, read_only: bool) -> str:
    """Say that a folder cannot be written."""
    why = "is on a read-only disk" if read_only else "cannot be written by this user"
    return (
        f"{folder or Path.cwd()} {why}. Make it writable, or name another folder by results_dir or "
        f"--directory; {_NEXT}"
    )


def check_folder(folder: str | Path) -> None:
    """Make sure that a folder, or the one it would be made in, can be written.

    Raises:
        NoRoomError: If it cannot.
    """
    place = _existing(Path(folder))
    if not os.access(place, os.W_OK | os.X_OK):
        flags = os.statvfs(place).f_flag
        raise NoRoomError(closed(place, read_only=bool(flags & os.ST_RDONLY)))


def check_free(folder: str | Path, *, needed_bytes: int = LEAST_FREE_BYTES) -> None:
    """Make sure that the disk of a folder has room.

    Raises:
        NoRoomError: If it has less.
    """
    place = _existing(Path(folder))
    if (free := free_bytes(place)) < needed_bytes:
        raise NoRoomError(
            f"{place}: {needed_bytes // _MB} MB of free disk are needed, but there are "
            f"{free // _MB} MB. Make room there, or name another folder by results_dir or "
            "--directory; what earlier runs finished is kept"
        )


def free_bytes(folder: str | Path) -> int:
    """Bytes that this user may still write on the disk of a folder."""
    return shutil.disk_usage(_existing(Path(folder))).free


def _existing(folder: Path) -> Path:
    """A folder, or the next one above it that exists; absolute."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    found = re.search(r"\b(?:errno|os error) (\d+)", text, re.IGNORECASE)
    if found:
        return int(found[1])
    return next((n for n, words in _WORDS.items() if any(word in text for word in words)), None)


def _folder(error: BaseException) -> Path | None:
    name = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if not isinstance(name, str | bytes | os.PathLike):
        return None
    return _existing(Path(os.fsdecode(name)))


def _is_memory(error: BaseException) -> bool:
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "can't allocate memory" in str(error) or _number(error) == errno.ENOMEM


def _memory(error: BaseException) -> str:
    is_gpu = type(error).__name__ == "OutOfMemoryError"
    size = _SIZE.search(str(error))
    wanted = f", when {size[1]} {size[2] or 'bytes'} more were needed" if size else ""
    there = "" if is_gpu else f"; there is {_memory_there()}"
    remedy = (
        "close other programs on the GPU, or set a smaller compute.batch_size, or device: cpu"
        if is_gpu
        else "close other programs, run fewer jobs at once (--cores), or raise the limit (on a "
        "cluster: --set-resources RULE:mem_mb=MB)"
    )
    return (
        f"The memory {'of the GPU ' if is_gpu else ''}ran out{wanted}{there}. With a profile the "
        f"job is tried again with twice the memory and half the batch; else {remedy}; {_NEXT}"
    )


def _memory_there() -> str:
    """The limit of this process where it has one, and what the machine has free."""
    parts = []
    for name, limit in (("ulimit -v", resource.RLIMIT_AS), ("ulimit -d", resource.RLIMIT_DATA)):
        if (soft := resource.getrlimit(limit)[0]) != resource.RLIM_INFINITY:
            parts.append(f"a limit of {soft // _MB} MB ({name})")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 1 << 60:
            parts.append(f"a limit of {int(text) // _MB} MB for all jobs of this group")
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MB
        parts.append(f"{free} MB free on this machine")
    except (OSError, ValueError):
        parts.append("no word from the system on what is free")
    return ", ".join(parts)
