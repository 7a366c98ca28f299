"""Classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realitycheck.methods.resnet_mlp.algorithm import classify_out_of_fold, largest_departures

if TYPE_CHECKING:
    pass
from realitycheck.methods.base import _held_out


def out_of_fold_verdicts(
    manifest: pd.DataFrame,
    maps: Sequence[np.ndarray],
    *,
    method: str,
    prompt: str,
    settings: Mapping[str, Any],
) -> pd.DataFrame:
    """Verdicts of the supervised baseline, each by a model that did not see the image.

    Args:
        manifest: Scored images.
        maps: Feature maps of each stage, (N, C, G, G), in the manifest's order.
        method: Name of the method block.
        prompt: What the key `prompt` holds.
        settings: Of the method.

    Returns:
        A verdicts table.
    """
    categories = manifest["category"].to_numpy()
    groups = manifest["group"].fillna(manifest["image_id"]).to_numpy()
    found = classify_out_of_fold(
        lambda learned: largest_departures(maps, learned, categories=categories, groups=groups),
        manifest["label"].to_numpy(),
        groups=groups,
        **{key: value for key, value in settings.items() if key not in ("kind", "input_size_px")},
    )
    return _held_out(manifest, method, prompt, found)
