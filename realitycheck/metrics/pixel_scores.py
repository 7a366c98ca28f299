"""How well score maps rank pixels: AUROC, AUPRO and the best F1, in one fixed amount of memory.

Every pixel of every image counts, so the pixels are never held together. Each map is cut into
equal levels between the lowest and the highest value of all maps, and only the numbers of good and
of defective pixels at each level are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from realitycheck.core.masks import DEFECT, UNDECIDED, connected_regions

#: Levels between the lowest and the highest value: 8 MB for each kind of count.
N_LEVELS = 1 << 20
#: AUPRO is taken up to this false positive rate, as in its source.
MAX_FPR = 0.3

Pairs = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]


class PixelScores(NamedTuple):
    """Pixel scores of some maps.

    Attributes:
        n_images: Maps.
        n_defective: Maps with a defective pixel.
        auroc: Area under the curve of hit rate against false positive rate; 0.5 is chance.
        aupro: Area under the curve of the regions' mean overlap, up to `MAX_FPR`, over `MAX_FPR`.
        f1_max: Largest F1 over all thresholds; it looks at the truth.
        f1_max_threshold: Its threshold: a pixel at or above it is defective.
    """

    n_images: int
    n_defective: int
    auroc: float
    aupro: float
    f1_max: float
    f1_max_threshold: float


def pixel_scores(pairs: Pairs, *, ignore_border: str = "ignore") -> PixelScores:
    """Score maps against truth, pixel by pixel, streaming.

    The maps are gone through twice: for their range, and to count. Two values that fall on one of
    the `N_LEVELS` levels count as tied.

    AUROC is the chance that a defective pixel has a higher value than a good one, ties counted
    half. AUPRO replaces the hit rate by the mean, over all connected regions of the truth, of the
    share of the region that is found, so that a small defect weighs as much as a large one; the
    curve is interpolated at the false positive rate 0.3 and the area divided by 0.3. F1 = 2 tp /
    (2 tp + fp + fn).

    Source: Bergmann et al. (2021), the MVTec AD paper in IJCV, section 5.2 (AUPRO, limit 0.3).

    Args:
        pairs: Gives anew, at each call, map (float, (H, W), finite) and truth (uint8, (H, W): 0,
            128 undecided, 255 defect) of each image.
        ignore_border: What an undecided pixel counts as; see `realitycheck.metrics.iou.score_mask`.

    Returns:
        The scores; NaN where there is no defective or no good pixel. Maps that are the same
        everywhere give an AUROC of 0.5.

    Raises:
        ValueError: If a map and its truth differ in shape or a map is not finite.
    """
    low, high, n_images = np.inf, -np.inf, 0
    for values, _ in _decided(pairs(), ignore_border):
        n_images += 1
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    nothing = PixelScores(n_images, 0, *[float("nan")] * 4)
    if not n_images or low > high:
        return nothing
    good, bad = np.zeros(N_LEVELS, np.int64), np.zeros(N_LEVELS, np.int64)
    overlap = np.zeros(N_LEVELS)
    n_regions = n_defective = 0
    scale = (N_LEVELS - 1) / (high - low) if high > low else 0.0
    for values, regions in _decided(pairs(), ignore_border):
        levels = np.rint((values.astype(np.float64) - low) * scale).astype(np.int64)
        is_bad = regions > 0
        good += np.bincount(levels[~is_bad], minlength=N_LEVELS)
        if not is_bad.any():
            continue
        n_defective += 1
        bad += np.bincount(levels[is_bad], minlength=N_LEVELS)
        sizes = np.bincount(regions[is_bad])
        n_regions += int((sizes > 0).sum())
        overlap += np.bincount(
            levels[is_bad], weights=1.0 / sizes[regions[is_bad]], minlength=N_LEVELS
        )
    if not bad.any() or not good.any():
        return nothing._replace(n_defective=n_defective)
    # From the highest level downwards; levels without a pixel add no point.
    used = np.flatnonzero((good + bad)[::-1])
    fp = np.cumsum(good[::-1])[used].astype(np.float64)
    tp = np.cumsum(bad[::-1])[used].astype(np.float64)
    found = np.cumsum(overlap[::-1])[used] / n_regions
    fpr, tpr = np.concatenate([[0], fp / fp[-1]]), np.concatenate([[0], tp / tp[-1]])
    f1 = 2 * tp / (tp + fp + tp[-1])
    best = int(np.argmax(f1))
    level = N_LEVELS - 1 - int(used[best])
    return PixelScores(
        n_images=n_images,
        n_defective=n_defective,
        auroc=float(np.trapezoid(tpr, fpr)),
        aupro=_area_up_to(fpr, np.concatenate([[0], found]), MAX_FPR),
        f1_max=float(f1[best]),
        f1_max_threshold=float(low + (level - 0.5) / scale) if scale else float(low),
    )


def _area_up_to(fpr: np.ndarray, values: np.ndarray, limit: float) -> float:
    """Area under a curve up to a false positive rate, over that rate; at most 1."""
    inside = fpr <= limit
    x, y = fpr[inside], values[inside]
    if not inside.all():
        after = int(np.argmin(inside))
        before = after - 1
        share = (limit - fpr[before]) / (fpr[after] - fpr[before])
        x = np.append(x, limit)
        y = np.append(y, values[before] + share * (values[after] - values[before]))
    return float(min(1.0, np.trapezoid(y, x) / limit))


def _decided(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], ignore_border: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Values and region numbers (0: good) of the pixels that count, flat, image by image."""
    for values, truth in pairs:
        if values.shape != truth.shape:
            raise ValueError(
                f"a map and its truth must have one shape, but have {values.shape} and "
                f"{truth.shape}; bring the map to the size of its image"
            )
        if not np.isfinite(values).all():
            raise ValueError(
                f"a map must be finite, but {int((~np.isfinite(values)).sum())} of {values.size} "
                "pixels are not"
            )
        undecided = truth == UNDECIDED
        defect = truth == DEFECT
        if ignore_border == "foreground":
            defect |= undecided
        kept = ~undecided if ignore_border == "ignore" else np.ones(truth.shape, bool)
        yield values[kept], connected_regions(defect).labels[kept]
