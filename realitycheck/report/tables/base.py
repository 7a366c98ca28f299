"""What tables share: descriptions and names, the order of rows, checks of scores.

An image without an answer makes a score a range, from all such images wrong (`*_worst`) to all
right (`*_best`); the score's own column then is missing, and its interval reaches from the worst
case's lower limit to the best case's upper limit.
"""

import zlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.constants import MASK_FLOORS, OWN_WEIGHTS
from realitycheck.core.schemas import SCORES
from realitycheck.core.tables import BOOLEAN, INTEGER, REAL, TEXT, Schema
from realitycheck.metrics.baselines import FLOORS
from realitycheck.report.results import KEYS, Notes
from realitycheck.report.tables.published import load_published
from realitycheck.report.text import TableText

#: Names of the baselines for people; those of methods come with their descriptions.
BASELINE_NAMES = {
    "reject_everything": "Baseline: reject everything",
    "accept_everything": "Baseline: accept everything",
    "coin_at_prevalence": "Baseline: coin at the prevalence",
    "whole_image": "Baseline: whole image",
}


_DATASET_KEYS = {"name", "published_as", "note"}
_METHOD_KEYS = {
    *(
        "kind",
        "label",
        "name",
        "variant",
        "told_apart",
        "model",
        "note",
        "gives_masks",
        "uses_test_truth",
        "has_raters",
        "training_unknown",
        "transductive",
    ),
    "verdict_by",
}
AREA_NOTE = "NOK by predicted area, above a threshold from good images of other folds"
_UNJUDGED_WORDS = {
    "not_comparable": "not comparable: not aligned, and of another size than the reference",
    "missing": "no prediction among what was imported",
}
NO_VARIATION = "no variation among the images to estimate an interval from"
#: Columns that end Tables 1 and 2.
DESCRIPTION = (
    ("dataset_name", TEXT),
    ("method_name", TEXT),
    ("kind", TEXT),
    ("variant", TEXT),
    ("model", TEXT),
    ("uses_test_truth", BOOLEAN),
    ("training_unknown", BOOLEAN),  # from outside, and `training_images` is not declared
    ("transductive", BOOLEAN),  # judges an image by the other scored images, too
    ("is_floor", BOOLEAN),
    ("status_counts", TEXT),
    ("n_groups", INTEGER),
    ("confidence", REAL),
    ("note", TEXT),
)


@dataclass(frozen=True)
class Section:
    """What the page shows of a table.

    Attributes:
        texts: What stands there; without any the section is left out.
        place: `tables`, beside Tables 1 and 2, or `evidence`, in a part of its own.
        heading: Of that part.
        is_folded: Whether long texts are shown when a reader opens them.
    """

    texts: Sequence[TableText]
    place: str = "evidence"
    heading: str = ""
    is_folded: bool = False


def is_no_better(row: dict[str, Any], high: str, floor: str) -> bool | None:
    """Tell whether an upper limit is not above the best baseline; None for baselines."""
    is_known = np.isfinite(row[high]) and np.isfinite(row[floor])
    if row["is_floor"] or not is_known:
        return None
    return bool(row[high] <= row[floor] + 1e-12)


def why_unjudged(statuses: Iterable[str]) -> str:
    """Say why images of some statuses could not be judged."""
    reasons = [_UNJUDGED_WORDS[status] for status in sorted(set(statuses) & set(_UNJUDGED_WORDS))]
    return f" ({', '.join(reasons)})" if reasons else ""


def count_notes(study: dict, *, n_nok: int, n_ok: int | None = None) -> list[str]:
    """Say when a published value was taken over other numbers of images than ours."""
    is_same = n_nok == study["n_nok"] and n_ok in (None, study["n_ok"])
    if is_same:
        return []
    theirs = f"{study['n_nok']} defective"
    ours = f"{n_nok}"
    if n_ok is not None:
        theirs, ours = f"{theirs} and {study['n_ok']} good", f"{ours} and {n_ok}"
    return [f"published value over {theirs} images of {study['name']}, ours over {ours}"]


