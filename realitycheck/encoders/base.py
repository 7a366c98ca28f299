"""Base."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd


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
