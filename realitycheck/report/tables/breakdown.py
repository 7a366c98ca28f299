"""Breakdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.constants import MASK_FLOORS
from realitycheck.core.tables import INTEGER, REAL, TEXT, Schema
from realitycheck.metrics.classification import (
    confusion,
    overkill_rate,
    slip_rate,
    worst_case,
)
from realitycheck.metrics.detection_probability import (
    bin_of,
    size_edges,
)
from realitycheck.metrics.intervals import clopper_pearson, mean_iou_interval
from realitycheck.report.tables.base import (
    KEYS,
    categories_of,
    dataset_name,
    groups_of,
    method_name,
    rows_by_run,
    stream_of,
)
from realitycheck.report.tables.statistics import Notes, _table
from realitycheck.report.text import (
    TableText,
    _bounded,
    percent_text,
    score_text,
    text_by_run,
)

BREAKDOWN = Schema(
    "breakdown",
    (
        ("dataset", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("by", TEXT),
        ("value", TEXT),
        ("n_images", INTEGER),
        ("n_nok", INTEGER),
        ("mean_iou", REAL),
        ("mean_iou_low", REAL),
        ("mean_iou_high", REAL),
        ("slip_rate", REAL),
        ("slip_rate_high", REAL),
        ("overkill_rate", REAL),
        ("overkill_rate_high", REAL),
        ("ok_with_mask_rate", REAL),  # share of good images with a mask
        ("ok_mask_area_share", REAL),  # mean share of the image that such a mask covers
        ("n_answered", INTEGER),
        ("n_scored", INTEGER),  # defective images with truth and mask: what the IoU is taken over
        ("dataset_name", TEXT),
        ("method_name", TEXT),
        ("rank", INTEGER),  # order of the values of one `by`
    ),
    ("dataset", "method", "prompt", "by", "value"),
    {"by": frozenset({"category", "defect_type", "defect_size"})},
    ("mean_iou", "slip_rate", "slip_rate_high", "overkill_rate", "overkill_rate_high")
    + ("ok_with_mask_rate", "ok_mask_area_share"),
)


# -------------------------------------------------------------------------------------- breakdown


def breakdown_table(
    scores: pd.DataFrame,
    mask_sizes: pd.DataFrame,
    *,
    datasets: Notes,
    methods: Notes,
    pixel_pitch_mm: Mapping[str, float | None],
    seed: int,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Break scores down by category, by defect type and by defect size.

    Good parts have no defect type and no size, so their rates stand with the categories. The size
    of a defective image is the sum of its defects' areas, as drawn; bins hold about the same number
    of images. The rest is as in Tables 1 and 2.

    Args:
        scores: Scores of the runs, those of the floor `whole_image` among them: its table says how
            much of each image is defective.
        mask_sizes: Pixels of each mask, columns `KEYS`, `image_id` and `mask_px`.
        datasets: Description of each data set.
        methods: Description of each method.
        pixel_pitch_mm: Side of a pixel of each data set, None where it is not known.
        seed: Of the bootstrap.
        n_resamples: Of the bootstrap.
        confidence: Of intervals and of each one-sided bound.

    Returns:
        The table, columns of `BREAKDOWN`.
    """
    scores = scores.merge(mask_sizes, on=[*KEYS, "image_id"], how="left")
    sized = scores.loc[scores["method"].isin(MASK_FLOORS) & (scores["label"] == "NOK")]
    truth_px = sized.drop_duplicates(["dataset", "image_id"]).set_index(["dataset", "image_id"])
    rows = []
    for key, images in rows_by_run(scores, datasets, methods):
        dataset = key[0]
        px = truth_px.loc[[dataset]]["truth_px"].droplevel(0) if dataset in truth_px.index else {}
        for by, value, rank, part in _parts(images, px, pixel_pitch_mm[dataset]):
            rng = stream_of(seed, *key, by, value)
            rows.append(
                dict(zip(KEYS, key, strict=True))
                | {"by": by, "value": value, "rank": rank}
                | _part_scores(part, rng, n_resamples=n_resamples, confidence=confidence)
                | {
                    "dataset_name": dataset_name(dataset, datasets),
                    "method_name": method_name(key[1], methods),
                }
            )
    return _table(rows, BREAKDOWN)