def describe(
    key: tuple[str, str, str], images: pd.DataFrame, datasets: Notes, methods: Notes
) -> dict[str, Any]:
    """Gather what a row says about itself."""
    dataset, method, _ = key
    settings = methods.get(method, {})
    kind = settings.get("kind", method)
    variant = settings.get("variant")
    uses_test_truth = bool(settings.get("uses_test_truth", False))
    notes = [settings.get("note"), datasets[dataset].get("note")]
    if uses_test_truth:
        notes.append("uses the ground truth of the test images")
    if settings.get("verdict_by") == "area":
        notes.append(AREA_NOTE)
    groups = groups_of(images)
    n_groups = len(images)
    if groups is not None:
        named = [group for group in groups if group is not None]
        n_groups = len(set(named)) + len(groups) - len(named)
    return {
        "dataset_name": dataset_name(dataset, datasets),
        "method_name": method_name(method, methods),
        "kind": kind,
        "variant": variant,
        "model": settings.get("model"),
        "uses_test_truth": uses_test_truth,
        "training_unknown": bool(settings.get("training_unknown", False)),
        "transductive": bool(settings.get("transductive", False)),
        "is_floor": kind in FLOORS,
        "status_counts": status_counts(images["status"]),
        "n_groups": n_groups,
        "notes": [note for note in notes if note],
    }


def status_counts(status: pd.Series) -> str:
    """Put the statuses of images into words, the most frequent first."""
    counts = status.fillna("none").astype(str).value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{value} {count}" for value, count in ordered)


def dataset_name(dataset: str, datasets: Notes) -> str:
    """Name of a data set for people."""
    return datasets[dataset].get("name") or dataset


def method_name(method: str, methods: Notes) -> str:
    """Name of a method for people, with its variant, and how it judges where that is by area.

    Where several blocks of the settings share one name, each is told apart by its block's own.
    """
    about = methods.get(method, {})
    name = about.get("name")
    if not name:
        name = about.get("label") or BASELINE_NAMES.get(about.get("kind", method), method)
        if about.get("variant") not in (None, "published"):
            name = f"{name} ({about['variant']})"
    if about.get("told_apart"):
        name = f"{name}: {about['told_apart']}"
    return f"{name} (area)" if about.get("verdict_by") == "area" else name


def gives_masks(method: str, methods: Notes, images: pd.DataFrame) -> bool:
    """Whether a method marks pixels: its description says so, or it has marked some."""
    about = methods.get(method, {})
    is_said = about.get("gives_masks", about.get("kind", method) in MASK_FLOORS)
    return is_said or bool(images["predicted_px"].notna().any())


def weights_notes(methods: Notes) -> list[str]:
    """Sentences below a table whose methods ran on weights from files of the user's."""
    found: dict[str, list[str]] = {}
    for method, about in methods.items():
        # Verdicts by area are of masks that have a method of their own.
        if about.get("verdict_by") != "area":
            for part in about.get("note", "").split("; "):
                if part.startswith(OWN_WEIGHTS):
                    found.setdefault(part, []).append(method_name(method, methods))
    return [f"With {part}: {', '.join(dict.fromkeys(names))}." for part, names in found.items()]


def published_as(datasets: Notes, dataset: str) -> str | None:
    """Key of the study's data set that one of ours stands for; None if it stands for none."""
    return datasets[dataset].get("published_as")


def rows_by_run(
    scores: pd.DataFrame, datasets: Notes, methods: Notes
) -> list[tuple[tuple[str, str, str], pd.DataFrame]]:
    """Split scores by key, in the order of the descriptions, baselines last."""
    dataset_rank = {name: rank for rank, name in enumerate(datasets)}
    method_rank = {name: rank for rank, name in enumerate(methods)}
    prompt_rank = {name: rank for rank, name in enumerate(dict.fromkeys(scores["prompt"]))}

    def rank(item: tuple[Hashable, pd.DataFrame]) -> tuple:
        dataset, method, prompt = item[0]
        kind = methods.get(method, {}).get("kind", method)
        place = method_rank.get(method, len(method_rank))
        return dataset_rank[dataset], kind in FLOORS, place, method, prompt_rank[prompt]

    groups = [
        (tuple(key), images) for key, images in scores.groupby(KEYS, sort=False, observed=True)
    ]
    return sorted(groups, key=rank)


def categories_of(images: pd.DataFrame) -> list[str]:
    """Category of each row, as strata of a bootstrap."""
    return images["category"].fillna("").astype(str).tolist()


def groups_of(images: pd.DataFrame) -> list[str | None] | None:
    """Group of each row, or None where no row has one."""
    if images["group"].isna().all():
        return None
    return [None if pd.isna(group) else str(group) for group in images["group"]]


