"""Nothing below a data set's folder is passed over: it is used, or named with reason and remedy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from realitycheck.core.constants import IMAGE_SUFFIXES
from realitycheck.datasets.groups import GROUPS, looks_like_groups
from realitycheck.datasets.mask_names import is_mask_folder
from realitycheck.datasets.records import (
    Entry,
    Fault,
    Listing,
    Unused,
    entries_of,
    is_system,
    nfc,
)

#: Endings of pictures and arrays that no rule reads; whoever has them means them as data.
_OTHER_PICTURES = (
    (".webp", ".heic", ".heif", ".avif", ".gif", ".jfif", ".jpe", ".jp2", ".j2k", ".jxl", ".dib")
    + (".pgm", ".ppm", ".pbm", ".pnm", ".exr", ".hdr", ".dcm", ".dicom", ".nii", ".nrrd", ".mha")
    + (".npy", ".npz", ".raw", ".dng", ".cr2", ".nef", ".arw", ".svs", ".czi", ".psd", ".tga")
)
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
_ANNOTATIONS = (".json", ".xml", ".xsd", ".mat", ".h5", ".hdf5", ".mask")
_VALIDATION = ("val", "valid", "validation", "dev", "eval")


def take_stock(root: Path, listing: Listing, *, ours: Iterable[Path] = ()) -> Listing:
    """Compare what lies below a folder with what a format's listing made of it.

    A fault is whatever looks like data and is not used: pictures in folders or of kinds that no
    rule reads, a second or misspelt `groups.csv`; and what no program should touch: pipes,
    sockets, devices, links to them or to nothing, links in a circle, names that are no UTF-8. The
    rest is listed as not used, hidden and system files in one line.

    Args:
        root: The folder; where it is none, the listing says so already.
        listing: What the format found.
        ours: Folders of this program that may lie below `root`.

    Returns:
        The listing with these faults, and all that is not used.
    """
    root = Path(root)
    ours = {path.resolve() for path in ours}
    faults, unused = list(listing.faults), list(listing.unused)
    used = {record.image_path for record in listing.records} | set(listing.read)
    used.update(record.mask_path for record in listing.records if record.mask_path is not None)
    used.update(path for item in unused for path in item.files)
    used_folders = {folder for path in used for folder in path.parents}
    told = {fault.path for fault in faults} - {root} - used_folders
    told.update(item.path for item in unused if not item.files)

    pictures: dict[Path, list[Path]] = defaultdict(list)
    others: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    below: dict[Path, list[Path]] = defaultdict(list)
    system: list[Path] = []
    for entry in _walk(root, system, ours):
        place = next((p for p in (entry.path, *entry.path.parents) if p in told), None)
        if entry.trouble:
            faults.append(_trouble(entry))
        elif entry.path in used:
            continue
        elif place is not None:
            below[place].append(entry.path)
        elif looks_like_groups(entry.path):
            faults.append(_other_groups(entry.path, root))
        elif entry.path.suffix.lower() in (*IMAGE_SUFFIXES, *_OTHER_PICTURES):
            pictures[_topmost(entry.path, root, used_folders)].append(entry.path)
        else:
            others[entry.path.parent, entry.path.suffix.lower()].append(entry.path)
    if listing.records or not faults:  # else the listing says what it looked for
        faults += [_unread(place, paths) for place, paths in sorted(pictures.items())]
    unused = [item._replace(files=item.files or below[item.path]) for item in unused]
    for (folder, suffix), files in sorted(others.items()):
        place = files[0] if len(files) == 1 else folder / f"*{suffix}"
        unused.append(Unused(place, *_why_other(suffix), files))
    if system:
        reason = f"hidden and system files (first: {system[0].relative_to(root)})"
        unused.append(Unused(root, reason, "nothing to do", system))
    return Listing(listing.records, faults, unused, listing.read)


def _walk(root: Path, system: list[Path], ours: set[Path]) -> Iterator[Entry]:
    """Yield what is no usable folder below `root`; system files go into a list of their own."""

    def walk(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Entry]:
        for entry in entries_of(folder):
            if is_system(entry.path.name):
                system.append(entry.path)
            elif not entry.is_folder or entry.trouble:
                yield entry
            elif entry.place in above:
                yield entry._replace(trouble="a link in a circle")
            elif not (ours and entry.path.resolve() in ours):
                yield from walk(entry.path, (*above, entry.place))

    if root.is_dir():
        found = root.stat()
        yield from walk(root, ((found.st_dev, found.st_ino),))


def _topmost(path: Path, root: Path, used_folders: set[Path]) -> Path:
    """The topmost folder above a file that holds nothing that is used; else the file's folder."""
    topmost = path.parent
    for folder in path.parents:
        if folder == root or folder in used_folders:
            break
        topmost = folder
    return topmost


def _trouble(entry: Entry) -> Fault:
    remedy = "move it out of the data set, or put the file itself there"
    if entry.trouble == "a name that is no UTF-8":
        remedy = "rename it (convmv -f latin1 -t utf8 renames whole folders)"
    elif "circle" in entry.trouble:
        remedy = "remove the link"
    elif "rights" in entry.trouble or "cannot be read" in entry.trouble:
        remedy = "correct its rights (chmod), or move it out of the data set"
    return Fault(entry.path, f"expected a file or folder, found {entry.trouble}", remedy)


def _other_groups(path: Path, root: Path) -> Fault:
    return Fault(
        path,
        f"expected groups of images in {root / GROUPS} only, found another file that looks like it",
        f"save it as {GROUPS} (CSV, UTF-8) in {root}, or move it out of the data set",
    )


def _unread(place: Path, paths: list[Path]) -> Fault:
    """Say that pictures lie where no rule looks, or are of a kind that none reads."""
    first = min(paths)
    count = "an image" if len(paths) == 1 else f"{len(paths)} images"
    where = f" (first: {first.relative_to(place)})"
    if all(path.suffix.lower() in _OTHER_PICTURES for path in paths):
        kinds = ", ".join(sorted({path.suffix.lower() for path in paths}))
        return Fault(
            place,
            f"expected {', '.join(IMAGE_SUFFIXES)} files, found {count} in {kinds}{where}",
            "convert them to PNG or TIFF, or move them out of the data set",
        )
    name = nfc(place.name).lower()
    remedy = (
        "good parts belong into OK/, defective ones into NOK/ or NOK/[defect_type]/, their masks "
        "into masks/ under the same names; or move the folder out of the data set"
    )
    if name in _VALIDATION:
        remedy = (
            "only train/ and test/ are read: move its images into test/, which is scored, or into "
            "train/, or the folder out of the data set"
        )
    elif is_mask_folder(name):
        remedy = (
            "masks belong into masks/ beside images/, with the same folders and names as their "
            "images; or move the folder out of the data set"
        )
    problem = f"expected no images where no rule reads them, found {count}{where}"
    return Fault(place, problem, remedy)


def _why_other(suffix: str) -> tuple[str, str]:
    """Reason and remedy for files of an ending that is neither a picture nor a table of groups."""
    if suffix in _ARCHIVES:
        return "archives are not looked into", "unpack it if it holds images"
    if suffix in _ANNOTATIONS:
        return (
            "annotations are read from mask images only",
            "export them as mask images into masks/ if they are to count",
        )
    return "neither images nor masks", "nothing to do"
