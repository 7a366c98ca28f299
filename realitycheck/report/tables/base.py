"""The two result tables: one row a data set, method and prompt, from one row an image.

Each statistic carries its interval and the number of images it is taken over. An image without an
answer makes a score a range, from all such images wrong (`*_worst`) to all right (`*_best`); the
score's own column then is missing, and its interval reaches from the worst case's lower limit to
the best case's upper limit.
"""

import zlib
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.constants import NO_PROMPT
from realitycheck.metrics.baselines import FLOORS, f2_floor, verdict_floors
from realitycheck.metrics.classification import (
    Confusion,
    f_beta,
    overkill_rate,
    precision,
    recall,
    slip_rate,
)
from realitycheck.report.tables.published import load_published

KEYS = ["dataset", "method", "prompt"]
SCORE_COLUMNS = [
    *("dataset", "image_id", "method", "prompt", "category", "group", "label"),
    *("label_predicted", "iou", "intersection_px", "union_px", "truth_px", "predicted_px"),
    *("lost_px", "defect_type", "status"),
]
BASELINE_NAMES = {
    "reject_everything": "Baseline: reject everything",
    "accept_everything": "Baseline: accept everything",
    "coin_at_prevalence": "Baseline: coin at the prevalence",
    "whole_image": "Baseline: whole image",
}

_DATASET_KEYS = {"name", "published_as", "note"}
_METHOD_KEYS = {"kind", "name", "variant", "model", "uses_test_truth", "note"}
_METHOD_KEYS |= {"verdict_by", "label", "gives_masks"}
_AREA_NOTE = "NOK by predicted area, above a threshold from good images of other folds"
_UNJUDGED_WORDS = {
    "not_comparable": "not comparable: not aligned, and of another size than the reference"
}
_NO_VARIATION = "no variation among the images to estimate an interval from"
_DESCRIPTION = {
    "dataset_name": "string",
    "method_name": "string",
    "kind": "string",
    "variant": "string",
    "model": "string",
    "uses_test_truth": "boolean",
    "is_floor": "boolean",
    "status_counts": "string",
    "n_groups": "Int64",
    "confidence": "float64",
    "note": "string",
}
# What is known of a run's answers beside its verdicts.
ANSWER_COLUMNS = {
    "n_samples": "Int64",  # answers of an image that its verdict is the majority of
    "fleiss_kappa": "float64",  # agreement of the samples beyond chance
    "flip_rate": "float64",  # share of images whose samples do not all agree
    "cost_per_1000_parts_usd": "float64",  # missing where an answer has no price
}


