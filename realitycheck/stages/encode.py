"""Stage 3: what networks compute from an image without a prompt, once, into a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.artifacts import image_file
from realitycheck.images import read_image
from realitycheck.models.sam import encode_images
from realitycheck.provenance import source_digest
from realitycheck.store import EncodingStore


def sam_store(
    folder: str | Path, *, settings: Mapping[str, Any], weights: Mapping[str, str], colour: str
) -> EncodingStore:
    """Store of SAM image embeddings under these settings and weights, and today's code."""
    facts = {
        "encoder": "sam",
        "colour": colour,
        "settings": dict(settings),
        "weights": weights,
        "code": source_digest("realitycheck.models.sam"),
    }
    return EncodingStore(folder, facts=facts)


def encode_shard(
    transforms: pd.DataFrame,
    store: EncodingStore,
    *,
    load_model: Any,
    images_folder: str | Path,
    colour: str,
    dtype: str,
    batch_size: int,
) -> Iterator[dict[str, Any]]:
    """Encode the images of a shard that the store does not hold yet.

    Finished images are kept at once, so a killed job costs at most one batch. The network is loaded
    only if an image needs it.

    Args:
        transforms: Rows of the shard's aligned images.
        store: Where the embeddings go.
        load_model: Called without arguments for the model, at most once.
        images_folder: Folder of the aligned images.
        colour: `rgb` or `bgr`, the order that the encoder sees.
        dtype: `float32` or `float16`, how embeddings are stored.
        batch_size: Images that go through the encoder together.

    Yields:
        Rows of the encodings table, in the order of `transforms`.
    """
    model = None
    for rows in _batches(list(transforms.itertuples()), batch_size):
        keys = [store.key(row.pixels_sha256) for row in rows]
        todo = [(row, key) for row, key in zip(rows, keys, strict=True) if not store.has(key)]
        if todo:
            model = model if model is not None else load_model()
            images = [read_image(image_file(images_folder, row.image_id)) for row, _ in todo]
            embeddings = encode_images(model, images, colour_order=colour, batch_size=batch_size)
            for (_, key), embedding in zip(todo, embeddings, strict=True):
                stored = embedding.astype(dtype)
                error = np.array([storage_error(embedding, stored)])
                store.put(key, {"embedding": stored, "storage_error": error})
        for row, key in zip(rows, keys, strict=True):
            yield {
                "dataset": row.dataset,
                "image_id": row.image_id,
                "key": key,
                "storage_error": store.get(key)["storage_error"].item(),
            }


def storage_error(exact: np.ndarray, stored: np.ndarray) -> float:
    """Largest difference between computed and stored values, relative to the values' spread."""
    spread = float(exact.std())
    difference = float(np.abs(exact - stored.astype(exact.dtype)).max(initial=0.0))
    return difference / spread if spread > 0 else difference


def _batches(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
