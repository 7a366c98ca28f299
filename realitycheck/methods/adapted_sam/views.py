"""Views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.views import (
    View,
    map_view,
)
from realitycheck.methods.views import Viewer, truth_of


def adapted_sam_viewer(
    map_of: Callable[[Any], np.ndarray],
    table: pd.DataFrame,
    *,
    truth_folder: str | Path,
    settings: Mapping[str, Any],
) -> Viewer:
    """Show how likely the decoder that did not see the image takes each pixel for defective.

    Args:
        map_of: Gives the defect map of an image.
        table: Fold and threshold of every image, a thresholds table.
        truth_folder: Folder of the warped truth masks.
        settings: The method block.
    """
    about = table.set_index("image_id")

    def view(row: Any, image: np.ndarray) -> list[View]:
        values, own = map_of(row), about.loc[row.image_id]
        return [
            map_view(
                values,
                image_size_hw=image.shape[:2],
                title="Defective, says the decoder",
                note=f"This image is in fold {int(own['fold']) + 1} of {settings['n_folds']}; the "
                "decoder was trained on the others. Regions below "
                f"{settings['min_area_px']} px are left out.",
                threshold=own["threshold"],
                above=values > own["threshold"],
                truth=truth_of(truth_folder, row.image_id),
            )
        ]

    return view
