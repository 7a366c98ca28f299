"""What every data set format gives: records of images, and the faults found on the way."""

import errno
import hashlib
import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from realitycheck.core.special_files import special_kind

#: Names, in lower case, of what systems and programs leave in folders; so are those that begin
#: with a point or with `~$`.
_SYSTEM_NAMES = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "lost+found", "$recycle.bin"}
    | {"system volume information", "@eadir", "icon\r"}
)
#: Bytes of a part of an image id: with the ending of a PNG still a file name.
_MAX_PART_BYTES = 251


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
        return printable(f"{self.path}: {self.problem}; {self.remedy}")


class Faults(list[Fault]):
    """Faults as they are found."""

    def add(self, path: Path, problem: str, remedy: str) -> None:
        """Note a fault; see `Fault`."""
        self.append(Fault(path, problem, remedy))


class Unused(NamedTuple):
    """Something below `root` that is not used, and is no fault.

    Attributes:
        path: The file or folder.
        reason: Why it is not used.
        remedy: What to do if it is to be used.
        files: Which files; none: all below the folder.
    """

    path: Path
    reason: str
    remedy: str
    files: Sequence[Path] = ()


class Listing(NamedTuple):
    """What a data set format finds on disk.

    Attributes:
        records: The images, sorted by `image_id`.
        faults: What is wrong; a listing with faults must not be used for results.
        unused: Files, and folders with everything in them, that are not used.
        read: Other files that were read, such as lists, and in which encoding.
    """

    records: list[Record]
    faults: list[Fault]
    unused: Sequence[Unused] = ()
    read: Mapping[Path, str] = MappingProxyType({})


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

    Letters, marks and digits of any script stay, composed (NFC); characters other than these and
    `. _ -` become `_`, and so does a first point, which would hide the file or leave the folder.
    A part that is too long for a file name is cut, with a digest at its end.

    Args:
        parts: Names, the category first and the file's stem last.

    Returns:
        The parts with `/` between them.

    Raises:
        ValueError: If a part is empty.
    """
    if not parts or not all(parts):
        raise ValueError(f"an image id needs non-empty parts, but got {list(parts)}")
    return "/".join(map(_safe_part, parts))


def _safe_part(part: str) -> str:
    is_safe = {c: c in "._-" or unicodedata.category(c)[0] in "LMN" for c in nfc(part)}
    safe = "".join(c if is_safe[c] else "_" for c in nfc(part))
    if safe[0] == ".":
        safe = "_" + safe[1:]
    elif unicodedata.category(safe[0])[0] == "M":  # it would join the slash before it
        safe = "_" + safe
    encoded = safe.encode()
    if len(encoded) <= _MAX_PART_BYTES:
        return safe
    mark = "-" + hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: _MAX_PART_BYTES - len(mark)].decode(errors="ignore") + mark


def with_unique_ids(records: Iterable[Record]) -> list[Record]:
    """Sort records by their ids, and mark those that differ only in what an id cannot hold.

    `a b.png` and `a+b.png` would both be `a_b`; each gets a digest of its name at the end. Images
    that have one name in all but the ending keep one id, for the check to find.
    """
    by_id: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_id[record.image_id].append(record)
    unique = []
    for image_id, same in by_id.items():
        names = [
            "\0".join(map(str, (r.category, r.split, r.defect_type, nfc(r.image_path.stem))))
            for r in same
        ]
        for record, name in zip(same, names, strict=True):
            if len(set(names)) > 1:
                folders, _, stem = image_id.rpartition("/")
                mark = hashlib.sha256(name.encode()).hexdigest()[:6]
                record = replace(record, image_id=f"{folders}/{_safe_part(f'{stem}-{mark}')}")
            unique.append(record)
    return sorted(unique, key=lambda record: (record.image_id, str(record.image_path)))


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


def nfc(name: str) -> str:
    """Compose a name, so that one with `ü` and one with `u` and a diaeresis are the same."""
    return unicodedata.normalize("NFC", name)


def printable(text: str) -> str:
    """Write what cannot be printed, such as bytes of a name that is no UTF-8, by its number."""
    text = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def is_utf8(name: str) -> bool:
    """Whether a name from the disk is valid UTF-8; other bytes arrive as surrogates."""
    return not any("\ud800" <= c <= "\udfff" for c in name)


def is_system(name: str) -> bool:
    """Whether a file or folder is hidden or left behind by a system, such as `.DS_Store`."""
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM_NAMES


def list_names(folder: Path) -> tuple[list[str], list[str]]:
    """List a folder's sub-folders and files, sorted, that a data set can use.

    Left out are hidden entries and what systems leave behind (`is_system`), and what
    `realitycheck.datasets.contents.take_stock` reports: pipes, sockets, devices, links to them or
    to nothing, folders that cannot be read, links in a circle, names that are no UTF-8. Other
    links are followed.

    Args:
        folder: An existing folder.

    Returns:
        Names of the folders, and names of the files.
    """
    folders, files = [], []
    for entry in entries_of(folder):
        if entry.trouble is None and not is_system(entry.path.name):
            (folders if entry.is_folder else files).append(entry.path.name)
    return sorted(folders), sorted(files)


class Entry(NamedTuple):
    """One entry of a folder.

    Attributes:
        path: Where it is.
        is_folder: Whether it is a folder, or a link to one.
        trouble: Why it cannot be used, whatever its name; None: nothing.
        place: Device and inode of a folder.
    """

    path: Path
    is_folder: bool
    trouble: str | None
    place: tuple[int, int] | None = None


def entries_of(folder: Path) -> list[Entry]:
    """List a folder, sorted by name, and say what is no ordinary file or readable folder.

    Nothing is opened but folders, so that a pipe does not keep anybody waiting.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # its own entry, in the folder above, says why
        return []
    return [_entry(Path(folder) / name) for name in names]


def _entry(path: Path) -> Entry:
    if not is_utf8(path.name):
        return Entry(path, False, "a name that is no UTF-8")
    try:
        found = path.stat()
    except OSError as error:
        if not path.is_symlink():
            return Entry(path, False, f"something that cannot be read ({error.strerror})")
        target = os.readlink(path)
        if error.errno == errno.ELOOP:
            return Entry(path, False, f"a link in a circle, to {target}")
        return Entry(path, False, f"a link to {target}, which is not there")
    is_link = path.is_symlink()
    if kind := special_kind(found.st_mode):
        return Entry(path, False, f"a link to {kind}" if is_link else kind)
    if not stat.S_ISDIR(found.st_mode):
        return Entry(path, False, None)
    place = (found.st_dev, found.st_ino)
    inside = path.parent.resolve()
    if is_link and path.resolve() in (inside, *inside.parents):
        return Entry(path, True, f"a link in a circle, to {os.readlink(path)}", place)
    if not os.access(path, os.R_OK | os.X_OK):
        return Entry(path, True, "a folder that cannot be read (its rights)", place)
    return Entry(path, True, None, place)


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
