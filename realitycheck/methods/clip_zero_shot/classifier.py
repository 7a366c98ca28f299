"""Classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from realitycheck.methods.clip_zero_shot.algorithm import classify

if TYPE_CHECKING:
    pass
from realitycheck.methods.base import _table


def zero_shot_verdicts(
    manifest: pd.DataFrame,
    features: np.ndarray,
    states: Mapping[str, np.ndarray],
    *,
    method: str,
    prompt: str,
    threshold: float,
) -> pd.DataFrame:
    """Verdicts of CLIP by texts of flawless and of defective parts.

    Args:
        manifest: Scored images.
        features: CLIP features of each of them, (N, D), in the manifest's order.
        states: Text features (2, D) of each category.
        method: Name of the method block.
        prompt: What the key `prompt` holds.
        threshold: Probability of NOK above which an image is NOK.

    Returns:
        A verdicts table.
    """
    table = _table(manifest, method, prompt)
    for category, rows in manifest.reset_index(drop=True).groupby("category"):
        labels, scores = classify(features[rows.index], states[category], threshold=threshold)
        table.loc[rows.index, "label_predicted"] = labels
        table.loc[rows.index, "score"] = scores
    return table
