"""Pixel difference to the reference, with thresholds from good images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.alignment import covered_pixels
from realitycheck.core.job import progress
from realitycheck.core.pictures import read_aligned
from realitycheck.core.schemas import MANIFEST, REFERENCES, TRANSFORMS
from realitycheck.methods.base import Inputs, Run, Segmentation
from realitycheck.methods.pixel_difference.algorithm import difference_map
from realitycheck.methods.thresholds import (
    besides_references,
    cross_fit_thresholds,
    fit_threshold,
    peak_level,
    segment,
)


def open(inputs: Inputs, run: Run, device: str) -> PixelDifference:
    """Open references and thresholds."""
    return PixelDifference(
        inputs.table("manifest", MANIFEST).set_index("image_id"),
        inputs.limits(),
        references=inputs.references(run),
        images_folder=inputs.images_folder,
        settings=run.settings,
    )


@dataclass(frozen=True)
class PixelDifference:
    """Difference to the reference, above a threshold.

    Attributes:
        about: Manifest of the scored images, by image id.
        limits: Threshold of each image.
        references: Reference image of each category.
        images_folder: Folder of the aligned images.
        settings: `smoothing_sigma_px`, `min_area_px`.
    """

    about: pd.DataFrame
    limits: Mapping[str, float]
    references: Mapping[str, np.ndarray]
    images_folder: Path
    settings: Mapping[str, Any]

    def reference(self, row: Any) -> np.ndarray:
        """Reference image that an image is compared with."""
        return self.references[self.about.loc[row.image_id, "category"]]

    def score_map(self, row: Any) -> np.ndarray | None:
        """Difference to the reference; see `difference_of`."""
        return difference_of(
            row,
            self.about.loc[row.image_id],
            references=self.references,
            images_folder=self.images_folder,
            settings=self.settings,
        )

    def segment(self, row: Any) -> Segmentation:
        """Mark what differs by more than the threshold."""
        difference = self.score_map(row)
        if difference is None:
            size = (int(row.height_px), int(row.width_px))
            return Segmentation(np.zeros(size, bool), None, 0, "not_comparable")
        limit = self.limits[row.image_id]
        return segment(difference, limit, min_area_px=self.settings["min_area_px"])


def fit(
    inputs: Inputs, run: Run, device: str, outputs: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Set the threshold on good images, never on the image it is used on."""
    scored, train = inputs.table("manifest", MANIFEST), inputs.table("train", MANIFEST)
    calibration = train if len(train) else scored
    peaks = good_image_peaks(
        inputs.table("transforms", TRANSFORMS),
        calibration,
        references=inputs.references(run),
        reference_table=inputs.table("references", REFERENCES),
        images_folder=inputs.images_folder,
        settings=run.settings,
    )
    what = f"{run.dataset}: good images compared with the reference"
    n_good = int((calibration["label"] == "OK").sum())
    found = pd.DataFrame(
        list(progress(peaks, total=n_good, what=what)),
        columns=["image_id", "category", "group", "peak"],
    )
    return thresholds(
        scored,
        found,
        has_training_images=len(train) > 0,
        settings=run.settings,
        dataset=run.dataset,
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
