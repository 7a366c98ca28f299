"""Read pictures of every common kind into the one form that the package uses.

A file is told by its content, never by its name: PNG, JPEG, TIFF, BMP and GIF; 1 to 16 bits, and
32-bit grey; grey, RGB, palette, CMYK, with and without alpha. Pillow decodes; OpenCV decodes the
16-bit colour files that Pillow would silently cut down to 8 bits.

Every picture is decoded to its last byte before it is believed: what is cut short, padded with
zeros or damaged is refused.
"""

import hashlib
import io
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from realitycheck.special_files import special_kind

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
"""File name endings, in lower case, that the data set listings take for images."""

MAX_PIXELS = 178_956_970
"""Largest picture that is decoded, in pixels: the limit at which Pillow, too, suspects an attack
(a small file that unpacks to fill the memory). It is about 13,000 x 13,000."""

IDENTITY = {"mapping": "identity"}

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF")
_TIFF_BITS_PER_SAMPLE = 258
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_ORIENTATION = 274
_SIGNATURES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"BM": "BMP",
    b"GIF8": "GIF",
}


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
class ImageFacts:
    """What the manifest says about one picture.

    Attributes:
        width_px: Width after EXIF rotation, in pixels.
        height_px: Height after EXIF rotation, in pixels.
        bit_depth: Bits per sample as stored: 1 to 16, or 32 for wide integers and floats.
        n_channels: Channels as stored; a palette counts as the 3 (with transparency 4) it stands
            for.
        sha256: Digest of the file's bytes, hexadecimal.
        pixel_digest: Digest of the decoded picture, hexadecimal: equal for the same picture saved
            twice in different ways.
    """

    width_px: int
    height_px: int
    bit_depth: int
    n_channels: int
    sha256: str
    pixel_digest: str


@dataclass(frozen=True)
class _Decoded:
    """A decoded file: (H, W) grey or (H, W, 3) RGB in its own depth, alpha and rotation applied."""

    pixels: np.ndarray
    bit_depth: int
    n_channels: int


def read_image(path: Path, *, intensity: Mapping[str, object] = IDENTITY) -> np.ndarray:
    """Read a picture as 8-bit RGB.

    Grey is repeated over the three channels, a palette is looked up, EXIF orientation is applied,
    and what is transparent is laid on black. Of an animated GIF or a two-picture JPEG the first
    picture counts; a TIFF of several pages is refused.

    Values then become 0 to 255 by one of three mappings, the same for all channels:

    - `identity`: v * 255 / (2^depth - 1), so 8 bits stay as they are and 16 bits are divided by
      257. Refused for 32-bit pictures, which have no natural top.
    - `window`: the picture's own quantiles `low` and `high` (0 to 1) become 0 and 255.
    - `fixed`: the given values `low` and `high`, in units of the file, become 0 and 255.

    Outside low to high, values are clipped. A picture without contrast becomes black.

    Args:
        path: The file.
        intensity: `{"mapping": "identity" | "window" | "fixed", "low": …, "high": …}`.

    Returns:
        uint8, shape (H, W, 3), RGB.

    Raises:
        ImageError: If the file is missing, damaged, cut short, of an unknown kind or too large.
        ValueError: If `intensity` makes no sense.
    """
    mapping, low, high = _checked_intensity(intensity)
    decoded = _decode(Path(path), _read_bytes(Path(path)))
    grey = _to_8_bit(Path(path), decoded, mapping, low, high)
    if grey.ndim == 2:
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.require(grey, requirements=("C_CONTIGUOUS", "WRITEABLE"))


def image_facts(path: Path) -> ImageFacts:
    """Decode a picture completely and say what it is.

    Args:
        path: The file.

    Returns:
        Size in pixels after EXIF rotation, depth and channels as stored, and digests.

    Raises:
        ImageError: As `read_image`.
    """
    data = _read_bytes(Path(path))
    decoded = _decode(Path(path), data)
    height, width = decoded.pixels.shape[:2]
    digest = hashlib.sha256(repr((decoded.pixels.shape, decoded.pixels.dtype.str)).encode())
    digest.update(np.ascontiguousarray(decoded.pixels))
    return ImageFacts(
        width_px=width,
        height_px=height,
        bit_depth=decoded.bit_depth,
        n_channels=decoded.n_channels,
        sha256=hashlib.sha256(data).hexdigest(),
        pixel_digest=digest.hexdigest(),
    )


def read_samples(path: Path) -> tuple[bytes, np.ndarray]:
    """Read a picture in its own depth, its EXIF orientation applied.

    Args:
        path: The file.

    Returns:
        The file's bytes, and its values, shape (H, W) or (H, W, 3).

    Raises:
        ImageError: As `read_image`.
    """
    path = Path(path)
    data = _read_bytes(path)
    return data, _decode(path, data).pixels


