"""SAM's automatic masks, from stored embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from realitycheck.encoders.base import Encoder


class AutomaticMasks(Encoder):
    """The M masks of an image.

    `rles` (bytes, COCO counts, one line per mask), `boxes` (M, 4), `areas`, `predicted_ious`,
    `stability_scores` (M,), `points` (M, 2).
    """

    rule = "propose_masks"
    summary = "Generate SAM's automatic masks from stored embeddings."
    step = "automatic masks"
    counted = "images cut into masks"
    network = "sam"
    options = {"parts": ("prompt_encoder", "mask_decoder")}
    folder = log_folder = "automatic_masks/{method}"
    settings_of = "masks_settings"
    source = ("sam_embeddings", "embeddings")
    seconds_per_image = 20
    reads_images = False
    is_batched = False
    code = ("realitycheck.models.sam.automatic_masks",)

    def encode(self, pairs: Sequence[tuple[Any, None]]) -> list[dict[str, np.ndarray]]:
        """Propose the masks by the settings of the grid and its filters; images are not read."""
        from realitycheck.models.sam.automatic_masks import MaskGrid, propose_masks

        grid = MaskGrid(points_per_batch=8 * self.batch_size, **self.settings)
        return [
            packed(
                propose_masks(
                    self.model(),
                    self.stored.of(row.image_id)["embedding"],
                    image_size_hw=(int(row.height_px), int(row.width_px)),
                    grid=grid,
                )
            )
            for row, _ in pairs
        ]


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
