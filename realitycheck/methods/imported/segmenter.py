"""Masks, or score maps with a threshold, from files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.masks import connected_regions
from realitycheck.core.schemas import MANIFEST, TRANSFORMS
from realitycheck.methods.base import Inputs, Run, Segmentation
from realitycheck.methods.imported.coco import CocoImage
from realitycheck.methods.imported.names import Prediction, PredictionError
from realitycheck.methods.imported.pixels import (
    canvas_of,
    onto_aligned,
    shape_of,
    size_fault,
    values_on,
)
from realitycheck.methods.imported.source import ByImage, predictions
from realitycheck.methods.thresholds import fit_threshold, peak_level, segment


def open(inputs: Inputs, run: Run, device: str) -> Imported:
    """Find the files of the images; those of the job must fit the aligned images."""
    manifest, train = inputs.table("manifest", MANIFEST), inputs.table("train", MANIFEST)
    found = Imported(
        _only(predictions(run, manifest, train)),
        {row.image_id: row for table in (manifest, train) for row in table.itertuples()},
        limits=inputs.limits() if "thresholds" in inputs else {},
        settings=run.settings,
    )
    found.check_sizes(inputs.table("transforms", TRANSFORMS))
    return found


class Imported:
    """Masks or maps from files.

    Args:
        found: The prediction of each image that has one.
        about: Row of the manifest of each image.
        limits: Threshold of each image, where good training images set it.
        settings: The method block.
    """

    def __init__(
        self,
        found: Mapping[str, Prediction],
        about: Mapping[str, Any],
        *,
        limits: Mapping[str, float],
        settings: Mapping[str, Any],
    ):
        self._found, self._about, self.settings = found, about, settings
        self._limits = limits

    def check_sizes(self, transforms: pd.DataFrame) -> None:
        """Refuse masks and maps that must have the size of the aligned image, and have another."""
        if self.settings["geometry"] == "original":
            return
        faults = []
        for row in transforms.itertuples():
            if (prediction := self._found.get(row.image_id)) is not None:
                expected = int(row.height_px), int(row.width_px)
                if (shape := shape_of(prediction)) != expected:
                    of = f"the aligned image {row.image_id}"
                    faults.append(size_fault(prediction, shape, expected, of))
        if faults:
            raise PredictionError(faults)

    def limit(self, image_id: str) -> float:
        """Threshold of an image's map."""
        return self._limits.get(image_id, self.settings["threshold"])

    def _values(self, row: Any) -> np.ndarray | None:
        prediction = self._found.get(row.image_id)
        if prediction is None:
            return None
        canvas = canvas_of(self._about[row.image_id], self.settings)
        return onto_aligned(values_on(canvas, prediction, self.settings), row, self.settings)

    def score_map(self, row: Any) -> np.ndarray | None:
        """The map of an image, float32 (H, W); None where there is none."""
        return self._values(row)

    def segment(self, row: Any) -> Segmentation:
        """Give the mask of an image; nobody knows here how long it took."""
        values = self._values(row)
        if values is None:
            shape = int(row.height_px), int(row.width_px)
            return Segmentation(np.zeros(shape, bool), None, 0, "missing", None)
        if self.settings["maps"] is not None:
            least = self.settings["min_area_px"]
            found = segment(values, self.limit(row.image_id), min_area_px=least)
            return found._replace(score=max(0.0, found.score), seconds=None)
        content = self._found[row.image_id].content
        scores = content.scores if isinstance(content, CocoImage) else []
        return Segmentation(
            mask=values,
            score=max(scores, default=None),
            n_regions=len(connected_regions(values).sizes),
            status="ok" if values.any() else "empty",
            seconds=None,
        )


def _only(found: ByImage) -> dict[str, Prediction]:
    return {image_id: each for image_id, (each,) in found.items()}


def fit(
    inputs: Inputs, run: Run, device: str, outputs: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Set the threshold of each category by the maps of good training images."""
    manifest, train = inputs.table("manifest", MANIFEST), inputs.table("train", MANIFEST)
    good = train[train["label"] == "OK"].set_index("image_id", drop=False)
    found = Imported(
        _only(predictions(run, manifest, train)),
        {row.image_id: row for row in good.itertuples()},
        limits={},
        settings=run.settings,
    )
    transforms = inputs.table("transforms", TRANSFORMS)
    transforms = transforms[transforms["image_id"].isin(good.index)]
    found.check_sizes(transforms)
    peaks: dict[str, list[float]] = {}
    for row in transforms.itertuples():
        values = found.score_map(row)
        if values is not None:
            level = peak_level(values, min_area_px=run.settings["min_area_px"])
            peaks.setdefault(row.category, []).append(level)
    rate = run.settings["max_overkill_rate"]
    limits = {
        category: fit_threshold(own, max_overkill_rate=rate) for category, own in peaks.items()
    }
    for row in manifest.itertuples():
        yield {
            "dataset": row.dataset,
            "image_id": row.image_id,
            "threshold": limits[row.category],
            "fold": None,
        }
