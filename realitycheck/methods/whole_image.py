"""Stage 4: the floor of the mask methods."""

from __future__ import annotations

from typing import Any

from realitycheck.methods.base import Segmentation
from realitycheck.metrics.baselines import whole_image


def whole_image_segmenter(row: Any) -> Segmentation:
    """Floor: every pixel is defective."""
    return Segmentation(whole_image(int(row.height_px), int(row.width_px)), None, 1, "ok")
