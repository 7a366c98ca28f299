"""List a user's own folder of good (OK) and defective (NOK) images.

Layout, below `root` or `root/images`, where everything in brackets may be left out:

    [train|test]/OK/[category]/name.png
    [train|test]/NOK/[category]/[defect_type]/name.png
    groups.csv                                          image,group

and below `root/masks` the same folders again, where the levels train|test and OK|NOK may be left
out, with `name.png` or `name_mask.png`. `OK` and `NOK` may be written in lower case.

How a folder below NOK is read: it is a category if OK has a folder of that name, or if OK has
nothing but folders (so that every image belongs to one); it is a defect type if the OK images lie
directly in OK. Images that lie in no category folder belong to the category `product`. A category
without a single good image is refused: most often it is a defect type in the wrong place.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from realitycheck.datasets.records import (
    LABELS,
    SPLITS,
    Fault,
    Listing,
    Record,
    chance_order,
    list_names,
    make_image_id,
    missing_root,
)
from realitycheck.images import IMAGE_SUFFIXES

DEFAULT_CATEGORY = "product"

_MASKS = "masks"
_GROUPS = "groups.csv"
_MASK_ENDING = "_mask"
_LAYOUT = "OK/ and NOK/, or images/OK/ and images/NOK/"


@dataclass(frozen=True)
class _Found:
    """An image file: `split` (None without such a level), label folder, folders below, name."""

    split: str | None
    label: str
    label_folder: str
    split_folder: str | None
    parts: tuple[str, ...]
    path: Path


def list_folder(
    root: Path, *, split: str = "all", train_fraction: float = 0.0, seed: int = 0
) -> Listing:
    """List the images of a folder; the module says which layouts.

    - `all`: every image is test, save those below train/, if there is such a folder, and those
      that `train_fraction` draws.
    - `official`: train/ and test/ must both be there, and say it.

    Args:
        root: The folder.
        split: `all` or `official`.
        train_fraction: Share, 0 up to but without 1, of each category's good test images that
            become train. A group (`groups.csv`) is moved as a whole, and stays if one of its
            images is NOK or it spans categories.
        seed: Of that draw.

    Returns:
        Records and faults. Ids are `category/[train|test/]OK|NOK/[defect_type/]stem`.

    Raises:
        ValueError: If `split` is unknown, `train_fraction` is out of range, or both want to say
            what is train.
    """
    root = Path(root)
    if split not in ("all", "official"):
        raise ValueError(f"folder: split must be all or official, found {split!r}")
    if not 0 <= train_fraction < 1:
        raise ValueError(
            f"folder: train_fraction must lie in 0 to 1 without 1, found {train_fraction}"
        )
    if split == "official" and train_fraction:
        raise ValueError(
            "folder: split 'official' takes train/ and test/ as they are, but train_fraction is "
            f"{train_fraction}; set it to 0, or use split 'all'"
        )
    fault = missing_root(root, _LAYOUT)
    if fault:
        return Listing([], [fault])
    faults: list[Fault] = []
    base = root / "images" if (root / "images").is_dir() else root
    found = _find_images(base, root, split == "official", faults)
    records = _name_records(found, faults)
    records = _attach_masks(root, found, records, faults)
    records = _attach_groups(root, base, records, faults)
    records = _draw_train(records, train_fraction, seed)
    _check_categories(records, faults)
    _check_groups(root, records, faults)
    return Listing(sorted(records, key=lambda record: record.image_id), faults)


def _find_images(base: Path, root: Path, is_official: bool, faults: list[Fault]) -> list[_Found]:
    """Walk the split and label levels; report what does not belong there."""
    folders, files = list_names(base)
    splits = {name: name.lower() for name in folders if name.lower() in SPLITS}
    if is_official and set(splits.values()) != set(SPLITS):
        faults.append(
            Fault(
                base,
                f"split 'official' expects the folders train and test, found {_listed(folders)}",
                "make both, or use split 'all'",
            )
        )
        return []
    places = [(base / name, name, split) for name, split in splits.items()] or [(base, None, None)]
    found = []
    if splits:
        faults += _strangers(base, root, folders, files, allowed=splits)
    for place, split_folder, split in places:
        folders, files = list_names(place)
        labels = {name: name.upper() for name in folders if name.upper() in LABELS}
        missing = [label for label in LABELS if label not in labels.values()]
        # Only good parts in train/ are usual.
        if missing and not (split == "train" and missing == ["NOK"]):
            faults.append(
                Fault(
                    place,
                    f"expected the folders OK and NOK, found {_listed(folders)}",
                    f"rename or make {' and '.join(missing)}: good parts belong into OK, "
                    "defective ones into NOK",
                )
            )
        faults += _strangers(place, root, folders, files, allowed=labels)
        for name, label in labels.items():
            before = len(found)
            for parts, path in _walk_label(place / name, label, faults):
                found.append(_Found(split, label, name, split_folder, parts, path))
            if len(found) == before:
                faults.append(
                    Fault(
                        place / name,
                        "expected images, found none",
                        f"put {', '.join(IMAGE_SUFFIXES)} files there, or remove the folder",
                    )
                )
    return found


def _strangers(
    place: Path, root: Path, folders: list[str], files: list[str], *, allowed: Iterable[str]
) -> list[Fault]:
    """Report images and folders at a level where nobody would look at them.

    At the root itself only images are reported: other things, such as notes, may lie there.
    """
    faults = [
        Fault(
            place / name,
            "expected images only below OK and NOK, found one here",
            "move it into OK or NOK, or out of the data set",
        )
        for name in files
        if _is_image(name)
    ]
    if place != root:
        faults += [
            Fault(
                place / name,
                f"expected only {' and '.join(LABELS)} here, found another folder",
                "move its images into OK or NOK, or the folder out of the data set",
            )
            for name in folders
            if name not in allowed
        ]
    return faults


def _walk_label(
    folder: Path, label: str, faults: list[Fault]
) -> Iterable[tuple[tuple[str, ...], Path]]:
    """Yield the folders below a label folder, and the path, of each image."""
    deepest = 1 if label == "OK" else 2

    def walk(place: Path, parts: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], Path]]:
        folders, files = list_names(place)
        if parts and not folders and not files:
            faults.append(
                Fault(place, "expected images, found an empty folder", "fill it, or remove it")
            )
        for name in files:
            if _is_image(name):
                yield parts, place / name
            else:
                faults.append(
                    Fault(
                        place / name,
                        f"expected an image ({', '.join(IMAGE_SUFFIXES)}), found another file",
                        "convert it, or move it out of the data set",
                    )
                )
        for name in folders:
            if len(parts) == deepest:
                shape = "OK/[category]" if label == "OK" else "NOK/[category]/[defect_type]"
                faults.append(
                    Fault(
                        place / name,
                        f"expected at most {shape}, found a folder below it",
                        "move its images one level up",
                    )
                )
            else:
                yield from walk(place / name, (*parts, name))

    yield from walk(folder, ())


def _name_records(found: list[_Found], faults: list[Fault]) -> list[Record]:
    """Read the folders as category and defect type; one record for each entry of `found`."""
    good = [image.parts for image in found if image.label == "OK"]
    categories = {parts[0] for parts in good if parts}
    is_flat = not good or () in good
    misplaced = set()
    records = []
    for image in found:
        category, defect_type = DEFAULT_CATEGORY, None
        if len(image.parts) == 2:
            category, defect_type = image.parts
            if is_flat and category not in categories:
                misplaced.add((image.path.parents[1], category))
        elif len(image.parts) == 1:
            if image.label == "OK" or image.parts[0] in categories or not is_flat:
                category = image.parts[0]
            else:
                defect_type = image.parts[0]
        levels = [category]
        if image.split:
            levels.append(image.split)
        levels.append(image.label)
        if defect_type:
            levels.append(defect_type)
        records.append(
            Record(
                image_id=make_image_id((*levels, image.path.stem)),
                category=category,
                label=image.label,
                defect_type=defect_type,
                split=image.split or "test",
                group=None,
                image_path=image.path,
                mask_path=None,
            )
        )
    for folder, category in sorted(misplaced):
        faults.append(
            Fault(
                folder,
                f"expected a category, because it holds folders, but OK has no folder {category}",
                f"put the good images of {category} into OK/{category}, or move the images one "
                "level up",
            )
        )
    return records


def _attach_masks(
    root: Path, found: list[_Found], records: list[Record], faults: list[Fault]
) -> list[Record]:
    """Give each record its mask; report masks without image, and masks or images with two."""
    folder = root / _MASKS
    if not folder.is_dir():
        return records
    masks = _find_masks(folder, faults)
    claims: dict[Path, list[int]] = defaultdict(list)
    for index, image in enumerate(found):
        for key in _mask_keys(image):
            for path in masks.get(key, ()):
                claims[path].append(index)
    mask_of: dict[int, list[Path]] = defaultdict(list)
    for path, indices in claims.items():
        # OK/001, NOK/001 and one masks/001: a mask without label level belongs to the defect.
        bad = [index for index in indices if records[index].label == "NOK"]
        indices = bad or indices
        # a.png beside a.jpg is reported as two images with one id; not here once more.
        if len({records[index].image_id for index in indices}) > 1:
            names = ", ".join(str(found[index].path) for index in indices)
            faults.append(
                Fault(
                    path,
                    f"expected the mask of one image, found {len(indices)}: {names}",
                    "repeat the levels train|test and OK|NOK below masks/",
                )
            )
            continue
        for index in indices:
            mask_of[index].append(path)
    for paths in masks.values():
        for path in paths:
            if path not in claims:
                faults.append(
                    Fault(
                        path,
                        "expected an image in the same place below OK or NOK for this mask, found "
                        "none",
                        "restore the image, correct the mask's name, or remove the mask",
                    )
                )
    attached = []
    for index, record in enumerate(records):
        paths = mask_of.get(index, [])
        if len(paths) > 1:
            faults.append(
                Fault(
                    record.image_path,
                    f"expected one mask, found {len(paths)}: {', '.join(map(str, paths))}",
                    "remove all but one",
                )
            )
        attached.append(replace(record, mask_path=paths[0]) if paths else record)
    return attached


def _find_masks(folder: Path, faults: list[Fault]) -> dict[tuple[str, ...], list[Path]]:
    """List the mask files by their folders and stem below `folder`."""
    masks: dict[tuple[str, ...], list[Path]] = defaultdict(list)

    def walk(place: Path, parts: tuple[str, ...]) -> None:
        folders, files = list_names(place)
        for name in files:
            path = place / name
            if _is_image(name):
                masks[(*parts, path.stem)].append(path)
            else:
                faults.append(
                    Fault(
                        path,
                        f"expected a mask ({', '.join(IMAGE_SUFFIXES)}), found another file",
                        "convert it to PNG, or move it out of the data set",
                    )
                )
        for name in folders:
            if len(parts) < 4:  # split, label, category, defect type
                walk(place / name, (*parts, name))
            else:
                faults.append(
                    Fault(
                        place / name,
                        "expected at most split, label, category and defect type below masks/, "
                        "found a folder below them",
                        "move its masks up",
                    )
                )

    walk(folder, ())
    return masks


def _mask_keys(image: _Found) -> set[tuple[str, ...]]:
    """List where the mask of an image may lie: without split level, without label level."""
    splits = {(), (image.split_folder,)} if image.split_folder else {()}
    stem = image.path.stem
    return {
        (*split, *label, *image.parts, name)
        for split in splits
        for label in ((), (image.label_folder,))
        for name in (stem, stem + _MASK_ENDING)
    }


def _attach_groups(
    root: Path, base: Path, records: list[Record], faults: list[Fault]
) -> list[Record]:
    """Read `groups.csv`, if there is one; images it does not name are groups of their own."""
    path = root / _GROUPS
    if not path.is_file():
        return records
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        if not {"image", "group"} <= set(columns):
            faults.append(
                Fault(
                    path,
                    f"expected the columns image and group, found {_listed(columns)}",
                    "correct its first line",
                )
            )
            return records
        rows = [(reader.line_num, row["image"] or "", row["group"] or "") for row in reader]
    index_of = {}
    for index, record in enumerate(records):
        for start in (base, root):
            index_of[record.image_path.relative_to(start).as_posix()] = index
    groups: dict[int, str] = {}
    for line, image, group in rows:
        index = index_of.get(PurePosixPath(image.strip().replace("\\", "/")).as_posix())
        if index is None or not group.strip() or groups.get(index, group.strip()) != group.strip():
            if index is None:
                problem = f"expected the path of an image below {root}, found {image!r}"
            elif not group.strip():
                problem = f"expected a group for {image}, found none"
            else:
                problem = f"expected one group for {image}, found {groups[index]!r} and {group!r}"
            faults.append(Fault(path, f"line {line}: {problem}", "correct the line, or remove it"))
            continue
        groups[index] = group.strip()
    return [
        replace(record, group=groups[index]) if index in groups else record
        for index, record in enumerate(records)
    ]


def _draw_train(records: list[Record], fraction: float, seed: int) -> list[Record]:
    """Turn a share of each category's good test images into train images, group by group."""
    if not fraction:
        return records
    categories_of: dict[str | None, set[str]] = defaultdict(set)
    for record in records:
        categories_of[record.group].add(record.category)
    fixed_groups = {
        record.group
        for record in records
        if record.group is not None
        and (record.label == "NOK" or len(categories_of[record.group]) > 1)
    }
    units: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    n_good: dict[str, int] = defaultdict(int)
    for record in records:
        if record.label == "OK" and record.split == "test":
            n_good[record.category] += 1
            if record.group not in fixed_groups:
                unit = f"image {record.image_id}"
                if record.group is not None:
                    unit = f"group {record.group}"
                units[record.category][unit].append(record.image_id)
    drawn: set[str] = set()
    for category, members in units.items():
        wanted = fraction * n_good[category]
        n_drawn = 0
        for unit in chance_order(members, seed=seed, purpose=f"folder {category} train"):
            size = len(members[unit])
            # Take a unit if that brings the count nearer to what is wanted.
            if abs(n_drawn + size - wanted) < abs(n_drawn - wanted):
                drawn.update(members[unit])
                n_drawn += size
    return [
        replace(record, split="train") if record.image_id in drawn else record for record in records
    ]


def _check_categories(records: list[Record], faults: list[Fault]) -> None:
    good = {record.category for record in records if record.label == "OK"}
    if not good:
        return  # Reported as a set without OK images.
    for category in sorted({record.category for record in records} - good):
        first = next(record for record in records if record.category == category)
        faults.append(
            Fault(
                first.image_path.parent,
                f"expected good images of the category {category!r}, because OK has "
                f"{_listed(sorted(good))}, found none",
                "add them; or, if it is a defect type, put it into NOK/[category]/[defect_type]",
            )
        )


def _check_groups(root: Path, records: list[Record], faults: list[Fault]) -> None:
    splits_of: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.group is not None:
            splits_of[record.group].add(record.split)
    for group, splits in sorted(splits_of.items()):
        if len(splits) > 1:
            faults.append(
                Fault(
                    root / _GROUPS,
                    f"expected each group in one of train and test, found {group!r} in both",
                    "move its images into one of them, or the part is learned and then tested",
                )
            )


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
