"""Decode a TIFF as viewers show it, or name the layout that has no agreed picture.

tifffile and imagecodecs read the samples; what they mean (white at 0, a palette, inks, alpha,
further channels) is applied here. What a hostile file could do is looked for before: sizes, circles
of pages, segments that are not in the file or that unpack to more than their share.
"""

import io
import logging
import math
import re
import struct
from pathlib import Path

import numpy as np
from PIL import Image
from tifffile import TiffFile, TiffPage

from realitycheck.core.decoding import jpeg
from realitycheck.core.decoding.colour import ink_to_rgb, to_srgb
from realitycheck.core.decoding.decoded import (
    Decoded,
    ImageError,
    blaming,
    check_size,
    known_orientation,
)

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _INK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_N_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _PALETTE: 1, _RGB: 3, _YCBCR: 3, _LAB: 3}
_N_COLOURS |= {_INK: 4}
#: Colours that Pillow turns into RGB, from 8 bits.
_BY_PILLOW = {_YCBCR: "YCbCr", _LAB: "LAB"}
_OTHER_COLOURS = {
    4: "a transparency mask",
    9: "ICCLab colours",
    10: "ITULab colours",
    32803: "a camera's raw data",
    32844: "LogL luminance",
    32845: "LogLuv colours",
    34892: "a camera's raw data",
}
_SAMPLE_FORMATS = {1: "unsigned integers", 2: "signed integers", 3: "floating-point numbers"}
_SAMPLE_FORMATS |= {5: "complex numbers", 6: "complex numbers"}
_JPEG = 7
#: None, CCITT, LZW, JPEG, deflate, PackBits, LZMA, Zstandard: each unpacks to a size known before.
_COMPRESSIONS = {1, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, 34925, 50000}
_PREMULTIPLIED, _ALPHA = 1, 2
_REDUCED, _MASK = 1, 4
_SUBFILE, _OLD_SUBFILE, _PHOTOMETRIC, _ORIENTATION = 254, 255, 262, 274
_STRIPS, _TILES, _SUB_PAGES, _INK_SET, _EXTRA_SAMPLES = 273, 324, 330, 332, 338
_STACK, _ICC, _DNG, _SLIDE = 33629, 34675, 50706, 65420
_MAX_PAGES = 1000
#: Numbers in all tags together: each costs some 40 bytes once it is read.
_MAX_NUMBERS = 3_000_000
_PLAIN = "save it as grey or RGB with 8 or 16 bits per sample"

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it warns of becomes our fault


def decode_tiff(path: Path, data: bytes, *, limit_mb: float | None) -> Decoded:
    """Decode the one picture of a TIFF.

    Pages that are marked as reduced copies or as transparency masks are no pictures of their own.

    Args:
        path: The file, for faults.
        data: Its bytes.
        limit_mb: As for `check_size`.

    Raises:
        ImageError: If it is damaged, holds several pictures, or its layout has no agreed picture.
    """
    with blaming(path, "TIFF"):
        index = _the_page(path, data)
        with TiffFile(io.BytesIO(data)) as tif:
            page = tif.pages[index]
            photometric = _check_layout(path, page)
            sample_bytes = page.samplesperpixel * page.dtype.itemsize
            check_size(path, page.imagewidth, page.imagelength, sample_bytes, limit_mb)
            _check_segments(path, page, data, limit_mb)
            decoded = _picture(page, photometric)
    if decoded.samples.dtype.kind == "f" and not np.isfinite(decoded.samples).all():
        raise ImageError(
            path,
            "expected finite values, found NaN or infinity",
            "replace them, for example by the lowest value",
        )
    return decoded


def _directories(data: bytes) -> list[dict[int, int]]:
    """Walk through the chain of pages: of each, its tags and their values, where those are short.

    Raises:
        ValueError: If pages form a circle, or there are too many of them or of numbers in them.
    """
    order = "<" if data[:2] == b"II" else ">"
    is_big = 43 in data[2:4]
    (place,) = struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)
    entry = struct.Struct(order + ("HHQ" if is_big else "HHI"))
    size, head = (20, 8) if is_big else (12, 2)
    found: list[dict[int, int]] = []
    seen, n_numbers = set(), 0
    while place:
        if place in seen or len(found) == _MAX_PAGES:
            raise ValueError("its pages form a circle, or are more than can be meant")
        seen.add(place)
        (n_tags,) = struct.unpack_from(order + ("Q" if is_big else "H"), data, place)
        if n_tags > 4096:
            raise ValueError(f"{n_tags} tags on a page")
        tags: dict[int, int] = {}
        for at in range(place + head, place + head + size * n_tags, size):
            tag, kind, count = entry.unpack_from(data, at)
            n_numbers += 0 if kind in (1, 2, 6, 7) else count
            short = order + ("H" if kind == 3 else "I")
            tags[tag] = struct.unpack_from(short, data, at + entry.size)[0] if count == 1 else count
        if n_numbers > _MAX_NUMBERS:
            raise ValueError(f"more than {_MAX_NUMBERS} numbers in its tags")
        found.append(tags)
        (place,) = struct.unpack_from(
            order + ("Q" if is_big else "I"), data, place + head + size * n_tags
        )
    return found


