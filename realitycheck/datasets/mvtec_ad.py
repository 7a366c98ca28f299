"""List MVTec AD as its archive unpacks: `<category>/{train,test,ground_truth}/<type>/NNN.png`.

Products of one's own in the same layout are read as well: images of any kind, and masks under the
name of their image or with an ending (`_mask`, `_GT`), of any kind.

Source: Bergmann et al. (2019), "MVTec AD"; the subset of the study, section 3.1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from realitycheck.core.constants import IMAGE_SUFFIXES
from realitycheck.core.remote import RemoteFile
from realitycheck.core.settings import FilePath
from realitycheck.datasets.mask_names import image_stems
from realitycheck.datasets.records import (
    Fault,
    Faults,
    Listing,
    Record,
    Unused,
    draw,
    list_names,
    make_image_id,
    missing_root,
    nfc,
    with_unique_ids,
)
from realitycheck.datasets.settings import DatasetBlock, unknown_category

LICENCE = "CC BY-NC-SA 4.0: not for commercial use; cite MVTec AD"
ARCHIVES = (
    RemoteFile(
        name="mvtec_anomaly_detection.tar.xz",
        url="https://www.mydrive.ch/shares/150996/b52ecdcbf521176e9db9c731f2304b27/download/"
        "420938113-1629960298/mvtec_anomaly_detection.tar.xz",
        sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
        licence="CC-BY-NC-SA-4.0",
        size_bytes=5_264_982_680,
        mirrors=(
            "https://www.mydrive.ch/shares/38536/3830184030e49fe74747669442f0f282/download/"
            "420938113-1629952094/mvtec_anomaly_detection.tar.xz",
        ),
    ),
)

TEXTURES = ("carpet", "grid", "leather", "tile", "wood")
"""The five texture categories, which the study uses."""

CATEGORIES = (
    *("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut"),
    *("pill", "screw", "tile", "toothbrush", "transistor", "wood", "zipper"),
)
"""All 15 categories."""

SPLITS = ("official", "paper", "all")
PAPER_PERCENT = 20
"""Share of each category that the study inspects: its 253 OK and 76 NOK images are exactly this."""

_GOOD = "good"
_AGAIN = (
    "unpack the archive again; a product of your own may also have format: folder, with OK/, NOK/ "
    "and masks/"
)


class MvtecAdDataset(DatasetBlock):
    """MVTec AD in its own layout."""

    format: Literal["mvtec_ad"]
    root: FilePath = Field(
        "resources/datasets/mvtec_ad", description="folder with one folder a category"
    )
    categories: tuple[str, ...] = Field(TEXTURES, min_length=1, description="categories used")
    fetchable: ClassVar[bool] = True

    def category_names(self) -> list[str]:
        """The categories that the settings name."""
        return list(self.categories)

    def folder_faults(self, key: str, root: Path) -> Iterator[str]:
        """Yield the categories that are not there; before they are fetched, that do not exist."""
        inside = root.iterdir() if root.is_dir() else ()
        there = sorted(each.name for each in inside if each.is_dir())
        for category in self.categories:
            yield from unknown_category(f"{key}.categories", category, there or CATEGORIES)


Settings = MvtecAdDataset


def list_images(root: Path, settings: Mapping[str, Any]) -> Listing:
    """List the images by a block's settings; see `list_mvtec_ad`."""
    split = settings["split"]
    return list_mvtec_ad(
        root, categories=settings["categories"], split=split["kind"], seed=split["seed"]
    )


def list_mvtec_ad(
    root: Path,
    *,
    categories: Sequence[str] | None = TEXTURES,
    split: str = "official",
    seed: int = 0,
) -> Listing:
    """List the images of MVTec AD.

    - `official`: `test/` is test, `train/good/` is train.
    - `all`: every image; for this set the same as `official`, which leaves none out.
    - `paper`: per category 20 % of `train/good/` as OK and 20 % of the defective test images as
      NOK, rounded half up, are test; the rest of `train/good/` is train; other test images are not
      used. The draw of a category does not depend on which others are listed.

    Args:
        root: Folder of the categories.
        categories: Which ones; None: all folders found.
        split: `official`, `paper` or `all`.
        seed: Of the draw; the study published none.

    Returns:
        Records and faults. Ids are `category/train|test/type/NNN`.

    Raises:
        ValueError: If `split` is unknown.
    """
    root = Path(root)
    if split not in SPLITS:
        raise ValueError(f"mvtec_ad: split must be one of {', '.join(SPLITS)}, found {split!r}")
    fault = missing_root(root, "MVTec AD's categories (carpet, grid, …)")
    if fault:
        return Listing([], [fault])
    folders, _ = list_names(root)
    found = [name for name in folders if (root / name / "train").is_dir()]
    records, faults = [], Faults()
    wanted = found if categories is None else categories
    unused = [
        Unused(root / name, "not among `categories`", "add it there")
        for name in folders
        if nfc(name) not in map(nfc, wanted)
    ]
    for category in wanted:
        name = next((name for name in folders if nfc(name) == nfc(category)), None)
        if name is None:
            faults.add(
                root / category,
                f"expected the category's folder, found {', '.join(found) or 'no category'}",
                f"set root: {root.parent}, categories: [{root.name}]"
                if (root / "train").is_dir()
                else "correct `root` or `categories`, or unpack the archive again",
            )
            continue
        listed = _list_category(root / name, nfc(name), faults)
        if split == "paper":
            kept = _paper_split(listed, category, seed)
            reason = "split 'paper' does not draw these images"
            left = {r.image_path for r in listed} - {r.image_path for r in kept}
            left |= {r.mask_path for r in listed if r.mask_path and r.image_path in left}
            unused.append(Unused(root / name, reason, "nothing to do", sorted(left)))
            listed = kept
        records += listed
    if categories is None and not found:
        faults.add(
            root,
            f"expected folders with train/ in them, found {', '.join(folders) or 'no folder'}",
            "correct `root`",
        )
    return Listing(with_unique_ids(records), faults, unused)


