"""Questions: everything that is sent about one image, and the key under which it is stored.

The key is a digest of all that can change the answer: kind of service, model, generation
parameters, system text, texts and pixels in their order, schema, and the number of the repeat. File
names, host, account and time limits are not in it. Pixels count, not the bytes of a PNG file, so
another version of an image library buys nothing anew.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

KEY_VERSION = 1
"""Raised when a question's stored form changes its meaning; every answer is then asked anew."""

ImageSource = np.ndarray | Callable[[], np.ndarray]


@dataclass(frozen=True)
class Picture:
    """One image of a question, by its content.

    Attributes:
        pixels_sha256: Digest of shape and pixels as sent, as are width and height.
        source: Gives the pixels again, uint8 (H, W, 3) RGB, so that not all images are in memory.
        max_side_px: Longer side above which the image is shrunk before it is sent; None: never.
    """

    pixels_sha256: str
    width_px: int
    height_px: int
    source: ImageSource = field(compare=False, repr=False)
    max_side_px: int | None = field(default=None, compare=False, repr=False)

    def pixels(self) -> np.ndarray:
        """Pixels as they are sent, uint8 (H, W, 3) RGB.

        Raises:
            ValueError: If they are no longer those the key was made of.
        """
        pixels = _prepared(self.source, self.max_side_px)
        if _digest(pixels) != self.pixels_sha256:
            raise ValueError(
                f"an image ({self.width_px} x {self.height_px} px) has changed since the questions "
                "were put together; run again"
            )
        return pixels

    def png(self) -> bytes:
        """Encode the image as PNG."""
        import cv2

        done, data = cv2.imencode(
            ".png",
            np.ascontiguousarray(self.pixels()[..., ::-1]),
            [cv2.IMWRITE_PNG_COMPRESSION, 6],
        )
        if not done:
            raise ValueError(
                f"OpenCV cannot write an image of {self.width_px} x {self.height_px} px"
            )
        return data.tobytes()

    def doc(self) -> dict[str, Any]:
        """What the key holds of this image."""
        return {
            "mime": "image/png",
            "pixels_sha256": self.pixels_sha256,
            "width_px": self.width_px,
            "height_px": self.height_px,
        }


def picture_of(source: ImageSource, *, max_side_px: int | None = None) -> Picture:
    """Look at an image once and describe it by content.

    Args:
        source: Pixels, uint8 (H, W, 3) RGB, or a function that reads them.
        max_side_px: Longer side above which the image is shrunk; None: sent as it is.

    Raises:
        ValueError: If the pixels have another form, or `max_side_px` is below 16.
    """
    if max_side_px is not None and max_side_px < 16:
        raise ValueError(f"max_side_px: expected at least 16, got {max_side_px}")
    pixels = _prepared(source, max_side_px)
    height, width = pixels.shape[:2]
    return Picture(_digest(pixels), width, height, source, max_side_px)


def _prepared(source: ImageSource, max_side_px: int | None) -> np.ndarray:
    pixels = source if isinstance(source, np.ndarray) else source()
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(
            f"an image must be uint8 with shape (H, W, 3), got {pixels.dtype} {pixels.shape}"
        )
    longer = max(pixels.shape[:2])
    if max_side_px is None or longer <= max_side_px:
        return pixels
    import cv2

    height, width = (max(1, round(side * max_side_px / longer)) for side in pixels.shape[:2])
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def _digest(pixels: np.ndarray) -> str:
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels))
    return digest.hexdigest()


@dataclass(frozen=True)
class Question:
    """One request, independent of the library that sends it.

    Attributes:
        image_id: The image asked about; not sent.
        sample: Number of the repeat, from 0: the same request asked again on purpose.
        service: Name of the service, see `realitycheck.lvlm.backends.registry`.
        model: Model name as requested.
        model_revision: What a server of one's own runs under that name (revision, quantisation);
            empty for the cloud. Not sent, but part of the key.
        parameters: Checked generation parameters.
        system: System text.
        parts: Texts and images in the order in which they are sent.
        schema: JSON schema of the answer, as sent.
    """

    image_id: str
    sample: int
    service: str
    model: str
    model_revision: str
    parameters: Mapping[str, Any]
    system: str
    parts: tuple[str | Picture, ...]
    schema: Mapping[str, Any]

    @property
    def pictures(self) -> list[Picture]:
        """Images in the order in which they are sent."""
        return [part for part in self.parts if isinstance(part, Picture)]

    def doc(self) -> dict[str, Any]:
        """Everything that determines the answer, as plain values."""
        return {
            "key_version": KEY_VERSION,
            "service": self.service,
            "model": self.model,
            "model_revision": self.model_revision,
            "parameters": dict(self.parameters),
            "system": self.system,
            "parts": [p.doc() if isinstance(p, Picture) else {"text": p} for p in self.parts],
            "schema": dict(self.schema),
            "sample": self.sample,
        }

    @functools.cached_property
    def canonical(self) -> str:
        """The stored form: JSON without spaces, keys sorted.

        But for the schema's: their order is the order in which the answer is written.
        """
        doc = self.doc()
        doc["schema"] = json.dumps(doc["schema"], separators=(",", ":"))
        return json.dumps(doc, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @functools.cached_property
    def key(self) -> str:
        """Digest of the stored form, 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    def encoded(self) -> list[str | bytes]:
        """Texts and PNG bytes in the order in which they are sent."""
        return [part if isinstance(part, str) else encoded_png(part) for part in self.parts]


@functools.lru_cache(maxsize=16)
def encoded_png(picture: Picture) -> bytes:
    """An image as PNG; the reference stands in every question, so a few are kept."""
    return picture.png()
