"""Probability of detection against defect size, with the raw recall by size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.schemas import DEFECTS
from realitycheck.core.tables import INTEGER, REAL, TEXT, Schema
from realitycheck.metrics.detection_probability import (
    fit_pod,
    pod_band,
    recall_by_size,
    size_edges,
)
from realitycheck.report.results import KEYS, Notes, Results
from realitycheck.report.tables.base import Section, dataset_name, method_name, typed_table
from realitycheck.report.text import (
    TableText,
    percent_text,
    split_notes,
    table_by_run,
    with_unit,
)

DETECTION_STATUSES = frozenset(
    {
        "estimated",
        "no_defects",  # nobody drew a defect
        "too_few_hits",  # fewer than 10
        "too_few_misses",
        "separation",  # a size parts hits from misses: the likelihood has no maximum
        "no_growth",  # larger defects are not found more often
    }
)

DETECTION_PROBABILITY = Schema(
    "detection probability",
    (
        ("dataset", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("unit", TEXT),
        ("status", TEXT),
        ("reason", TEXT),
        ("n_defects", INTEGER),
        ("n_hits", INTEGER),
        ("n_misses", INTEGER),
        ("intercept", REAL),  # of logit POD = intercept + slope · ln(area)
        ("slope", REAL),
        ("a50", REAL),  # area that is found with probability 0.5
        ("a90", REAL),
        ("a90_95", REAL),  # 95 % upper bound of a90; null where there is none
        ("min_covered_share", REAL),
        ("smallest", REAL),  # area of the smallest defect
        ("largest", REAL),
        ("n_groups", INTEGER),
        ("dataset_name", TEXT),
        ("method_name", TEXT),
        ("note", TEXT),
    ),
    ("dataset", "method", "prompt"),
    {"status": DETECTION_STATUSES, "unit": frozenset({"px", "mm2"})},
)

DETECTION_CURVE = Schema(
    "detection curve",
    (
        ("dataset", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("size", REAL),  # area in the unit of the detection probability table
        ("probability", REAL),
        ("probability_low", REAL),  # one-sided 95 % bounds
        ("probability_high", REAL),
    ),
    ("dataset", "method", "prompt", "size"),
    unit_interval=("probability", "probability_low", "probability_high"),
)

DETECTION_BINS = Schema(
    "detection bins",
    (
        ("dataset", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("size_low", REAL),  # included
        ("size_high", REAL),  # excluded, save in the last bin
        ("n_defects", INTEGER),
        ("n_hits", INTEGER),
        ("recall", REAL),
        ("recall_low", REAL),  # two-sided interval
        ("recall_high", REAL),
    ),
    ("dataset", "method", "prompt", "size_low"),
    unit_interval=("recall", "recall_low", "recall_high"),
)

SCHEMAS = {
    "detection_probability": DETECTION_PROBABILITY,
    "detection_curve": DETECTION_CURVE,
    "detection_bins": DETECTION_BINS,
}
SETTINGS = ("detection",)

#: Areas in words, by their unit in the table.
UNITS = {"px": "px", "mm2": "mm²"}

#: Points of a detection curve.
_N_CURVE_POINTS = 60

#: Confidence of a90/95 and of the band around the curve, which their names say.
_POD_CONFIDENCE = 0.95


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Make the tables of a run; see `detection_tables`."""
    found = detection_tables(
        results.read("defects", DEFECTS),
        results.runs("shown_masks"),
        datasets=results.datasets,
        methods=results.methods,
        **results.facts["detection"],
    )
    return dict(zip(SCHEMAS, found, strict=True))


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Put the tables into words."""
    found = detection_texts(tables["detection_probability"], tables["detection_bins"])
    return {"detection_probability": found}


def section(tables: Mapping[str, pd.DataFrame]) -> Section:
    """Show which sizes are found, or why they cannot be told, where somebody drew a defect."""
    rows = tables["detection_probability"]
    rows = rows[rows["n_defects"] > 0]
    shown = detection_texts(rows, tables["detection_bins"]) if len(rows) else []
    return Section(shown, heading="How small a defect is found")


def detection_tables(
    defects: pd.DataFrame,
    runs: Sequence[tuple[str, str, str]],
    *,
    datasets: Notes,
    methods: Notes,
    min_covered_share: float,
    confidence: float = 0.95,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Estimate the probability of detection against defect size.

    Areas are in mm² where every defect of a data set has one, else in pixels. All methods of a data
    set share their size bins.

    Args:
        defects: Defects tables of the runs, as one.
        runs: Every run with masks, baselines left out; one without defects has a row as well.
        datasets: Description of each data set.
        methods: Description of each method.
        min_covered_share: Share of its area that finds a defect.
        confidence: Of the recall in each bin.

    Returns:
        Tables with the columns of `DETECTION_PROBABILITY`, `DETECTION_CURVE`, `DETECTION_BINS`.
    """
    rows, curves, bins = [], [], []
    by_run = {tuple(key): own for key, own in defects.groupby(KEYS, sort=False)}
    edges = {}
    for dataset in dict.fromkeys(run[0] for run in runs):
        own = defects[defects["dataset"] == dataset].drop_duplicates(["image_id", "defect_id"])
        edges[dataset] = size_edges(own[_area_column(own)])
    for run in runs:
        own = by_run.get(tuple(run), defects.iloc[:0])
        key = dict(zip(KEYS, run, strict=True))
        column = _area_column(own)
        unit = column.removeprefix("area_")
        areas, hits = own[column].to_numpy(float), own["is_hit"].to_numpy(bool)
        fit = fit_pod(areas, hits, confidence=_POD_CONFIDENCE, unit=UNITS[unit])
        largest = areas.max() if len(areas) else np.nan
        rows.append(
            key
            | {
                "unit": unit,
                "status": fit.status,
                "reason": fit.reason,
                "n_defects": len(areas),
                "n_hits": fit.n_hits,
                "n_misses": fit.n_misses,
                "intercept": fit.intercept,
                "slope": fit.slope,
                "a50": fit.a50,
                "a90": fit.a90,
                "a90_95": fit.a90_95 if np.isfinite(fit.a90_95) else np.nan,
                "min_covered_share": min_covered_share,
                "smallest": areas.min() if len(areas) else np.nan,
                "largest": largest,
                "n_groups": own["group"].fillna(own["image_id"]).nunique(),
                "dataset_name": dataset_name(run[0], datasets),
                "method_name": method_name(run[1], methods),
                "note": "; ".join(
                    [
                        *_detection_notes(fit.a90, fit.a90_95, largest, methods[run[1]]),
                        *_lost_notes(own),
                    ]
                ),
            }
        )
        bins += [
            key
            | {"size_low": each.low, "size_high": each.high}
            | {name: getattr(each, name) for name in DETECTION_BINS.columns[5:]}
            for each in recall_by_size(areas, hits, edges[run[0]], confidence=confidence)
        ]
        if fit.status == "estimated":
            sizes = np.geomspace(areas.min(), areas.max(), _N_CURVE_POINTS)
            band = pod_band(areas, hits, fit, sizes, confidence=_POD_CONFIDENCE)
            curves += [
                key | {"size": size, "probability": p, "probability_low": a, "probability_high": b}
                for size, (p, a, b) in zip(sizes, band, strict=True)
            ]
    return (
        typed_table(rows, DETECTION_PROBABILITY),
        typed_table(curves, DETECTION_CURVE),
        typed_table(bins, DETECTION_BINS),
    )