def _the_page(path: Path, data: bytes) -> int:
    """Find the page that is the picture; the first where all are reduced copies."""
    pages = _directories(data)
    if not pages:
        raise ValueError("it has no page")
    kinds = [tags.get(_SUBFILE, _REDUCED if tags.get(_OLD_SUBFILE) == 2 else 0) for tags in pages]
    whole = [index for index, kind in enumerate(kinds) if not kind & (_REDUCED | _MASK)]
    first = pages[0]
    if _DNG in first or data[8:10] == b"CR" or (not whole and _SUB_PAGES in first):
        raise ImageError(
            path,
            "expected a picture, found a camera's raw file (DNG or alike)",
            "develop it with the camera maker's program, and export 16-bit TIFF or PNG",
        )
    if _SLIDE in first:
        raise _refusal(path, "a Hamamatsu slide", "export the region that is meant as PNG")
    n_pages = len(whole)
    # Stacks of ImageJ and MetaMorph can have one page for all planes.
    described = re.search(rb"ImageJ=[^\0]{0,200}?\nimages=(\d{1,9})\n", data)
    if n_pages == 1 and described:
        n_pages = int(described[1])
    n_pages = max(n_pages, pages[whole[0]].get(_STACK, 1) if whole else 1)
    if n_pages > 1:
        raise ImageError(
            path,
            f"expected one picture, found a TIFF of {n_pages} pages",
            "save each page as a file of its own",
        )
    return whole[0] if whole else 0


def _refusal(path: Path, found: str, remedy: str = _PLAIN) -> ImageError:
    return ImageError(path, f"expected grey or RGB, found {found}", remedy)


def _check_layout(path: Path, page: TiffPage) -> int:
    """Refuse what has no agreed picture, by its name; give the photometric interpretation."""
    bits, n_samples = page.bitspersample, page.samplesperpixel
    form = _SAMPLE_FORMATS.get(page.sampleformat, f"samples of format {page.sampleformat}")
    if isinstance(bits, tuple):
        raise _refusal(path, f"channels of different depths ({', '.join(map(str, bits))} bits)")
    if page.dtype is None or page.dtype.kind not in "buif":
        raise _refusal(path, f"{bits}-bit {form}")
    if page.compression not in _COMPRESSIONS:
        name = getattr(page.compression, "name", "unknown")
        raise _refusal(
            path,
            f"compression {name} ({int(page.compression)})",
            "save it uncompressed, or with LZW, deflate or JPEG",
        )
    photometric = int(page.photometric)
    if _PHOTOMETRIC not in page.tags:
        photometric = _RGB if n_samples in (3, 4) else _BLACK_IS_ZERO
    if photometric not in _N_COLOURS:
        found = _OTHER_COLOURS.get(photometric, f"photometric interpretation {photometric}")
        raise _refusal(path, found)
    by_pillow = _colours_by_pillow(page, photometric)
    if by_pillow and (bits != 8 or n_samples != 3):
        raise _refusal(path, f"{by_pillow} colours with {n_samples} channels of {bits}-bit {form}")
    if photometric == _LAB and page.compression == _JPEG:
        raise _refusal(path, "LAB colours with JPEG compression")
    if by_pillow and page.is_subsampled:
        raise _refusal(path, f"{by_pillow} colours that are coarser than brightness, without JPEG")
    if page.imagedepth != 1:
        raise _refusal(
            path, f"a volume of {page.imagedepth} layers", "save the layer that is meant"
        )
    n_extra = n_samples - _N_COLOURS[photometric]
    if n_extra < 0:
        raise ValueError(f"{n_samples} channels where {_N_COLOURS[photometric]} are declared")
    is_plain = page.dtype.kind in "bu" and bits <= 16
    if photometric == _WHITE_IS_ZERO and page.dtype.kind not in "bu":
        raise _refusal(path, f"{bits}-bit {form} whose 0 is white", "save it with black as 0")
    if photometric == _PALETTE and (not is_plain or n_extra):
        raise _refusal(path, f"a palette with {n_samples} channels of {bits}-bit {form}")
    if photometric == _INK and (bits not in (8, 16) or page.tags.valueof(_INK_SET, 1) != 1):
        raise _refusal(path, f"{n_samples} inks of {bits}-bit {form}, other than 8- or 16-bit CMYK")
    alpha = _alpha_kind(page)
    if alpha and not is_plain:
        raise _refusal(path, f"transparency in {bits}-bit {form}", "save it without transparency")
    if _N_COLOURS[photometric] == 1 and n_extra - bool(alpha) > 1:
        raise _refusal(
            path,
            f"grey with {n_extra - bool(alpha)} further channels",
            "save the channel that is meant, or three of them as RGB",
        )
    return photometric


def _colours_by_pillow(page: TiffPage, photometric: int) -> str | None:
    """Pillow's name of the colours; None for others, and for those that JPEG turns into RGB."""
    is_done = photometric == _YCBCR and page.compression == _JPEG
    return None if is_done else _BY_PILLOW.get(photometric)


