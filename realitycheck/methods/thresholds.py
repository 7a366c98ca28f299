"""Thresholds from good images alone.

From those of training, or, where there are none, from the other good images (cross-fitting), so
that no image is judged by a threshold that it helped to set. A module of its own, because several
methods use it and an edit of one of them must not run the others again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from realitycheck.core.masks import connected_regions
from realitycheck.methods.base import Segmentation


def fit_threshold(peaks: Iterable[float], *, max_overkill_rate: float) -> float:
    """Set the threshold by good images: at most a given share of them may get a mask.

    An image gets a mask if its peak is above the threshold. With n images and k = ⌊rate · n⌋ the
    threshold is the (k+1)-th largest peak.

    Args:
        peaks: Highest level of each good image; read once, so a generator over maps will do.
        max_overkill_rate: Share of good images that may be rejected, 0 to 1.

    Returns:
        The lowest such threshold.

    Raises:
        ValueError: If there is no image or the rate is no share.
    """
    ordered = np.sort(np.fromiter(peaks, np.float64))[::-1]
    if not len(ordered):
        raise ValueError("peaks: expected at least one good image to set a threshold, found none")
    if not 0 <= max_overkill_rate <= 1:
        raise ValueError(f"max_overkill_rate: expected 0 to 1, found {max_overkill_rate}")
    # A hair more than the product, so that 0.07 · 100 counts as 7.
    allowed = int(np.floor(max_overkill_rate * len(ordered) + 1e-9))
    if allowed >= len(ordered):
        return float(np.nextafter(np.float32(ordered[-1]), np.float32(-np.inf)))  # maps are float32
    return float(ordered[allowed])


class CrossFit(NamedTuple):
    """Thresholds of an image set without training images.

    Attributes:
        by_image: Of every good image, from the good images of the other folds.
        others: Of every other image, from all good images.
        folds: Fold of every good image.
    """

    by_image: dict[str, float]
    others: float
    folds: dict[str, int]


def cross_fit_thresholds(
    good_peaks: Mapping[str, float],
    *,
    max_overkill_rate: float,
    n_folds: int = 5,
    seed: int = 0,
    groups: Mapping[str, str] | None = None,
) -> CrossFit:
    """Give each good image a threshold from good images of other folds.

    A defective image takes the threshold of all good images: it had no say in it.

    Args:
        good_peaks: Peak of each good image by its id.
        max_overkill_rate: See `fit_threshold`.
        n_folds: Number of folds; not more than there are groups are used.
        seed: Seed of the draw; the order of `good_peaks` plays no part.
        groups: Group of each id (pictures of one part); a group stays in one fold. None: each image
            is its own.

    Returns:
        The thresholds.

    Raises:
        ValueError: If there are fewer than two groups of good images.
    """
    group_of = {name: groups[name] if groups else name for name in good_peaks}
    names = sorted(set(group_of.values()))
    if len(names) < 2:
        raise ValueError(
            f"good images: expected at least 2 independent ones to set a threshold for each from "
            f"the others, found {len(names)}; add good images or a training split"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    n_used = min(n_folds, len(names))
    fold_of = {names[index]: place % n_used for place, index in enumerate(order)}
    folds = {name: fold_of[group] for name, group in group_of.items()}
    by_fold = [
        fit_threshold(
            (peak for name, peak in good_peaks.items() if folds[name] != fold),
            max_overkill_rate=max_overkill_rate,
        )
        for fold in range(n_used)
    ]
    return CrossFit(
        by_image={name: by_fold[fold] for name, fold in folds.items()},
        others=fit_threshold(good_peaks.values(), max_overkill_rate=max_overkill_rate),
        folds=folds,
    )


def besides_references(images: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
    """Leave out references, copies of them, and other views of their parts.

    Args:
        images: `image_id`, `sha256`, `group`.
        references: `image_id`, `sha256`.
    """
    is_reference = images["image_id"].isin(references["image_id"].dropna()) | images["sha256"].isin(
        references["sha256"].dropna()
    )
    of_part = images["group"].isin(images.loc[is_reference, "group"].dropna())
    return images[~(is_reference | of_part)]


def peak_level(difference: np.ndarray, *, min_area_px: int = 1) -> float:
    """Find the highest level at which a map still shows a region of the smallest allowed size.

    A threshold below this level gives a mask, one at or above it none. With a smallest size of one
    pixel it is the map's maximum.

    Args:
        difference: float, (H, W), at least 0.
        min_area_px: Smallest size of a region (8-connected) in pixels.

    Returns:
        The level; 0 where the map has fewer pixels than a region needs.
    """
    values = difference.ravel()
    if min_area_px <= 1:
        return float(values.max())
    if len(values) < min_area_px:
        return 0.0
    # A region of A pixels needs A values at or above the level, so the search begins there. It
    # halves the list of values: the lower the level, the larger the regions.
    levels = np.unique(values)
    top = int(np.searchsorted(levels, np.partition(values, -min_area_px)[-min_area_px]))
    bottom = 0
    while bottom < top:
        middle = (bottom + top + 1) // 2
        if _largest_region_px(difference >= levels[middle]) >= min_area_px:
            bottom = middle
        else:
            top = middle - 1
    return float(levels[bottom])


def _largest_region_px(mask: np.ndarray) -> int:
    return int(connected_regions(mask).sizes.max(initial=0))


def segment(difference: np.ndarray, threshold: float, *, min_area_px: int = 1) -> Segmentation:
    """Mark the regions that differ from the reference by more than the threshold.

    Args:
        difference: From `difference_map`, (H, W), 0 to 1.
        threshold: A pixel belongs to the mask if its difference is above this.
        min_area_px: Regions (8-connected) with fewer pixels are dust and left out.

    Returns:
        The mask. Its score is the peak level, 0 to 1, whatever the threshold; its regions are
        connected ones. Status `empty` where no region is left.
    """
    score = peak_level(difference, min_area_px=min_area_px)
    labels, _, sizes = connected_regions(difference > threshold)
    kept = np.append(False, sizes >= min_area_px)
    mask = kept[labels]
    return Segmentation(mask, min(1.0, score), int(kept.sum()), "ok" if kept.any() else "empty")
