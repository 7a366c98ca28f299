"""Masks or score maps that lie in a folder, one file for each image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from realitycheck.datasets.mask_names import image_stems
from realitycheck.datasets.records import Fault, entries_of, is_system
from realitycheck.methods.imported.names import Prediction

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
MAP_SUFFIXES = (".npy", ".tif", ".tiff", ".png")


def list_folder(
    folder: Path, *, suffixes: tuple[str, ...], what: str
) -> tuple[list[Prediction], list[Fault]]:
    """List the files of a folder and of the folders in it; nothing is opened.

    Args:
        folder: The folder.
        suffixes: Endings of the files, in lower case.
        what: What they are, in words.

    Returns:
        A prediction for each file, whose content is its path, and a fault for whatever else lies
        there.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        fault = Fault(folder, f"expected a folder of {what}, found {found}", "correct the path")
        return [], [fault]
    predictions, faults = [], []
    for path, trouble in _files(folder):
        if trouble is None and path.suffix.lower() in suffixes:
            inside = path.relative_to(folder).parent
            names = tuple(
                (inside / name).as_posix() for name in (path.name, *image_stems(path.stem))
            )
            predictions.append(Prediction(names, path, "", path))
        else:
            found = trouble or f"a file that ends with {path.suffix or 'nothing'}"
            expected = f"{what} ({', '.join(suffixes)})"
            faults.append(Fault(path, f"expected {expected}, found {found}", "remove it"))
    if not predictions and not faults:
        faults.append(Fault(folder, f"expected {what}, found no file", "correct the path"))
    return predictions, faults


def _files(folder: Path) -> Iterator[tuple[Path, str | None]]:
    for entry in entries_of(folder):
        if is_system(entry.path.name):
            continue
        if entry.is_folder and entry.trouble is None:
            yield from _files(entry.path)
        else:
            yield entry.path, entry.trouble
