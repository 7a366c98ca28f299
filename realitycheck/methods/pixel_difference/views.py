"""What the pixel difference saw: the reference, and where the image differs from it by how much."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from realitycheck.core.views import View, image_view, map_view
from realitycheck.methods.pixel_difference.segmenter import PixelDifference


def views(
    segmenter: PixelDifference, row: Any, image: np.ndarray, truth: np.ndarray | None
) -> list[View]:
    """Show the reference, and where the image differs from it by how much."""
    reference = image_view(segmenter.reference(row), title="Reference")
    values = segmenter.score_map(row)
    if values is None:
        note = f"Alignment: {row.status}. Other size than the image: nothing to compare."
        return [replace(reference, note=note)]
    limit, settings = segmenter.limits[row.image_id], segmenter.settings
    return [
        replace(reference, note=f"Alignment of the image: {row.status}."),
        map_view(
            values,
            image_size_hw=image.shape[:2],
            title="Difference to the reference",
            note=f"Smoothed over {settings['smoothing_sigma_px']:g} px; regions below "
            f"{settings['min_area_px']} px are left out.",
            threshold=limit,
            above=values > limit,
            truth=truth,
        ),
    ]
