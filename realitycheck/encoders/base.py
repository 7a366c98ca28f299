"""What encodings share: what rules ask of each, its store, and how later steps find its entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from realitycheck.core.provenance import source_digest
from realitycheck.core.store import EncodingStore

if TYPE_CHECKING:
    import pandas as pd


class Encodings(NamedTuple):
    """Stored encodings of images.

    Attributes:
        store: Where they lie.
        keys: Key of each image's.
    """

    store: EncodingStore
    keys: Mapping[str, str]

    def of(self, image_id: str) -> dict[str, np.ndarray]:
        """Arrays of an image."""
        return self.store.get(self.keys[image_id])

    def stacked(self, name: str, image_ids: Iterable[str]) -> np.ndarray:
        """An array of each image, (N, …), in the order asked for."""
        return np.stack([self.of(image_id)[name] for image_id in image_ids])


class Encoder(ABC):
    """What is computed of an image without a text, once, and stored.

    The constants are read while planning, so a module of an encoder imports no network before
    `encode` is called.

    Attributes:
        rule: Name of the rule that runs it.
        summary: What that rule is for.
        step: Its name where the time of a part is told.
        counted: What its progress counts.
        network: Network that it runs.
        options: Of the network's loader.
        folder: Where its tables lie below the encodings of a data set. The wildcard in it says what
            the encoding depends on: `{colour}`, `{method}` or `{size}`.
        log_folder: Where its logs lie below those of the rule and the data set.
        settings_of: For `{method}`: the method block's function that gives the settings; blocks
            that have it are those with such an encoding.
        source: Name of the encoding that it starts from, with the name of the rule's input; none
            starts from the aligned images.
        seconds_per_image: Of the network's largest variant on a GPU.
        kb_per_image: What the job keeps of each image until it ends.
        reads_images: Whether it looks at the aligned images.
        is_batched: Whether images go through the network together.
        code: Modules whose code the keys of the store depend on.
    """

    rule: ClassVar[str]
    summary: ClassVar[str]
    step: ClassVar[str]
    counted: ClassVar[str]
    network: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    folder: ClassVar[str]
    log_folder: ClassVar[str]
    settings_of: ClassVar[str | None] = None
    source: ClassVar[tuple[str, str] | None] = None
    seconds_per_image: ClassVar[float]
    kb_per_image: ClassVar[float] = 2
    reads_images: ClassVar[bool] = True
    is_batched: ClassVar[bool] = True
    code: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        model: Callable[[], Any],
        *,
        settings: Mapping[str, Any] | None = None,
        network: Mapping[str, Any] | None = None,
        colour: str = "rgb",
        batch_size: int = 1,
        stored: Encodings | None = None,
    ):
        """Open it for a job.

        Args:
            model: Gives the network; called only if something is missing in the store.
            settings: Of the encoding.
            network: Of the network: `precision`, for SAM `dtype`.
            colour: `rgb` or `bgr`, the order that the network sees.
            batch_size: Images that go through the network together; no influence on the result.
            stored: Entries of `source`.
        """
        self.model = model
        self.settings = settings or {}
        self.precision = (network or {}).get("precision", "float32")
        self.dtype = (network or {}).get("dtype", "float32")
        self.colour = colour
        self.batch_size = batch_size
        self.stored = stored

    def key(self, row: Any) -> str:
        """Digest of what an image's encoding is made from; `row` is one of the transforms table."""
        return row.pixels_sha256

    @abstractmethod
    def encode(self, pairs: Sequence[tuple[Any, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Compute the arrays of each image.

        Args:
            pairs: Rows of the transforms table, each with its aligned image, uint8 RGB, (H, W, 3).
        """


def encoding_store(
    folder: str | Path,
    *,
    encoder: str,
    code: Sequence[str],
    settings: Mapping[str, Any],
    weights: Mapping[str, str],
    colour: str | None = None,
) -> EncodingStore:
    """Store of an encoding under these settings and weights, and today's code.

    Args:
        folder: Where it lies.
        encoder: Name of the encoding.
        code: Modules that compute it.
        settings: What it depends on: its own settings and those of the network.
        weights: Digest of the network's files.
        colour: Order of colours that the network sees, where it is not always the same.
    """
    facts = {
        "encoder": encoder,
        "settings": dict(settings),
        "weights": weights,
        "code": source_digest(*code),
    }
    return EncodingStore(folder, facts=facts | ({"colour": colour} if colour else {}))


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