def _area_column(defects: pd.DataFrame) -> str:
    has_mm2 = len(defects) > 0 and defects["area_mm2"].notna().all()
    return "area_mm2" if has_mm2 else "area_px"


def _detection_notes(
    a90: float, bound: float, largest: float, about: Mapping[str, Any]
) -> Iterator[str]:
    if about.get("note"):
        yield about["note"]
    if a90 > largest:
        yield "a90 lies beyond the largest defect, where the curve is a guess"
    elif bound > largest and np.isfinite(bound):
        yield "a90/95 lies beyond the largest defect, where the curve is a guess"


def _lost_notes(defects: pd.DataFrame) -> Iterator[str]:
    n_lost = int((defects["lost_px"] > 0).sum())
    if n_lost:
        n_wholly = int((defects["lost_px"] == defects["area_px"]).sum())
        yield (
            f"alignment moved {n_lost} of {len(defects)} defects out of the image, {n_wholly} of "
            "them wholly: what lies beyond it counts as not found"
        )


def detection_texts(table: pd.DataFrame, bins: pd.DataFrame) -> list[TableText]:
    """Sizes that are found, or why they cannot be told, and the raw recall by size."""
    sizes = [
        *("Data set", "Method", "Prompt", "Defects found", "Area a50", "a90", "a90/95"),
    ]

    def cells(row: pd.Series) -> list[str]:
        unit = UNITS[row["unit"]]
        found = f"{row['n_hits']} of {row['n_defects']}"
        return [found, *(with_unit(row[name], unit) for name in ("a50", "a90", "a90_95"))]

    shares = sorted(set(table["min_covered_share"]))
    estimated = table_by_run(
        "Probability of detection against defect size",
        sizes,
        table,
        cells,
        n_text_columns=3,
        notes=lambda row: (
            ([] if row["status"] == "estimated" else [row["reason"]]) + split_notes(row["note"])
        ),
        legend=[
            "A defect is a connected region of the truth; it is found if at least "
            f"{' or '.join(percent_text(share) for share in shares)} of its area is predicted. "
            "a50, a90: area found with probability 0.5, 0.9; a90/95: upper 95 % confidence bound "
            "of a90 by the likelihood ratio. Defects count as independent."
        ],
    )
    names = table.set_index(["dataset", "method", "prompt"])
    keyed = bins.merge(
        names[["dataset_name", "method_name", "unit"]].reset_index(),
        on=["dataset", "method", "prompt"],
        how="left",
    )

    def recall(row: pd.Series) -> list[str]:
        return [
            f"{row['size_low']:,g}–{row['size_high']:,g} {UNITS[row['unit']]}",
            f"{row['n_hits']} of {row['n_defects']}",
            percent_text(row["recall"])
            + (
                f" [{percent_text(row['recall_low'])}, {percent_text(row['recall_high'])}]"
                if row["n_defects"]
                else ""
            ),
        ]

    raw = table_by_run(
        "Defects found by size",
        ["Data set", "Method", "Prompt", "Area", "Found", "Share [interval]"],
        keyed,
        recall,
        n_text_columns=4,
        legend=["Intervals: two-sided Clopper–Pearson."],
    )
    return [estimated, raw] if len(bins) else [estimated]
