"""SAM's image embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from realitycheck.encoders.base import Encoder


class SamEmbeddings(Encoder):
    """`embedding`, (C, h, w), and `storage_error`, (1,), of an image in a colour order."""

    rule = "encode_images"
    summary = "Run SAM's image encoder, once for each image and colour order."
    step = "image encoder"
    counted = "images encoded"
    network = "sam"
    options = {"parts": ("image_encoder",)}
    folder = log_folder = "sam_{colour}"
    seconds_per_image = 2
    code = ("realitycheck.models.sam.inference",)

    def encode(self, pairs: Sequence[tuple[Any, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Embed images, stored as `dtype`."""
        from realitycheck.models.sam.inference import encode_images

        embeddings = encode_images(
            self.model(),
            [image for _, image in pairs],
            colour_order=self.colour,
            batch_size=self.batch_size,
        )
        return [
            {
                "embedding": (stored := embedding.astype(self.dtype)),
                "storage_error": np.array([storage_error(embedding, stored)]),
            }
            for embedding in embeddings
        ]


def storage_error(exact: np.ndarray, stored: np.ndarray) -> float:
    """Largest difference between computed and stored values, relative to the values' spread."""
    spread = float(exact.std())
    difference = float(np.abs(exact - stored.astype(exact.dtype)).max(initial=0.0))
    return difference / spread if spread > 0 else difference
