"""Decode pictures of every common kind, each to its last byte, or say what they are instead.

Each kind has one decoder: Pillow for PNG, JPEG, BMP and GIF (imagecodecs for what Pillow would cut
down to 8 bits: 16-bit colour PNG, JPEG of more than 8 bits), tifffile for TIFF. Data behind the end
of a picture, such as a phone's video, is left out of account, as viewers do.
"""

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin

from realitycheck.core.decoding import jpeg
from realitycheck.core.decoding.colour import gamma_profile, ink_to_rgb, to_srgb
from realitycheck.core.decoding.decoded import (
    Decoded,
    ImageError,
    blaming,
    check_size,
    known_orientation,
)
from realitycheck.core.decoding.signatures import kind_of, other_kind
from realitycheck.core.decoding.tiff import decode_tiff

_ORIENTATION = 274
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_PNG_START = b"\x89PNG\r\n\x1a\n"
#: Chunks that say how the picture looks; the others are not even unpacked.
_PNG_READ = (b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"gAMA", b"sRGB", b"eXIf", b"IDAT", b"IEND")
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
#: Texts that may say how the picture is turned.
_PNG_TEXTS_READ = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
_PNG_MAX_CHUNKS = 200_000


def decode(path: Path, data: bytes, *, limit_mb: float | None = None) -> Decoded:
    """Decode a whole file.

    Args:
        path: The file, for faults.
        data: Its bytes.
        limit_mb: Largest picture that is decoded, in MB (10^6 bytes) of its samples; None for no
            limit. Memory stays below some 6 times that, and the file.

    Raises:
        ImageError: If the file is damaged, cut short, too large, or no picture that can be read;
            then it says what it is.
    """
    kind = kind_of(data)
    if kind is None:
        found, remedy = other_kind(data)
        raise ImageError(
            path, f"expected a whole PNG, JPEG, TIFF, BMP or GIF image, found {found}", remedy
        )
    if kind == "TIFF":
        return decode_tiff(path, data, limit_mb=limit_mb)
    with blaming(path, kind):
        if kind == "JPEG":
            return _decode_jpeg(path, data, limit_mb)
        if kind == "PNG":
            return _decode_png(path, data, limit_mb)
        plugin = BmpImagePlugin.BmpImageFile if kind == "BMP" else GifImagePlugin.GifImageFile
        with plugin(io.BytesIO(data)) as image:
            check_size(path, *image.size, len(image.getbands()), limit_mb)
            image.load()
            decoded = _from_pillow(image, depth=1 if image.mode == "1" else 8)
            if kind == "BMP" and decoded.alpha is not None and not decoded.alpha.any():
                # Programs that know no transparency leave the fourth byte at 0.
                return replace(decoded, alpha=None)
            return decoded


def _decode_jpeg(path: Path, data: bytes, limit_mb: float | None) -> Decoded:
    """Decode a JPEG; of a file with several pictures, the first."""
    facts = jpeg.look(data)
    sample_bytes = facts.n_channels * (1 if facts.bits <= 8 else 2)
    check_size(path, facts.width_px, facts.height_px, sample_bytes, limit_mb)
    data = data[: facts.end]
    if facts.bits > 8:
        if facts.bits > 16 or facts.n_channels not in (1, 3):
            raise ValueError(f"{facts.bits} bits and {facts.n_channels} channels")
        exif = Image.Exif()
        exif.load(facts.exif)
        pixels = imagecodecs.jpeg_decode(data)
        if pixels.shape[:2] != (facts.height_px, facts.width_px):
            raise ValueError(f"it unpacks to {pixels.shape[1::-1]} pixels")
        orientation = known_orientation(exif.get(_ORIENTATION))
        return Decoded(pixels, facts.bits, facts.n_channels, orientation=orientation)
    with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as image:
        image.load()
        pixels = np.asarray(image)
        profile = image.info.get("icc_profile")
        orientation = known_orientation(image.getexif().get(_ORIENTATION))
    if facts.n_channels == 4:
        # Pillow takes all inks for inverted; they are where Adobe's marker stands before them.
        ink = pixels if facts.has_adobe_marker else 255 - pixels
        pixels = ink_to_rgb(ink) if profile is None else to_srgb(ink, profile)
        profile = None
    return Decoded(pixels, facts.bits, facts.n_channels, orientation=orientation, profile=profile)


