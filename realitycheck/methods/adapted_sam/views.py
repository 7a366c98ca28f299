"""What the fine-tuned decoder saw: how likely each pixel is defective."""

from __future__ import annotations

from typing import Any

import numpy as np

from realitycheck.core.views import View, map_view
from realitycheck.methods.adapted_sam.segmenter import AdaptedSamSegmenter


def views(
    segmenter: AdaptedSamSegmenter, row: Any, image: np.ndarray, truth: np.ndarray | None
) -> list[View]:
    """Show how likely the decoder that did not see the image takes each pixel for defective."""
    values, limit, settings = segmenter.score_map(row), segmenter.limit(row), segmenter.settings
    return [
        map_view(
            values,
            image_size_hw=image.shape[:2],
            title="Decoder output",
            note=f"This image is in fold {segmenter.fold(row) + 1} of {settings['n_folds']}; the "
            f"decoder was trained on the others. Regions below {settings['min_area_px']} px are "
            "left out.",
            threshold=limit,
            above=values > limit,
            truth=truth,
        )
    ]
