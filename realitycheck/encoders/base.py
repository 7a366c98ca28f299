"""Base."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from realitycheck.core.store import EncodingStore


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
