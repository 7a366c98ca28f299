"""What the drawn data sets share: a source of chance for each image, and files in one layout."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realitycheck.core.files import write_text
from realitycheck.core.images import write_png

TRUTH_COLUMNS = ("image", "label", "category", "defect_type", "area_px")


@dataclass(frozen=True)
class Drawn:
    """One image of a drawn set.

    Attributes:
        image: uint8 RGB, (H, W, 3).
        mask: bool, (H, W): what is to be found; empty on good images.
    """

    image: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Name:
    """Which image of a set.

    Attributes:
        path: Below `images/`, without suffix.
        category: Product; empty where the set has one only.
        defect_type: Empty on good images.
    """

    path: str
    category: str
    defect_type: str


def image_rng(set_name: str, path: str, *, seed: int) -> np.random.Generator:
    """Give an image its own source of chance, from the set, the seed and its name alone."""
    digest = hashlib.sha256(f"{set_name}:{path}".encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    return np.random.default_rng([seed, *words])


def write_set(
    root: Path | str,
    set_name: str,
    names: Sequence[Name],
    draw: Callable[[np.random.Generator, Name], Drawn],
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a data set in the `folder` layout, with its truth.

    The same arguments give the same bytes on the same machine and libraries; another count keeps
    the images that both have. Every file appears complete or not at all.

    Args:
        root: Folder to write to; it is made if need be.
        set_name: Of the generator; part of every image's seed.
        names: The images.
        draw: Draws one.
        seed: Of the set.
        progress: Called after every image with the number done and the total.

    Returns:
        The path of `truth.csv`.
    """
    root = Path(root)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(TRUTH_COLUMNS)
    for done, name in enumerate(names, start=1):
        drawn = draw(image_rng(set_name, name.path, seed=seed), name)
        write_png(drawn.image, root / "images" / f"{name.path}.png")
        if name.defect_type:
            write_png(drawn.mask, root / "masks" / f"{name.path}.png")
        label = "NOK" if name.defect_type else "OK"
        area = int(drawn.mask.sum())
        writer.writerow((f"{name.path}.png", label, name.category, name.defect_type, area))
        if progress is not None:
            progress(done, len(names))
    truth = root / "truth.csv"
    write_text(table.getvalue(), truth)
    return truth


def check_counts(set_name: str, **counts: int) -> None:
    """Refuse negative counts and seeds.

    Raises:
        ValueError: If one is negative.
    """
    for name, value in counts.items():
        if value < 0:
            raise ValueError(f"{name} of {set_name} must be at least 0, got {value}")
