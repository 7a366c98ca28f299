"""Detections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from realitycheck.models.grounding_dino.model import (
    Detection,
)


def stored_detections(
    boxes: pd.DataFrame, captions: Sequence[str], *, floor: float
) -> list[Detection]:
    """Rebuild what the detector said of one image from the rows of the boxes table.

    Args:
        boxes: Rows of the image.
        captions: The texts wanted, one detection each.
        floor: Floor that the boxes were stored down to.
    """
    detections = []
    for caption in captions:
        rows = boxes[boxes["text"] == caption].sort_values("box_id", kind="stable")
        n_tokens = len(rows["tokens"].iloc[0]) if len(rows) else 0
        detections.append(
            Detection(
                caption=caption,
                tokens=tuple(rows["tokens"].iloc[0]) if len(rows) else (),
                boxes=_stacked(rows["relative_box"], 4),
                token_scores=_stacked(rows["token_scores"], n_tokens),
                scores=rows["score"].to_numpy(np.float32),
                queries=rows["box_id"].to_numpy(np.int64),
                floor=floor,
            )
        )
    return detections


def _stacked(lists: pd.Series, width: int) -> np.ndarray:
    if lists.empty:
        return np.zeros((0, width), np.float32)
    return np.stack([np.asarray(values, np.float32) for values in lists])
