"""Stage 1: the files of a network are fetched, created or accepted, and always checked."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from realitycheck.core.files import write_atomically
from realitycheck.core.provenance import digest_of, read_record, stat_signature
from realitycheck.datasets.download import DownloadError, fetch
from realitycheck.models.checkpoints.known import (
    KNOWN_WEIGHTS,
    SHIPPED_FOLDER,
    shipped_files,
    weights_digest,
)

#: Seed of the miniature networks' random weights.
MINIATURE_SEED = 0


def obtain(network: str, files: Sequence[Mapping[str, Any]], *, trigger: str) -> dict[str, Any]:
    """Make sure that every file of a network is there and is the right one.

    Args:
        network: Name of the network.
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
    if any(file["is_miniature"] for file in files):
        _create_miniatures(network, files)
    for file in files:
        if file.get("shipped"):
            _copy_shipped(file["shipped"], Path(file["path"]))
    for file in files:
        for name in file["official"]:
            is_folder = len(file["official"]) > 1
            place = Path(file["path"])
            _fetch_official(name, place / KNOWN_WEIGHTS[name].name if is_folder else place)
    found = {
        file["key"]: {"path": file["path"], "sha256": weights_digest(file["path"])}
        for file in files
    }
    own = {
        file["key"]: found[file["key"]]["sha256"]
        for file in files
        if not (file["official"] or file["is_miniature"] or file.get("shipped"))
    }
    known = {published.sha256: published.licence for published in KNOWN_WEIGHTS.values()}
    return {
        "network": network,
        "files": found,
        "digest": digest_of({key: value["sha256"] for key, value in found.items()})[:32],
        "licences": sorted(
            {KNOWN_WEIGHTS[n].licence for f in files for n in f["official"]}
            | {"Apache-2.0" for f in files if f.get("shipped")}
            | {known[sha256] for key, sha256 in own.items() if sha256 in known}
        ),
        "own": sorted(key for key, sha256 in own.items() if sha256 not in known),
        "is_untrained": any(file["is_miniature"] for file in files),
        "trigger": trigger,
        "signature": stat_signature(*(file["path"] for file in files)),
    }


def _fetch_official(name: str, place: Path) -> None:
    """Fetch a published file, unless it is there already.

    Raises:
        OfflineError: If it cannot be fetched.
        DownloadError: If what is there is another file.
    """
    known = KNOWN_WEIGHTS[name]
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


def _create_miniatures(network: str, files: Sequence[Mapping[str, Any]]) -> None:
    """Create a network's small files with random weights, unless all are there."""
    from realitycheck.models.miniature_clip import write_miniature_clip, write_miniature_saliency
    from realitycheck.models.miniatures import write_miniature_sam, write_miniatures

    targets = {file["key"]: Path(file["path"]) for file in files if file["is_miniature"]}
    if all(target.exists() for target in targets.values()):
        return
    for target in targets.values():
        target.parent.mkdir(parents=True, exist_ok=True)
    beside = next(iter(targets.values())).parent
    with tempfile.TemporaryDirectory(dir=beside, prefix=".creating-") as folder:
        if network == "sam":
            made = {network: write_miniature_sam(folder, seed=MINIATURE_SEED)}
        elif network == "clip":
            made = {network: write_miniature_clip(folder, seed=MINIATURE_SEED)}
        elif network in ("saliency", "resnet"):
            made = {network: write_miniature_saliency(folder, seed=MINIATURE_SEED)}
        else:
            made = write_miniatures(folder, seed=MINIATURE_SEED)
        for key, target in targets.items():
            if not target.exists():
                os.replace(made[network if key == "weights" else key], target)


def weights_path(record: str | Path, key: str = "weights") -> Path:
    """Path of one of a network's checked files, out of its record."""
    return Path(read_record(record)["files"][key]["path"])
