"""Pixel difference: what an aligned image shows that the reference does not.

The study's simple floor for registered parts. Its threshold comes from good images only; see
`realitycheck.methods.thresholds`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from realitycheck.methods.thresholds import peak_level

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
