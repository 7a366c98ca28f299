"""Classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realitycheck.methods.tuned_clip import algorithm as tuned_clip

if TYPE_CHECKING:
    import torch
from realitycheck.methods.base import _held_out


def tuned_verdicts(
    manifest: pd.DataFrame,
    features: np.ndarray,
    model: torch.nn.Module,
    objects: Mapping[str, str],
    *,
    method: str,
    prompt: str,
    settings: Mapping[str, Any],
) -> pd.DataFrame:
    """Verdicts of CLIP with a learned prompt, each by one that did not see the image.

    Args:
        manifest: Scored images.
        features: CLIP features of each of them, (N, D), in the manifest's order.
        model: CLIP.
        objects: What the images of each category show.
        method: Name of the method block.
        prompt: What the key `prompt` holds.
        settings: Of the method.

    Returns:
        A verdicts table.
    """
    found = tuned_clip.classify_out_of_fold(
        model,
        features,
        manifest["label"].to_numpy(),
        categories=manifest["category"].to_numpy(),
        groups=manifest["group"].fillna(manifest["image_id"]).to_numpy(),
        objects=objects,
        **{key: value for key, value in settings.items() if key != "kind"},
    )
    return _held_out(manifest, method, prompt, found)