def _list_category(folder: Path, category: str, faults: Faults) -> list[Record]:
    """List all images of a category in the official split."""
    records = []
    for part in ("train", "test"):
        if not (folder / part).is_dir():
            faults.add(folder / part, "expected a folder, found nothing", _AGAIN)
            continue
        types, strays = list_names(folder / part)
        faults += [_stray(folder / part / name) for name in strays]
        if part == "train" and _GOOD not in types:
            faults.add(
                folder / part / _GOOD,
                f"expected a folder, found {', '.join(types) or 'nothing'}",
                _AGAIN,
            )
        for kind in types:
            if part == "train" and kind != _GOOD:
                faults.add(
                    folder / part / kind,
                    "expected only good parts in train/, found another folder",
                    "move it to test/, or out of the data set",
                )
                continue
            records += _list_type(folder, category, part, kind, faults)
    return _attach_masks(folder, records, faults)


def _list_type(folder: Path, category: str, part: str, kind: str, faults: Faults) -> list[Record]:
    inner, files = list_names(folder / part / kind)
    faults += [_stray(folder / part / kind / name) for name in inner]
    images = [name for name in files if name.lower().endswith(IMAGE_SUFFIXES)]
    faults += [_stray(folder / part / kind / name) for name in files if name not in images]
    if not images:
        faults.add(folder / part / kind, "expected images, found none", _AGAIN)
    is_good = kind == _GOOD
    return [
        Record(
            image_id=make_image_id((category, part, kind, Path(name).stem)),
            category=category,
            label="OK" if is_good else "NOK",
            defect_type=None if is_good else nfc(kind),
            split=part,
            group=None,
            image_path=folder / part / kind / name,
            mask_path=None,
        )
        for name in images
    ]


def _attach_masks(folder: Path, records: list[Record], faults: Faults) -> list[Record]:
    """Give each record its mask; report masks without an image, and images with two."""
    truth = folder / "ground_truth"
    if not truth.is_dir():
        empty = "; or make it, empty, if nothing is drawn yet"
        faults.add(truth, "expected a folder, found nothing", _AGAIN + empty)
        return records
    owners = {
        (nfc(record.image_path.parent.name), nfc(record.image_path.stem)): record
        for record in records
        if record.split == "test"
    }
    masks: dict[Path, list[Path]] = defaultdict(list)
    kinds, strays = list_names(truth)
    faults += [_stray(truth / name) for name in strays]
    for kind in kinds:
        inner, names = list_names(truth / kind)
        faults += [_stray(truth / kind / name) for name in inner]
        for name in names:
            path = truth / kind / name
            stems = image_stems(path.stem) if name.lower().endswith(IMAGE_SUFFIXES) else []
            owner = next((owners[nfc(kind), s] for s in stems if (nfc(kind), s) in owners), None)
            if owner is not None:
                masks[owner.image_path].append(path)
                continue
            faults.add(
                path,
                f"expected the mask, NNN_mask or NNN, of an image in test/{kind}/, found no "
                "such image",
                "restore the image, correct the mask's name, or remove the mask",
            )
    for image, paths in masks.items():
        if len(paths) > 1:
            faults.add(
                image,
                f"expected one mask, found {len(paths)}: {', '.join(map(str, paths))}",
                "remove all but one",
            )
    return [
        replace(record, mask_path=masks[record.image_path][0])
        if record.image_path in masks
        else record
        for record in records
    ]


def _paper_split(records: list[Record], category: str, seed: int) -> list[Record]:
    """Keep what the study inspects as test, and the rest of the good images as train."""
    good = {record.image_id for record in records if record.split == "train"}
    bad = {record.image_id for record in records if record.label == "NOK"}
    drawn = set(draw(good, _share(len(good)), seed=seed, purpose=f"mvtec_ad {category} OK"))
    drawn |= set(draw(bad, _share(len(bad)), seed=seed, purpose=f"mvtec_ad {category} NOK"))
    return [
        replace(record, split="test" if record.image_id in drawn else "train")
        for record in records
        if record.image_id in drawn or record.image_id in good
    ]


def _share(n: int) -> int:
    """Take 20 % of a count, rounded half up, in whole numbers."""
    return (n * PAPER_PERCENT + 50) // 100


def _stray(path: Path) -> Fault:
    return Fault(
        path, "expected nothing but the set's own files, found this", "move it out of the data set"
    )
