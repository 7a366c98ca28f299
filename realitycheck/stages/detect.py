"""Stage 4: boxes for every text of a prompt set, stored down to a low floor."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from realitycheck.core.pictures import read_aligned
from realitycheck.core.row_cache import image_content
from realitycheck.core.store import FinishedRows
from realitycheck.methods.registry import detector_captions
from realitycheck.models.grounding_dino.model import (
    Detection,
    GroundingDinoModel,
    boxes_to_pixels,
    detect,
    normalise_caption,
)


def detect_shard(
    transforms: pd.DataFrame,
    model: GroundingDinoModel,
    *,
    asked: Mapping[str, Any],
    prompt: str,
    floor: float,
    images_folder: str | Path,
    finished: FinishedRows | None = None,
    seconds: list[float] | None = None,
) -> Iterator[list[dict[str, Any]]]:
    """Detect boxes for every caption; the image backbone runs once an image.

    A caption's boxes do not depend on the other captions. So what was detected before, by a job
    that was killed, before an edit of another text or for another prompt set, is not done again.

    Args:
        transforms: Rows of the shard's aligned images.
        model: The detector.
        asked: `texts` for every image; `composed`, what kinds of methods make captions of for a
            category; see `realitycheck.methods.registry.detector_captions`.
        prompt: Name of the prompt set.
        floor: Lowest score that is stored.
        images_folder: Folder of the aligned images.
        finished: Where the boxes of finished captions are kept.
        seconds: Gets the seconds of each image, all its captions together, as they took when they
            were detected; the backbone's are shared out equally.

    Yields:
        The rows of the boxes table for one image, none where nothing passes the floor.
    """
    for row in transforms.itertuples():
        texts = list(asked["texts"])
        for composed in asked["composed"]:
            texts += detector_captions(composed, row.category)
        # By text as it was asked, the caption that the detector gets: "Cat" and "cat." are one.
        captions = {text: normalise_caption(text) for text in texts}
        contents = {c: [*image_content(row), c] for c in captions.values()} if finished else {}
        known = {
            caption: stored
            for caption, content in contents.items()
            if (stored := finished.get(content)) is not None
        }
        missing = [caption for caption in dict.fromkeys(captions.values()) if caption not in known]
        if missing:
            started = time.perf_counter()
            image = read_aligned(images_folder, row.image_id)
            detections = detect(model, image, missing, floor=floor)
            spent = (time.perf_counter() - started) / len(missing)
            for caption, found in zip(missing, detections, strict=True):
                boxes = _box_rows(row, found, image_size_hw=image.shape[:2])
                known[caption] = [{"seconds": spent}, *boxes]
                if finished:
                    finished.put(contents[caption], known[caption])
        if seconds is not None:
            seconds.append(sum(stored[0]["seconds"] for stored in known.values()))
        yield [
            {**box, "text": text, "prompt": prompt}
            for text, caption in captions.items()
            for box in known[caption][1:]
        ]


def _box_rows(
    row: Any, found: Detection, *, image_size_hw: tuple[int, int]
) -> list[dict[str, Any]]:
    """Rows of the boxes table for one caption, but for the text and the name of the prompt set."""
    corners = boxes_to_pixels(found.boxes, image_size_hw=image_size_hw)
    rows = []
    for index, query in enumerate(found.queries.tolist()):
        x_min, y_min, x_max, y_max = corners[index].tolist()
        rows.append(
            {
                "dataset": row.dataset,
                "image_id": row.image_id,
                "box_id": query,
                "x_min": x_min,
                "y_min": y_min,
                "x_max": x_max,
                "y_max": y_max,
                "score": float(found.scores[index]),
                "token_scores": found.token_scores[index].tolist(),
                "tokens": list(found.tokens),
                "relative_box": found.boxes[index].tolist(),
            }
        )
    return rows
