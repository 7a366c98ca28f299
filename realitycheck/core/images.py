"""Read pictures of every common kind into the one form that the package uses.

A file is told by its content, never by its name: PNG, JPEG, TIFF, BMP and GIF, in the layouts that
`realitycheck.core.decoding.decode` knows. Every picture is decoded to its last byte before it is
believed: what is cut short, padded with zeros or damaged is refused, and what is no picture is
named.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from realitycheck.core.constants import MAX_DECODED_MB
from realitycheck.core.decoding.colour import to_srgb
from realitycheck.core.decoding.decode import decode
from realitycheck.core.decoding.decoded import COPY_AGAIN, Decoded, ImageError
from realitycheck.core.files import write_atomically
from realitycheck.core.special_files import special_kind

IDENTITY = {"mapping": "identity"}


@dataclass(frozen=True)
class ImageFacts:
    """What the manifest says about one picture.

    Attributes:
        width_px: Width after EXIF rotation, in pixels.
        height_px: Height after EXIF rotation, in pixels.
        bit_depth: Bits per sample as stored: 1 to 16; 32 or 64 for wide and signed integers and
            floats.
        n_channels: Channels as stored; a palette counts as the 3 (with transparency 4) it stands
            for.
        sha256: Digest of the file's bytes, hexadecimal.
        pixel_digest: Digest of the decoded picture, hexadecimal: equal for the same picture saved
            twice in different ways.
        sample_type: NumPy's name of what the samples are: `uint8`, `int16`, `float64`.
        lowest: Lowest value of the samples.
        highest: Highest value of the samples.
        orientation: EXIF orientation, 1 to 8, that has been applied.
    """

    width_px: int
    height_px: int
    bit_depth: int
    n_channels: int
    sha256: str
    pixel_digest: str
    sample_type: str
    lowest: float
    highest: float
    orientation: int


def read_image(
    path: Path,
    *,
    intensity: Mapping[str, object] = IDENTITY,
    max_decoded_mb: float | None = None,
) -> np.ndarray:
    """Read a picture as 8-bit RGB.

    Grey is repeated over the three channels, a palette is looked up, inks are mixed, white at 0 is
    turned round, EXIF orientation is applied, and what is transparent is laid on black (an alpha
    channel that is 0 everywhere is left out of account, and so is a further channel that is no
    alpha). Of an animated GIF or a two-picture JPEG the first picture counts; a TIFF of several
    pages is refused.

    Values then become 0 to 255 by one of three mappings, the same for all channels:

    - `identity`: v * 255 / (2^depth - 1), so 8 bits stay as they are and 16 bits are divided by
      257. An ICC profile that differs visibly from sRGB is applied before. Refused for signed and
      32-bit integers and for floats, which have no natural white.
    - `window`: the picture's own quantiles `low` and `high` (0 to 1) become 0 and 255.
    - `fixed`: the given values `low` and `high`, in units of the file, become 0 and 255.

    Outside low to high, values are clipped. A picture without contrast becomes black.

    Args:
        path: The file.
        intensity: `{"mapping": "identity" | "window" | "fixed", "low": …, "high": …}`.
        max_decoded_mb: Largest file, and largest picture in it, that is decoded, in MB (10^6
            bytes); None for no limit, for files that were looked at before.

    Returns:
        uint8, shape (H, W, 3), RGB.

    Raises:
        ImageError: If the file is missing, damaged, cut short, of an unknown kind or too large.
        ValueError: If `intensity` makes no sense.
    """
    mapping, low, high = _checked_intensity(intensity)
    path = Path(path)
    decoded = decode(path, _read_bytes(path, max_decoded_mb), limit_mb=max_decoded_mb)
    grey = _to_8_bit(path, decoded, mapping, low, high)
    if grey.ndim == 2:
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.require(grey, requirements=("C_CONTIGUOUS", "WRITEABLE"))


def image_facts(path: Path, *, max_decoded_mb: float | None = MAX_DECODED_MB) -> ImageFacts:
    """Decode a picture completely and say what it is.

    Args:
        path: The file.
        max_decoded_mb: As for `read_image`.

    Returns:
        Size in pixels after EXIF rotation, depth and channels as stored, and digests.

    Raises:
        ImageError: As `read_image`.
    """
    path = Path(path)
    data = _read_bytes(path, max_decoded_mb)
    decoded = decode(path, data, limit_mb=max_decoded_mb)
    pixels = _as_srgb(decoded)
    digest = hashlib.sha256(repr((pixels.shape, pixels.dtype.str)).encode())
    digest.update(np.ascontiguousarray(pixels))
    colours = decoded.colours
    return ImageFacts(
        width_px=pixels.shape[1],
        height_px=pixels.shape[0],
        bit_depth=decoded.bit_depth,
        n_channels=decoded.n_channels,
        sha256=hashlib.sha256(data).hexdigest(),
        pixel_digest=digest.hexdigest(),
        sample_type=colours.dtype.name,
        lowest=float(colours.min()),
        highest=float(colours.max()),
        orientation=decoded.orientation,
    )


def read_stored(path: Path, *, max_decoded_mb: float | None = None) -> tuple[bytes, Decoded]:
    """Read a file as it is stored, for masks.

    Args:
        path: The file.
        max_decoded_mb: As for `read_image`.

    Returns:
        The file's bytes, and what they decode to.

    Raises:
        ImageError: As `read_image`.
    """
    path = Path(path)
    data = _read_bytes(path, max_decoded_mb)
    return data, decode(path, data, limit_mb=max_decoded_mb)


def intensity_problem(sample_type: str, intensity: Mapping[str, object]) -> tuple[str, str] | None:
    """Say whether pictures of a kind can be mapped to 8 bits in the given way.

    Args:
        sample_type: What the samples are, as in `ImageFacts`.
        intensity: The mapping, as for `read_image`.

    Returns:
        Problem and remedy, or None where all is well.

    Raises:
        ValueError: If `intensity` makes no sense.
    """
    mapping, _, _ = _checked_intensity(intensity)
    if mapping == "identity" and sample_type not in ("uint8", "uint16"):
        dtype = np.dtype(sample_type)
        kind = {"i": "signed integers", "u": "integers", "f": "floating-point numbers"}[dtype.kind]
        return (
            "intensity mapping 'identity' expects unsigned integers of at most 16 bits, found "
            f"{8 * dtype.itemsize}-bit {kind} ({sample_type}), which have no natural white",
            "set intensity to {mapping: window} or {mapping: fixed, low: …, high: …}",
        )
    return None


def write_png(array: np.ndarray, path: Path) -> None:
    """Write an array as PNG so that the file is there whole or not at all.

    The file is written under a temporary name in the same folder and then renamed; missing folders
    are made. Compression is light (level 1): aligned images are read far more often than stored.

    Args:
        array: uint8 or uint16 grey, shape (H, W); uint8 RGB, shape (H, W, 3); or a bool mask,
            shape (H, W), written as 0 and 255.
        path: Where to; an existing file is replaced.

    Raises:
        ValueError: If type or shape are others, or a side is 0.
    """
    path = Path(path)
    array = np.asarray(array)
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    is_grey = array.ndim == 2 and array.dtype in (np.uint8, np.uint16)
    is_rgb = array.ndim == 3 and array.shape[-1] == 3 and array.dtype == np.uint8
    if not (is_grey or is_rgb) or array.size == 0:
        raise ValueError(
            f"{path}: a PNG is written from bool, uint8 or uint16 (H, W) or uint8 (H, W, 3), "
            f"but got {array.dtype} {array.shape}; convert the array first"
        )
    picture = Image.fromarray(np.ascontiguousarray(array))
    write_atomically(path, lambda temporary: picture.save(temporary, "PNG", compress_level=1))


def _read_bytes(path: Path, limit_mb: float | None) -> bytes:
    """Read a file of at most `limit_mb` MB; nothing that could block, such as a pipe, is opened."""
    try:
        found = path.stat()
        if kind := special_kind(found.st_mode):
            raise ImageError(path, f"expected an image, found {kind}", "put the file itself there")
        if limit_mb is not None and found.st_size > limit_mb * 1e6:
            raise ImageError(
                path,
                f"expected a file of at most {limit_mb:g} MB, found {found.st_size / 1e6:.0f} MB",
                "cut the image into tiles, or raise max_decoded_mb of the data set",
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(path, *_absence(path)) from None
    except OSError as error:
        raise ImageError(
            path, f"expected an image, but it cannot be read ({error.strerror})", "check its rights"
        ) from error
    if not data:
        raise ImageError(path, "expected an image, found an empty file (0 bytes)", COPY_AGAIN)
    return data


def _absence(path: Path) -> tuple[str, str]:
    """Say why there is no file, and what to do."""
    if not path.is_symlink():
        return "expected an image, found no file", "restore the file"
    target = os.readlink(path)
    is_annexed = "annex/objects/" in target
    return (
        f"expected an image, found a link to {target}, which is not there",
        "run `git annex get` in its repository" if is_annexed else "restore what it leads to",
    )


def _as_srgb(decoded: Decoded) -> np.ndarray:
    """Give what is shown in its own depth and, where it has a natural white, as sRGB."""
    pixels = decoded.shown()
    spans_its_type = decoded.bit_depth <= 8 or decoded.bit_depth == 16
    if decoded.profile and spans_its_type and pixels.dtype in (np.uint8, np.uint16):
        return to_srgb(pixels, decoded.profile)
    return pixels


def _checked_intensity(intensity: Mapping[str, object]) -> tuple[str, float, float]:
    """Check an intensity mapping and return its three values; `identity` has no bounds."""
    given = dict(intensity)
    mapping = given.pop("mapping", "identity")
    low, high = given.pop("low", None), given.pop("high", None)
    if given:
        raise ValueError(f"intensity: expected mapping, low and high, found {sorted(given)}")
    if mapping == "identity":
        return "identity", 0.0, 0.0
    if mapping == "window":
        low, high = 0.0 if low is None else low, 1.0 if high is None else high
        if not 0 <= low < high <= 1:
            raise ValueError(
                f"intensity: 'window' expects quantiles 0 <= low < high <= 1, "
                f"found low {low} and high {high}"
            )
        return "window", float(low), float(high)
    if mapping == "fixed":
        if low is None or high is None or not low < high:
            raise ValueError(
                f"intensity: 'fixed' expects grey values low < high, found low {low} and "
                f"high {high}; set both, in units of the file"
            )
        return "fixed", float(low), float(high)
    raise ValueError(f"intensity: mapping must be identity, window or fixed, found {mapping!r}")


def _to_8_bit(path: Path, decoded: Decoded, mapping: str, low: float, high: float) -> np.ndarray:
    pixels = decoded.shown() if mapping != "identity" else _as_srgb(decoded)
    if mapping == "identity":
        problem = intensity_problem(pixels.dtype.name, IDENTITY)
        if problem:
            raise ImageError(path, *problem)
        if pixels.dtype == np.uint8:
            return pixels
        low, high = 0.0, float(2**decoded.bit_depth - 1)
    elif mapping == "window":
        exact = pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels
        low, high = (float(value) for value in np.quantile(exact, [low, high]))
    if pixels.dtype in (np.uint8, np.uint16):
        table = _stretch(np.arange(np.iinfo(pixels.dtype).max + 1), low, high)
        return table[pixels]
    return _stretch(pixels, low, high)


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low to 0 and high to 255, linearly, rounded and clipped; flat pictures become 0."""
    if not high > low:
        return np.where(values > high, 255, 0).astype(np.uint8)
    scaled = (values.astype(np.float64) - low) * 255.0 / (high - low)
    return np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)


def check_image(image: np.ndarray) -> None:
    """Refuse what is not a uint8 image with three channels.

    Raises:
        ValueError: If type or shape is another.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
        found = getattr(image, "dtype", type(image).__name__), getattr(image, "shape", None)
        raise ValueError(f"image: expected uint8 of shape (H, W, 3), found {found[0]}, {found[1]}")
    if image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image: expected uint8 of shape (H, W, 3), found shape {image.shape}")
