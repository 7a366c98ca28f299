"""Stage 1: raw inputs become a manifest, or one message with everything that is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from realitycheck.alignment import choose_reference
from realitycheck.core.decoding.decoded import ImageError
from realitycheck.core.files import write_text
from realitycheck.core.images import image_facts, intensity_problem, read_image
from realitycheck.core.job import counting, log, run_facts
from realitycheck.core.provenance import bucket_digests, digest_of, file_digest, read_record
from realitycheck.core.schemas import INVENTORY, MANIFEST, REFERENCES
from realitycheck.core.tables import write_table
from realitycheck.core.terminal import say
from realitycheck.core.tries_file import TriesError, TriesFile, openings
from realitycheck.datasets.ingest import check_records
from realitycheck.datasets.inventory_table import describe, inventory_table
from realitycheck.datasets.locked import LOCKED, lock_faults, locked_parts
from realitycheck.datasets.records import DatasetError, Fault
from realitycheck.datasets.registry import list_records

#: Side of the thumbnails among which the medoid is looked for; details below 1/96 do not matter.
_THUMBNAIL_PX = 96
#: The medoid is drawn from at most this many images of a category; more change it no further.
_MAX_CANDIDATES = 300
#: Lines that are said of what each kind of file there is; the table has all.
_MAX_ROWS = 12


def prepare_dataset(
    dataset: str,
    settings: Mapping[str, Any],
    *,
    manifest_path: str | Path,
    train_path: str | Path,
    references_path: str | Path,
    digests_path: str | Path,
    inventory_path: str | Path,
    trigger: str,
    signature: str,
    n_workers: int,
) -> None:
    """Check a data set and write its manifest, training manifest, references and digests.

    What the folder holds is printed as well.

    Args:
        dataset: The data set's id.
        settings: As `Settings.preparation_settings` gives them.
        manifest_path: Table of the scored images.
        train_path: Table of the training images.
        references_path: Table of the reference image of each category.
        digests_path: JSON that later stages are planned from.
        inventory_path: Table of what the folder holds.
        trigger: Inventory of the folder that the job was planned under.
        signature: Inventory of the folder now.
        n_workers: Threads that decode.

    Raises:
        DatasetError: With every fault of the data set.
    """
    root = Path(settings["root"])
    results = Path(manifest_path).parents[1]
    listing = list_records(settings, ours=[results])
    split = settings["split"]
    if split.get("opened"):
        locked = locked_parts([each for each in listing.records if each.split == "test"])
        _check_opened(dataset, locked["parts"], settings["tries_file"])
    else:  # what is locked is digested, and not decoded
        locked = locked_parts([each for each in listing.records if each.split == LOCKED])
        listing = listing._replace(
            records=[each for each in listing.records if each.split != LOCKED]
        )
    with counting(f"{dataset}: images checked") as count:
        table, faults = check_records(
            listing.records,
            listing.faults,
            mask_values=settings["mask_values"],
            mask_background=settings["mask_background"],
            mask_orientation=settings["mask_orientation"],
            intensity=settings["intensity"],
            allow_duplicates=settings["allow_duplicates"],
            missing_masks=settings["missing_masks"],
            max_decoded_mb=settings["max_decoded_mb"],
            root=root,
            n_workers=n_workers,
            progress=count,
        )
    faults += _settings_faults(table, settings)
    if not split.get("opened"):
        digests = dict(zip(table["sha256"], table["image_path"], strict=True))
        digests |= _given_digests(settings["reference"])
        faults += lock_faults(
            locked, digests, fraction=split.get("confirm_fraction", 0.0), root=root
        )
    if faults:
        raise DatasetError(faults, dataset=dataset)
    table = table.assign(dataset=dataset)
    found = inventory_table(dataset, table, listing, root=root)
    # What a folder of one's own was taken for is worth a look; what the run drew or fetched is not.
    tell = log.info if root.is_relative_to(results) else say
    for line in describe(found, max_rows=_MAX_ROWS):
        tell(f"{dataset}: {line}")
    references = _references(dataset, table, settings)
    scored, train = (table[table["split"] == split] for split in ("test", "train"))
    facts = run_facts(settings)
    write_table(found, inventory_path, schema=INVENTORY, facts=facts)
    write_table(references, references_path, schema=REFERENCES, facts=facts)
    write_table(train, train_path, schema=MANIFEST, facts=facts)
    write_table(scored, manifest_path, schema=MANIFEST, facts=facts)
    digests = {
        "trigger": trigger,
        "signature": signature,
        "counts": {"test": len(scored), "train": len(train)},
        "locked": {name: locked[name] for name in ("n_ok", "n_nok", "parts")},
        **manifest_digests(scored, train, references),
    }
    write_text(json.dumps(digests, indent=1, sort_keys=True), digests_path)


def _check_opened(dataset: str, parts: str, tries_file: str) -> None:
    """Refuse to look at locked parts that nobody has recorded as opened."""
    if not openings(TriesFile(tries_file).read(), parts):
        raise TriesError(
            f"datasets.{dataset}.split.opened: the locked parts are opened by the command "
            "`realitycheck confirm` alone, which records it, and nothing is recorded of them; "
            "remove the key, and use the command"
        )


def manifest_digests(
    scored: pd.DataFrame, train: pd.DataFrame, references: pd.DataFrame
) -> dict[str, dict[str, str]]:
    """Digest what each later stage depends on, bucket by bucket.

    Returns:
        `images` and `train_images` (content of the image and of its reference), `truth` (mask, how
        it is read, label), `labels` (everything that scores are grouped by).
    """
    of_category = dict(zip(references["category"], references["sha256"], strict=True))

    def images(table: pd.DataFrame) -> dict[str, str]:
        return bucket_digests(
            {
                row.image_id: [row.sha256, row.category, of_category.get(row.category)]
                for row in table.itertuples()
            }
        )

    return {
        "images": images(scored),
        "train_images": images(train),
        "truth": bucket_digests(
            {
                row.image_id: [row.mask_sha256, row.mask_reading, row.label]
                for row in scored.itertuples()
            }
        ),
        "labels": bucket_digests(
            {
                row.image_id: [row.category, row.label, row.defect_type, row.group]
                for row in scored.itertuples()
            }
        ),
    }


def _settings_faults(table: pd.DataFrame, settings: Mapping[str, Any]) -> list[Fault]:
    """Compare the categories that the settings name with those there are; read given references."""
    root, wanted = Path(settings["root"]), settings["reference"]
    known = sorted(set(table["category"]))
    faults = []
    if isinstance(wanted, Mapping):
        absent = [category for category in known if category not in wanted]
        if absent:
            faults.append(
                Fault(
                    root,
                    f"reference names no image for the category {absent[0]} "
                    f"({len(absent)} of {len(known)} are without)",
                    "name one for each category, or set reference: auto",
                )
            )
    for key, names in settings["named_categories"].items():
        unknown = [name for name in names if name not in known]
        if unknown and known:
            faults.append(
                Fault(
                    root,
                    f"{key} names {', '.join(unknown)}, but the categories are {', '.join(known)}",
                    f"correct {key}",
                )
            )
    paths = wanted.values() if isinstance(wanted, Mapping) else [wanted]
    for path in sorted(set(paths) - {"auto", "none"}):
        try:
            facts = image_facts(Path(path), max_decoded_mb=settings["max_decoded_mb"])
            if problem := intensity_problem(facts.sample_type, settings["intensity"]):
                faults.append(Fault(Path(path), *problem))
        except ImageError as error:
            faults.append(Fault(error.path, error.problem, error.remedy))
    return faults


def _references(dataset: str, table: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """The reference of each category; one without a good image has none, unless it is given."""
    wanted = settings["reference"]
    rows = []
    if wanted != "none":
        for category, images in table.groupby("category", sort=True):
            path = wanted.get(category) if isinstance(wanted, Mapping) else wanted
            if path != "auto":
                rows.append(_given_reference(dataset, str(category), Path(path), table, settings))
            elif (images["label"] == "OK").any():
                rows.append(_medoid(dataset, str(category), images, settings))
    return pd.DataFrame(rows, columns=REFERENCES.columns)


def _given_digests(wanted: str | Mapping[str, str]) -> dict[str, str]:
    """Path of each reference that the settings name, by the digest of its file."""
    given = wanted.values() if isinstance(wanted, Mapping) else [wanted]
    files = [Path(path) for path in given if path not in ("auto", "none")]
    return {file_digest(path): str(path) for path in files if path.is_file()}


def _medoid(
    dataset: str, category: str, images: pd.DataFrame, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The good image that is most like all others, a training image where there are some."""
    good = images[images["label"] == "OK"]
    training = good[good["split"] == "train"]
    candidates = training if len(training) else good
    ordered = sorted(candidates["image_id"], key=lambda image_id: digest_of([0, image_id]))
    chosen = candidates[candidates["image_id"].isin(ordered[:_MAX_CANDIDATES])]
    thumbnails = [
        cv2.resize(
            read_image(Path(path), intensity=settings["intensity"]),
            (_THUMBNAIL_PX, _THUMBNAIL_PX),
            interpolation=cv2.INTER_AREA,
        )
        for path in chosen["image_path"]
    ]
    row = chosen.iloc[choose_reference(np.stack(thumbnails))]
    return {
        "dataset": dataset,
        "category": category,
        "image_id": row["image_id"],
        "image_path": row["image_path"],
        "sha256": row["sha256"],
        "is_scored": row["split"] == "test",
    }


def _given_reference(
    dataset: str, category: str, path: Path, table: pd.DataFrame, settings: Mapping[str, Any]
) -> dict[str, Any]:
    facts = image_facts(path, max_decoded_mb=settings["max_decoded_mb"])
    same = table[table["sha256"] == facts.sha256]
    return {
        "dataset": dataset,
        "category": category,
        "image_id": None if same.empty else same.iloc[0]["image_id"],
        "image_path": str(path),
        "sha256": facts.sha256,
        "is_scored": bool((same["split"] == "test").any()),
    }


def check_inputs(manifests: Sequence[str | Path], weights: Sequence[str | Path]) -> dict[str, Any]:
    """Collect the counts and digests of all checked inputs."""
    read = [(Path(p), read_record(p)) for p in manifests]
    nets = [(Path(p), read_record(p)) for p in weights]
    return {
        "datasets": {path.parent.name: found["counts"] for path, found in read},
        "networks": {path.stem: found["digest"] for path, found in nets},
    }
