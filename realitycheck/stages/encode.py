"""Stage 3: what networks compute from an image without a prompt, once, into a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.store import EncodingStore


def encode_shard(
    transforms: pd.DataFrame,
    store: EncodingStore,
    compute: Callable[[Sequence[Any]], Sequence[Mapping[str, np.ndarray]]],
    *,
    content_of: Callable[[Any], str] | None = None,
    batch_size: int = 1,
) -> Iterator[dict[str, Any]]:
    """Encode the images of a shard that the store does not hold yet.

    Finished images are kept at once, so a killed job costs at most one batch.

    Args:
        transforms: Rows of the shard's aligned images.
        store: Where the encodings go.
        compute: From rows of `transforms` to the arrays of each; called only for what is missing.
        content_of: Digest of what an image's encoding is made from; default: its aligned pixels.
        batch_size: Images that are computed together.

    Yields:
        Rows of the encodings table, in the order of `transforms`.
    """
    content_of = content_of or (lambda row: row.pixels_sha256)
    all_rows = list(transforms.itertuples())
    for start in range(0, len(all_rows), batch_size):
        rows = all_rows[start : start + batch_size]
        keys = [store.key(content_of(row)) for row in rows]
        missing = [(row, key) for row, key in zip(rows, keys, strict=True) if not store.has(key)]
        if missing:
            started = time.perf_counter()
            made = compute([row for row, _ in missing])
            seconds = (time.perf_counter() - started) / len(missing)
            for (_, key), arrays in zip(missing, made, strict=True):
                store.put(key, arrays, seconds=seconds)
        for row, key in zip(rows, keys, strict=True):
            error = store.get(key).get("storage_error")
            yield {
                "dataset": row.dataset,
                "image_id": row.image_id,
                "key": key,
                "storage_error": None if error is None else error.item(),
                "latency_s": store.seconds(key),
            }


def keys_of(index: pd.DataFrame) -> dict[str, str]:
    """Key in the store of each image of an encodings table."""
    return dict(zip(index["image_id"], index["key"], strict=True))


class Lazily:
    """A network that is loaded when it is first needed, and at most once."""

    def __init__(self, load: Callable[[], Any]):
        self._load = load
        self._loaded: Any = None

    def __call__(self) -> Any:
        """Return the network."""
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded


def feature_maps_of(
    store: EncodingStore, index: pd.DataFrame, image_ids: Iterable[str]
) -> list[np.ndarray]:
    """Stored feature maps of images, (N, C, G, G) for each stage, in the order asked for."""
    keys = keys_of(index)
    found = [store.get(keys[image_id]) for image_id in image_ids]
    return [np.stack([arrays[name] for arrays in found]) for name in sorted(found[0])]


def features_of(store: EncodingStore, index: pd.DataFrame, image_ids: Iterable[str]) -> np.ndarray:
    """Stored feature vectors of images, (N, D), in the order asked for."""
    keys = keys_of(index)
    return np.stack([store.get(keys[image_id])["feature"] for image_id in image_ids])
