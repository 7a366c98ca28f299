"""Small pictures for the page: as large as the page may become, else in a folder beside it."""

from __future__ import annotations

import base64
import functools
import io
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from realitycheck.core.files import write_atomically
from realitycheck.report.page.outlines import screen_size

#: A page with more bytes keeps its pictures in a folder beside it.
MAX_PAGE_BYTES = 30_000_000
#: Longer sides that a picture may have, the largest that fits being taken.
SIDES_PX = (640, 480, 360, 280, 240)
_QUALITY = 78
_N_PROBED = 12
_BATCH = 64

Load = Callable[[], np.ndarray]


def encode_picture(image: np.ndarray, *, side_px: int | None = None) -> bytes:
    """Write an image, uint8 RGB (H, W, 3), as WebP, reduced to a longer side, never enlarged."""
    picture = Image.fromarray(image)
    if side_px is not None and max(picture.size) > side_px:
        height, width = screen_size(*image.shape[:2], side=side_px)
        picture = picture.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)
    with io.BytesIO() as stream:
        picture.save(stream, "WEBP", quality=_QUALITY, method=2)
        return stream.getvalue()


def _load_and_encode(load: Load, *, side_px: int) -> bytes:
    return encode_picture(load(), side_px=side_px)


def as_data(encoded: bytes, kind: str = "webp") -> str:
    """Write a picture as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode('ascii')}"


def choose_side(loads: Sequence[Load], *, max_bytes: int) -> tuple[int, bool]:
    """Choose how large pictures are, and whether the page can hold them.

    A few pictures, spread evenly, are encoded at each size to see what all would take.

    Args:
        loads: Read one picture each.
        max_bytes: What all may take together in the page, as text.

    Returns:
        The longer side in pixels, and whether the pictures fit.
    """
    if not loads:
        return SIDES_PX[0], True
    places = np.unique(np.linspace(0, len(loads) - 1, _N_PROBED).round().astype(int))
    probes = [loads[place]() for place in places]
    for side in SIDES_PX:
        mean = np.mean([len(encode_picture(probe, side_px=side)) for probe in probes])
        if mean * 4 / 3 * len(loads) <= max_bytes:
            return side, True
    return SIDES_PX[0], False


class PictureShelf:
    """Keeps pictures in the page as long as they fit, else all of them in a folder beside it.

    Args:
        folder: The folder beside the page; emptied first, and gone if it is not needed.
        in_page: Whether the page is to hold the pictures.
        n_threads: Pictures that are read and encoded at once.
    """

    def __init__(self, folder: Path, *, in_page: bool, n_threads: int = 1):
        self.folder = folder
        self.in_page = in_page
        self.n_bytes = 0
        self._n_threads = n_threads
        shutil.rmtree(folder, ignore_errors=True)

    def put(self, name: str, loads: Iterable[Load], *, side_px: int) -> Iterator[str]:
        """Encode pictures and give the address of each, in order.

        Args:
            name: What their files are called, before a number.
            loads: Read one picture each.
            side_px: Their longer side.
        """
        loads = iter(loads)
        number = 0
        with ThreadPoolExecutor(self._n_threads) as pool:
            encode = functools.partial(_load_and_encode, side_px=side_px)
            while batch := list(itertools.islice(loads, _BATCH)):
                for encoded in pool.map(encode, batch):
                    yield self._keep(f"{name}_{number:05d}.webp", encoded)
                    number += 1

    def _keep(self, name: str, encoded: bytes) -> str:
        self.n_bytes += len(encoded)
        if self.in_page:
            return as_data(encoded)
        path = self.folder / name
        write_atomically(path, lambda temporary: Path(temporary).write_bytes(encoded))
        return f"{self.folder.name}/{name}"
