"""What every segmentation method says of one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from realitycheck.core.schemas import VERDICTS

if TYPE_CHECKING:
    pass


class Segmentation(NamedTuple):
    """What a method says of one image.

    Attributes:
        mask: bool, shape (H, W); all False unless `status` is `ok`.
        score: 0 to 1, or None where nothing was compared.
        n_regions: Masks that were united.
        status: `ok`, or why the mask is empty.
    """

    mask: np.ndarray
    score: float | None
    n_regions: int
    status: str


class OutOfFold(NamedTuple):
    """Verdicts of images by models that did not see them.

    Attributes:
        scores: Probability of NOK, float64, (N,).
        labels: OK or NOK, (N,).
        folds: Fold that each image was held out in, int64, (N,).
        thresholds: Threshold of each fold, float64, (n_folds,).
    """

    scores: np.ndarray
    labels: np.ndarray
    folds: np.ndarray
    thresholds: np.ndarray


def _held_out(manifest: pd.DataFrame, method: str, prompt: str, found: OutOfFold) -> pd.DataFrame:
    return _table(manifest, method, prompt).assign(
        label_predicted=found.labels, score=found.scores, fold=found.folds
    )


def _table(manifest: pd.DataFrame, method: str, prompt: str) -> pd.DataFrame:
    keys = manifest[["dataset", "image_id"]].reset_index(drop=True)
    table = keys.assign(method=method, prompt=prompt, sample=0, status="answered")
    return table.reindex(columns=VERDICTS.columns).astype(
        {"label_predicted": object, "score": float}
    )
