"""What a program of the user's own has left of an image: its map."""

from __future__ import annotations

from typing import Any

import numpy as np

from realitycheck.core.views import View, map_view
from realitycheck.methods.command.segmenter import OwnProgram


def views(
    segmenter: OwnProgram, row: Any, image: np.ndarray, truth: np.ndarray | None
) -> list[View]:
    """Show the map with its threshold; of a program that gives masks there is nothing besides."""
    if segmenter.settings["gives"] != "maps":
        return []
    values, limit = segmenter.score_map(row), segmenter.limit(row)
    if values is None:
        return []
    smallest = segmenter.settings["min_area_px"]
    return [
        map_view(
            values,
            image_size_hw=image.shape[:2],
            title="Map of the program",
            note=f"As it left it; regions below {smallest} px are left out.",
            threshold=limit,
            above=values > limit,
            truth=truth,
        )
    ]
