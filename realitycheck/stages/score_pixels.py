"""Stage 6: score maps beside the truth, pixel by pixel, one row per category.

A map is made again from what the segment stage kept: SAA+'s masks and scores, CLIP Surgery's patch
features, the scores of few-shot's patches, the aligned image and its reference. So disk and memory
stay flat as data sets grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.pictures import read_warped
from realitycheck.core.tables import check_rows
from realitycheck.metrics.pixel_scores import PixelScores, pixel_scores

#: From a row of the transforms table to a map, float (H, W); None where there is none.
MapOf = Callable[[Any], np.ndarray | None]


def score_pixels(
    manifest: pd.DataFrame,
    truth: pd.DataFrame,
    transforms: pd.DataFrame,
    map_of: MapOf,
    *,
    truth_folder: str | Path,
    ignore_border: str,
    method: str,
    prompt: str,
) -> Iterator[dict[str, Any]]:
    """Score the maps of a method against the truth.

    Images without truth, and images without a map, take no part; `n_images` says how many are left.
    No map is made of a category without a drawn defect: there is nothing to score.

    Args:
        manifest: Scored images.
        truth: Their truth table.
        transforms: Their transforms table.
        map_of: Gives the map of an image, at the size of the aligned image.
        truth_folder: Folder of the warped truth masks.
        ignore_border: What undecided pixels count as.
        method: Name of the method block.
        prompt: Name of the prompt set.

    Yields:
        Rows of the pixel scores table.
    """
    check_rows(truth, manifest["image_id"], where="truth table")
    check_rows(transforms, manifest["image_id"], where="transforms table")
    known = set(truth.loc[truth["has_truth"], "image_id"])
    drawn = set(manifest.loc[manifest["mask_path"].notna(), "image_id"])
    for category, images in manifest.groupby("category", sort=True):
        wanted = known & set(images["image_id"])
        rows = list(transforms[transforms["image_id"].isin(wanted)].itertuples())

        def pairs(rows: list[Any] = rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for row in rows:
                values = map_of(row)
                if values is not None:
                    yield values, _truth_of(row, truth_folder, is_drawn=row.image_id in drawn)

        if wanted & drawn:
            found = pixel_scores(pairs, ignore_border=ignore_border)
        else:
            found = PixelScores(len(wanted), 0, *[float("nan")] * 4)
        yield {
            "dataset": images["dataset"].iloc[0],
            "method": method,
            "prompt": prompt,
            "category": category,
            **found._asdict(),
            "uses_test_truth": True,
        }


def _truth_of(row: Any, folder: str | Path, *, is_drawn: bool) -> np.ndarray:
    if not is_drawn:
        return np.zeros((int(row.height_px), int(row.width_px)), np.uint8)
    return read_warped(folder, row.image_id)
