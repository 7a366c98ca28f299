"""Pixel difference: what an aligned image shows that the reference does not.

The study's simple floor for registered parts. Its threshold comes from good images only; see
`realitycheck.methods.thresholds`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from realitycheck.methods.segmentation import Segmentation

#: Weights of red, green and blue in luminance (ITU-R BT.601).
LUMINANCE = (0.299, 0.587, 0.114)


def luminance(image: np.ndarray) -> np.ndarray:
    """Compute the luminance of an image.

    Args:
        image: uint8 RGB, (H, W, 3).

    Returns:
        float32, (H, W), 0 to 1.
    """
    weights = np.asarray(LUMINANCE, np.float32) / np.float32(255)
    return image.astype(np.float32) @ weights


def difference_map(
    image: np.ndarray,
    reference: np.ndarray,
    *,
    smoothing_sigma_px: float = 2.0,
    covered: np.ndarray | None = None,
) -> np.ndarray:
    """Compare an aligned image with the reference, pixel by pixel.

    d = | G ∗ (image - reference) |, both in luminance, G a Gaussian. The signed difference is
    smoothed, so noise and the double edges of a small misalignment average out. Pixels that the
    aligned image does not cover take no part in the average, and their own difference is 0.

    Args:
        image: uint8 RGB, (H, W, 3), aligned to the reference.
        reference: uint8 RGB, (H, W, 3).
        smoothing_sigma_px: Standard deviation of the Gaussian in pixels; 0 does not smooth.
        covered: bool, (H, W), which pixels the aligned image shows; None: all.

    Returns:
        float32, (H, W), 0 to 1.

    Raises:
        ValueError: If the sizes differ or sigma is negative.
    """
    from scipy.ndimage import gaussian_filter

    if image.shape != reference.shape:
        raise ValueError(
            f"image: expected the reference's shape {reference.shape}, found {image.shape}; align "
            "the image first"
        )
    if smoothing_sigma_px < 0:
        raise ValueError(f"smoothing_sigma_px: expected 0 or more, found {smoothing_sigma_px}")
    signed = luminance(image) - luminance(reference)
    if covered is None:
        covered = np.ones(signed.shape, bool)
    if covered.shape != signed.shape:
        raise ValueError(f"covered: expected shape {signed.shape}, found {covered.shape}")
    signed = np.where(covered, signed, np.float32(0))
    if smoothing_sigma_px > 0:
        weight = gaussian_filter(covered.astype(np.float32), smoothing_sigma_px)
        smoothed = gaussian_filter(signed, smoothing_sigma_px)
        signed = smoothed / np.maximum(weight, np.float32(1e-6))
    return np.where(covered, np.abs(signed), np.float32(0)).astype(np.float32)


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


def _regions(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label 8-connected regions; labels (H, W) and the size of each, label 0 being background."""
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return labels, stats[:, cv2.CC_STAT_AREA]


def _largest_region_px(mask: np.ndarray) -> int:
    sizes = _regions(mask)[1][1:]
    return int(sizes.max()) if len(sizes) else 0


def good_peaks(
    maps: Iterable[np.ndarray], *, image_ids: Sequence[str], min_area_px: int = 1
) -> dict[str, float]:
    """Compute the peaks of good images, holding one map at a time.

    Args:
        maps: Difference maps, in the order of `image_ids`.
        image_ids: Their ids.
        min_area_px: See `peak_level`.

    Returns:
        Peak by id.
    """
    return {
        name: peak_level(each, min_area_px=min_area_px)
        for name, each in zip(image_ids, maps, strict=True)
    }


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
    labels, sizes = _regions(difference > threshold)
    kept = sizes >= min_area_px
    kept[0] = False
    mask = kept[labels]
    return Segmentation(mask, min(1.0, score), int(kept.sum()), "ok" if kept.any() else "empty")