def _decode_png(path: Path, data: bytes, limit_mb: float | None) -> Decoded:
    """Decode a PNG whose checksums are right, up to its end chunk."""
    chunks = _png_chunks(data)
    width, height, depth, colour_type = struct.unpack_from(">IIBB", data, 16)
    n_channels = _PNG_CHANNELS[colour_type]
    check_size(path, width, height, n_channels * (2 if depth == 16 else 1), limit_mb)
    # Each row of each pass of an interlaced picture has one byte more; there are 7 passes.
    raw_bytes = width * height * n_channels * (2 if depth == 16 else 1) + 2 * height + 8
    packed_bytes = sum(len(chunk) - 12 for name, chunk in chunks if name == b"IDAT")
    if packed_bytes > 2 * raw_bytes + 100_000:
        raise ValueError(f"{packed_bytes} bytes of packed data for {width} x {height} pixels")
    kept = [_PNG_START]
    kept += [
        chunk
        for name, chunk in chunks
        if name in _PNG_READ
        or (name in _PNG_TEXTS and bytes(chunk[8:40]).startswith(_PNG_TEXTS_READ))
    ]
    with PngImagePlugin.PngImageFile(io.BytesIO(b"".join(kept))) as image:
        del kept
        image.load()
        about = image.info
        if depth in (2, 4) and isinstance(about.get("transparency"), int):
            about["transparency"] *= 255 // (2**depth - 1)  # as Pillow has stretched the pixels
        orientation = known_orientation(image.getexif().get(_ORIENTATION))
        decoded = _from_pillow(image, depth=depth)
    if depth == 16 and n_channels > 1:  # Pillow has cut it to 8 bits
        colours, alpha = _parted(_deep_png(chunks, raw_bytes), about.get("transparency"))
        decoded = Decoded(colours, depth, n_channels, alpha=alpha)
    profile = about.get("icc_profile")
    if profile is None and about.get("gamma") and "srgb" not in about:
        profile = gamma_profile(1 / about["gamma"], is_grey=colour_type in (0, 4))
    return replace(decoded, orientation=orientation, profile=profile)


def _png_chunks(data: bytes) -> list[tuple[bytes, memoryview]]:
    """Cut a PNG into its chunks, by name, up to the end chunk, and look at their checksums.

    Raises:
        ValueError: If a checksum is wrong, or the end chunk is missing.
    """
    view, place = memoryview(data), len(_PNG_START)
    chunks: list[tuple[bytes, memoryview]] = []
    while not chunks or chunks[-1][0] != b"IEND":
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if end > len(data):
            raise ValueError("no end chunk: it is cut short")
        if zlib.crc32(view[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError(f"wrong checksum of the chunk at byte {place}")
        chunks.append((data[place + 4 : place + 8], view[place:end]))
        place = end
        if len(chunks) > _PNG_MAX_CHUNKS:
            raise ValueError(f"more than {_PNG_MAX_CHUNKS} chunks")
    if chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 25 or data[25] not in _PNG_CHANNELS:
        raise ValueError("no header that makes sense")
    return chunks


def _deep_png(chunks: list[tuple[bytes, memoryview]], raw_bytes: int) -> np.ndarray:
    """Decode a PNG of 16-bit colour at its full depth.

    libpng unpacks whatever follows the picture, too; it is given `raw_bytes` at most.
    """
    packed = b"".join(chunk[8:-4] for name, chunk in chunks if name == b"IDAT")
    raw = zlib.compress(zlib.decompressobj().decompress(packed, raw_bytes), 0)
    head = struct.pack(">I", len(raw)) + b"IDAT"
    tail = struct.pack(">I", zlib.crc32(raw, zlib.crc32(b"IDAT")))
    return imagecodecs.png_decode(
        b"".join((_PNG_START, chunks[0][1], head, raw, tail, chunks[-1][1]))
    )


def _from_pillow(image: ImageFile.ImageFile, *, depth: int) -> Decoded:
    """Give what a loaded Pillow image holds."""
    key = image.info.get("transparency")
    if image.mode == "P":
        given = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(given)] = given
        indices, alpha = np.asarray(image), None
        if key is not None:
            opacity = np.full(256, 255, np.uint8)
            if isinstance(key, int):
                opacity[key] = 0
            else:
                opacity[: len(key)] = np.frombuffer(key, np.uint8)
            alpha = opacity[indices]
        n_channels = 3 if key is None else 4
        return Decoded(indices, 8, n_channels, alpha=alpha, palette=palette)
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "LA", "RGB", "RGBA") and not image.mode.startswith("I;16"):
        raise ValueError(f"pixels of the form {image.mode}")
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        pixels = pixels.astype(np.uint16)
    colours, alpha = _parted(pixels, key)
    return Decoded(colours, depth, 1 if pixels.ndim == 2 else pixels.shape[2], alpha=alpha)


def _parted(
    samples: np.ndarray, key: int | tuple[int, ...] | bytes | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Part colours from alpha; where there is none, what has the colour `key` is transparent."""
    if samples.ndim == 3 and samples.shape[2] in (2, 4):
        return (samples[:, :, 0] if samples.shape[2] == 2 else samples[:, :, :3]), samples[:, :, -1]
    if isinstance(key, int) and samples.ndim == 2:
        is_key = samples == key
    elif isinstance(key, tuple) and samples.ndim == 3:
        is_key = (samples == np.array(key)).all(axis=2)
    else:
        return samples, None
    return samples, np.where(is_key, 0, np.iinfo(samples.dtype).max).astype(samples.dtype)
