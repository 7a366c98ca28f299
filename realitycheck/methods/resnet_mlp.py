"""Supervised baseline: frozen ResNet features, a multi-layer perceptron, stratified five-fold.

Source: section 3.3 of the study, which concatenates a pre-trained ResNet feature extractor with a
multi-layer perceptron and reports F2 on a stratified five-fold cross-validation. It names neither
the layers of the perceptron nor the threshold: one hidden layer of 128, and a threshold chosen for
F2 inside the training folds, are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from realitycheck.metrics.folds import assign_folds

_INNER_FOLDS = 3


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


def classify_out_of_fold(
    features: np.ndarray,
    labels: Sequence[str],
    *,
    groups: Sequence[str],
    n_folds: int = 5,
    hidden_units: Sequence[int] = (128,),
    weight_decay: float = 1e-3,
    max_epochs: int = 300,
    beta: float = 2.0,
    seed: int = 0,
) -> OutOfFold:
    """Give every image a verdict by a model that was trained on the other folds.

    The rarer label weighs as much as the more frequent one. The threshold of a fold is the one with
    the best F-beta on its training images, scored there by an inner cross-validation, so that it is
    fitted neither on the held-out images nor on scores of images a model has learned.

    Args:
        features: Of N images, (N, D).
        labels: OK or NOK, N of them.
        groups: Group of each image; a group is never on both sides.
        n_folds: Number of folds.
        hidden_units: Units of the perceptron's hidden layers.
        weight_decay: L2 penalty.
        max_epochs: Most passes over the training images.
        beta: Weight of recall in the threshold's choice.
        seed: Of folds and initial weights.

    Raises:
        ValueError: If a label has fewer groups than folds.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    folds = assign_folds(labels, groups, n_folds=n_folds, seed=seed)
    is_nok = labels == "NOK"
    scores, thresholds = np.empty(len(labels)), np.empty(n_folds)
    options = {
        "hidden_units": tuple(hidden_units),
        "weight_decay": weight_decay,
        "max_epochs": max_epochs,
        "seed": seed,
    }
    for fold in range(n_folds):
        train = folds != fold
        inner = assign_folds(
            labels[train],
            groups[train],
            n_folds=min(_INNER_FOLDS, _n_groups(labels[train], groups[train])),
            seed=seed + 1 + fold,
        )
        inner_scores = np.empty(train.sum())
        for part in np.unique(inner):
            kept = inner != part
            inner_scores[~kept] = _fit_and_score(
                features[train][kept], is_nok[train][kept], features[train][~kept], **options
            )
        thresholds[fold] = best_threshold(inner_scores, is_nok[train], beta=beta)
        scores[~train] = _fit_and_score(features[train], is_nok[train], features[~train], **options)
    predicted = np.where(scores >= thresholds[folds], "NOK", "OK")
    return OutOfFold(scores, predicted, folds, thresholds)


def best_threshold(scores: np.ndarray, is_nok: np.ndarray, *, beta: float) -> float:
    """Threshold with the best F-beta; an image is NOK at or above it.

    It lies half way to the next lower score, so that it is not tied to one image.

    Args:
        scores: Probability of NOK, (N,).
        is_nok: bool, (N,).
        beta: Weight of recall.
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(is_nok[order])
    alarms = np.arange(1, len(scores) + 1)
    n_nok = hits[-1]
    f_beta = (1 + beta**2) * hits / (alarms + beta**2 * n_nok)
    # Only where the next score is lower does a threshold end.
    ends = np.append(np.diff(scores[order]) < 0, True)
    best = int(np.flatnonzero(ends)[np.argmax(f_beta[ends])])
    level = scores[order][best]
    below = scores[order][best + 1] if best + 1 < len(scores) else 0.0
    return float((level + below) / 2)


def _n_groups(labels: np.ndarray, groups: np.ndarray) -> int:
    return min(len(set(groups[labels == label])) for label in ("OK", "NOK"))


def _fit_and_score(
    train: np.ndarray,
    is_nok: np.ndarray,
    held_out: np.ndarray,
    *,
    hidden_units: tuple[int, ...],
    weight_decay: float,
    max_epochs: int,
    seed: int,
) -> np.ndarray:
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    head = MLPClassifier(
        hidden_layer_sizes=hidden_units,
        alpha=weight_decay,
        max_iter=max_epochs,
        batch_size=min(32, len(train)),
        random_state=seed,
    )
    share = is_nok.mean()
    weights = np.where(is_nok, 0.5 / share, 0.5 / (1 - share))
    head.fit(scaler.transform(train), is_nok.astype(int), sample_weight=weights)
    return head.predict_proba(scaler.transform(held_out))[:, 1]
