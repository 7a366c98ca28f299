"""Supervised baseline on stored feature maps; every verdict out of fold."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd

from realitycheck.methods.base import Inputs, Run, Verdicts, held_out
from realitycheck.methods.resnet_mlp.algorithm import classify_out_of_fold, largest_departures


def verdicts(inputs: Inputs, run: Run, manifest: pd.DataFrame, device: str) -> Verdicts:
    """Train a perceptron on frozen features, a fold at a time."""
    features = inputs.encodings("features")
    started = time.perf_counter()
    found = [features.of(image_id) for image_id in manifest["image_id"]]
    maps = [np.stack([arrays[stage] for arrays in found]) for stage in sorted(found[0])]
    table = out_of_fold_verdicts(manifest, maps, run)
    return Verdicts(table, 0.0, time.perf_counter() - started)


def out_of_fold_verdicts(
    manifest: pd.DataFrame, maps: Sequence[np.ndarray], run: Run
) -> pd.DataFrame:
    """Verdicts of the supervised baseline, each by a model that did not see the image.

    Args:
        manifest: Scored images.
        maps: Feature maps of each stage, (N, C, G, G), in the manifest's order.
        run: With the settings of the method.

    Returns:
        A verdicts table.
    """
    categories = manifest["category"].to_numpy()
    groups = manifest["group"].fillna(manifest["image_id"]).to_numpy()
    others = ("kind", "input_size_px")
    found = classify_out_of_fold(
        lambda learned: largest_departures(maps, learned, categories=categories, groups=groups),
        manifest["label"].to_numpy(),
        groups=groups,
        **{key: value for key, value in run.settings.items() if key not in others},
    )
    return held_out(manifest, run, found)
