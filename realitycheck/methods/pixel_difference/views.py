"""Views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.views import (
    View,
    image_view,
    map_view,
)
from realitycheck.methods.pixel_difference.segmenter import difference_of
from realitycheck.methods.views import Viewer, truth_of


def pixel_difference_viewer(
    manifest: pd.DataFrame,
    references: Mapping[str, np.ndarray],
    *,
    limits: Mapping[str, float],
    images_folder: str | Path,
    truth_folder: str | Path,
    settings: Mapping[str, Any],
) -> Viewer:
    """Show the reference, and where the image differs from it by how much.

    Args:
        manifest: Scored images.
        references: Reference image of each category.
        limits: Threshold of each image.
        images_folder: Folder of the aligned images.
        truth_folder: Folder of the warped truth masks.
        settings: `smoothing_sigma_px`, `min_area_px`.
    """
    about = manifest.set_index("image_id")

    def view(row: Any, image: np.ndarray) -> list[View]:
        image_row = about.loc[row.image_id]
        reference = image_view(references[image_row["category"]], title="Reference")
        values = difference_of(
            row,
            image_row,
            references=references,
            images_folder=images_folder,
            settings=settings,
        )
        if values is None:
            note = f"Alignment: {row.status}. Other size than the image: nothing to compare."
            return [replace(reference, note=note)]
        limit = limits[row.image_id]
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
                truth=truth_of(truth_folder, row.image_id),
            ),
        ]

    return view
