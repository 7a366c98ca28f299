"""List a user's own folder of good (OK) and defective (NOK) images.

Layout, below `root` or `root/images`, where everything in brackets may be left out:

    [train|test]/OK/[category]/name.png
    [train|test]/NOK/[category]/[defect_type]/name.png
    groups.csv                                          image,group

and below `root/masks` (or `mask`, `ground_truth`, `gt`) the same folders again, where the levels
train|test and OK|NOK may be left out, with `name.png`, `name_mask.png`, `name_GT.png` or the like;
or the masks beside their images, under such a name. Case of folders does not count, nor how a
letter is composed (NFC, NFD). OK or NOK may be absent or empty: then half of what is asked stays
unknown.

How a folder below NOK is read: it is a category if OK has a folder of that name, or if OK has
nothing but folders (so that every image belongs to one); it is a defect type if the OK images lie
directly in OK. Images that lie in no category folder belong to the category `product`. A category
without a single good image is refused: most often it is a defect type in the wrong place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from realitycheck.core.constants import IMAGE_SUFFIXES, LABELS, SPLITS
from realitycheck.core.settings import FilePath
from realitycheck.datasets.groups import GROUPS, attach_groups, check_groups
from realitycheck.datasets.locked import lock
from realitycheck.datasets.mask_names import MASK_FOLDERS, image_stems, is_mask_folder
from realitycheck.datasets.records import (
    Fault,
    Faults,
    Listing,
    Record,
    Unused,
    chance_order,
    list_names,
    make_image_id,
    missing_root,
    nfc,
    with_unique_ids,
)
from realitycheck.datasets.settings import DatasetBlock

LICENCE = "your own images, under your own terms; this page shows all of them"
DEFAULT_CATEGORY = "product"

_LAYOUT = "OK/ and NOK/, or images/OK/ and images/NOK/"


class FolderDataset(DatasetBlock):
    """Images of one's own: `OK/` and `NOK/[defect type]/`, with `masks/` beside them."""

    format: Literal["folder"]
    root: FilePath = Field(description="folder that holds the images")

    layout: ClassVar[str] = "OK/ and NOK/"
    draws_train: ClassVar[bool] = True

    @model_validator(mode="after")
    def _check_split(self) -> FolderDataset:
        if self.split.kind == "paper":
            raise ValueError(
                "split kind 'paper' is defined for the study's data sets only; use all"
            )
        return self


Settings = FolderDataset


def list_images(root: Path, settings: Mapping[str, Any]) -> Listing:
    """List the images by a block's settings; see `list_folder`."""
    split = settings["split"]
    return list_folder(
        root,
        split=split["kind"],
        train_fraction=split["train_fraction"],
        confirm_fraction=split.get("confirm_fraction", 0.0),
        seed=split["seed"],
    )


@dataclass(frozen=True)
class _Found:
    """An image file: `split` (None without such a level), label folder, folders below, stem.

    Names are composed (NFC); `path` is as the disk has it.
    """

    split: str | None
    label: str
    label_folder: str
    split_folder: str | None
    parts: tuple[str, ...]
    path: Path

    @property
    def stem(self) -> str:
        return nfc(self.path.stem)