def _parts(
    images: pd.DataFrame, truth_px: Any, pitch_mm: float | None
) -> Iterator[tuple[str, str, int, pd.DataFrame]]:
    """Parts of a run's images: by what, its value, its rank, and the rows."""
    for rank, (value, part) in enumerate(images.groupby("category", sort=True)):
        yield "category", str(value), rank, part
    defective = images[images["label"] == "NOK"]
    for rank, (value, part) in enumerate(defective.groupby("defect_type", sort=True)):
        yield "defect_type", str(value), rank, part
    sizes = defective["image_id"].map(truth_px).astype(float)
    is_drawn = (sizes > 0).to_numpy()
    sizes, defective = sizes[is_drawn].to_numpy(), defective[is_drawn]
    if pitch_mm is not None:
        sizes = sizes * pitch_mm**2
    edges = size_edges(sizes)
    if not len(edges):
        return
    bins = bin_of(sizes, edges)
    unit = "px" if pitch_mm is None else "mm²"
    for rank, (low, high) in enumerate(zip(edges, edges[1:], strict=False)):
        part = defective[bins == rank]
        if len(part):
            yield "defect_size", f"{low:,g}–{high:,g} {unit}", rank, part


def _part_scores(
    images: pd.DataFrame, rng: np.random.Generator, *, n_resamples: int, confidence: float
) -> dict[str, Any]:
    scored = images[images["iou"].notna() & (images["label"] == "NOK")]
    iou = mean_iou_interval(
        scored["iou"].to_numpy(float),
        categories_of(scored),
        groups=groups_of(scored),
        rng=rng,
        n_resamples=n_resamples,
        confidence=confidence,
    )
    counts = confusion(images["label"], images["label_predicted"])
    worst = worst_case(counts)
    row: dict[str, Any] = {
        "n_images": len(images),
        "n_nok": int(counts.n_nok),
        "n_answered": int(counts.n_answered),
        "n_scored": len(scored),
        "mean_iou": iou.estimate,
        "mean_iou_low": iou.low,
        "mean_iou_high": iou.high,
    }
    for name, rate, wrong, n, silent in (
        ("slip_rate", slip_rate, worst.fn, counts.n_nok, counts.unanswered_nok),
        ("overkill_rate", overkill_rate, worst.fp, counts.n_ok, counts.unanswered_ok),
    ):
        row[name] = np.nan if silent else rate(counts)
        bound = clopper_pearson(int(wrong), int(n), confidence=confidence, side="upper")[1]
        row[f"{name}_high"] = bound if n else np.nan
    good = images[(images["label"] == "OK") & images["predicted_px"].notna()]
    flagged = good[good["predicted_px"] > 0]
    row["ok_with_mask_rate"] = len(flagged) / len(good) if len(good) else np.nan
    share = flagged["predicted_px"].astype(float) / flagged["mask_px"].astype(float)
    row["ok_mask_area_share"] = float(share.mean()) if len(flagged) else np.nan
    return row


_BY_WORDS = {"category": "Category", "defect_type": "Defect type", "defect_size": "Defect size"}


def breakdown_text(table: pd.DataFrame) -> TableText:
    """Scores by category, defect type and defect size."""
    header = [
        *("Data set", "Method", "Prompt", "By", "Value", "NOK / OK", "IoU [interval]"),
        *("Slip rate (bound)", "Overkill rate (bound)", "Good parts with a mask", "Its area"),
    ]

    def cells(row: pd.Series) -> list[str]:
        iou = score_text(row["mean_iou"])
        if pd.notna(row["mean_iou_low"]):
            iou += f" [{row['mean_iou_low']:.2f}, {row['mean_iou_high']:.2f}]"
        return [
            _BY_WORDS[row["by"]],
            str(row["value"]).replace("_", " "),
            f"{row['n_nok']} / {row['n_images'] - row['n_nok']}",
            iou,
            _bounded(row, "slip_rate"),
            _bounded(row, "overkill_rate"),
            percent_text(row["ok_with_mask_rate"]),
            percent_text(row["ok_mask_area_share"]),
        ]

    return text_by_run(
        "Scores by category, defect type and defect size",
        header,
        table,
        cells,
        n_text_columns=5,
        legend=[
            "Bounds of the rates are one-sided upper ones. Its area: mean share of the image that "
            "the mask of a good part covers, over those with a mask. Good parts have no defect "
            "type and no size."
        ],
    )