def intensity_problem(bit_depth: int, intensity: Mapping[str, object]) -> tuple[str, str] | None:
    """Say whether pictures of a depth can be mapped to 8 bits in the given way.

    Args:
        bit_depth: Bits per sample, as in `ImageFacts`.
        intensity: The mapping, as for `read_image`.

    Returns:
        Problem and remedy, or None where all is well.

    Raises:
        ValueError: If `intensity` makes no sense.
    """
    mapping, _, _ = _checked_intensity(intensity)
    if mapping == "identity" and bit_depth > 16:
        return (
            f"intensity mapping 'identity' expects at most 16 bits per sample, "
            f"found {bit_depth}, which have no natural white",
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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".writing-{secrets.token_hex(6)}.png")
    try:
        Image.fromarray(np.ascontiguousarray(array)).save(temporary, "PNG", compress_level=1)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def mask_like(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Bring a mask of another size, bool (h, w), to an image (H, W, 3), by nearest neighbour."""
    height, width = image.shape[:2]
    if mask.shape == (height, width):
        return mask
    resized = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return resized.astype(bool)


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a mask so that a cell is set if any of its pixels is."""
    if mask.shape == (height, width):
        return mask
    if height >= mask.shape[0] and width >= mask.shape[1]:
        enlarged = cv2.resize(
            mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
        )
        return enlarged.astype(bool)
    rows, columns = np.nonzero(mask)
    reduced = np.zeros((height, width), dtype=bool)
    reduced[rows * height // mask.shape[0], columns * width // mask.shape[1]] = True
    return reduced


def _read_bytes(path: Path) -> bytes:
    try:
        if kind := special_kind(path.stat().st_mode):
            raise ImageError(path, f"expected an image, found {kind}", "put the file itself there")
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(path, "expected an image, found no file", "restore the file") from None
    except OSError as error:
        raise ImageError(
            path, f"expected an image, but it cannot be read ({error.strerror})", "check its rights"
        ) from error
    if not data:
        raise ImageError(path, "expected an image, found an empty file (0 bytes)", _COPY_AGAIN)
    return data


_COPY_AGAIN = "copy it again from its source, or remove it together with its mask"


def _decode(path: Path, data: bytes) -> _Decoded:
    """Decode a whole file."""
    with _open(path, data) as image:
        _check_extent(path, image)
        # Pillow and OpenCV turn a TIFF themselves, and nothing else.
        orientation = 1
        with _blaming(path, image.format):
            stored_depth = _stored_depth(image, data)
            image.load()
            if image.format != "TIFF":
                orientation = image.getexif().get(_ORIENTATION, 1)
        _check_ending(path, image, data)
        if stored_depth == 16 and image.mode in ("RGB", "RGBA", "RGBX", "LA"):
            pixels, n_channels = _decode_deep_colour(path, data), len(image.getbands())
            if image.format == "PNG":
                n_channels = _PNG_CHANNELS[data[25]]
        else:
            pixels, n_channels = _pixels_of(image)
            if stored_depth > 8 and pixels.dtype == np.uint8:
                raise ImageError(
                    path,
                    f"expected grey or RGB, found {stored_depth}-bit {image.mode}, which would "
                    "lose its depth",
                    "save it as a 16-bit RGB PNG",
                )
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ImageError(
            path,
            "expected finite values, found NaN or infinity",
            "replace them, for example by the lowest value",
        )
    depth = 32 if pixels.dtype.itemsize == 4 else stored_depth
    return _Decoded(turned(pixels, orientation), depth, n_channels)


def _check_extent(path: Path, image: Image.Image) -> None:
    """Refuse what is too large to decode, and what holds more than one picture."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            path,
            f"expected at most {MAX_PIXELS} pixels, found {width} x {height}",
            "cut the image into tiles",
        )
    with _blaming(path, image.format):
        n_pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    if n_pages > 1:
        raise ImageError(
            path,
            f"expected one picture, found a TIFF of {n_pages} pages",
            "save each page as a file of its own",
        )


@contextmanager
def _blaming(path: Path, kind: str) -> Iterator[None]:
    """Blame the file for whatever a decoder raises.

    Decoders meet damaged data with a TypeError or struct.error as well as with an OSError, so that
    every exception counts.
    """
    try:
        yield
    except Exception as error:
        raise ImageError(
            path, f"expected a whole {kind} image, found it damaged ({error})", _COPY_AGAIN
        ) from error


def _open(path: Path, data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        expected = "expected a whole PNG, JPEG, TIFF, BMP or GIF image"
        for start, kind in _SIGNATURES.items():
            if data.startswith(start):
                raise ImageError(
                    path,
                    f"{expected}, found a {kind} that is damaged or cut short ({len(data)} bytes)",
                    _COPY_AGAIN,
                ) from None
        raise ImageError(
            path,
            f"{expected}, found {len(data)} bytes that begin with {data[:8]!r}",
            "convert it, or move it out of the data set",
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageError(
            path,
            f"expected at most {MAX_PIXELS} pixels, found more ({error})",
            "cut the image into tiles",
        ) from error
    except Exception as error:  # as in _blaming
        raise ImageError(
            path, f"expected an image, found a damaged header ({error})", _COPY_AGAIN
        ) from error


def _stored_depth(image: Image.Image, data: bytes) -> int:
    """Find the bits per sample as stored, which the Pillow mode does not tell."""
    if image.format == "PNG":
        # IHDR is the first chunk: signature 8, length 4, name 4, width 4, height 4, then the depth.
        return 8 if image.mode == "P" else data[24]
    if image.format == "TIFF":
        return max(image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (1,)))
    return 1 if image.mode == "1" else 8


def _check_ending(path: Path, image: Image.Image, data: bytes) -> None:
    """Refuse files whose decoder was content although their end is missing or damaged."""
    if image.format == "PNG":
        with _blaming(path, "PNG"):
            Image.open(io.BytesIO(data), formats=("PNG",)).verify()
    if image.format in ("JPEG", "MPO"):
        # After the last start of scan; a thumbnail in the header has markers of its own.
        scan = data.rfind(b"\xff\xda")
        if data.find(b"\xff\xd9", scan) < 0:
            raise ImageError(
                path,
                "expected a whole JPEG image, found no end marker: it is cut short",
                _COPY_AGAIN,
            )


def _decode_deep_colour(path: Path, data: bytes) -> np.ndarray:
    """Decode a 16-bit colour file, which Pillow would reduce to 8 bits.

    Returns:
        uint16, shape (H, W) or (H, W, 3), alpha applied, not yet turned.
    """
    with _blaming(path, "16-bit"):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        found = "nothing" if pixels is None else str(pixels.dtype)
        raise ImageError(
            path,
            f"expected 16-bit colour that OpenCV can decode, found {found}",
            "save it as a 16-bit RGB PNG",
        )
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 4:
        return _over_black(pixels[:, :, 2::-1], pixels[:, :, 3])
    return pixels[:, :, ::-1]


def _pixels_of(image: Image.Image) -> tuple[np.ndarray, int]:
    """Turn a loaded Pillow image into (H, W) or (H, W, 3) in its own depth, alpha applied."""
    key = image.info.get("transparency")
    if image.mode == "P":
        image = image.convert("RGB" if key is None else "RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.uint16)
        if isinstance(key, int):
            pixels = np.where(pixels == key, np.uint16(0), pixels)
        return pixels, 1
    elif image.mode in ("L", "RGB") and key is not None and image.format == "PNG":
        image = image.convert("RGBA")
    if image.mode in ("L", "RGB", "I", "F"):
        pixels = np.asarray(image)
        return pixels, 1 if pixels.ndim == 2 else 3
    if image.mode in ("LA", "RGBA"):
        pixels = np.asarray(image)
        colour = pixels[:, :, 0] if image.mode == "LA" else pixels[:, :, :3]
        return _over_black(colour, pixels[:, :, -1]), pixels.shape[2]
    n_channels = len(image.getbands())
    return np.asarray(image.convert("RGB")), n_channels


def _over_black(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Lay a picture on black: colour * alpha / top, rounded, in the picture's own depth."""
    top = int(np.iinfo(colour.dtype).max)
    if (alpha == top).all():
        return np.ascontiguousarray(colour)
    if colour.ndim == 3:
        alpha = alpha[:, :, None]
    # 65535 * 65535 + 32767 still fits into 32 bits.
    product = colour.astype(np.uint32) * alpha.astype(np.uint32)
    return ((product + np.uint32(top // 2)) // np.uint32(top)).astype(colour.dtype)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation, 1 to 8; any other value means 1, as viewers take it."""
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


def _to_8_bit(path: Path, decoded: _Decoded, mapping: str, low: float, high: float) -> np.ndarray:
    pixels = decoded.pixels
    if mapping == "identity":
        problem = intensity_problem(decoded.bit_depth, IDENTITY)
        if problem:
            raise ImageError(path, *problem)
        if pixels.dtype == np.uint8:
            return pixels
        low, high = 0.0, float(2**decoded.bit_depth - 1)
    elif mapping == "window":
        low, high = (float(value) for value in np.quantile(pixels, [low, high]))
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