def _without_unknown(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out what nobody knows where no good, or no defective, part is scored."""
    for count, names in (("n_ok", ("overkill_rate",)), ("n_nok", ("slip_rate", "recall"))):
        if not row[count]:
            unknown = [key for key in row if key.startswith((*names, "precision", "f2"))]
            row |= dict.fromkeys(unknown, np.nan) | {"f2_interval": "undefined"}
    return row


def _is_no_better(row: dict[str, Any], high: str, floor: str) -> bool | None:
    """Tell whether an upper limit is not above the best floor; None for floors themselves."""
    is_known = np.isfinite(row[high]) and np.isfinite(row[floor])
    if row["is_floor"] or not is_known:
        return None
    return bool(row[high] <= row[floor] + 1e-12)


def _count_columns(counts: Confusion) -> dict[str, Any]:
    return {
        "n_images": round(counts.n_ok + counts.n_nok),
        "n_ok": round(counts.n_ok),
        "n_nok": round(counts.n_nok),
        "n_answered": round(counts.n_answered),
        "n_unanswered_ok": int(counts.unanswered_ok),
        "n_unanswered_nok": int(counts.unanswered_nok),
        "tp": counts.tp,
        "fp": counts.fp,
        "fn": counts.fn,
        "tn": counts.tn,
    }


def _range(name: str, worst: float, best: float) -> dict[str, float]:
    """Give a value only where the worst and the best case agree."""
    value = worst if worst == best else np.nan
    return {name: value, f"{name}_worst": worst, f"{name}_best": best}


def _with_floors(rows: list[dict], datasets: Mapping, *, confidence: float) -> list[dict]:
    """Put the floors that are missing behind the rows of each data set."""
    complete: list[dict] = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        own = [row for row in rows if row["dataset"] == dataset]
        complete += own
        n_nok, n_ok = own[0]["n_nok"], own[0]["n_ok"]
        present = {row["kind"] for row in own}
        for floor, counts in verdict_floors(n_nok, n_ok).items():
            if floor in present:
                continue
            value = f_beta(counts)
            row = dict(zip(KEYS, (dataset, floor, NO_PROMPT), strict=True))
            row |= _count_columns(counts)
            for name, rate in (
                ("precision", precision),
                ("recall", recall),
                ("slip_rate", slip_rate),
                ("overkill_rate", overkill_rate),
            ):
                row |= _range(name, rate(counts), rate(counts))
            row |= _range("f2", value, value)
            row |= {"f2_interval": "undefined", "f2_floor": f2_floor(n_nok, n_ok)}
            row = _without_unknown(row) | {
                "dataset_name": dataset_name(dataset, datasets),
                "method_name": BASELINE_NAMES[floor],
                "kind": floor,
                "uses_test_truth": False,
                "is_floor": True,
                "verdict_by": "model",
                "unanswered_status": "",
                "status_counts": "",
                "confidence": confidence,
                "note": "expected counts" if floor == "coin_at_prevalence" else "",
            }
            complete.append(row)
    return complete


def _why(statuses: Iterable[str]) -> str:
    """Say why images of some statuses could not be judged."""
    reasons = [_UNJUDGED_WORDS[status] for status in sorted(set(statuses) & set(_UNJUDGED_WORDS))]
    return f" ({', '.join(reasons)})" if reasons else ""


def _count_notes(study: dict, *, n_nok: int, n_ok: int | None = None) -> list[str]:
    """Say when a published value was taken over other numbers of images than ours."""
    is_same = n_nok == study["n_nok"] and n_ok in (None, study["n_ok"])
    if is_same:
        return []
    theirs = f"{study['n_nok']} defective"
    ours = f"{n_nok}"
    if n_ok is not None:
        theirs, ours = f"{theirs} and {study['n_ok']} good", f"{ours} and {n_ok}"
    return [f"published value over {theirs} images of {study['name']}, ours over {ours}"]


def _describe(
    key: tuple[str, str, str], images: pd.DataFrame, datasets: Mapping, methods: Mapping
) -> dict[str, Any]:
    """Gather what a row says about itself."""
    dataset, method, _ = key
    settings = methods.get(method, {})
    kind = settings.get("kind", method)
    variant = settings.get("variant")
    uses_test_truth = bool(settings.get("uses_test_truth", False))
    notes = [settings.get("note"), datasets[dataset].get("note")]
    if uses_test_truth:
        notes.append("uses the ground truth of the test images to set its threshold")
    if settings.get("verdict_by") == "area":
        notes.append(_AREA_NOTE)
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
        "is_floor": kind in FLOORS,
        "status_counts": _status_counts(images["status"]),
        "n_groups": n_groups,
        "notes": [note for note in notes if note],
    }


def _status_counts(status: pd.Series) -> str:
    """Put the statuses of images into words, the most frequent first."""
    counts = status.fillna("none").astype(str).value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{value} {count}" for value, count in ordered)


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.astype(object).where(table.notna(), None).to_dict("records")


def dataset_name(dataset: str, datasets: Mapping[str, Mapping[str, Any]]) -> str:
    """Name of a data set for people."""
    return datasets[dataset].get("name") or dataset


def method_name(method: str, methods: Mapping[str, Mapping[str, Any]]) -> str:
    """Name of a method for people, with its variant, and how it judges where that is by area."""
    settings = methods.get(method, {})
    usual = settings.get("label") or BASELINE_NAMES.get(settings.get("kind", method), method)
    name = settings.get("name") or usual
    variant = settings.get("variant")
    if not settings.get("name") and variant not in (None, "published"):
        name = f"{name} ({variant})"
    return f"{name} (area)" if settings.get("verdict_by") == "area" else name


def _published_as(datasets: Mapping, dataset: str) -> str | None:
    return datasets[dataset].get("published_as")


def rows_by_run(
    scores: pd.DataFrame, datasets: Mapping, methods: Mapping
) -> list[tuple[tuple[str, str, str], pd.DataFrame]]:
    """Split scores by key, in the order of the descriptions, floors last."""
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


def _typed(rows: list[dict], columns: dict[str, str]) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            name: pd.Series([row.get(name) for row in rows], dtype=object).astype(dtype)
            for name, dtype in columns.items()
        }
    )
    return table


def _check_scores(scores: pd.DataFrame, datasets: Mapping, methods: Mapping) -> None:
    """Refuse scores from which a table would come out wrong."""
    missing = [name for name in SCORE_COLUMNS if name not in scores.columns]
    if missing:
        raise ValueError(
            f"the scores need the columns {', '.join(SCORE_COLUMNS)}, but {', '.join(missing)} "
            "are missing"
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
            f"scores: one row an image is expected, but {int(is_repeated.sum())} rows repeat one "
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


def _check_published_names(datasets: Mapping) -> None:
    _, studied = load_published()
    for name in datasets:
        published_as = _published_as(datasets, name)
        if published_as is not None and published_as not in studied:
            raise ValueError(
                f"data set {name!r}: published_as must be one of {', '.join(studied)}, but is "
                f"{published_as!r}"
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
