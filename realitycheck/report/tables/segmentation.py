"""Table 1: how well masks fit, with the baselines and the study's values beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.constants import MASK_FLOORS
from realitycheck.core.tables import BOOLEAN, INTEGER, REAL, TEXT, Schema
from realitycheck.metrics.intervals import (
    Interval,
    mean_iou_interval,
    pooled_iou_interval,
)
from realitycheck.metrics.iou import pooled_iou
from realitycheck.report.results import KEYS, Notes, Results
from realitycheck.report.tables.base import (
    DESCRIPTION,
    NO_VARIATION,
    Section,
    categories_of,
    check_scores,
    count_notes,
    describe,
    gives_masks,
    groups_of,
    is_no_better,
    published_as,
    rows_by_run,
    stream_of,
    typed_table,
    why_unjudged,
)
from realitycheck.report.tables.published import find_published, load_published
from realitycheck.report.tables.study_text import BOLD_ABOVE_IOU, is_bold, study_text
from realitycheck.report.text import (
    TableText,
    confidence_text,
    percent_range,
    score_text,
    signed,
    split_notes,
    table_by_run,
    with_interval,
)

SEGMENTATION = Schema(
    "segmentation",
    (
        ("dataset", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("n_images", INTEGER),
        ("n_defective", INTEGER),
        ("mean_iou", REAL),
        ("mean_iou_low", REAL),
        ("mean_iou_high", REAL),
        ("pooled_iou", REAL),
        ("ok_with_mask_rate", REAL),  # share of good images with at least one predicted pixel
        ("published_iou", REAL),
        ("iou_minus_published", REAL),
        ("n_scored", INTEGER),  # defective images with truth and mask: what the IoU is taken over
        ("n_without_truth", INTEGER),  # defective images with no mask, or with an empty one
        ("n_lost", INTEGER),  # of the scored ones: alignment moved defect pixels out of the image
        ("n_without_prediction", INTEGER),  # of the scored ones; they make the IoU a range
        ("mean_iou_worst", REAL),
        ("mean_iou_best", REAL),
        ("mean_iou_interval", TEXT),
        ("median_iou", REAL),
        ("zero_iou_rate", REAL),  # share of scored images whose defect is missed altogether
        ("pooled_iou_low", REAL),
        ("pooled_iou_high", REAL),
        ("ok_with_mask_rate_worst", REAL),
        ("ok_with_mask_rate_best", REAL),
        ("iou_floor", REAL),  # mean IoU of the whole image as the mask, on the same images
        ("is_no_better_than_floor", BOOLEAN),  # mean_iou_high is not above it
        ("published_source", TEXT),
        *DESCRIPTION,
    ),
    ("dataset", "method", "prompt"),
)
SCHEMAS = {"segmentation": SEGMENTATION}
SETTINGS = ("evaluation",)


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Make the table of a run; see `segmentation_table`."""
    table = segmentation_table(
        results.scores(results.runs("masks")),
        datasets=results.datasets,
        methods=results.methods,
        **results.facts["evaluation"],
    )
    return {"segmentation": table}


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Put the table into words, once more in the study's shape."""
    table = tables["segmentation"]
    text = segmentation_text(table)
    return {"segmentation": [text], "segmentation_study": [study_text(table, text.caption)]}


def section(tables: Mapping[str, pd.DataFrame]) -> Section:
    """Show the table, where a method gives masks."""
    table = tables["segmentation"]
    text = segmentation_text(table, "Table 1. How well masks fit: IoU")
    return Section([text] if len(table) else [], place="tables")


def segmentation_text(
    table: pd.DataFrame, caption: str = "Segmentation: IoU of predicted defect masks"
) -> TableText:
    """Format one row per run: IoU with its interval, and the study's value where there is one."""

    def cells(row: pd.Series) -> list[str]:
        return [
            with_interval(row, "mean_iou"),
            str(row["n_scored"]),
            score_text(row["pooled_iou"]),
            percent_range(row, "ok_with_mask_rate"),
            score_text(row["published_iou"]),
            signed(row["iou_minus_published"]),
        ]

    legend = (
        "IoU: mean over the given number of defective images with ground truth; in brackets the "
        f"{confidence_text(table)} bootstrap interval, stratified by category. Bold: above "
        f"{BOLD_ABOVE_IOU:.2f}. Pooled IoU: over all pixels of the same images."
    )
    if table["published_iou"].notna().any():
        legend += " Difference: our value minus the study's."
    return table_by_run(
        caption,
        [
            *("Data set", "Method", "Prompt", "IoU [interval]", "Images", "Pooled IoU"),
            *("Good parts with a mask", "Study's IoU", "Difference"),
        ],
        table,
        cells,
        n_text_columns=3,
        notes=lambda row: split_notes(row["note"]),
        is_bold=lambda row: is_bold(row["mean_iou"]),
        legend=[legend],
    )


