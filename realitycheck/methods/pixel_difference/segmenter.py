"""Stage 4: pixel difference to the reference, with thresholds from good images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.alignment import covered_pixels
from realitycheck.core.pictures import read_aligned
from realitycheck.methods.base import Segmentation
from realitycheck.methods.pixel_difference.algorithm import difference_map
from realitycheck.methods.thresholds import (
    besides_references,
    cross_fit_thresholds,
    fit_threshold,
    peak_level,
    segment,
)


def difference_of(
    transform: Any,
    manifest_row: Any,
    *,
    references: Mapping[str, np.ndarray],
    images_folder: str | Path,
    settings: Mapping[str, Any],
) -> np.ndarray | None:
    """Difference map of an aligned image, float32 (H, W), 0 to 1.

    None if the image could not be aligned and has another size than the reference, so that there
    are no two pixels to compare.
    """
    reference = references[manifest_row.category]
    image = read_aligned(images_folder, transform.image_id)
    if image.shape != reference.shape:
        return None
    covered = covered_pixels(transform, manifest_row) if transform.status == "aligned" else None
    return difference_map(
        image, reference, smoothing_sigma_px=settings["smoothing_sigma_px"], covered=covered
    )


def good_image_peaks(
    transforms: pd.DataFrame,
    manifest: pd.DataFrame,
    *,
    references: Mapping[str, np.ndarray],
    reference_table: pd.DataFrame,
    images_folder: str | Path,
    settings: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """Peak of the difference map of each good image that can be compared.

    The reference itself, a copy of it and other views of its part are left out: they differ from it
    less than any other good part does.

    Yields:
        Rows with `image_id`, `category`, `group`, `peak`.
    """
    good = besides_references(manifest[manifest["label"] == "OK"], reference_table)
    about = good.set_index("image_id")
    for transform in transforms[transforms["image_id"].isin(about.index)].itertuples():
        row = about.loc[transform.image_id]
        difference = difference_of(
            transform,
            row,
            references=references,
            images_folder=images_folder,
            settings=settings,
        )
        if difference is not None:
            yield {
                "image_id": transform.image_id,
                "category": row["category"],
                "group": row["group"],
                "peak": peak_level(difference, min_area_px=settings["min_area_px"]),
            }


def thresholds(
    manifest: pd.DataFrame,
    peaks: pd.DataFrame,
    *,
    has_training_images: bool,
    settings: Mapping[str, Any],
    dataset: str,
) -> Iterator[dict[str, Any]]:
    """Threshold of every scored image, never fitted on that image.

    With training images, one threshold a category. Without, each good image has the threshold that
    the good images of the other folds set, and each defective one that of all good images.

    Args:
        manifest: Scored images.
        peaks: Peaks of good images, from `good_image_peaks`.
        has_training_images: Whether those are training images.
        settings: `max_overkill_rate`, `n_folds`, `seed`.
        dataset: Name for messages.

    Yields:
        Rows of the thresholds table.

    Raises:
        ValueError: If a category has too few good images.
    """
    for category, images in manifest.groupby("category", sort=True):
        own = peaks[peaks["category"] == category]
        if len(own) < (1 if has_training_images else 2):
            raise ValueError(
                f"data set {dataset}, category {category}: pixel difference needs good images to "
                f"set its threshold, found {len(own)} besides the reference that are aligned with "
                f"it or have its size; add some, set another datasets.{dataset}.alignment, or "
                f"leave the method out with datasets.{dataset}.methods"
            )
        if has_training_images:
            common = fit_threshold(own["peak"], max_overkill_rate=settings["max_overkill_rate"])
            by_image: Mapping[str, float] = {}
            folds: Mapping[str, int] = {}
        else:
            groups = own["group"].fillna(own["image_id"])
            fit = cross_fit_thresholds(
                dict(zip(own["image_id"], own["peak"], strict=True)),
                max_overkill_rate=settings["max_overkill_rate"],
                n_folds=settings["n_folds"],
                seed=settings["seed"],
                groups=dict(zip(own["image_id"], groups, strict=True)),
            )
            common, by_image, folds = fit.others, fit.by_image, fit.folds
        for row in images.itertuples():
            yield {
                "dataset": row.dataset,
                "image_id": row.image_id,
                "threshold": by_image.get(row.image_id, common),
                "fold": folds.get(row.image_id),
            }


def pixel_difference_segmenter(
    manifest: pd.DataFrame,
    table: pd.DataFrame,
    *,
    references: Mapping[str, np.ndarray],
    images_folder: str | Path,
    settings: Mapping[str, Any],
) -> Callable[[Any], Segmentation]:
    """Threshold the difference map of an aligned image.

    Args:
        manifest: Scored images.
        table: Thresholds of every image.
        references: Reference image of each category.
        images_folder: Folder of the aligned images.
        settings: `smoothing_sigma_px`, `min_area_px`.
    """
    about = manifest.set_index("image_id")
    limits = dict(zip(table["image_id"], table["threshold"], strict=True))

    def segment_one(row: Any) -> Segmentation:
        difference = difference_of(
            row,
            about.loc[row.image_id],
            references=references,
            images_folder=images_folder,
            settings=settings,
        )
        if difference is None:
            size = (int(row.height_px), int(row.width_px))
            return Segmentation(np.zeros(size, bool), None, 0, "not_comparable")
        return segment(difference, limits[row.image_id], min_area_px=settings["min_area_px"])

    return segment_one
