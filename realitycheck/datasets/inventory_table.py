"""What a data set's folder holds: so many images, masks and views, by folder and form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from realitycheck.core.schemas import INVENTORY
from realitycheck.datasets.records import Listing, printable


def inventory_table(
    dataset: str, manifest: pd.DataFrame, listing: Listing, *, root: str | Path
) -> pd.DataFrame:
    """Count the files below a data set's folder.

    Args:
        dataset: The data set's id.
        manifest: All its checked images.
        listing: What the format found.
        root: The folder.

    Returns:
        One row a folder, use and form, columns of `INVENTORY`.
    """
    root = Path(root)
    n_of_group = manifest["group"].map(manifest["group"].value_counts()).fillna(1)
    rows = []
    for image, n_views in zip(manifest.itertuples(), n_of_group, strict=True):
        form = f"{_ending(image.image_path)}, {image.bit_depth} bit, {_channels(image.n_channels)}"
        rows.append((_below(image.image_path, root), "image", form, int(n_views > 1)))
    masks = manifest["mask_path"].dropna()
    rows += [(_below(path, root), "mask", _ending(path), 0) for path in masks]
    rows += [
        (path.relative_to(root).as_posix(), "list", f"{_ending(path)}, {encoding}", 0)
        for path, encoding in listing.read.items()
    ]
    columns = ["folder", "used_as", "form", "n_views"]
    counted = (
        pd.DataFrame(rows, columns=columns)
        .groupby(columns[:3], sort=True)
        .agg(n_files=("n_views", "size"), n_views=("n_views", "sum"))
        .reset_index()
        .assign(reason="", remedy="")
    )
    unused = [
        {
            "folder": printable(item.path.relative_to(root).as_posix()),
            "used_as": "not used",
            "form": _ending(item.path),
            "n_files": len(item.files),
            "n_views": 0,
            "reason": printable(item.reason),
            "remedy": item.remedy,
        }
        for item in listing.unused
    ]
    rows = [*counted.to_dict("records"), *unused]
    return pd.DataFrame(rows).assign(dataset=dataset)[INVENTORY.columns]


def describe(table: pd.DataFrame, *, max_rows: int) -> Iterator[str]:
    """Say what an inventory holds, in lines for people, with at most some rows of each use."""

    def first(lines: list[str]) -> list[str]:
        more = len(lines) - max_rows
        return lines if more < 2 else [*lines[:max_rows], f"  and {more} more such lines"]

    for used_as, noun in (("image", "image"), ("mask", "mask"), ("list", "list")):
        own = table[table["used_as"] == used_as]
        views = int(own["n_views"].sum())
        extra = f", {views} of them views of a part that others show, too" if views else ""
        yield f"{_counted(int(own['n_files'].sum()), noun)}{extra}"
        yield from first([f"  {r.folder}: {r.n_files} ({r.form})" for r in own.itertuples()])
    unused: Any = table[table["used_as"] == "not used"]
    yield f"{_counted(int(unused['n_files'].sum()), 'file')} not used"
    yield from first(
        [f"  {r.folder}: {r.n_files}, {r.reason}; {r.remedy}" for r in unused.itertuples()]
    )


def _below(path: str | Path, root: Path) -> str:
    return Path(path).relative_to(root).parent.as_posix()


def _ending(path: str | Path) -> str:
    return Path(path).suffix.lower().lstrip(".") or "none"


def _channels(n_channels: int) -> str:
    return {1: "grey", 3: "RGB", 4: "RGB and alpha"}.get(n_channels, f"{n_channels} channels")


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