def segmentation_table(
    scores: pd.DataFrame,
    *,
    datasets: Notes,
    methods: Notes,
    seed: int,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Make Table 1: how well masks fit, one row per data set, method and prompt.

    The IoU is averaged over the defective images that have ground truth; `pooled_iou` is over the
    same images; defect pixels that alignment moved out of the image are in both unions. Intervals:
    bootstrap over images (or groups), stratified by category. A method that gives verdicts but no
    mask has no row.

    Source: section 4.1 and Table 1 of the study.

    Args:
        scores: One row per image, data set, method and prompt, columns of `SCORES`. A missing
            `truth_px` says that the image has no ground truth, a missing `predicted_px` that the
            method gave no mask; a missing group stands for a part of its own.
        datasets: Description of each data set by its id, all keys optional: `name` for people,
            `published_as` (industrial_sat, mvtec_ad or oxford_iiit_pet), `note`. Rows come in
            this order.
        methods: Description of each method by its id, all keys optional: `kind` (the id if not
            given), `name` for people, `variant`, `model`, `uses_test_truth`, `note`. Rows come in
            this order, baselines last.
        seed: Seed of the bootstrap. Each row has its own stream, made of the seed and its keys,
            so a method that is added moves no other row.
        n_resamples: Number of bootstrap resamples.
        confidence: Confidence of all intervals, inside (0, 1).

    Returns:
        The table, columns of `SEGMENTATION`.

    Raises:
        ValueError: If columns are missing, images appear twice or not under every method, labels
            contradict each other, or a description is not understood.
    """
    check_scores(scores, datasets, methods)
    published, studied = load_published()
    floors = _iou_floors(scores, methods)
    rows = []
    for key, images in rows_by_run(scores, datasets, methods):
        about = describe(key, images, datasets, methods)
        if not gives_masks(key[1], methods, images):
            continue

        def stream(quantity: str, key: tuple = key) -> np.random.Generator:
            return stream_of(seed, *key, quantity)

        row = dict(zip(KEYS, key, strict=True))
        row |= _mask_statistics(images, stream, n_resamples=n_resamples, confidence=confidence)
        row |= about | {"confidence": confidence, "iou_floor": floors.get(key[0], np.nan)}
        row["is_no_better_than_floor"] = is_no_better(row, "mean_iou_high", "iou_floor")
        unjudged = images.loc[images["predicted_px"].isna(), "status"]
        notes = [*about["notes"], *_mask_notes(row, unjudged)]
        found = find_published(
            published,
            published_as(datasets, key[0]),
            metric="mean_iou",
            kind=about["kind"],
            prompt=key[2],
            model=about["model"],
        )
        row["published_iou"] = found["value"] if found else np.nan
        row["published_source"] = found["source"] if found else None
        row["iou_minus_published"] = row["mean_iou"] - row["published_iou"]
        if found:
            notes += count_notes(studied[published_as(datasets, key[0])], n_nok=row["n_scored"])
        row["note"] = "; ".join(notes)
        rows.append(row)
    return typed_table(rows, SEGMENTATION)


def _mask_statistics(
    images: pd.DataFrame,
    stream: Callable[[str], np.random.Generator],
    *,
    n_resamples: int,
    confidence: float,
) -> dict[str, Any]:
    """Compute the numbers of one row of Table 1."""
    is_nok = (images["label"] == "NOK").to_numpy()
    has_truth = images["truth_px"].fillna(0).to_numpy(dtype=float) > 0
    is_predicted = images["predicted_px"].notna().to_numpy()
    scored = images[is_nok & has_truth]
    ious = scored["iou"].to_numpy(dtype=float, na_value=np.nan)
    is_answered = scored["predicted_px"].notna().to_numpy()
    worst, best = np.where(is_answered, ious, 0.0), np.where(is_answered, ious, 1.0)
    settings = {
        "groups": groups_of(scored),
        "n_resamples": n_resamples,
        "confidence": confidence,
    }
    categories = categories_of(scored)
    low = mean_iou_interval(worst, categories, rng=stream("mean_iou"), **settings)
    high = low
    if not is_answered.all():
        high = mean_iou_interval(best, categories, rng=stream("mean_iou"), **settings)
    is_point = bool(is_answered.all()) and len(scored) > 0
    pooled = Interval(np.nan, np.nan, np.nan, "undefined")
    if is_point:
        intersection = scored["intersection_px"].to_numpy(dtype=float)
        union = scored["union_px"].to_numpy(dtype=float)
        pooled = pooled_iou_interval(
            intersection, union, categories=categories, rng=stream("pooled_iou"), **settings
        )
    good = images[~is_nok]
    n_flagged = int((good["predicted_px"].fillna(0).astype(float) > 0).sum())
    n_silent = int(good["predicted_px"].isna().sum())
    flagged_best = n_flagged / len(good) if len(good) else np.nan
    flagged_worst = (n_flagged + n_silent) / len(good) if len(good) else np.nan
    return {
        "n_images": len(images),
        "n_defective": len(scored),
        "mean_iou": low.estimate if is_point else np.nan,
        "mean_iou_low": low.low,
        "mean_iou_high": high.high,
        "pooled_iou": pooled_iou(intersection, union) if is_point else np.nan,
        "ok_with_mask_rate": flagged_best if n_silent == 0 else np.nan,
        "n_scored": int(is_answered.sum()),
        "n_without_truth": int((is_nok & ~has_truth).sum()),
        "n_lost": int((scored["lost_px"].fillna(0).to_numpy(dtype=float) > 0).sum()),
        "n_without_prediction": int((is_nok & has_truth & ~is_predicted).sum()),
        "mean_iou_worst": low.estimate,
        "mean_iou_best": high.estimate,
        "mean_iou_interval": low.kind if low.kind == high.kind else f"{low.kind}, {high.kind}",
        "median_iou": float(np.median(ious)) if is_point else np.nan,
        "zero_iou_rate": float((ious == 0).mean()) if is_point else np.nan,
        "pooled_iou_low": pooled.low,
        "pooled_iou_high": pooled.high,
        "ok_with_mask_rate_worst": flagged_worst,
        "ok_with_mask_rate_best": flagged_best,
    }


def _iou_floors(scores: pd.DataFrame, methods: Notes) -> dict[str, float]:
    """Mean IoU of the best mask baseline of each data set, where there is one."""
    kinds = {name: methods.get(name, {}).get("kind", name) for name in set(scores["method"])}
    is_floor = scores["method"].map(kinds).isin(MASK_FLOORS) & (scores["label"] == "NOK")
    means = scores[is_floor].groupby(["dataset", "method"])["iou"].mean()
    return means.groupby("dataset").max().to_dict()


def _mask_notes(row: dict, unjudged: Iterable[str]) -> list[str]:
    notes = []
    if row["is_no_better_than_floor"]:
        notes.append("no better than no model")
    n_drawn = row["n_scored"] + row["n_without_prediction"]
    if n_drawn == 0:
        notes.append("no defective image has ground truth, so there is no IoU")
    elif row["n_without_truth"]:
        notes.append(
            f"IoU over {n_drawn} of {n_drawn + row['n_without_truth']} defective "
            f"images: {row['n_without_truth']} have no ground truth"
        )
    if row["n_lost"]:
        notes.append(
            f"alignment moved defects of {row['n_lost']} of {n_drawn} defective images out "
            "of the image, wholly or in part: those pixels count as not found"
        )
    if row["n_without_prediction"]:
        notes.append(
            f"{row['n_without_prediction']} of {n_drawn} defective images got no mask"
            f"{why_unjudged(unjudged)}: the range is from IoU 0 to IoU 1 for them"
        )
    if "point" in row["mean_iou_interval"] and row["n_scored"]:
        notes.append(NO_VARIATION)
    return notes
