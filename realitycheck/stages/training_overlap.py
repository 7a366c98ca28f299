"""Images that a method has learned from elsewhere, compared with those it is scored on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from realitycheck.core.constants import IMAGE_SUFFIXES
from realitycheck.core.decoding.decoded import ImageError
from realitycheck.datasets.locked import file_digest
from realitycheck.datasets.near_duplicates import likest, near_duplicates, thumbnail
from realitycheck.datasets.records import Fault

#: Pairs that are told at most.
_MOST_PAIRS = 50


class AuditError(ValueError):
    """Findings that stop a run."""


def check_training(
    dataset: str,
    method: str,
    paths: Iterable[str],
    manifest: pd.DataFrame,
    *,
    read: Callable[[str], np.ndarray],
    n_workers: int,
) -> None:
    """Refuse scored images that a method has learned from.

    They are found by the digest of the file, and by nearly the same picture: each training image is
    compared with the scored ones of the category that it is most like.

    Args:
        dataset: The data set's id.
        method: Name of the method block.
        paths: Folders, images, and text files with one path per line.
        manifest: Scored images.
        read: Reads an image by its path, uint8 RGB.
        n_workers: Threads that decode.

    Raises:
        AuditError: With the pairs, or with what of the declaration cannot be read.
    """
    key = f"methods.{method}.training_images"
    images, faults = training_images(paths)
    small = {}

    def reduced(path: Path) -> np.ndarray | Fault:
        try:
            return thumbnail(read(path))
        except ImageError as error:
            return Fault(error.path, error.problem, error.remedy)

    with ThreadPoolExecutor(n_workers) as pool:
        for path, found in zip(images, pool.map(reduced, images), strict=True):
            if isinstance(found, Fault):
                faults.append(found)
            else:
                small[path] = found
        if faults:
            lines = "\n".join(f"  {fault}" for fault in faults)
            raise AuditError(f"data set {dataset}: {key} cannot be compared:\n{lines}")
        by_path = dict(zip(images, pool.map(file_digest, images), strict=True))
        scored = np.stack(
            list(pool.map(lambda path: thumbnail(read(path)), manifest["image_path"]))
        )
    pairs = list(_overlap(by_path, small, manifest, scored))
    if pairs:
        n_scored = len({image_id for _, image_id, _ in pairs})
        told = [f"  {path} and {image_id}: {how}" for path, image_id, how in pairs[:_MOST_PAIRS]]
        if len(pairs) > _MOST_PAIRS:
            told.append(f"  … and {len(pairs) - _MOST_PAIRS} more")
        raise AuditError(
            f"data set {dataset}: {key}: {method} has learned from {n_scored} of the "
            f"{len(manifest)} scored images, so its scores would say nothing of new parts:\n"
            + "\n".join(told)
            + "\nscore it on images that it has not seen, or train it without these"
        )


def training_images(paths: Iterable[str]) -> tuple[list[Path], list[Fault]]:
    """List the images of folders, images and text files with one path per line.

    A path in a text file counts from the folder of the file, or else from the working directory.
    Blank lines and those that begin with # are passed over.
    """
    images: list[Path] = []
    faults = []
    for each in map(Path, paths):
        if each.is_dir():
            found = sorted(p for p in each.rglob("*") if _is_image(p))
            if not found:
                faults.append(Fault(each, "expected images, found none", "correct the path"))
            images += found
        elif _is_image(each):
            images.append(each)
        else:
            listed, problems = _listed(each)
            images += listed
            faults += problems
    return list(dict.fromkeys(images)), faults


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _listed(path: Path) -> tuple[list[Path], list[Fault]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        problem = f"expected a folder, an image or a text file of paths, but {error}"
        return [], [Fault(path, problem, "correct the path")]
    images, faults = [], []
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        found = next((p for p in (path.parent / name, Path(name)) if p.is_file()), None)
        if found is None:
            problem = f"line {number}: there is no file {name}"
            faults.append(Fault(path, problem, "correct the line, or put the image there"))
        else:
            images.append(found)
    return images, faults


def _overlap(
    by_path: dict[Path, str],
    small: dict[Path, np.ndarray],
    manifest: pd.DataFrame,
    scored: np.ndarray,
) -> Iterator[tuple[Path, str, str]]:
    """Training image, id of the scored image, and how they are alike."""
    by_digest = dict(zip(manifest["sha256"], manifest["image_id"], strict=True))
    categories = manifest["category"].to_numpy()
    of_category: dict[str, list[Path]] = defaultdict(list)
    for path, digest in by_path.items():
        if digest in by_digest:
            yield path, by_digest[digest], "the same file"
        else:
            of_category[str(likest(small[path], scored, categories))].append(path)
    for category, paths in of_category.items():
        own = np.flatnonzero(categories == category)
        together = np.concatenate([scored[own], np.stack([small[path] for path in paths])])
        names: Sequence[str] = manifest["image_id"].to_numpy()[own]
        for first, second, correlation, pose in near_duplicates(together):
            if first < len(own) <= second:
                how = f"nearly the same picture (correlation {correlation:.3f}"
                how += f", {pose})" if pose else ")"
                yield paths[second - len(own)], names[first], how