def list_folder(
    root: Path,
    *,
    split: str = "all",
    train_fraction: float = 0.0,
    confirm_fraction: float = 0.0,
    seed: int = 0,
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
        confirm_fraction: Share that is locked before, see `realitycheck.datasets.locked`.
        seed: Of both draws.

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
    faults = Faults()
    unused: list[Unused] = []
    base = _one_of(root, ("images",), faults) or root
    found = _find_images(base, root, split == "official", faults, unused)
    found, beside = _part_masks(found, faults)
    records = _name_records(found, faults)
    records = _attach_masks(_one_of(root, MASK_FOLDERS, faults), found, beside, records, faults)
    groups = next((root / name for name in list_names(root)[1] if name.lower() == GROUPS), None)
    read = {}
    if groups:
        records, read[groups] = attach_groups(root, base, records, faults, groups)
    records = lock(with_unique_ids(records), fraction=confirm_fraction, seed=seed)
    records = _draw_train(records, train_fraction, seed)
    _check_categories(records, faults)
    if groups:
        check_groups(groups, records, faults)
    return Listing(with_unique_ids(records), faults, unused, read)


def _one_of(root: Path, names: tuple[str, ...], faults: Faults) -> Path | None:
    """Find the one folder below `root` with one of these names, whatever the case."""
    folders = [name for name in list_names(root)[0] if name.lower() in names]
    found = [root / name for name in sorted(folders, key=lambda name: names.index(name.lower()))]
    if len(found) > 1:
        faults.add(
            found[1],
            f"expected one such folder, found {', '.join(path.name for path in found)}",
            f"put everything into {found[0].name}/, or move the others out of the data set",
        )
    return found[0] if found else None


def _find_images(
    base: Path, root: Path, is_official: bool, faults: Faults, unused: list[Unused]
) -> list[_Found]:
    """Walk the split and label levels; report what does not belong there."""
    folders, files = list_names(base)
    if remedy := _mvtec_remedy(base):
        faults.add(base, f"expected the folders {_LAYOUT}, found train/good", remedy)
        return []
    splits = {name: name.lower() for name in folders if name.lower() in SPLITS}
    if is_official and set(splits.values()) != set(SPLITS):
        faults.add(
            base,
            f"split 'official' expects the folders train and test, found {_listed(folders)}",
            "make both, or use split 'all'",
        )
        return []
    places = [(base / name, name, split) for name, split in splits.items()] or [(base, None, None)]
    found, empty = [], []
    if splits:
        faults += _strangers(base, root, folders, files, allowed=splits)
    for place, split_folder, split in places:
        folders, files = list_names(place)
        labels = {name: name.upper() for name in folders if name.upper() in LABELS}
        if not labels:
            faults.add(
                place,
                f"expected the folders OK and NOK, found {_listed(folders)}",
                "rename or make OK and NOK: good parts belong into OK, defective ones into NOK",
            )
        faults += _strangers(place, root, folders, files, allowed=labels)
        for name, label in labels.items():
            before = len(found), len(faults)
            for parts, path in _walk_label(place / name, label, faults):
                found.append(_Found(split, label, name, split_folder, parts, path))
            if (len(found), len(faults)) == before:
                empty.append(place / name)
    for folder in empty:
        put = f"put {', '.join(IMAGE_SUFFIXES)} files there"
        if found:
            reason = f"there are no {'good' if folder.name.upper() == 'OK' else 'defective'} parts"
            unused.append(Unused(folder, reason, put))
        else:
            faults.add(folder, "expected images, found none", f"{put}, or remove the folder")
    return found


def _mvtec_remedy(place: Path) -> str | None:
    """Say how a folder in the layout of MVTec AD is read; None where it has another."""
    for root, category in ((place.parent, place.name), (place, None)):
        names = [category] if category else list_names(place)[0]
        found = [name for name in names if (root / name / "train" / "good").is_dir()]
        if found:
            return (
                "this is the layout of MVTec AD: set format: mvtec_ad, "
                f"root: {root}, categories: [{', '.join(found)}]"
            )
    return None


def _part_masks(
    found: list[_Found], faults: Faults
) -> tuple[list[_Found], dict[tuple[Path, str], list[Path]]]:
    """Part images from masks that lie beside them under `name_mask`, `name_GT` or the like.

    Returns:
        The images, and the masks by the folder and stem of their image.
    """
    stems: dict[Path, set[str]] = defaultdict(set)
    for image in found:
        stems[image.path.parent].add(image.stem)
    images, beside = [], defaultdict(list)
    folders: dict[Path, list[_Found]] = defaultdict(list)
    for image in found:
        folder = image.path.parent
        of = next((s for s in image_stems(image.stem)[1:] if s in stems[folder]), None)
        if of is not None:
            beside[folder, of].append(image.path)
            continue
        images.append(image)
        if image.parts and is_mask_folder(image.parts[-1]):
            folders[folder].append(image)
    for folder, inside in folders.items():
        others = {i.stem for i in found if i.path.parent != folder and i.label == inside[0].label}
        if all(others.intersection(image_stems(image.stem)) for image in inside):
            faults.add(
                folder,
                f"expected images of parts below {inside[0].label}, found {len(inside)} that "
                "are named as the masks of others",
                "move them into masks/ beside images/, with the same folders and names as "
                "their images",
            )
    return images, beside


def _strangers(
    place: Path, root: Path, folders: list[str], files: list[str], *, allowed: Iterable[str]
) -> list[Fault]:
    """Report images and folders at a level that is not read.

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


def _walk_label(folder: Path, label: str, faults: Faults) -> Iterable[tuple[tuple[str, ...], Path]]:
    """Yield the folders below a label folder, and the path, of each image."""
    deepest = 1 if label == "OK" else 2

    def walk(place: Path, parts: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], Path]]:
        folders, files = list_names(place)
        if parts and not folders and not files:
            faults.add(place, "expected images, found an empty folder", "fill it, or remove it")
        for name in files:
            if _is_image(name):
                yield parts, place / name
            else:
                faults.add(
                    place / name,
                    f"expected an image ({', '.join(IMAGE_SUFFIXES)}), found another file",
                    "convert it, or move it out of the data set",
                )
        for name in folders:
            if len(parts) == deepest:
                shape = "OK/[category]" if label == "OK" else "NOK/[category]/[defect_type]"
                faults.add(
                    place / name,
                    f"expected at most {shape}, found a folder below it",
                    "move its images one level up",
                )
            else:
                yield from walk(place / name, (*parts, nfc(name)))

    yield from walk(folder, ())


def _name_records(found: list[_Found], faults: Faults) -> list[Record]:
    """Read the folders as category and defect type; one record for each entry of `found`."""
    good = [image.parts for image in found if image.label == "OK"]
    categories = {parts[0] for parts in good if parts}
    if not good:  # then a folder that holds folders is a category, and any other a defect type
        categories = {image.parts[0] for image in found if len(image.parts) == 2}
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
                image_id=make_image_id((*levels, image.stem)),
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
        faults.add(
            folder,
            f"expected a category, because it holds folders, but OK has no folder {category}",
            f"put the good images of {category} into OK/{category}, or move the images one "
            "level up",
        )
    return records


def _attach_masks(
    folder: Path | None,
    found: list[_Found],
    beside: dict[tuple[Path, str], list[Path]],
    records: list[Record],
    faults: Faults,
) -> list[Record]:
    """Give each record its mask; report masks without image, and masks or images with two."""
    masks = _find_masks(folder, faults) if folder else {}
    index_of: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, image in enumerate(found):
        for key in _mask_keys(image):
            index_of[key].append(index)
    claims: dict[Path, list[int]] = {}
    for (*parts, stem), paths in masks.items():
        keys = [(*parts, of) for of in image_stems(stem)]
        owners = next((index_of[key] for key in keys if key in index_of), None)
        if owners:
            claims.update(dict.fromkeys(paths, owners))
    mask_of: dict[int, list[Path]] = defaultdict(list)
    for index, image in enumerate(found):
        mask_of[index] += beside.get((image.path.parent, image.stem), [])
    for path, indices in claims.items():
        # OK/001, NOK/001 and one masks/001: a mask without label level belongs to the defect.
        bad = [index for index in indices if records[index].label == "NOK"]
        indices = bad or indices
        # a.png beside a.jpg is reported as two images with one id; not here once more.
        if len({(found[index].path.parent, found[index].stem) for index in indices}) > 1:
            names = ", ".join(str(found[index].path) for index in indices)
            faults.add(
                path,
                f"expected the mask of one image, found {len(indices)}: {names}",
                f"repeat the levels train|test and OK|NOK below {folder.name}/",
            )
            continue
        for index in indices:
            mask_of[index].append(path)
    for paths in masks.values():
        for path in paths:
            if path not in claims:
                faults.add(
                    path,
                    "expected an image in the same place below OK or NOK for this mask, found none",
                    "restore the image, correct the mask's name, or remove the mask",
                )
    attached = []
    for index, record in enumerate(records):
        paths = mask_of.get(index, [])
        if len(paths) > 1:
            faults.add(
                record.image_path,
                f"expected one mask, found {len(paths)}: {', '.join(map(str, paths))}",
                "remove all but one",
            )
        attached.append(replace(record, mask_path=paths[0]) if paths else record)
    return attached


def _find_masks(folder: Path, faults: Faults) -> dict[tuple[str, ...], list[Path]]:
    """List the mask files by their folders and stem below `folder`."""
    masks: dict[tuple[str, ...], list[Path]] = defaultdict(list)

    def walk(place: Path, parts: tuple[str, ...]) -> None:
        folders, files = list_names(place)
        for name in files:
            path = place / name
            if _is_image(name):
                masks[(*parts, nfc(path.stem))].append(path)
            else:
                faults.add(
                    path,
                    f"expected a mask ({', '.join(IMAGE_SUFFIXES)}), found another file",
                    "convert it to PNG, or move it out of the data set",
                )
        for name in folders:
            if len(parts) < 4:  # split, label, category, defect type
                walk(place / name, (*parts, nfc(name)))
            else:
                faults.add(
                    place / name,
                    "expected at most split, label, category and defect type below masks/, "
                    "found a folder below them",
                    "move its masks up",
                )

    walk(folder, ())
    return masks


def _mask_keys(image: _Found) -> set[tuple[str, ...]]:
    """List where the mask of an image may lie: without split level, without label level."""
    splits = {(), (image.split_folder,)} if image.split_folder else {()}
    return {
        (*split, *label, *image.parts, image.stem)
        for split in splits
        for label in ((), (image.label_folder,))
    }


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


def _check_categories(records: list[Record], faults: Faults) -> None:
    good = {record.category for record in records if record.label == "OK"}
    if not good:
        return  # Reported as a set without OK images.
    for category in sorted({record.category for record in records} - good):
        first = next(record for record in records if record.category == category)
        faults.add(
            first.image_path.parent,
            f"expected good images of the category {category!r}, because OK has "
            f"{_listed(sorted(good))}, found none",
            "add them; or, if it is a defect type, put it into NOK/[category]/[defect_type]",
        )


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
