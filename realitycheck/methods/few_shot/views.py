"""Views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from realitycheck.core.views import (
    View,
    map_view,
)
from realitycheck.methods.views import Viewer, truth_of


def few_shot_viewer(
    map_of: Callable[[Any], np.ndarray],
    *,
    limits: Mapping[str, float],
    truth_folder: str | Path,
    settings: Mapping[str, Any],
) -> Viewer:
    """Show how little each place looks like what is remembered of good parts.

    Args:
        map_of: Gives the score map of an image.
        limits: Threshold of each image.
        truth_folder: Folder of the warped truth masks.
        settings: The method block.
    """

    def view(row: Any, image: np.ndarray) -> list[View]:
        values, limit = map_of(row), limits[row.image_id]
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
                truth=truth_of(truth_folder, row.image_id),
            )
        ]

    return view
