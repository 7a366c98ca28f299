"""List Oxford-IIIT-Pet as its two archives unpack: `images/*.jpg` and `annotations/`.

The study turns it into an inspection task: dogs are the good parts and a cat is the defect.

Source: Parkhi et al. (2012), "Cats and Dogs", and the archive's annotations/README; the subset of
the study, section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from realitycheck.core.remote import RemoteFile
from realitycheck.core.settings import Category, FilePath
from realitycheck.datasets.records import (
    Faults,
    Listing,
    Record,
    Unused,
    draw,
    list_names,
    make_image_id,
    missing_root,
    with_unique_ids,
)
from realitycheck.datasets.settings import DatasetBlock

LICENCE = "CC BY-SA 4.0; cite Oxford-IIIT-Pet"
ARCHIVES = (
    RemoteFile(
        name="images.tar.gz",
        url="https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
        sha256="67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
        licence="CC-BY-SA-4.0",
        size_bytes=791_918_971,
    ),
    RemoteFile(
        name="annotations.tar.gz",
        url="https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
        sha256="52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
        licence="CC-BY-SA-4.0",
        size_bytes=19_173_078,
    ),
)

SPLITS = ("official", "paper", "all")
PAPER_N_OK = 140
PAPER_N_NOK = 60

CORRUPT = ("beagle_116", "chihuahua_121")
"""Listed images whose JPEG data are damaged in the published archive. They are left out of every
split, here and nowhere else."""

_SPECIES = {"1": "cat", "2": "dog"}
_LISTS = ("list.txt", "trainval.txt", "test.txt")


class OxfordPetDataset(DatasetBlock):
    """Oxford-IIIT-Pet: cats are NOK, dogs are OK."""

    format: Literal["oxford_iiit_pet"]
    root: FilePath = Field(
        "resources/datasets/oxford_iiit_pet", description="holds images/, annotations/"
    )
    reference: FilePath | dict[Category, FilePath] = "none"
    mask_values: Literal["auto", "nonzero"] | dict[str, float | str] = {
        "1": "defect",  # the animal
        "2": "background",
        "3": "ignore",  # its border
    }
    fetchable: ClassVar[bool] = True

    def category_names(self) -> list[str]:
        """The two species."""
        return sorted(_SPECIES.values())


Settings = OxfordPetDataset


def list_images(root: Path, settings: Mapping[str, Any]) -> Listing:
    """List the images by a block's settings; see `list_oxford_iiit_pet`."""
    split = settings["split"]
    return list_oxford_iiit_pet(root, split=split["kind"], seed=split["seed"])


