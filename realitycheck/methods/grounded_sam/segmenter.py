"""Stage 4: GroundingDINO + SAM on stored boxes and stored embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from realitycheck.core.store import EncodingStore
from realitycheck.encoders.detections import stored_detections
from realitycheck.methods.base import Segmentation
from realitycheck.methods.grounded_sam import algorithm as grounded_sam
from realitycheck.models.sam.inference import box_decoder
from realitycheck.models.sam.model import SamModel


def grounded_sam_segmenter(
    boxes: pd.DataFrame,
    sam: SamModel,
    store: EncodingStore,
    *,
    captions: Sequence[str],
    keys: Mapping[str, str],
    settings: Mapping[str, Any],
    floor: float,
) -> Callable[[Any], Segmentation]:
    """GroundingDINO + SAM on stored boxes and stored embeddings.

    Args:
        boxes: The shard's boxes table.
        sam: SAM's prompt encoder and mask decoder.
        store: Stored image embeddings.
        captions: The prompt set's phrases.
        keys: Key of each image's embedding in the store.
        settings: `switches` and thresholds.
        floor: Floor that the boxes were stored down to.
    """
    by_image = dict(tuple(boxes.groupby("image_id")))
    nothing = boxes.iloc[:0]
    switches = settings["switches"]

    def segment_one(row: Any) -> Segmentation:
        size = (int(row.height_px), int(row.width_px))
        detections = stored_detections(by_image.get(row.image_id, nothing), captions, floor=floor)
        decode = box_decoder(sam, store.get(keys[row.image_id])["embedding"], image_size_hw=size)
        return grounded_sam.segment(
            detections,
            decode,
            image_size_hw=size,
            box_threshold=settings["box_threshold"],
            text_threshold=settings["text_threshold"],
            strip_special=switches["strip_special"],
        )

    return segment_one
