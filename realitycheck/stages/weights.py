"""Stage 1: the files of a network are fetched, copied or accepted, and always checked."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from realitycheck.core.files import write_atomically
from realitycheck.core.provenance import digest_of, read_record, stat_signature
from realitycheck.models import registry
from realitycheck.models.checkpoints.known import SHIPPED_FOLDER, shipped_files, weights_digest


def obtain(network: str, files: Sequence[Mapping[str, Any]], *, trigger: str) -> dict[str, Any]:
    """Make sure that every file of a network is there and is the right one.

    Args:
        network: Its name.
        files: Its files, the fields of `realitycheck.models.checkpoints.known.NetworkFile`.
        trigger: Signature of the files that the job was planned under.

    Returns:
        The record that later stages read: path and sha256 of each file, one digest of all, and the
        keys of those that are the user's own and not a published file under another name.

    Raises:
        OfflineError: If a file is missing and cannot be fetched; says which file to put where.
        DownloadError: If a file does not have the expected content. It stays as it is: it may be
            the user's.
    """
    published = registry.known_files()
    for file in files:
        if file["shipped"]:
            _copy_shipped(file["shipped"], Path(file["path"]))
    for file in files:
        for name in file["official"]:
            is_folder = len(file["official"]) > 1
            place = Path(file["path"])
            _fetch_official(name, place / published[name].name if is_folder else place)
    found = {
        file["key"]: {"path": file["path"], "sha256": weights_digest(file["path"])}
        for file in files
    }
    own = {
        file["key"]: found[file["key"]]["sha256"]
        for file in files
        if not (file["official"] or file["shipped"])
    }
    known = {file.sha256: file.licence for file in published.values()}
    return {
        "network": network,
        "files": found,
        "digest": digest_of({key: value["sha256"] for key, value in found.items()})[:32],
        "licences": sorted(
            {published[n].licence for f in files for n in f["official"]}
            | {"Apache-2.0" for f in files if f["shipped"]}
            | {known[sha256] for key, sha256 in own.items() if sha256 in known}
        ),
        "own": sorted(key for key, sha256 in own.items() if sha256 not in known),
        "trigger": trigger,
        "signature": stat_signature(*(file["path"] for file in files)),
    }


def _fetch_official(name: str, place: Path) -> None:
    """Fetch a published file, unless it is there already.

    Raises:
        OfflineError: If it cannot be fetched.
        DownloadError: If what is there is another file.
    """
    from realitycheck.datasets.download import DownloadError, fetch

    known = registry.known_files()[name]
    if place.exists():
        if (found := weights_digest(place)) != known.sha256:
            raise DownloadError(
                f"{place}: expected the published file, sha256 {known.sha256}, found {found} "
                f"({place.stat().st_size} bytes); if it is a broken copy, delete it, and it is "
                "fetched again; if it is a file of your own, move it to another place and name "
                "that in the settings, under models, which uses it as it is"
            )
        return
    fetch(known, place)


def _copy_shipped(name: str, target: Path) -> None:
    """Copy a network's file or folder out of the package, unless it is there already.

    Raises:
        DownloadError: If a file, there or in the package, is not the one that was published.
    """
    from realitycheck.datasets.download import DownloadError

    for path, sha256 in shipped_files(name).items():
        place = target / path.removeprefix(f"{name}/") if path != name else target
        source = SHIPPED_FOLDER / path
        if not place.exists():
            write_atomically(place, partial(shutil.copyfile, source))
        if (found := weights_digest(place)) != sha256:
            raise DownloadError(
                f"{place}: expected the file that ships with the package, sha256 {sha256}, found "
                f"{found}; delete it, and if that does not help install the package again"
            )


def weights_path(record: str | Path, key: str = "weights") -> Path:
    """Path of one of a network's checked files, out of its record."""
    return Path(read_record(record)["files"][key]["path"])


def load_network(record: str | Path, settings: Mapping[str, Any], **options: Any) -> Any:
    """Load the network whose checked files a record names.

    Args:
        record: From `obtain`.
        settings: Of the network: `variant`, `precision`.
        options: `device`, and what else the network's loader takes.
    """
    found = read_record(record)
    files = {key: Path(file["path"]) for key, file in found["files"].items()}
    return registry.network(found["network"]).load(files, settings, **options)
