"""Supervised baseline: frozen ResNet features, a multi-layer perceptron, stratified five-fold.

An image is described by how far its features depart, at their place, from those of good training
images (Defard et al. 2021, PaDiM, for the comparison place by place): the largest departures over
all places, since a defect is small and may lie anywhere, seen at several widths. Nobody is compared
with himself: each training image is described by the others, as a held-out image is, so that the
perceptron learns what a defect looks like and not which images it was shown.

Source: section 3.3 of the study, which concatenates a pre-trained ResNet feature extractor with a
multi-layer perceptron and reports F2 on a stratified five-fold cross-validation. It names neither
how features are pooled, nor the layers of the perceptron, nor the threshold: departures by place,
one hidden layer of 128, and a threshold chosen for F2 inside the training folds, are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from realitycheck.methods.base import OutOfFold
from realitycheck.metrics.folds import LEAST_GOOD_PARTS, good_parts, nested_folds

#: Parts that the images are cut into; a part is described by the good images of the others.
_N_PARTS = 5

#: Share of a channel's mean spread that is added to its spread at each place, so that a place where
#: the good images hardly differ does not turn noise into a departure.
_SPREAD_FLOOR = 1.0

#: Widths at which departures are looked at: standard deviations of a Gaussian window, in cells.
WIDTHS_CELLS = (0.0, 1.0, 2.0)

#: At each width, the mean of this many largest departures.
N_LARGEST = (1, 5, 20)

#: A perceptron whose scores of its own training images lie closer together than this has learned
#: nothing: with few images the penalty on its weights has pressed them all to zero, where its
#: answers hang on rounding. Then it learns anew under half the penalty, at most so many times.
_LEAST_SPREAD = 0.01
_N_HALVINGS = 10

#: Decimals of a score. Two images that differ by less differ by rounding only.
_DECIMALS = 6

#: Images whose departures are computed together; bounds the memory.
_CHUNK = 64


def largest_departures(
    maps: Sequence[np.ndarray],
    learned: np.ndarray,
    *,
    categories: Sequence[str],
    groups: Sequence[str],
    seed: int = 0,
) -> np.ndarray:
    """Describe each image by the largest departures of its features from good images.

    z[n, c, p] = (f[n, c, p] - mean[c, p]) / (spread[c, p] + mean over p of spread[c, p])
    d[n, p] = root mean square over c of z[n, c, p]

    with mean and spread at each place p over the learned images of the same category in the other
    parts of a seeded draw. d is smoothed by each of `WIDTHS_CELLS`; the means of its `N_LARGEST`
    values describe the image.

    Args:
        maps: A map for each stage, each (N, C, G, G), of the same N images.
        learned: Good images that may be learned from, bool, (N,).
        categories: Category of each image, N of them.
        groups: Group of each image; a group is never compared with itself.
        seed: Of the parts.

    Returns:
        float32, (N, D), D the number of stages times widths times counts.

    Raises:
        ValueError: If a category has fewer than three groups of learned images.
    """
    categories, groups = np.asarray(categories), np.asarray(groups)
    described = np.empty((len(learned), len(maps), len(WIDTHS_CELLS) * len(N_LARGEST)), np.float32)
    for category in np.unique(categories):
        own = np.flatnonzero(categories == category)
        parts = _parts(groups[own], learned[own], category=category, seed=seed)
        for part in np.unique(parts):
            reference = own[learned[own] & (parts != part)]
            members = own[parts == part]
            for index, stage in enumerate(maps):
                mean, spread = _moments(stage, reference)
                spread = spread + _SPREAD_FLOOR * spread.mean(axis=(1, 2), keepdims=True) + 1e-4
                for chunk in np.array_split(members, -(-len(members) // _CHUNK)):
                    departures = (stage[chunk].astype(np.float32) - mean) / spread
                    size = np.sqrt(np.square(departures).mean(axis=1))
                    described[chunk, index] = _largest(size)
    return described.reshape(len(learned), -1)


def _parts(groups: np.ndarray, learned: np.ndarray, *, category: str, seed: int) -> np.ndarray:
    """Part of each image, int64, (N,): those with learned images and the others evenly spread."""
    good = good_parts(groups, learned, category=category, least=LEAST_GOOD_PARTS)
    rng = np.random.default_rng(seed)
    others = np.setdiff1d(groups, good)
    n_parts = min(_N_PARTS, len(good))
    drawn = {
        group: position % n_parts
        for names in (good, others)
        for position, group in enumerate(rng.permutation(names))
    }
    return np.array([drawn[group] for group in groups])


def _largest(size: np.ndarray) -> np.ndarray:
    """Means of the largest values of maps (N, G, G) at every width, float32, (N, D)."""
    from scipy.ndimage import gaussian_filter

    columns = []
    for width in WIDTHS_CELLS:
        seen = gaussian_filter(size, sigma=(0, width, width)) if width else size
        flat = seen.reshape(len(seen), -1)
        kept = min(max(N_LARGEST), flat.shape[1])
        falling = -np.sort(-np.partition(flat, -kept, axis=1)[:, -kept:], axis=1)
        columns += [falling[:, :count].mean(axis=1) for count in N_LARGEST]
    return np.stack(columns, axis=1)


def _moments(stage: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of some rows, float32, (C, G, G), a chunk at a time."""
    chunks = np.array_split(rows, -(-len(rows) // _CHUNK))
    mean = sum(stage[chunk].sum(axis=0, dtype=np.float64) for chunk in chunks) / len(rows)
    squares = sum(
        ((stage[chunk].astype(np.float32) - mean) ** 2).sum(axis=0, dtype=np.float64)
        for chunk in chunks
    )
    return mean.astype(np.float32), np.sqrt(squares / len(rows)).astype(np.float32)


def classify_out_of_fold(
    describe: Callable[[np.ndarray], np.ndarray],
    labels: Sequence[str],
    *,
    groups: Sequence[str],
    n_folds: int = 5,
    hidden_units: Sequence[int] = (128,),
    weight_decay: float = 10.0,
    max_epochs: int = 300,
    beta: float = 2.0,
    seed: int = 0,
) -> OutOfFold:
    """Give every image a verdict by a model that was trained on the other folds.

    The rarer label weighs as much as the more frequent one. The threshold of a fold is the one with
    the best F-beta on its training images, scored there by an inner cross-validation, so that it is
    fitted neither on the held-out images nor on scores of images a model has learned.

    Args:
        describe: From the good images that may be learned from, bool (N,), to what describes all
            images, (N, D); see `largest_departures`.
        labels: OK or NOK, N of them.
        groups: Group of each image; a group is never on both sides.
        n_folds: Number of folds.
        hidden_units: Units of the perceptron's hidden layers.
        weight_decay: L2 penalty of the perceptron (scikit-learn's alpha); halved in a fold
            until something is learned there.
        max_epochs: Most steps of the optimiser, each over all training images.
        beta: Weight of recall in the threshold's choice.
        seed: Of folds and initial weights.

    Raises:
        ValueError: If a label has fewer groups than folds.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    folds, inner_folds = nested_folds(labels, groups, n_folds=n_folds, seed=seed)
    is_nok = labels == "NOK"
    scores, thresholds = np.empty(len(labels)), np.empty(n_folds)
    options = {
        "hidden_units": tuple(hidden_units),
        "weight_decay": weight_decay,
        "max_epochs": max_epochs,
        "seed": seed,
    }

    def score(train: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        features = describe(train & ~is_nok)
        return _fit_and_score(features[train], is_nok[train], features[held_out], **options)

    for fold, inner in enumerate(inner_folds):
        train = folds != fold
        inner_scores = np.empty(len(labels))
        for part in range(inner.max() + 1):
            inner_scores[inner == part] = score(train & (inner != part), inner == part)
        thresholds[fold] = best_threshold(inner_scores[train], is_nok[train], beta=beta)
        scores[~train] = score(train, ~train)
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
    rows = scaler.transform(train)
    share = is_nok.mean()
    weights = np.where(is_nok, 0.5 / share, 0.5 / (1 - share))
    for step in range(_N_HALVINGS + 1):
        # With some hundred images, full steps (L-BFGS) converge where small batches do not.
        head = MLPClassifier(
            hidden_layer_sizes=hidden_units,
            solver="lbfgs",
            alpha=weight_decay / 2**step,
            max_iter=max_epochs,
            random_state=seed,
        )
        head.fit(rows, is_nok.astype(int), sample_weight=weights)
        if np.ptp(head.predict_proba(rows)[:, 1]) > _LEAST_SPREAD:
            break
    return head.predict_proba(scaler.transform(held_out))[:, 1].round(_DECIMALS)
