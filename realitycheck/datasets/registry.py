"""The formats of data sets, and how a data set's settings become a folder and its records.

A format is one module. It gives

- `Settings`: its block of the settings, a `realitycheck.datasets.settings.DatasetBlock` whose
  `format` is a literal of its name;
- `LICENCE`: what may be done with its images, in the words of the report;
- `list_images(root, settings)`: a `realitycheck.datasets.records.Listing` of what lies in its
  folder; `settings` are those of the block that its images depend on, as plain values;
- `ARCHIVES`, where `Settings.fetchable`: the `RemoteFile`s to unpack into that folder;
- `generate(folder, settings, progress=…)` in place of a listing, where `Settings.generated`: it
  draws the images, in the layout of the format `folder`.

Settings are read while the workflow is planned, so a module imports what is heavy inside functions.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field

from realitycheck.core.registry import Registry, RegistryError
from realitycheck.datasets.contents import take_stock
from realitycheck.datasets.locked import lock, opened
from realitycheck.datasets.records import Listing
from realitycheck.datasets.settings import DatasetBlock

FORMATS = Registry(
    "format",
    group="realitycheck.formats",
    shipped={
        name: f"realitycheck.datasets.{name}"
        for name in (
            *("folder", "mvtec_ad", "oxford_iiit_pet"),
            *("synthetic_sat", "synthetic_pets", "synthetic_textures"),
        )
    },
)


def any_dataset() -> Any:
    """Type of a data set's block in any format, told apart by `format`.

    Raises:
        RegistryError: If a module lacks something that a format gives.
    """
    blocks = [_settings_of(name) for name in FORMATS]
    return Annotated[functools.reduce(operator.or_, blocks), Field(discriminator="format")]


def _settings_of(name: str) -> type[DatasetBlock]:
    module = FORMATS.open(name)
    block = getattr(module, "Settings", None)
    if not (isinstance(block, type) and issubclass(block, DatasetBlock)):
        lacks = ["Settings, a DatasetBlock"]
    else:
        field = block.model_fields.get("format")
        own = [] if field and get_args(field.annotation) == (name,) else [f"Literal['{name}']"]
        lacks = [f"the field format: {each} in Settings" for each in own]
        wanted = ["LICENCE", "generate" if block.generated else "list_images"]
        wanted += ["ARCHIVES"] if block.fetchable else []
        lacks += [each for each in wanted if not hasattr(module, each)]
    if lacks:
        raise RegistryError(
            f"the format '{name}': {module.__name__} lacks {', '.join(lacks)}; see "
            "realitycheck.datasets.registry for what a format gives"
        )
    return block


def list_records(settings: Mapping[str, Any], *, ours: Iterable[Path] = ()) -> Listing:
    """List the images of a data set in any format, and whatever else lies in its folder.

    Args:
        settings: `format`, `root`, `split` (kind, seed, train_fraction), and what the format needs.
        ours: Folders of this program that may lie below `root`, such as the results.

    Raises:
        RegistryError: If the format is not known.
    """
    root = Path(settings["root"])
    listing = FORMATS.open(settings["format"]).list_images(root, settings)
    split = settings["split"]
    fraction = split.get("confirm_fraction", 0.0)
    listing = listing._replace(
        records=lock(listing.records, fraction=fraction, seed=split.get("seed", 0))
    )
    listing = take_stock(root, listing, ours=ours)
    return listing._replace(records=opened(listing.records)) if split.get("opened") else listing
