"""Stage 3: SAM's automatic masks, from stored embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from realitycheck.core.provenance import source_digest
from realitycheck.core.store import EncodingStore
from realitycheck.models.sam.automatic_masks import MaskGrid, propose_masks
from realitycheck.models.sam.model import SamModel


def masks_store(
    folder: str | Path, *, settings: Mapping[str, Any], weights: Mapping[str, str]
) -> EncodingStore:
    """Store of automatic masks under these settings and weights, and today's code."""
    facts = {
        "encoder": "automatic_masks",
        "settings": dict(settings),
        "weights": weights,
        "code": source_digest("realitycheck.models.sam.automatic_masks"),
    }
    return EncodingStore(folder, facts=facts)


def mask_proposer(
    model: Callable[[], SamModel],
    embeddings: EncodingStore,
    *,
    keys: Mapping[str, str],
    settings: Mapping[str, Any],
    points_per_batch: int,
) -> Callable[[Sequence[Any]], list[dict[str, np.ndarray]]]:
    """Cut out everything on stored embeddings.

    Args:
        model: Gives SAM's prompt encoder and mask decoder.
        embeddings: Stored image embeddings.
        keys: Key of each image's embedding.
        settings: Of the grid and its filters.
        points_per_batch: Points of one pass through the decoder; no influence on the result.

    Returns:
        A function from rows of the transforms table to the M masks of each: `rles` (bytes, COCO
        counts, a line a mask), `boxes` (M, 4), `areas`, `predicted_ious`, `stability_scores` (M,),
        `points` (M, 2).
    """
    grid = MaskGrid(points_per_batch=points_per_batch, **settings)

    def compute(rows: Sequence[Any]) -> list[dict[str, np.ndarray]]:
        return [
            packed(
                propose_masks(
                    model(),
                    embeddings.get(keys[row.image_id])["embedding"],
                    image_size_hw=(int(row.height_px), int(row.width_px)),
                    grid=grid,
                )
            )
            for row in rows
        ]

    return compute


def packed(records: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Turn the generator's records into arrays for the store."""
    counts = "\n".join(record["rle"]["counts"] for record in records)

    def column(name: str, width: int = 0) -> np.ndarray:
        shape = (len(records), width) if width else (len(records),)
        return np.array([record[name] for record in records], np.float64).reshape(shape)

    return {
        "rles": np.frombuffer(counts.encode("ascii"), np.uint8),
        "boxes": column("bbox", 4),
        "areas": column("area"),
        "predicted_ious": column("predicted_iou"),
        "stability_scores": column("stability_score"),
        "points": column("point", 2),
    }


def unpacked_masks(
    arrays: Mapping[str, np.ndarray], *, height_px: int, width_px: int
) -> list[dict[str, Any]]:
    """Masks of an entry as COCO run lengths, in the order of the generator."""
    text = arrays["rles"].tobytes().decode("ascii")
    size = [height_px, width_px]
    return [{"size": size, "counts": counts} for counts in text.split("\n")] if text else []
