"""Stage 3: what networks compute from an image without a prompt, once, into a store."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.store import EncodingStore

log = logging.getLogger(__name__)


def encode_shard(
    transforms: pd.DataFrame,
    store: EncodingStore,
    compute: Callable[[Sequence[Any]], Sequence[Mapping[str, np.ndarray]]],
    *,
    content_of: Callable[[Any], str] | None = None,
    batch_size: int = 1,
) -> Iterator[dict[str, Any]]:
    """Encode the images of a shard that the store does not hold yet.

    Finished images are kept at once, so a killed job costs at most one batch. A batch that is too
    large for the device's memory is halved, and so are those after it.

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
    pending = list(transforms.itertuples())
    while pending:
        rows = pending[:batch_size]
        keys = [store.key(content_of(row)) for row in rows]
        missing = [(row, key) for row, key in zip(rows, keys, strict=True) if not store.has(key)]
        if missing:
            started = time.perf_counter()
            made = _computed(compute, [row for row, _ in missing])
            if made is None:
                batch_size = len(missing) // 2
                log.warning("out of memory; going on with batches of %d", batch_size)
                continue
            seconds = (time.perf_counter() - started) / len(missing)
            for (_, key), arrays in zip(missing, made, strict=True):
                store.put(key, arrays, seconds=seconds)
        pending = pending[len(rows) :]
        for row, key in zip(rows, keys, strict=True):
            error = store.get(key).get("storage_error")
            yield {
                "dataset": row.dataset,
                "image_id": row.image_id,
                "key": key,
                "storage_error": None if error is None else error.item(),
                "latency_s": store.seconds(key),
            }


def _computed(
    compute: Callable[[Sequence[Any]], Sequence[Mapping[str, np.ndarray]]], rows: Sequence[Any]
) -> Sequence[Mapping[str, np.ndarray]] | None:
    """Compute a batch; None where it is too large for the device's memory, and can be smaller."""
    try:
        return compute(rows)
    except RuntimeError as error:
        # By name: this module does without torch.
        if type(error).__name__ != "OutOfMemoryError" or len(rows) == 1:
            raise
    # The error has gone, and with it what it held; now torch can give the memory back.
    import torch

    torch.cuda.empty_cache()
    return None


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