def stream_of(seed: int, *key: str) -> np.random.Generator:
    """Make a generator of its own for each number, so that rows do not depend on each other."""
    return np.random.default_rng([seed, zlib.crc32("\0".join(key).encode())])


def typed_table(rows: Sequence[Mapping[str, Any]], schema: Schema) -> pd.DataFrame:
    """Put rows into the columns of a schema, whole numbers that may be missing as such."""
    table = pd.DataFrame(rows, columns=schema.columns)
    kinds = {"int64": "Int64", "double": "float64", "bool": "boolean"}
    for name, kind in schema.fields:
        if str(kind) in kinds:
            table[name] = table[name].astype(kinds[str(kind)])
    return table


def check_scores(scores: pd.DataFrame, datasets: Notes, methods: Notes) -> None:
    """Refuse scores from which a table would come out wrong."""
    needed = [name for name in SCORES.columns if name != "score"]
    missing = [name for name in needed if name not in scores.columns]
    if missing:
        raise ValueError(
            f"the scores need the columns {', '.join(needed)}, but {', '.join(missing)} are missing"
        )
    for column in (*KEYS, "image_id"):
        if scores[column].isna().any():
            n_bad = int(scores[column].isna().sum())
            raise ValueError(
                f"scores: each row needs its {column}, but {n_bad} of {len(scores)} have none"
            )
    for what, described, allowed in (
        ("data set", datasets, _DATASET_KEYS),
        ("method", methods, _METHOD_KEYS),
    ):
        for name, settings in described.items():
            unknown = sorted(set(settings) - allowed)
            if unknown:
                raise ValueError(
                    f"description of {what} {name!r}: expected only the keys "
                    f"{', '.join(sorted(allowed))}, but found {', '.join(unknown)}"
                )
    unknown = sorted(set(scores["dataset"]) - set(datasets))
    if unknown:
        raise ValueError(
            f"the scores hold the data set {unknown[0]!r}, which is not described; described are "
            f"{', '.join(datasets) or 'none'}"
        )
    _check_published_names(datasets)
    is_repeated = scores.duplicated([*KEYS, "image_id"])
    if is_repeated.any():
        first = scores[is_repeated].iloc[0]
        raise ValueError(
            f"scores: one row per image is expected, but {int(is_repeated.sum())} rows repeat one "
            f"(first: {_place(first)}); gather the samples of an image into one verdict before"
        )
    is_contradictory = scores["predicted_px"].notna() & scores["iou"].isna()
    is_contradictory &= (scores["label"] == "NOK") & (scores["truth_px"].fillna(0) > 0)
    if is_contradictory.any():
        first = scores[is_contradictory].iloc[0]
        raise ValueError(
            "scores: an image with a predicted and a true mask needs an IoU, but "
            f"{int(is_contradictory.sum())} have none (first: {_place(first)})"
        )
    _check_same_images(scores)


def _check_published_names(datasets: Notes) -> None:
    _, studied = load_published()
    for name in datasets:
        key = published_as(datasets, name)
        if key is not None and key not in studied:
            raise ValueError(
                f"data set {name!r}: published_as must be one of {', '.join(studied)}, but is "
                f"{key!r}"
            )


def _check_same_images(scores: pd.DataFrame) -> None:
    """Refuse a comparison of methods that did not see the same images."""
    for dataset, rows in scores.groupby("dataset", sort=False, observed=True):
        labels = rows.groupby("image_id")["label"].nunique(dropna=False)
        if (labels > 1).any():
            raise ValueError(
                f"scores of {dataset}: an image has one true label, but {int((labels > 1).sum())} "
                f"have two (first: {labels.index[labels > 1][0]})"
            )
        n_images = rows["image_id"].nunique()
        for key, part in rows.groupby(KEYS, sort=False, observed=True):
            if len(part) != n_images:
                absent = sorted(set(rows["image_id"]) - set(part["image_id"]))
                raise ValueError(
                    f"scores of {'/'.join(map(str, key))}: all methods of a data set must be "
                    f"scored on the same {n_images} images, but {len(absent)} are missing (first: "
                    f"{absent[0]}); score them, an unanswered image being a row without a verdict"
                )


def _place(row: pd.Series) -> str:
    return f"{row['dataset']}/{row['method']}/{row['prompt']}, image {row['image_id']}"
