"""What a block's files hold, by image, and everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from realitycheck.datasets.records import Fault, Record
from realitycheck.methods.imported.coco import read_coco
from realitycheck.methods.imported.folder import MAP_SUFFIXES, MASK_SUFFIXES, list_folder
from realitycheck.methods.imported.names import (
    Image,
    Names,
    Prediction,
    PredictionError,
    doubled,
    matched,
)
from realitycheck.methods.imported.verdict_table import doubled_verdicts, read_verdicts

if TYPE_CHECKING:
    import pandas as pd

    from realitycheck.methods.base import Run

ByImage = dict[str, list[Prediction]]


class Found(NamedTuple):
    """What a block says of each image.

    Attributes:
        by_image: Predictions of each image: one, or of verdicts one per rater and repeat.
        broken: Faults of the files themselves, and of images that two predictions are of.
        unnamed: Faults of names that are of no image, or of several.
    """

    by_image: ByImage
    broken: list[Fault]
    unnamed: list[Fault]


def read_source(
    dataset: str, settings: Mapping[str, Any], folder: Path = Path()
) -> tuple[list[Prediction], list[Fault]]:
    """List what a block says of the images of a data set; no mask or map is opened.

    Args:
        dataset: The data set's id.
        settings: The block.
        folder: Folder that relative paths are looked up in.
    """

    def path(key: str) -> Path | None:
        given = settings[key]
        return None if given is None else folder / given.replace("{dataset}", dataset)

    if settings["masks"] is not None:
        return list_folder(path("masks"), suffixes=MASK_SUFFIXES, what="masks")
    if settings["maps"] is not None:
        return list_folder(path("maps"), suffixes=MAP_SUFFIXES, what="score maps")
    if settings["coco"] is not None:
        return read_coco(path("coco"), path("coco_images"), threshold=settings["threshold"])
    return read_verdicts(path("verdicts"), labels=settings["labels"], columns=settings["columns"])


def find_all(
    dataset: str, settings: Mapping[str, Any], images: Iterable[Image], folder: Path = Path()
) -> Found:
    """Find out what a block says of each image; arguments as for `read_source`."""
    predictions, broken = read_source(dataset, settings, folder)
    by_image, unnamed = matched(predictions, Names(images))
    twice = doubled if settings["verdicts"] is None else doubled_verdicts
    return Found(by_image, [*broken, *twice(by_image)], unnamed)


def predictions(run: Run, *tables: pd.DataFrame) -> ByImage:
    """What a job reads of each image; names were checked with those of locked images before.

    Args:
        run: What the job is told.
        tables: Manifests of its images.

    Raises:
        PredictionError: If the files have changed since, and have faults.
    """
    found = find_all(run.dataset, run.settings, images_of(*tables))
    if found.broken:
        raise PredictionError(found.broken)
    return found.by_image


def images_of(*tables: pd.DataFrame) -> list[Image]:
    """Images of manifests."""
    return [
        Image(row.image_id, row.image_path, row.sha256)
        for table in tables
        for row in table.itertuples()
    ]


def name_faults(
    dataset: str, settings: Mapping[str, Any], records: Iterable[Record], folder: Path
) -> list[Fault]:
    """What shows by the names of images alone, before anything is decoded."""
    images = [Image(each.image_id, str(each.image_path)) for each in records]
    found = find_all(dataset, settings, images, folder)
    return [*found.broken, *found.unnamed]


def faults(
    dataset: str,
    settings: Mapping[str, Any],
    manifest: pd.DataFrame,
    train: pd.DataFrame,
    records: Iterable[Record],
    *,
    n_workers: int,
) -> list[Fault]:
    """Find everything that is wrong with the files of a block, pictures opened.

    Args:
        dataset: The data set's id.
        settings: The block.
        manifest: Scored images.
        train: Training images.
        records: Every image of the data set, locked ones too.
        n_workers: Threads that decode.
    """
    known = images_of(manifest, train)
    ids = {image.image_id for image in known}
    others = [Image(r.image_id, str(r.image_path)) for r in records if r.image_id not in ids]
    found, *strange = find_all(dataset, settings, [*known, *others])
    problems = [fault for own in strange for fault in own]
    problems += _told_apart_by_others(found, Names(known), ids)
    if settings["verdicts"] is not None or problems:
        return problems
    from realitycheck.methods.imported.pixels import canvas_of, values_on

    rows = [*manifest.itertuples(), *train.itertuples()]
    if settings["maps"] is None:
        rows = rows[: len(manifest)]

    def look(row: Any) -> list[Fault]:
        try:
            for each in found.get(row.image_id, ()):
                values_on(canvas_of(row, settings), each, settings)
        except PredictionError as error:
            return error.faults
        return []

    with ThreadPoolExecutor(n_workers) as pool:
        for own in pool.map(look, rows):
            problems += own
    if settings["threshold"] == "good":
        problems += _few_good_maps(found, manifest, train, Path(settings["maps"]))
    return problems


def _told_apart_by_others(found: ByImage, names: Names, ids: set[str]) -> Iterator[Fault]:
    """Names that jobs, who do not see locked images, would take for another image's."""
    for image_id, predictions in found.items():
        for each in predictions:
            seen = next((here for name in each.names if (here := names.find(name))), [])
            if seen and (seen != [image_id] or image_id not in ids):
                problem = f"{each.names[0]!r}{each.place} may be {image_id} or {', '.join(seen)}"
                yield Fault(each.where, problem, "name the image by its image id")


def _few_good_maps(
    found: ByImage, manifest: pd.DataFrame, train: pd.DataFrame, folder: Path
) -> Iterator[Fault]:
    good = train[train["label"] == "OK"]
    for category in sorted(set(manifest["category"])):
        n_maps = sum(name in found for name in good.loc[good["category"] == category, "image_id"])
        if n_maps < 2:
            yield Fault(
                folder,
                f"expected maps of 2 or more good training images of category {category} to set "
                f"the threshold by, found {n_maps}",
                "add them, or set threshold to a number",
            )
