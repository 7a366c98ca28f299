"""Digest which files a folder holds, quickly enough to do it before every run.

Standard library only: the Snakefile imports this.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def inventory(root: Path, *, by_time: bool = True) -> str:
    """Digest the relative path, size and time of change of all files below a folder.

    An image that is added, removed, renamed or edited changes the digest; the same folder under
    another path does not. Contents are not read, and nothing is opened but folders. Links are
    followed; no folder is entered twice. What cannot be looked at is listed by its error.

    Args:
        root: A folder, or a single file.
        by_time: Whether times count.

    Returns:
        sha256, hexadecimal.

    Raises:
        FileNotFoundError: If `root` does not exist.
    """
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(
            f"{root}: expected the folder of a data set, found nothing; put the data there or "
            "correct the path in the settings"
        )
    digest = hashlib.sha256()
    if root.is_file():
        found = root.stat()
        digest.update(_line(f"{root.name}\0{_facts(found, by_time)}"))
    else:
        for line in sorted(_lines(str(root), "", set(), by_time)):
            digest.update(line)
    return digest.hexdigest()


def _facts(found: os.stat_result, by_time: bool) -> str:
    return f"{found.st_size}\0{found.st_mtime_ns}" if by_time else f"{found.st_size}"


def _lines(
    folder: str, prefix: str, entered: set[tuple[int, int]], by_time: bool
) -> Iterator[bytes]:
    """Yield one line per file below `folder`, by name; `entered` identifies folders."""
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            return
        entered.add((status.st_dev, status.st_ino))
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield _line(f"{prefix}\0{error.errno}")
        return
    for entry in entries:
        name = prefix + entry.name
        try:
            if entry.is_dir():
                yield from _lines(entry.path, name + "/", entered, by_time)
                continue
            found = entry.stat()
        except OSError:
            # A link to nothing or to itself; it is listed by its own date, so that repairing it
            # shows.
            found = entry.stat(follow_symlinks=False)
        yield _line(f"{name}\0{_facts(found, by_time)}")


def _line(text: str) -> bytes:
    # Names that are no valid UTF-8 arrive with surrogates.
    return f"{text}\n".encode("utf-8", "surrogateescape")
