"""From a data set's settings to its records: the one place that knows every format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    Field,
)

from realitycheck.datasets.contents import take_stock
from realitycheck.datasets.folder import FolderDataset, list_folder
from realitycheck.datasets.mvtec_ad import MvtecAdDataset, list_mvtec_ad
from realitycheck.datasets.oxford_iiit_pet import OxfordPetDataset, list_oxford_iiit_pet
from realitycheck.datasets.records import Listing
from realitycheck.datasets.synthetic.settings import (
    SyntheticPetsDataset,
    SyntheticSatDataset,
    SyntheticTexturesDataset,
)


def list_records(settings: Mapping[str, Any], *, ours: Iterable[Path] = ()) -> Listing:
    """List the images of a data set in any format, and whatever else lies in its folder.

    Args:
        settings: `format`, `root`, `split` (kind, seed, train_fraction), and what the format needs.
        ours: Folders of this program that may lie below `root`, such as the results.

    Raises:
        ValueError: If the format is not known.
    """
    return take_stock(Path(settings["root"]), _list_images(settings), ours=ours)


def _list_images(settings: Mapping[str, Any]) -> Listing:
    root, split = Path(settings["root"]), settings["split"]
    match settings["format"]:
        case "folder":
            return list_folder(
                root,
                split=split["kind"],
                train_fraction=split["train_fraction"],
                seed=split["seed"],
            )
        case "mvtec_ad":
            return list_mvtec_ad(
                root, categories=settings["categories"], split=split["kind"], seed=split["seed"]
            )
        case "oxford_iiit_pet":
            return list_oxford_iiit_pet(root, split=split["kind"], seed=split["seed"])
        case other:
            raise ValueError(
                f"format {other!r} cannot be listed; use folder, mvtec_ad or oxford_iiit_pet"
            )


DatasetSettings = Annotated[
    FolderDataset
    | MvtecAdDataset
    | OxfordPetDataset
    | SyntheticSatDataset
    | SyntheticPetsDataset
    | SyntheticTexturesDataset,
    Field(discriminator="format"),
]
