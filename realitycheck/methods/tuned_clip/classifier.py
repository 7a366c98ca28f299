"""CLIP with learned first words of its texts, on stored features; every verdict out of fold."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.words import object_name
from realitycheck.methods.base import Inputs, Run, Verdicts, held_out
from realitycheck.methods.clip import open_clip
from realitycheck.methods.tuned_clip import algorithm as tuned_clip


def verdicts(inputs: Inputs, run: Run, manifest: pd.DataFrame, device: str) -> Verdicts:
    """Learn the first words of CLIP's texts of good and bad parts."""
    model = open_clip(inputs, run, device)
    started = time.perf_counter()
    features = inputs.encodings("features").stacked("feature", manifest["image_id"])
    objects = {
        category: object_name(run.words["object_name"], category)
        for category in sorted(set(manifest["category"]))
    }
    table = tuned_verdicts(manifest, features, model, objects, run)
    return Verdicts(table, 0.0, time.perf_counter() - started)


def tuned_verdicts(
    manifest: pd.DataFrame, features: np.ndarray, model: Any, objects: Mapping[str, str], run: Run
) -> pd.DataFrame:
    """Verdicts of CLIP with a learned prompt, each by one that did not see the image.

    Args:
        manifest: Scored images.
        features: CLIP features of each of them, (N, D), in the manifest's order.
        model: CLIP.
        objects: What the images of each category show.
        run: With the settings of the method.

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
        **{key: value for key, value in run.settings.items() if key != "kind"},
    )
    return held_out(manifest, run, found)
