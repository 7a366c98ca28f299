"""Digest which files a folder holds, quickly enough to do it before every run.

Standard library only: the Snakefile imports this.
"""

import hashlib
import os
from pathlib import Path


def inventory(root: Path) -> str:
    """Digest the relative path, size and time of change of all files below a folder.

    An image that is added, removed, renamed or edited changes the digest; the same folder under
    another path does not. Contents are not read. Links are followed; a link that leads back into
    a folder that it lies in is not entered again.

    Args:
        root: A folder, or a single file.

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
        digest.update(f"{root.name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    else:
        for line in sorted(_lines(str(root), "", ())):
            digest.update(line)
    return digest.hexdigest()


def _lines(folder: str, prefix: str, above: tuple[tuple[int, int], ...]):
    """Yield one line per file below `folder`; `above` identifies the folders we are in."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir():
                yield from _lines(entry.path, name + "/", (*above, here))
                continue
            try:
                found = entry.stat()
            except FileNotFoundError:
                # A link to nothing; it is listed by its own date, so that repairing it shows.
                found = entry.stat(follow_symlinks=False)
            line = f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n"
            # Names that are no valid UTF-8 arrive with surrogates.
            yield line.encode("utf-8", "surrogateescape")
