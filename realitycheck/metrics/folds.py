"""Folds of labelled images, shared by everything that learns from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def assign_folds(
    labels: Sequence[str], groups: Sequence[str], *, n_folds: int, seed: int
) -> np.ndarray:
    """Deal images into folds, stratified by label, with groups kept together.

    Source: section 3.3 of the study (stratified five-fold); groups are ours.

    Args:
        labels: OK or NOK, N of them.
        groups: Group of each image: views of one part, one lot.
        n_folds: Number of folds.
        seed: Of the deal.

    Returns:
        Fold of each image, int64, (N,), 0 to n_folds - 1.

    Raises:
        ValueError: If a label has fewer groups than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    labels, groups = np.asarray(labels), np.asarray(groups)
    for label in ("OK", "NOK"):
        n_groups = len(set(groups[labels == label]))
        if n_groups < n_folds:
            raise ValueError(
                f"{n_folds} folds need at least {n_folds} independent {label} parts, found "
                f"{n_groups}; collect more, or set n_folds lower"
            )
    folds = np.full(len(labels), -1, np.int64)
    splitter = StratifiedGroupKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        folds[held_out] = fold
    return folds
