"""Masks of a program of the user's own, or masks from its maps and a threshold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from realitycheck.core.masks import connected_regions
from realitycheck.core.schemas import MANIFEST, TRANSFORMS
from realitycheck.methods.base import Inputs, Run, Segmentation
from realitycheck.methods.command.answers import (
    Answers,
    made_answers,
    stored_answers,
    training_rows,
)
from realitycheck.methods.thresholds import fit_threshold, peak_level, segment

#: Name of the images that set the threshold, among the shards.
_HELD_BACK = "held-back"


def open(inputs: Inputs, run: Run, device: str) -> OwnProgram:
    """Run the program on a shard, or open what it has left."""
    limits = inputs.limits() if "thresholds" in inputs else None
    if "masks" in inputs:  # they are made, and scores or panels are asked for
        return OwnProgram(stored_answers(inputs, run), limits, run.settings)
    answers = made_answers(
        inputs,
        run,
        inputs.path("transforms").stem,
        list(inputs.table("transforms", TRANSFORMS).itertuples()),
        training=training_rows(inputs, run, held_back=False),
        device=device,
    )
    return OwnProgram(answers, limits, run.settings)


class OwnProgram:
    """A program's masks or maps.

    Args:
        answers: What it has left.
        limits: Threshold of each image; None: the one of the settings.
        settings: The method block.
    """

    def __init__(
        self, answers: Answers, limits: Mapping[str, float] | None, settings: Mapping[str, Any]
    ):
        self._answers, self._limits, self.settings = answers, limits, settings

    def limit(self, row: Any) -> float:
        """Threshold of an image."""
        return self._limits[row.image_id] if self._limits else float(self.settings["threshold"])

    def score_map(self, row: Any) -> np.ndarray | None:
        """A value for each pixel, float32, (H, W), 0 to 1; None where the program gave none."""
        return None if self._answers.of(row).status == "failed" else self._answers.map(row)

    def segment(self, row: Any) -> Segmentation:
        """Take the program's mask, or mark what its map has above the threshold."""
        answer = self._answers.of(row)
        if answer.status == "failed":
            nothing = np.zeros((int(row.height_px), int(row.width_px)), bool)
            return Segmentation(nothing, None, 0, "failed", answer.seconds)
        if self.settings["gives"] == "maps":
            found = segment(
                self._answers.map(row), self.limit(row), min_area_px=self.settings["min_area_px"]
            )
            return found._replace(seconds=answer.seconds)
        mask = self._answers.mask(row)
        n_regions = int(connected_regions(mask).sizes.size)
        status = "ok" if mask.any() else "empty"
        return Segmentation(mask, answer.score, n_regions, status, answer.seconds)


def fit(
    inputs: Inputs, run: Run, device: str, outputs: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Set the threshold by good training images that the program did not learn from.

    Raises:
        ValueError: If a category has none of them, or the program failed on all of its.
    """
    held_back = training_rows(inputs, run, held_back=True)
    answers = made_answers(
        inputs,
        run,
        _HELD_BACK,
        held_back,
        training=training_rows(inputs, run, held_back=False),
        device=device,
    )
    settings = run.settings
    peaks: dict[str, list[float]] = {}
    for row in held_back:
        if answers.of(row).status == "answered":
            peak = peak_level(answers.map(row), min_area_px=settings["min_area_px"])
            peaks.setdefault(row.category, []).append(peak)
    limits = {
        category: fit_threshold(own, max_overkill_rate=settings["max_overkill_rate"])
        for category, own in peaks.items()
    }
    for row in inputs.table("manifest", MANIFEST).itertuples():
        if row.category not in limits:
            raise ValueError(
                f"category {row.category}: {run.method} sets its threshold by good training images "
                "that are held back, and none of this category was judged; keep more of them, or "
                "set threshold to a number"
            )
        yield {
            "dataset": row.dataset,
            "image_id": row.image_id,
            "threshold": limits[row.category],
            "fold": None,
        }
