"""Folds of labelled images, shared by everything that learns from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def assign_folds(
    labels: Sequence[str], groups: Sequence[str], *, n_folds: int, seed: int
) -> np.ndarray:
    """Deal images into folds, stratified by label, with groups kept together.

    Source: section 3.3 of the study (stratified five-fold); groups are ours. The deal is that of
    scikit-learn's `StratifiedGroupKFold`, without the seconds that its import takes: groups in
    shuffled order, those of unequal labels first, each to the fold that then has the labels most
    evenly dealt, or of those the one with the fewest images.

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
    labels, groups = np.asarray(labels), np.asarray(groups)
    for label in ("OK", "NOK"):
        n_groups = len(set(groups[labels == label]))
        if n_groups < n_folds:
            raise ValueError(
                f"{n_folds} folds need at least {n_folds} independent {label} parts, found "
                f"{n_groups}; collect more, or set n_folds lower"
            )
    _, label_of, n_of_label = np.unique(labels, return_inverse=True, return_counts=True)
    names, group_of = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), len(n_of_label)))
    np.add.at(counts, (group_of, label_of), 1)
    order = np.arange(len(names))
    np.random.RandomState(seed).shuffle(order)
    order = order[np.argsort(-counts[order].std(axis=1), kind="stable")]
    dealt = np.zeros((n_folds, len(n_of_label)))
    fold_of = np.zeros(len(names), np.int64)
    for group in order:
        fold_of[group] = _most_even(dealt, counts[group], n_of_label)
        dealt[fold_of[group]] += counts[group]
    return fold_of[group_of]


def _most_even(dealt: np.ndarray, more: np.ndarray, n_of_label: np.ndarray) -> int:
    """Fold to which a group of so many images a label goes."""
    best, least, fewest = 0, np.inf, np.inf
    for fold, n_images in enumerate(dealt.sum(axis=1)):
        tried = dealt.copy()
        tried[fold] += more
        spread = (tried / n_of_label).std(axis=0).mean()
        if spread < least or (np.isclose(spread, least) and n_images < fewest):
            best, least, fewest = fold, spread, n_images
    return best
