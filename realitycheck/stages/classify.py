"""Stage 5: one verdict an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from realitycheck.artifacts import VERDICTS
from realitycheck.methods import tuned_clip
from realitycheck.methods.clip_zero_shot import classify
from realitycheck.methods.floors import floor_label
from realitycheck.methods.resnet_mlp import OutOfFold, classify_out_of_fold, largest_departures

if TYPE_CHECKING:
    import torch


def floor_verdicts(manifest: pd.DataFrame, *, floor: str, prompt: str) -> pd.DataFrame:
    """Verdicts of a floor, the same on every image.

    Args:
        manifest: Scored images.
        floor: `reject_everything` or `accept_everything`.
        prompt: What the key `prompt` holds.

    Returns:
        A verdicts table.
    """
    table = manifest[["dataset", "image_id"]].assign(
        method=floor,
        prompt=prompt,
        sample=0,
        label_predicted=floor_label(floor),
        status="answered",
    )
    return table.reindex(columns=VERDICTS.columns)


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
