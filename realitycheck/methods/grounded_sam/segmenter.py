"""GroundingDINO + SAM on stored boxes and stored embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from realitycheck.core.schemas import BOXES
from realitycheck.encoders.base import Encodings
from realitycheck.encoders.detections import stored_detections
from realitycheck.methods.base import Inputs, Run, Segmentation
from realitycheck.methods.grounded_sam import algorithm as grounded_sam
from realitycheck.methods.sam import open_decoder
from realitycheck.models.grounding_dino.model import Detection
from realitycheck.models.sam.inference import box_decoder


def open(inputs: Inputs, run: Run, device: str) -> GroundedSam:
    """Open the stored boxes and embeddings; SAM's decoder is loaded for the first mask."""
    return GroundedSam(
        inputs.table("boxes", BOXES),
        open_decoder(inputs, run, device),
        inputs.encodings("embeddings"),
        captions=run.told,
        settings=run.settings,
        floor=run.floor,
    )


@dataclass(frozen=True)
class GroundedSam:
    """GroundingDINO + SAM on stored boxes and stored embeddings.

    Attributes:
        boxes: The boxes table.
        sam: Gives SAM's prompt encoder and mask decoder.
        embeddings: Stored image embeddings.
        captions: The prompt set's phrases.
        settings: `switches` and thresholds.
        floor: Floor that the boxes were stored down to.
    """

    boxes: pd.DataFrame
    sam: Callable[[], Any]
    embeddings: Encodings
    captions: Sequence[str]
    settings: Mapping[str, Any]
    floor: float

    @cached_property
    def _by_image(self) -> dict[Any, pd.DataFrame]:
        return dict(tuple(self.boxes.groupby("image_id")))

    def detections(self, row: Any) -> list[Detection]:
        """What the detector said of an image, phrase by phrase."""
        own = self._by_image.get(row.image_id, self.boxes.iloc[:0])
        return stored_detections(own, self.captions, floor=self.floor)

    def segment(self, row: Any) -> Segmentation:
        """Cut out what lies in the boxes that pass."""
        size = (int(row.height_px), int(row.width_px))
        embedding = self.embeddings.of(row.image_id)["embedding"]
        return grounded_sam.segment(
            self.detections(row),
            box_decoder(self.sam(), embedding, image_size_hw=size),
            image_size_hw=size,
            box_threshold=self.settings["box_threshold"],
            text_threshold=self.settings["text_threshold"],
            strip_special=self.settings["switches"]["strip_special"],
        )
