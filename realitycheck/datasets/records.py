"""What every data set format gives: records of images, and the faults found on the way."""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

LABELS = ("OK", "NOK")
SPLITS = ("train", "test")

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True)
class Record:
    """One image of a data set, before its content is looked at.

    Attributes:
        image_id: `category/…/stem`, unique in the data set and safe as a path.
        category: Product, as its folder is named.
        label: `OK` (good part) or `NOK` (defective part).
        defect_type: Kind of the defect; None for OK images and where it is not known.
        split: `test` images are inspected, `train` images may be learned from.
        group: Images of one group show the same part and stay together; None: a group of its own.
        image_path: The image file.
        mask_path: The file of the ground truth mask; None if there is none.
    """

    image_id: str
    category: str
    label: str
    defect_type: str | None
    split: str
    group: str | None
    image_path: Path
    mask_path: Path | None


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a data set.

    Attributes:
        path: The file or folder.
        problem: What was expected and what was found.
        remedy: What to do about it.
    """

    path: Path
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.remedy}"


class Listing(NamedTuple):
    """What a data set format finds on disk.

    Attributes:
        records: The images, sorted by `image_id`.
        faults: What is wrong; a listing with faults must not be used for results.
    """

    records: list[Record]
    faults: list[Fault]


class DatasetError(ValueError):
    """A data set that cannot be used; lists every fault at once.

    Attributes:
        faults: The faults, in the order of the message.
    """

    def __init__(self, faults: Iterable[Fault], *, dataset: str | None = None):
        self.faults = tuple(faults)
        name = f"data set {dataset}" if dataset else "data set"
        count = f"{len(self.faults)} fault{'s' if len(self.faults) != 1 else ''}"
        lines = [f"{name}: {count}", *(f"  {fault}" for fault in self.faults)]
        super().__init__("\n".join(lines))


def make_image_id(parts: Sequence[str]) -> str:
    """Join folder names and a stem to an image id that is safe as a path.

    Characters outside `A-Z a-z 0-9 . _ -` become `_`, and so does a first point, which would hide
    the file or leave the folder.

    Args:
        parts: Names, the category first and the file's stem last.

    Returns:
        The parts with `/` between them.

    Raises:
        ValueError: If a part is empty.
    """
    if not parts or not all(parts):
        raise ValueError(f"an image id needs non-empty parts, but got {list(parts)}")
    safe = (_UNSAFE.sub("_", part) for part in parts)
    return "/".join("_" + part[1:] if part.startswith(".") else part for part in safe)


def draw(names: Iterable[str], n: int, *, seed: int, purpose: str) -> list[str]:
    """Draw names without replacement, by chance but always the same ones.

    Names are put in the order of sha256(seed, purpose, name), and the first `n` are taken. So the
    draw depends on nothing but its arguments, and a name that is added or removed changes it by
    one name at most.

    Args:
        names: What to draw from; the order does not matter.
        n: How many.
        seed: Another seed gives another draw.
        purpose: What is drawn, such as a category; independent draws have different ones.

    Returns:
        The drawn names, sorted.

    Raises:
        ValueError: If there are fewer than `n` names.
    """
    order = chance_order(names, seed=seed, purpose=purpose)
    if not 0 <= n <= len(order):
        raise ValueError(f"cannot draw {n} of {len(order)} names for {purpose}")
    return sorted(order[:n])


def chance_order(names: Iterable[str], *, seed: int, purpose: str) -> list[str]:
    """Put names into the seeded order that `draw` takes the first of.

    Args:
        names: The names; their order does not matter.
        seed: Another seed gives another order.
        purpose: What the order is for.

    Returns:
        All names.
    """

    def key(name: str) -> bytes:
        return hashlib.sha256(f"{seed}\0{purpose}\0{name}".encode()).digest()

    return sorted(names, key=key)


def list_names(folder: Path) -> tuple[list[str], list[str]]:
    """List a folder's sub-folders and files, sorted, without what systems leave behind.

    Left out are hidden entries (a leading point, such as `.DS_Store` and `._a.jpg`) and
    `Thumbs.db` and `desktop.ini`. Links are followed.

    Args:
        folder: An existing folder.

    Returns:
        Names of the folders, and names of everything else.
    """
    folders, files = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in ("thumbs.db", "desktop.ini"):
                continue
            (folders if entry.is_dir() else files).append(entry.name)
    return sorted(folders), sorted(files)


def missing_root(root: Path, expected: str) -> Fault | None:
    """Say so if the folder of a data set is missing or is no folder.

    Args:
        root: The folder.
        expected: What ought to lie in it, in words.

    Returns:
        The fault, or None.
    """
    if Path(root).is_dir():
        return None
    found = "a file" if Path(root).exists() else "nothing"
    return Fault(
        Path(root),
        f"expected a folder with {expected}, found {found}",
        "correct `root`, or put it there",
    )
