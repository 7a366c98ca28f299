"""What decoding a picture gives, and the faults it can have."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COPY_AGAIN = "copy it again from its source, or remove it together with its mask"


class ImageError(ValueError):
    """A picture or mask that cannot be used.

    Attributes:
        path: The file.
        problem: What was expected and what was found.
        remedy: What to do about it.
    """

    def __init__(self, path: Path, problem: str, remedy: str):
        super().__init__(f"{path}: {problem}; {remedy}")
        self.path = Path(path)
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True)
class Decoded:
    """A decoded file, its pixels as they are stored: neither turned nor laid on anything.

    Attributes:
        samples: (H, W) grey, or (H, W, 3) RGB: uint8, uint16, or, where there is no natural white,
            a wider or signed type. White is high, inks are mixed. With a palette, its indices,
            uint8 or uint16.
        bit_depth: Bits per sample as stored, 1 to 16; or 32 or 64 for wide and signed integers and
            floats. Fewer than 8 are stretched to 8, 9 to 15 are not.
        n_channels: Channels as stored; a palette counts as the 3 (with transparency 4) it stands
            for.
        alpha: Opacity, (H, W), of the type of the colours; None where everything is opaque.
        is_premultiplied: Whether the samples are multiplied by alpha already.
        palette: Colours of the indices, uint8, (N, 3); None for other files.
        orientation: EXIF orientation, 1 to 8.
        profile: ICC profile of the colours, if the file has one.
    """

    samples: np.ndarray
    bit_depth: int
    n_channels: int
    alpha: np.ndarray | None = None
    is_premultiplied: bool = False
    palette: np.ndarray | None = None
    orientation: int = 1
    profile: bytes | None = None

    @property
    def colours(self) -> np.ndarray:
        """Grey or RGB as stored, the palette looked up, and not laid on black."""
        return self.samples if self.palette is None else self.palette[self.samples]

    def shown(self) -> np.ndarray:
        """Grey or RGB as viewers show it: turned, and laid on black where it is transparent.

        Alpha that is 0 everywhere is left out of account.
        """
        pixels = self.colours
        if self.alpha is not None and self.alpha.any() and not self.is_premultiplied:
            pixels = _on_black(pixels, self.alpha, top=2 ** max(self.bit_depth, 8) - 1)
        return np.ascontiguousarray(turned(pixels, self.orientation))


@contextmanager
def blaming(path: Path, kind: str) -> Iterator[None]:
    """Blame the file for whatever a decoder raises.

    Decoders meet damaged data with a TypeError or struct.error as well as with an OSError, so that
    every exception counts.
    """
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(
            path, f"expected a whole {kind} image, found it damaged ({error})", COPY_AGAIN
        ) from error


def check_size(
    path: Path, width_px: int, height_px: int, sample_bytes: int, limit_mb: float | None
) -> None:
    """Refuse a picture by its header, before it is decoded.

    Args:
        path: The file.
        width_px: Width as stored.
        height_px: Height as stored.
        sample_bytes: Bytes of all samples of a pixel, decoded.
        limit_mb: Largest size that is decoded, in MB (10^6 bytes); None for no limit.
    """
    if width_px < 1 or height_px < 1:
        raise ImageError(
            path, f"expected a picture, found {width_px} x {height_px} pixels", COPY_AGAIN
        )
    size_mb = width_px * height_px * sample_bytes / 1e6
    if limit_mb is not None and size_mb > limit_mb:
        raise ImageError(
            path,
            f"expected at most {limit_mb:g} MB when decoded, found {width_px} x {height_px} pixels "
            f"of {sample_bytes} bytes, {size_mb:.0f} MB",
            "cut the image into tiles, or raise max_decoded_mb of the data set",
        )


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation, 1 to 8."""
    if orientation in (2, 3):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4):
        pixels = pixels[::-1]
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
        if orientation in (6, 7):
            pixels = pixels[:, ::-1]
        if orientation in (7, 8):
            pixels = pixels[::-1]
    return pixels


def known_orientation(value: object) -> int:
    """Give an EXIF orientation, 1 to 8; any other value means 1, as viewers take it."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _on_black(colours: np.ndarray, alpha: np.ndarray, *, top: int) -> np.ndarray:
    """Lay a picture on black: colour * alpha / top, rounded, in the picture's own depth."""
    if (alpha == top).all():
        return colours
    if colours.ndim == 3:
        alpha = alpha[:, :, None]
    # 65535 * 65535 + 32767 still fits into 32 bits.
    product = colours.astype(np.uint32) * alpha.astype(np.uint32)
    return ((product + np.uint32(top // 2)) // np.uint32(top)).astype(colours.dtype)
