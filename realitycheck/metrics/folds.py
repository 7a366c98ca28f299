"""Folds of labelled images, shared by everything that learns from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Fewest independent good parts that say what is normal.
LEAST_GOOD_PARTS = 3

_INNER_FOLDS = 3


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


def nested_folds(
    labels: np.ndarray, groups: np.ndarray, *, n_folds: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Deal images into folds, and the training images of each fold into folds of their own.

    Args:
        labels: OK or NOK, (N,).
        groups: Group of each image, (N,).
        n_folds: Number of folds.
        seed: Of the deals.

    Returns:
        Fold of each image, int64, (N,); its inner fold while another fold is held out, int64,
        (n_folds, N), -1 where it is held out itself.

    Raises:
        ValueError: If a label has fewer groups than folds.
    """
    folds = assign_folds(labels, groups, n_folds=n_folds, seed=seed)
    inner = np.full((n_folds, len(labels)), -1, np.int64)
    for fold in range(n_folds):
        train = folds != fold
        n_inner = min(_INNER_FOLDS, _n_groups(labels[train], groups[train]))
        inner[fold, train] = assign_folds(
            labels[train], groups[train], n_folds=n_inner, seed=seed + 1 + fold
        )
    return folds, inner


def check_nested_folds(
    labels: Sequence[str],
    *,
    groups: Sequence[str],
    categories: Sequence[str],
    n_folds: int,
    seed: int,
    least_good_parts: int,
) -> None:
    """See whether every fold leaves enough parts to learn from, before any feature is computed.

    Args:
        labels: OK or NOK, N of them.
        groups: Group of each image.
        categories: Category of each image.
        n_folds: Number of folds.
        seed: Of the deals.
        least_good_parts: Good ones of each category that each fold of a fold must leave.

    Raises:
        ValueError: If a label has fewer groups than folds, or a fold leaves a category too few good
            ones.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    categories = np.asarray(categories)
    folds, inner_folds = nested_folds(labels, groups, n_folds=n_folds, seed=seed)
    for fold, inner in enumerate(inner_folds):
        for part in range(inner.max() + 1):
            learned = (folds != fold) & (inner != part) & (labels == "OK")
            for category in np.unique(categories):
                own = categories == category
                good_parts(groups[own], learned[own], category=category, least=least_good_parts)


def good_parts(groups: np.ndarray, learned: np.ndarray, *, category: str, least: int) -> np.ndarray:
    """Groups that may be learned from, sorted; enough of them to describe each by the others."""
    good = np.unique(groups[learned])
    if len(good) < least:
        raise ValueError(
            f"category {category}: expected at least {least} independent good parts "
            f"among those of the training folds, found {len(good)}; add some or set n_folds lower"
        )
    return good


def _n_groups(labels: np.ndarray, groups: np.ndarray) -> int:
    return min(len(set(groups[labels == label])) for label in ("OK", "NOK"))
