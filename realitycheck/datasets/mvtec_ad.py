"""List MVTec AD as its archive unpacks: `<category>/{train,test,ground_truth}/<type>/NNN.png`.

Source: Bergmann et al. (2019), "MVTec AD"; the subset of the study, section 3.1.
"""

from collections.abc import Sequence
from pathlib import Path

from realitycheck.datasets.records import (
    Fault,
    Listing,
    Record,
    draw,
    list_names,
    make_image_id,
    missing_root,
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
_MASK_ENDING = "_mask"


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
    records, faults = [], []
    for category in found if categories is None else categories:
        if not (root / category).is_dir():
            faults.append(
                Fault(
                    root / category,
                    f"expected the category's folder, found {', '.join(found) or 'no category'}",
                    "correct `root` or `categories`, or unpack the archive again",
                )
            )
            continue
        listed = _list_category(root / category, category, faults)
        records += _paper_split(listed, category, seed) if split == "paper" else listed
    if categories is None and not found:
        faults.append(
            Fault(
                root,
                f"expected folders with train/ in them, found {', '.join(folders) or 'no folder'}",
                "correct `root`",
            )
        )
    return Listing(sorted(records, key=lambda record: record.image_id), faults)


def _list_category(folder: Path, category: str, faults: list[Fault]) -> list[Record]:
    """List all images of a category in the official split."""
    records = []
    for part in ("train", "test"):
        if not (folder / part).is_dir():
            faults.append(
                Fault(folder / part, "expected a folder, found nothing", "unpack the archive again")
            )
            continue
        types, strays = list_names(folder / part)
        faults += [_stray(folder / part / name) for name in strays]
        if part == "train" and _GOOD not in types:
            faults.append(
                Fault(
                    folder / part / _GOOD,
                    f"expected a folder, found {', '.join(types) or 'nothing'}",
                    "unpack the archive again",
                )
            )
        for kind in types:
            if part == "train" and kind != _GOOD:
                faults.append(
                    Fault(
                        folder / part / kind,
                        "expected only good parts in train/, found another folder",
                        "move it to test/, or out of the data set",
                    )
                )
                continue
            records += _list_type(folder, category, part, kind, faults)
    _check_masks(folder, records, faults)
    return records


def _list_type(
    folder: Path, category: str, part: str, kind: str, faults: list[Fault]
) -> list[Record]:
    inner, files = list_names(folder / part / kind)
    faults += [_stray(folder / part / kind / name) for name in inner]
    images = [name for name in files if name.lower().endswith(".png")]
    faults += [_stray(folder / part / kind / name) for name in files if name not in images]
    if not images:
        faults.append(
            Fault(
                folder / part / kind, "expected PNG images, found none", "unpack the archive again"
            )
        )
    is_good = kind == _GOOD
    truth = folder / "ground_truth" / kind
    return [
        Record(
            image_id=make_image_id((category, part, kind, Path(name).stem)),
            category=category,
            label="OK" if is_good else "NOK",
            defect_type=None if is_good else kind,
            split=part,
            group=None,
            image_path=folder / part / kind / name,
            mask_path=None if is_good else truth / f"{Path(name).stem}{_MASK_ENDING}.png",
        )
        for name in images
    ]


def _check_masks(folder: Path, records: list[Record], faults: list[Fault]) -> None:
    """Find masks without an image; images without a mask show when the masks are read."""
    truth = folder / "ground_truth"
    if not truth.is_dir():
        faults.append(Fault(truth, "expected a folder, found nothing", "unpack the archive again"))
        return
    expected = {record.mask_path for record in records}
    kinds, strays = list_names(truth)
    faults += [_stray(truth / name) for name in strays]
    for kind in kinds:
        for name in list_names(truth / kind)[1]:
            if truth / kind / name not in expected:
                faults.append(
                    Fault(
                        truth / kind / name,
                        f"expected a mask NNN_mask.png of an image test/{kind}/NNN.png, found no "
                        "such image",
                        "restore the image, or remove the mask",
                    )
                )


def _paper_split(records: list[Record], category: str, seed: int) -> list[Record]:
    """Keep what the study inspects as test, and the rest of the good images as train."""
    good = {record.image_id for record in records if record.split == "train"}
    bad = {record.image_id for record in records if record.label == "NOK"}
    drawn = set(draw(good, _share(len(good)), seed=seed, purpose=f"mvtec_ad {category} OK"))
    drawn |= set(draw(bad, _share(len(bad)), seed=seed, purpose=f"mvtec_ad {category} NOK"))
    return [
        Record(**{**vars(record), "split": "test" if record.image_id in drawn else "train"})
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
