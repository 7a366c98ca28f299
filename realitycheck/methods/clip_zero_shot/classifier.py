"""CLIP zero-shot on stored features: verdicts by texts of flawless and of defective parts."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import pandas as pd

from realitycheck.core.words import object_name
from realitycheck.methods.base import Inputs, Run, Verdicts, verdict_table
from realitycheck.methods.clip import open_clip
from realitycheck.methods.clip_zero_shot.algorithm import classify, encode_states


def verdicts(inputs: Inputs, run: Run, manifest: pd.DataFrame, device: str) -> Verdicts:
    """Compare each image with texts of flawless and of defective parts."""
    model = open_clip(inputs, run, device)
    states = {
        category: encode_states(
            model,
            object_name(run.words["object_name"], category),
            defects=run.words["defect_names"],
        )
        for category in sorted(set(manifest["category"]))
    }
    started = time.perf_counter()
    features = inputs.encodings("features").stacked("feature", manifest["image_id"])
    table = zero_shot_verdicts(manifest, features, states, run)
    return Verdicts(table, time.perf_counter() - started)


def zero_shot_verdicts(
    manifest: pd.DataFrame, features: np.ndarray, states: Mapping[str, np.ndarray], run: Run
) -> pd.DataFrame:
    """Verdicts of CLIP by texts of flawless and of defective parts.

    Args:
        manifest: Scored images.
        features: CLIP features of each of them, (N, D), in the manifest's order.
        states: Text features (2, D) of each category.
        run: With `threshold`, the probability of NOK above which an image is NOK.

    Returns:
        A verdicts table.
    """
    table = verdict_table(manifest, run)
    threshold = run.settings["threshold"]
    for category, rows in manifest.reset_index(drop=True).groupby("category"):
        labels, scores = classify(features[rows.index], states[category], threshold=threshold)
        table.loc[rows.index, "label_predicted"] = labels
        table.loc[rows.index, "score"] = scores
    return table
