"""What is known of an imported prediction: its score map, where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np

from realitycheck.core.views import View, map_view
from realitycheck.methods.imported.segmenter import Imported


def views(segmenter: Imported, row: Any, image: np.ndarray, truth: np.ndarray | None) -> list[View]:
    """Show the score map; of a mask there is nothing to show but itself."""
    if segmenter.settings["maps"] is None:
        return []
    values = segmenter.score_map(row)
    if values is None:
        return []
    limit, least = segmenter.limit(row.image_id), segmenter.settings["min_area_px"]
    return [
        map_view(
            values,
            image_size_hw=image.shape[:2],
            title="Imported score map",
            note=f"Regions below {least} px are left out." if least > 1 else "",
            threshold=limit,
            above=values > limit,
            truth=truth,
        )
    ]
