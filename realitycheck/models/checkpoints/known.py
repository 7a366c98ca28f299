"""Which files a network needs, where they lie, and which of them can be fetched or copied.

Free of torch: the Snakefile and the settings ask here before any job runs.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realitycheck.core.provenance import file_digest
from realitycheck.models.registry import known_files, network

WEIGHTS_FOLDER = "resources/weights"

#: Networks that were trained on drawn scenes (`training/`); they ship inside the package.
SHIPPED_FOLDER = Path(__file__).with_name("everyday")
EVERYDAY_FOLDER = f"{WEIGHTS_FOLDER}/everyday"


@dataclass(frozen=True)
class NetworkFile:
    """One file or folder of a network.

    Attributes:
        key: Its key in the settings (`weights`, `text_encoder`).
        path: Where it lies, relative to the working directory; None if the settings must say.
        official: Names of published files to fetch it from; empty for a user's own file, which is
            one that the settings name at another place than the published file's.
        shipped: Its name in `SHIPPED_FOLDER`, where it comes with the package.
    """

    key: str
    path: str | None
    official: tuple[str, ...] = ()
    shipped: str | None = None

    @property
    def is_obtainable(self) -> bool:
        """Whether the file can be fetched or copied, so that it may be absent at first."""
        return bool(self.official) or self.shipped is not None


def network_files(name: str, block: Any) -> list[NetworkFile]:
    """Files that a network's settings block asks for.

    Args:
        name: `sam`, `grounding_dino`, …
        block: Its settings, with `variant` and one attribute a file.

    Raises:
        ValueError: If there is no network of this name.
    """
    known = network(name)
    variant = block.variant if isinstance(block.variant, str) else ""
    files = []
    for key in known.keys:
        given = getattr(block, key)
        if variant == "everyday":
            shipped = known.shipped[key]
            path = given or f"{EVERYDAY_FOLDER}/{shipped}"
            files.append(NetworkFile(key, path, shipped=shipped if given is None else None))
        elif names := known.variants.get(variant, {}).get(key, ()):
            # A file at another place is the user's, whatever it holds: nothing is demanded of it.
            place = f"{WEIGHTS_FOLDER}/{known.folders.get(key) or known.known[names[0]].name}"
            is_own = given is not None and os.path.normpath(given) != place
            files.append(NetworkFile(key, given) if is_own else NetworkFile(key, place, names))
        else:
            files.append(NetworkFile(key, given))
    return files


def own_files(name: str, block: Any) -> list[str]:
    """Names of a network's files that are the user's own; see `network_files`."""
    return [
        Path(file.path).name
        for file in network_files(name, block)
        if file.path and not file.is_obtainable
    ]


def shipped_files(name: str) -> dict[str, str]:
    """List a shipped file, or the files of a shipped folder, with the sha256 each must have.

    Args:
        name: Of a file or folder in `SHIPPED_FOLDER`.

    Returns:
        sha256 by path below `SHIPPED_FOLDER`.
    """
    known = json.loads((SHIPPED_FOLDER / "sha256.json").read_text(encoding="utf-8"))
    return {path: d for path, d in known.items() if path == name or path.startswith(f"{name}/")}


def expected_sha256(file: NetworkFile) -> dict[str, str]:
    """sha256 by name that a file, or the files of a folder, must have; empty for a user's own."""
    if file.shipped:
        return shipped_files(file.shipped)
    return {name: known_files()[name].sha256 for name in file.official}


def weights_digest(path: str | Path) -> str:
    """Compute the sha256 of a file, or of a folder of files, reading in small pieces.

    The digest of a folder covers the relative path, the length and the content of every file below
    it, in the order of the paths; hidden files (caches of the system) do not count.

    Args:
        path: A file or a folder.

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: expected a checkpoint file or folder, found nothing")
    if path.is_file():
        return file_digest(path)
    whole = hashlib.sha256()
    inner = sorted(
        (item.relative_to(path).as_posix(), item) for item in path.rglob("*") if item.is_file()
    )
    for name, item in inner:
        if any(part.startswith(".") for part in name.split("/")):
            continue
        whole.update(f"{name}\0{weights_digest(item)}\n".encode())
    return whole.hexdigest()
