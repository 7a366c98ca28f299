"""Scores by category, by defect type and by defect size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.constants import AREA_SUFFIX, MASK_FLOORS
from realitycheck.core.schemas import MASKS
from realitycheck.core.tables import INTEGER, REAL, TEXT, Schema, read_table
from realitycheck.metrics.classification import (
    confusion,
    overkill_rate,
    slip_rate,
    worst_case,
)
from realitycheck.metrics.detection_probability import bin_of, size_edges
from realitycheck.metrics.intervals import clopper_pearson, mean_iou_interval
from realitycheck.report.results import KEYS, Notes, Results, Run
from realitycheck.report.tables.base import (
    Section,
    categories_of,
    dataset_name,
    groups_of,
    method_name,
    rows_by_run,
    stream_of,
    typed_table,
)
from realitycheck.report.text import (
    TableText,
    bounded,
    interval_text,
    percent_text,
    score_text,
    table_by_run,
    with_columns,
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
SCHEMAS = {"breakdown": BREAKDOWN}
SETTINGS = ("evaluation",)

#: What scores are broken down by: in the table's cells, and in captions.
_BY_WORDS = {
    "category": ("Category", "kind of product"),
    "defect_type": ("Defect type", "type of defect"),
    "defect_size": ("Defect size", "size of the defect"),
}


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Make the table of a run; see `breakdown_table`."""
    masked = results.runs("masks")
    table = breakdown_table(
        results.scores(results.runs("broken_down")),
        mask_sizes(results.files_of("masks", masked), results.runs("area")),
        datasets=results.datasets,
        methods=results.methods,
        pixel_pitch_mm=results.facts["pixel_pitch_mm"],
        **results.facts["evaluation"],
    )
    return {"breakdown": table}


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Put the table into words."""
    return {"breakdown": [breakdown_text(tables["breakdown"])]}


def section(tables: Mapping[str, pd.DataFrame]) -> Section:
    """Show one table per data set and thing that it is broken down by.

    What has only one value in a data set says no more than Tables 1 and 2, and is left out.
    """
    shown = []
    for (_, by), rows in tables["breakdown"].groupby(["dataset", "by"], sort=False):
        if rows["value"].nunique() > 1:
            text = breakdown_text(rows)
            # The caption says what it is by, and of which data set.
            said = {text.header.index("By"), text.header.index("Data set")}
            kept = [column for column in range(len(text.header)) if column not in said]
            caption = f"{rows['dataset_name'].iloc[0]}, by {_BY_WORDS[by][1]}"
            shown.append(replace(with_columns(text, kept), caption=caption))
    return Section(shown, heading="Where methods are strong and weak", is_folded=True)


def breakdown_text(table: pd.DataFrame) -> TableText:
    """Format one row per run and value."""
    header = [
        *("Data set", "Method", "Prompt", "By", "Value", "NOK / OK", "IoU [interval]"),
        *("Slip rate (bound)", "Overkill rate (bound)", "Good parts with a mask", "Its area"),
    ]

    def cells(row: pd.Series) -> list[str]:
        return [
            _BY_WORDS[row["by"]][0],
            str(row["value"]).replace("_", " "),
            f"{row['n_nok']} / {row['n_images'] - row['n_nok']}",
            interval_text(score_text(row["mean_iou"]), row["mean_iou_low"], row["mean_iou_high"]),
            bounded(row, "slip_rate"),
            bounded(row, "overkill_rate"),
            percent_text(row["ok_with_mask_rate"]),
            percent_text(row["ok_mask_area_share"]),
        ]

    return table_by_run(
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


def mask_sizes(paths: Sequence[str | Path], area_runs: Sequence[Run]) -> pd.DataFrame:
    """Number of pixels of each mask, columns `KEYS`, `image_id` and `mask_px`.

    Args:
        paths: Masks tables, one per run.
        area_runs: Runs with verdicts by the area of those masks.
    """
    columns = [*KEYS, "image_id", "mask_height_px", "mask_width_px"]
    read = [read_table(path, schema=MASKS, columns=columns) for path in paths]
    masks = pd.concat([pd.DataFrame(columns=columns), *read], ignore_index=True)
    masks["mask_px"] = masks.pop("mask_height_px") * masks.pop("mask_width_px")
    again = masks.assign(method=masks["method"] + AREA_SUFFIX)
    is_run = again[KEYS].apply(tuple, axis=1).isin({tuple(run) for run in area_runs})
    return pd.concat([masks, again[is_run]], ignore_index=True)


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
        scores: Scores of the runs, those of the baseline `whole_image` among them: its table says
            how much of each image is defective.
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
        for by, value, rank, part in _subsets(images, px, pixel_pitch_mm[dataset]):
            rng = stream_of(seed, *key, by, value)
            rows.append(
                dict(zip(KEYS, key, strict=True))
                | {"by": by, "value": value, "rank": rank}
                | _subset_scores(part, rng, n_resamples=n_resamples, confidence=confidence)
                | {
                    "dataset_name": dataset_name(dataset, datasets),
                    "method_name": method_name(key[1], methods),
                }
            )
    return typed_table(rows, BREAKDOWN)


def _subsets(
    images: pd.DataFrame, truth_px: Any, pitch_mm: float | None
) -> Iterator[tuple[str, str, int, pd.DataFrame]]:
    """Subsets of a run's images: by what, the value, its rank, and the rows."""
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


def _subset_scores(
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