def list_oxford_iiit_pet(root: Path, *, split: str = "paper", seed: int = 0) -> Listing:
    """List the images of Oxford-IIIT-Pet, cats as NOK and dogs as OK.

    Only images in `annotations/list.txt` count: the archive holds 41 more, without trimaps, and
    stray files. Of the listed ones, `CORRUPT` are left out. Some files named `.jpg` are PNG or
    GIF; they are decoded by their content.

    - `official`: test.txt is test; trainval.txt is train, dogs and cats.
    - `all`: every listed image; for this set the same as `official`, which leaves none out.
    - `paper`: 140 dogs and 60 cats drawn from list.txt are test; the dogs of trainval.txt that
      were not drawn are train. The study published neither names nor a seed.

    A cat's mask is its trimap. Dogs have none: they are what is not searched for.

    Args:
        root: Folder of `images/` and `annotations/`.
        split: `official`, `paper` or `all`.
        seed: Of the draw.

    Returns:
        Records and faults. Ids are `cat/Abyssinian_12`, `dog/beagle_3`.

    Raises:
        ValueError: If `split` is unknown.
    """
    root = Path(root)
    if split not in SPLITS:
        raise ValueError(
            f"oxford_iiit_pet: split must be one of {', '.join(SPLITS)}, found {split!r}"
        )
    fault = missing_root(root, "Oxford-IIIT-Pet's images/ and annotations/")
    if fault:
        return Listing([], [fault])
    faults = Faults()
    for folder in (root / "images", root / "annotations" / "trimaps"):
        if not folder.is_dir():
            faults.add(folder, "expected a folder, found nothing", "unpack both archives again")
    listed, trainval, test = (_read_list(root / "annotations" / name, faults) for name in _LISTS)
    is_complete = (root / "images").is_dir() and (root / "annotations" / "trimaps").is_dir()
    if not (is_complete and listed and trainval and test):
        return Listing([], faults)

    present = set(list_names(root / "images")[1])
    for name in sorted(listed):
        if f"{name}.jpg" not in present:
            faults.add(
                root / "images" / f"{name}.jpg",
                "expected an image, because annotations/list.txt names it, found none",
                "unpack images.tar.gz again",
            )
    for name in list_names(root / "annotations" / "trimaps")[1]:
        if f"{Path(name).stem}.jpg" not in present:
            faults.add(
                root / "annotations" / "trimaps" / name,
                f"expected an image images/{Path(name).stem}.jpg for this trimap, found none",
                "unpack images.tar.gz again, or remove the trimap",
            )
    for source, names in (("trainval.txt", trainval), ("test.txt", test)):
        unknown = sorted(set(names) - set(listed))
        if unknown:
            faults.add(
                root / "annotations" / source,
                f"expected only images of list.txt, found {len(unknown)} others "
                f"(first: {unknown[0]})",
                "unpack annotations.tar.gz again",
            )
    both = sorted(set(trainval) & set(test))
    if both:
        faults.add(
            root / "annotations" / "test.txt",
            f"expected no image of trainval.txt, found {len(both)} (first: {both[0]})",
            "unpack annotations.tar.gz again",
        )
    usable = {name: kind for name, kind in listed.items() if name not in CORRUPT}
    if split == "paper":
        splits = _paper_split(usable, set(trainval), seed, root, faults)
    else:
        splits = {name: "test" if name in test else "train" for name in usable}
    records = [_record(root, name, usable[name], part) for name, part in splits.items()]
    rest = Unused(root, f"the archive holds more than split {split!r} uses", "nothing to do")
    lists = {root / "annotations" / name: "UTF-8" for name in _LISTS}
    return Listing(with_unique_ids(records), faults, [rest], lists)


def _read_list(path: Path, faults: Faults) -> dict[str, str]:
    """Read a list file: `Image CLASS-ID SPECIES BREED-ID` a line, `#` begins a comment.

    Returns:
        Species, `cat` or `dog`, by image name.
    """
    if not path.is_file():
        faults.add(path, "expected a list file, found nothing", "unpack annotations.tar.gz again")
        return {}
    names: dict[str, str] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) != 4 or fields[2] not in _SPECIES or fields[0] in names:
            faults.add(
                path,
                f"line {number}: expected a new name, class, species (1 or 2) and breed, "
                f"found {line.strip()!r}",
                "unpack annotations.tar.gz again",
            )
            continue
        names[fields[0]] = _SPECIES[fields[2]]
    if not names:
        faults.add(path, "expected images, found no line with one", "unpack it again")
    return names


def _paper_split(
    usable: dict[str, str], trainval: set[str], seed: int, root: Path, faults: Faults
) -> dict[str, str]:
    """Draw the study's counts; dogs of trainval.txt that were not drawn are train."""
    splits = {name: "train" for name, kind in usable.items() if kind == "dog" and name in trainval}
    for kind, n in (("dog", PAPER_N_OK), ("cat", PAPER_N_NOK)):
        names = [name for name, species in usable.items() if species == kind]
        if len(names) < n:
            faults.add(
                root / "annotations" / "list.txt",
                f"split 'paper' expects at least {n} {kind}s, found {len(names)}",
                "use split 'official' or 'all', or unpack both archives again",
            )
            n = len(names)
        for name in draw(names, n, seed=seed, purpose=f"oxford_iiit_pet {kind}"):
            splits[name] = "test"
    return splits


def _record(root: Path, name: str, kind: str, split: str) -> Record:
    is_cat = kind == "cat"
    return Record(
        image_id=make_image_id((kind, name)),
        category=kind,
        label="NOK" if is_cat else "OK",
        defect_type="cat" if is_cat else None,
        split=split,
        group=None,
        image_path=root / "images" / f"{name}.jpg",
        mask_path=root / "annotations" / "trimaps" / f"{name}.png" if is_cat else None,
    )
