"""Stage 3: what networks compute from an image without a prompt, once, into a store."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from realitycheck.core.pictures import read_aligned
from realitycheck.core.prefetch import run_ahead
from realitycheck.core.schemas import ENCODINGS, TRANSFORMS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_table
from realitycheck.encoders.base import Encodings, Lazily, encoding_store, keys_of
from realitycheck.encoders.registry import ENCODERS
from realitycheck.stages.timing import Seconds, timed_steps
from realitycheck.stages.weights import load_network

log = logging.getLogger(__name__)


#: Threads that read images while a network computes.
_N_READERS = 2


def encode_shard(
    transforms: pd.DataFrame,
    store: EncodingStore,
    compute: Callable[[Sequence[Any]], Sequence[Mapping[str, np.ndarray]]],
    *,
    read: Callable[[Any], Any] = lambda row: row,
    content_of: Callable[[Any], str] | None = None,
    batch_size: int = 1,
) -> Iterator[dict[str, Any]]:
    """Encode the images of a shard that the store does not hold yet.

    While a batch is computed, the next two are read and the one before is written, by threads of
    their own; no more than these are held. So a killed job costs at most two batches. A batch that
    is too large for the device's memory is halved, and so are those after it.

    Args:
        transforms: Rows of the shard's aligned images.
        store: Where the encodings go.
        compute: From what was read of some images to the arrays of each; called only for what is
            missing, and by the caller's thread.
        read: From a row of `transforms` to what `compute` takes; by another thread.
        content_of: Digest of what an image's encoding is made from; default: its aligned pixels.
        batch_size: Images that are computed together.

    Yields:
        Rows of the encodings table, in the order of `transforms`.
    """
    content_of = content_of or (lambda row: row.pixels_sha256)
    rows = list(transforms.itertuples())
    keys = [store.key(content_of(row)) for row in rows]
    n_yielded = 0
    written: Future | None = None
    tasks = (partial(_timed, read, rows[index], index) for index in _missing(store, keys))
    with (
        closing(run_ahead(tasks, n_threads=_N_READERS, depth=2 * batch_size)) as ahead,
        ThreadPoolExecutor(1) as writer,
    ):
        while batch := list(islice(ahead, batch_size)):
            made, seconds, batch_size = _computed(compute, [b.value for b in batch], batch_size)
            entries = [
                (keys[item.index], arrays, item.seconds + taken)
                for item, arrays, taken in zip(batch, made, seconds, strict=True)
            ]
            before, written = written, writer.submit(_put_all, store, entries)
            if before is not None:
                before.result()
                # Whatever lies before this batch is in the store by now.
                for index in range(n_yielded, batch[0].index):
                    yield _encodings_row(store, rows[index], keys[index])
                n_yielded = batch[0].index
        if written is not None:
            written.result()
    for index in range(n_yielded, len(rows)):
        yield _encodings_row(store, rows[index], keys[index])


class Encoding:
    """An encoding of the images of one shard, opened.

    Args:
        name: Of the encoding, see `realitycheck.encoders.registry`.
        model: Gives the network; called only if something is missing in the store.
        folder: Where the store lies.
        transforms: Rows of the shard's aligned images.
        images_folder: Folder of those images.
        settings: Of the encoding.
        network: Settings of the network.
        weights: Digest of the network's files.
        colour: `rgb` or `bgr`; None where the network always sees the same.
        batch_size: Images that go through the network together.
        stored: Entries of the encoding that this one starts from.
    """

    def __init__(
        self,
        name: str,
        model: Callable[[], Any],
        folder: str | Path,
        transforms: pd.DataFrame,
        images_folder: str | Path,
        *,
        settings: Mapping[str, Any],
        network: Mapping[str, Any],
        weights: Mapping[str, str],
        colour: str | None = None,
        batch_size: int = 1,
        stored: Encodings | None = None,
    ):
        kind = ENCODERS.open(name)
        self.encoder = kind(
            model,
            settings=settings,
            network=network,
            colour=colour or "rgb",
            batch_size=batch_size,
            stored=stored,
        )
        self.store = encoding_store(
            folder,
            encoder=name,
            code=kind.code,
            settings={**settings, "network": network},
            weights=weights,
            colour=colour,
        )
        self.transforms = transforms
        self._images_folder = images_folder

    def rows(self) -> Iterator[dict[str, Any]]:
        """Encode what is missing; give the rows of the encodings table."""
        encoder = self.encoder
        return encode_shard(
            self.transforms,
            self.store,
            encoder.encode,
            read=image_reader(self._images_folder) if encoder.reads_images else _unread,
            content_of=encoder.key,
            batch_size=encoder.batch_size if encoder.is_batched else 1,
        )


def open_encoding(
    name: str,
    inputs: Mapping[str, str],
    index: str | Path,
    *,
    network: Mapping[str, Any],
    device: str,
    **options: Any,
) -> Encoding:
    """Open an encoding from the files of a job.

    Args:
        name: Of the encoding.
        inputs: Files by name: `transforms`, `weights` (the record), and the table of the encoding
            that it starts from.
        index: Table of the shard's encodings, to be written; the store lies around it.
        network: Settings of the network.
        device: Where the network goes.
        options: What else `Encoding` takes.
    """
    kind = ENCODERS.open(name)
    load = partial(load_network, inputs["weights"], network, device=device, **kind.options)
    stored = None
    if kind.source:
        source, key = kind.source
        keys = keys_of(read_table(inputs[key], schema=ENCODINGS))
        stored = Encodings(EncodingStore(_store_folder(source, inputs[key])), keys)
    return Encoding(
        name,
        Lazily(load),
        _store_folder(name, index),
        read_table(inputs["transforms"], schema=TRANSFORMS),
        Path(inputs["transforms"]).parents[1],
        network=network,
        stored=stored,
        **options,
    )


def seconds_of_source(name: str, inputs: Mapping[str, str]) -> dict[str, Seconds]:
    """Fact of an encodings table: how long the encoding took that it starts from."""
    source = ENCODERS.open(name).source
    return {
        "seconds": timed_steps({ENCODERS.open(source[0]).step: inputs[source[1]]} if source else {})
    }


def _store_folder(name: str, index: str | Path) -> Path:
    """Folder of a store around one of its tables; blocks of methods share it."""
    return Path(index).parents[ENCODERS.open(name).folder.count("/")]


def _unread(row: Any) -> tuple[Any, None]:
    return row, None


def image_reader(images_folder: str | Path) -> Callable[[Any], tuple[Any, np.ndarray]]:
    """Give what reads the aligned image of a row: row and image, uint8 RGB, (H, W, 3)."""

    def read(row: Any) -> tuple[Any, np.ndarray]:
        return row, read_aligned(images_folder, row.image_id)

    return read


class _Read(NamedTuple):
    """What was read of the row with an index, and how long that took."""

    index: int
    value: Any
    seconds: float


def _timed(read: Callable[[Any], Any], row: Any, index: int) -> _Read:
    started = time.perf_counter()
    value = read(row)
    return _Read(index, value, time.perf_counter() - started)


def _missing(store: EncodingStore, keys: Sequence[str]) -> Iterator[int]:
    """Give the first index of each key that the store does not hold."""
    seen: set[str] = set()
    for index, key in enumerate(keys):
        if key not in seen and not store.has(key):
            yield index
        seen.add(key)


def _put_all(
    store: EncodingStore, entries: Iterable[tuple[str, Mapping[str, np.ndarray], float]]
) -> None:
    for key, arrays, seconds in entries:
        store.put(key, arrays, seconds=seconds)


def _encodings_row(store: EncodingStore, row: Any, key: str) -> dict[str, Any]:
    error = store.get(key).get("storage_error")
    return {
        "dataset": row.dataset,
        "image_id": row.image_id,
        "key": key,
        "storage_error": None if error is None else error.item(),
        "latency_s": store.seconds(key),
    }


def _computed(
    compute: Callable[[Sequence[Any]], Sequence[Mapping[str, np.ndarray]]],
    inputs: Sequence[Any],
    batch_size: int,
) -> tuple[list[Mapping[str, np.ndarray]], list[float], int]:
    """Compute a batch, in parts where it is too large for the device's memory.

    Returns:
        Arrays and seconds of each input, and the size of the parts.
    """
    made: list[Mapping[str, np.ndarray]] = []
    seconds: list[float] = []
    while len(made) < len(inputs):
        part = inputs[len(made) : len(made) + batch_size]
        started = time.perf_counter()
        found = _computed_if_it_fits(compute, part)
        if found is None:
            batch_size = len(part) // 2
            log.warning("out of memory; going on with batches of %d", batch_size)
            continue
        made += found
        seconds += [(time.perf_counter() - started) / len(part)] * len(part)
    return made, seconds, batch_size


def _computed_if_it_fits(
    compute: Callable[[Sequence[Any]], Sequence[Mapping[str, np.ndarray]]], inputs: Sequence[Any]
) -> Sequence[Mapping[str, np.ndarray]] | None:
    """Compute a batch; None where it is too large for the device's memory, and can be smaller."""
    try:
        return compute(inputs)
    except RuntimeError as error:
        # By name: this module does without torch.
        if type(error).__name__ != "OutOfMemoryError" or len(inputs) == 1:
            raise
    # The error has gone, and with it what it held; now torch can give the memory back.
    import torch

    torch.cuda.empty_cache()
    return None
