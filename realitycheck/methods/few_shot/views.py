"""What few-shot normality saw: how little each place looks like any good part."""

from __future__ import annotations

from typing import Any

import numpy as np

from realitycheck.core.views import View, map_view
from realitycheck.methods.few_shot.segmenter import FewShot


def views(segmenter: FewShot, row: Any, image: np.ndarray, truth: np.ndarray | None) -> list[View]:
    """Show how little each place looks like what is remembered of good parts."""
    values, limit = segmenter.score_map(row), segmenter.limits[row.image_id]
    settings = segmenter.settings
    return [
        map_view(
            values,
            image_size_hw=image.shape[:2],
            title="Unlike any good part",
            note=f"At most {settings['n_good']} good parts are remembered; smoothed over "
            f"{settings['smoothing_sigma_px']:g} px; regions below {settings['min_area_px']} "
            "px are left out.",
            threshold=limit,
            above=values > limit,
            truth=truth,
        )
    ]