def _alpha_kind(page: TiffPage) -> int:
    """1 where the first channel behind the colours is premultiplied alpha, 2 plain, 0 no alpha."""
    kinds = page.tags.valueof(_EXTRA_SAMPLES, 0)
    first = kinds[0] if isinstance(kinds, tuple) else kinds
    return first if first in (_PREMULTIPLIED, _ALPHA) else 0


def _check_segments(path: Path, page: TiffPage, data: bytes, limit_mb: float | None) -> None:
    """Look whether all strips or tiles are in the file, and none unpacks to more than its share."""
    rows, columns = page.rowsperstrip, page.imagewidth
    if page.is_tiled:
        rows, columns = page.tilelength, page.tilewidth
        if page.tiledepth != 1:
            raise ValueError(f"tiles of {page.tiledepth} layers")
        sample_bytes = page.samplesperpixel * page.dtype.itemsize
        check_size(path, columns, rows, sample_bytes, limit_mb)
    if min(rows, columns) < 1:
        raise ValueError(f"segments of {columns} x {rows} pixels")
    n_planes = page.samplesperpixel if page.planarconfig == 2 else 1
    n = math.ceil(page.imagelength / rows) * math.ceil(page.imagewidth / columns) * n_planes
    offsets, sizes = page.dataoffsets, page.databytecounts
    if min(len(offsets), len(sizes)) < n:
        raise ValueError(f"{min(len(offsets), len(sizes))} of {n} segments are listed")
    n_rows = n * rows if page.is_tiled else page.imagelength * n_planes
    row_bytes = -(-columns * page.samplesperpixel // n_planes * page.bitspersample // 8)
    if page.compression == 1 and sum(sizes[:n]) < n_rows * row_bytes:
        raise ValueError(f"{sum(sizes[:n])} of {n_rows * row_bytes} bytes: it is cut short")
    for offset, size in zip(offsets[:n], sizes[:n], strict=True):
        if size < 1 or offset < 8 or offset + size > len(data):
            raise ValueError(f"a segment of {size} bytes at {offset} is not in it: it is cut short")
        if page.compression == _JPEG:
            found = jpeg.look(data[offset : offset + size])
            if found.width_px > columns + 16 or found.height_px > rows + 16:
                raise ValueError(f"a segment of {found.width_px} x {found.height_px} pixels")


def _picture(page: TiffPage, photometric: int) -> Decoded:
    """Decode the samples and make a picture of them."""
    planes = page.asarray(squeeze=False, maxworkers=1)[:, 0]
    samples = np.moveaxis(planes, 0, 2).reshape(*planes.shape[1:3], -1)
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    n_colours, n_channels = _N_COLOURS[photometric], page.samplesperpixel
    bits, profile, palette, alpha = page.bitspersample, page.tags.valueof(_ICC), None, None
    colours = samples[:, :, 0] if n_colours == 1 else samples[:, :, :n_colours]
    if photometric == _PALETTE:
        palette, n_channels = _palette(page), 3
        colours = colours.astype(np.uint16 if bits > 8 else np.uint8)
        bits = 8
    else:
        colours = _stretched(colours, bits)
    if by_pillow := _colours_by_pillow(page, photometric):
        size = colours.shape[1::-1]
        colours = np.asarray(Image.frombytes(by_pillow, size, colours.tobytes()).convert("RGB"))
    if photometric == _WHITE_IS_ZERO:
        colours = colours.dtype.type(max(2**bits, 256) - 1) - colours
    if photometric == _INK:
        colours = ink_to_rgb(colours) if profile is None else to_srgb(colours, profile)
        profile = None
    alpha_kind = _alpha_kind(page)
    if alpha_kind and n_channels > n_colours:
        alpha = _stretched(samples[:, :, n_colours], bits)
    return Decoded(
        samples=colours,
        bit_depth=bits if colours.dtype in (np.uint8, np.uint16) else max(bits, 32),
        n_channels=n_channels,
        alpha=alpha,
        is_premultiplied=alpha_kind == _PREMULTIPLIED,
        palette=palette,
        orientation=known_orientation(page.tags.valueof(_ORIENTATION)),
        profile=profile,
    )


def _stretched(samples: np.ndarray, bits: int) -> np.ndarray:
    """Stretch fewer than 8 bits to 8; leave the rest as it is."""
    if samples.dtype.kind not in "bu" or bits >= 8:
        return samples
    top = 2**bits - 1
    return ((samples.astype(np.uint16) * 255 + top // 2) // top).astype(np.uint8)


def _palette(page: TiffPage) -> np.ndarray:
    """Colours of the indices; their 16-bit values are cut to 8, but for writers of 8-bit values."""
    palette = np.asarray(page.colormap)
    if palette.shape != (3, 2**page.bitspersample):
        raise ValueError(f"a palette of {palette.size} values for {page.bitspersample} bits")
    if palette.max() > 255:
        palette = palette >> 8
    return np.ascontiguousarray(palette.T, np.uint8)
