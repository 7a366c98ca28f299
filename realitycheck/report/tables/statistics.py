"""Tables of evidence: readiness, detection probability, breakdowns, comparisons, pixel scores.

Each takes tables of one row an image, a defect or a run, and gives one in the form of its schema in
`realitycheck.core.schemas`, rows in the order of the settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

Notes = Mapping[str, Mapping[str, Any]]


def _lost_notes(defects: pd.DataFrame) -> Iterator[str]:
    n_lost = int((defects["lost_px"] > 0).sum())
    if n_lost:
        n_wholly = int((defects["lost_px"] == defects["area_px"]).sum())
        yield (
            f"alignment moved {n_lost} of {len(defects)} defects out of the image, {n_wholly} of "
            "them wholly: what lies beyond it counts as not found"
        )


def _summands(images: pd.DataFrame, quantity: str) -> np.ndarray:
    """What a quantity is a function of sums of, float, one row an image."""
    ones = np.ones(len(images))
    if quantity == "iou":
        return np.column_stack([images["iou"].to_numpy(float), ones])
    is_nok = (images["label"] == "NOK").to_numpy()
    is_rejected = (images["label_predicted"] == "NOK").to_numpy()
    if quantity == "verdict":
        return np.column_stack([is_nok == is_rejected, ones]).astype(float)
    counts = [is_nok & is_rejected, ~is_nok & is_rejected, is_nok & ~is_rejected]
    return np.column_stack(counts).astype(float)


def _verdict_by(key: tuple[str, str, str], methods: Notes) -> str | None:
    return methods.get(key[1], {}).get("verdict_by")


def _has_no_mask(images: pd.DataFrame) -> bool:
    return bool(images["predicted_px"].isna().all())


# ----------------------------------------------------------------------------------------- common


def _table(rows: list[dict[str, Any]], schema: Any) -> pd.DataFrame:
    """Put rows into the columns of a schema, whole numbers that may be missing as such."""
    table = pd.DataFrame(rows, columns=schema.columns)
    for name, kind in schema.fields:
        if kind == "int64":
            table[name] = table[name].astype("Int64")
        elif kind == "double":
            table[name] = table[name].astype("float64")
    return table


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
