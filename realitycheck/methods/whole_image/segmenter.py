"""Baseline of the mask methods: every pixel is defective."""

from __future__ import annotations

from typing import Any

from realitycheck.methods.base import Inputs, Run, Segmentation
from realitycheck.metrics.baselines import whole_image


def open(inputs: Inputs, run: Run, device: str) -> WholeImage:
    """Give the baseline."""
    return WholeImage()


class WholeImage:
    """The whole image as the mask."""

    def segment(self, row: Any) -> Segmentation:
        """Mark every pixel."""
        return Segmentation(whole_image(int(row.height_px), int(row.width_px)), None, 1, "ok")
