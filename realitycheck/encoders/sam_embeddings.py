"""Stage 3: SAM's image embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from realitycheck.core.provenance import source_digest
from realitycheck.core.store import EncodingStore
from realitycheck.models.sam.inference import encode_images
from realitycheck.models.sam.model import SamModel


def sam_store(
    folder: str | Path, *, settings: Mapping[str, Any], weights: Mapping[str, str], colour: str
) -> EncodingStore:
    """Store of SAM image embeddings under these settings and weights, and today's code."""
    facts = {
        "encoder": "sam",
        "colour": colour,
        "settings": dict(settings),
        "weights": weights,
        "code": source_digest("realitycheck.models.sam.inference"),
    }
    return EncodingStore(folder, facts=facts)


def sam_embedder(
    model: Callable[[], SamModel],
    *,
    colour: str,
    dtype: str,
    batch_size: int,
) -> Callable[[Sequence[tuple[Any, np.ndarray]]], list[dict[str, np.ndarray]]]:
    """Embed images with SAM.

    Args:
        model: Gives SAM with its image encoder.
        colour: `rgb` or `bgr`, the order that the encoder sees.
        dtype: `float32` or `float16`, how embeddings are stored.
        batch_size: Images that go through the encoder together.

    Returns:
        A function from rows of the transforms table, each with its image, to `embedding`,
        (C, h, w), and `storage_error`, (1,).
    """

    def compute(pairs: Sequence[tuple[Any, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        images = [image for _, image in pairs]
        embeddings = encode_images(model(), images, colour_order=colour, batch_size=batch_size)
        return [
            {
                "embedding": (stored := embedding.astype(dtype)),
                "storage_error": np.array([storage_error(embedding, stored)]),
            }
            for embedding in embeddings
        ]

    return compute


def storage_error(exact: np.ndarray, stored: np.ndarray) -> float:
    """Largest difference between computed and stored values, relative to the values' spread."""
    spread = float(exact.std())
    difference = float(np.abs(exact - stored.astype(exact.dtype)).max(initial=0.0))
    return difference / spread if spread > 0 else difference
