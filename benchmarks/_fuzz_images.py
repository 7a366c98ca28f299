"""Mutated pictures at ingest, as image and as mask: they are read, or end in a named fault.

Sound files of every kind are damaged by bytes, by fields of their headers and by pieces, with the
checksums of PNG put right in half of them; with them come files that are made to fill the memory or
to take long. All goes through `check_records` in a process of its own. A failure is an exception, a
file that takes more of the processor than `TIME_BOUND_S`, a crash, or memory beyond
`MEMORY_BOUND_MB`.
"""

from __future__ import annotations

import io
import multiprocessing
import random
import struct
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _full_size import peak_memory_mb

from realitycheck.datasets.ingest import check_records
from realitycheck.datasets.records import Record

TIME_BOUND_S = 10
HANGS_S = 120  # by the clock, however much else the machine does
MAX_DECODED_MB = 40
MEMORY_BOUND_MB = 6 * MAX_DECODED_MB + 60  # beyond what the process has at the start

#: Numbers that a damaged field may hold.
_EXTREMES = (0, 1, 2, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_TIFF_TAGS = (254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325)
_TIFF_TAGS += (330, 332, 338, 339, 347, 530, 34675, 50706, 65420)


def run(n: int, seed: int, folder: Path) -> int:
    """Check `n` mutated pictures; print what failed; return the number of failures."""
    start, n_failures, outcomes, longest_s, most_mb = 0, 0, Counter[str](), 0.0, 0.0
    while start < n:
        here, there = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_check, args=(there, start, n, seed, folder), daemon=True
        )
        process.start()
        there.close()
        trouble = ""
        while start < n and not trouble:
            if not here.poll(HANGS_S):
                trouble = f"no answer within {HANGS_S} s"
                continue
            try:
                outcome, trouble, seconds, growth_mb = here.recv()
            except EOFError:
                process.join()
                trouble = f"the process ended with {process.exitcode}"
                continue
            outcomes[outcome] += 1
            longest_s, most_mb = max(longest_s, seconds), max(most_mb, growth_mb)
            start += not trouble
        process.kill()
        process.join()
        if trouble:
            print(f"picture {start} of seed {seed}: {trouble}")
            n_failures += 1
            start += 1
    print(
        f"outcomes: {dict(outcomes)}; longest {longest_s:.1f} s of the processor, peak memory "
        f"{most_mb:.0f} MB beyond the start's"
    )
    return n_failures


def _check(connection: Connection, start: int, n: int, seed: int, folder: Path) -> None:
    """Check one picture after the other, and tell what came of each."""
    warnings.simplefilter("ignore")
    sound, bombs = _sound(), _bombs()
    good = folder / "good.png"
    Image.fromarray(_picture(3, np.uint8)).save(good)
    mutated = folder / "mutated"
    records = {
        "image": [_record("OK", good, None), _record("NOK", mutated, None)],
        "mask": [_record("OK", mutated, None), _record("NOK", good, mutated)],
    }
    base_mb = peak_memory_mb()
    for number in range(start, n):
        rng = random.Random(f"{seed}/{number}")
        if number < len(bombs):
            content, how = bombs[number](), f"bomb {number}"
        else:
            content, how = _mutated(rng.choice(sound), rng)
        mutated.write_bytes(content)
        part = ("image", "mask")[number % 2]
        trouble, outcome = "", "exception"
        began = time.process_time()
        try:
            _, faults = check_records(
                records[part], max_decoded_mb=MAX_DECODED_MB, allow_duplicates=True
            )
            own = [fault for fault in faults if fault.path == mutated]
            outcome = f"{part}: {'fault' if own else 'read'}"
        except Exception as error:
            trouble = f"{type(error).__name__}: {error}"
        seconds = time.process_time() - began
        growth_mb = peak_memory_mb() - base_mb
        if seconds > TIME_BOUND_S:
            trouble = trouble or f"{seconds:.1f} s of the processor"
        if growth_mb > MEMORY_BOUND_MB:
            trouble = trouble or f"peak memory grew by {growth_mb:.0f} MB"
        if trouble:
            mutated.rename(folder / f"failed-{number}")
            trouble = f"{how}, as {part}: {trouble}"
        connection.send((outcome, trouble, seconds, growth_mb))


def _record(label: str, image: Path, mask: Path | None) -> Record:
    return Record(f"part/{label}", "part", label, None, "test", None, image, mask)


def _picture(n_channels: int, dtype: type, height: int = 24, width: int = 31) -> np.ndarray:
    """Draw waves over the whole range of a type, (H, W) or (H, W, C)."""
    rows, columns = np.mgrid[:height, :width]
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    waves = [np.sin(columns / 5 + k) * np.cos(rows / 7 - k) / 2 + 0.5 for k in range(n_channels)]
    drawn = (np.stack(waves, axis=-1) * top).astype(dtype)
    return drawn[:, :, 0] if n_channels == 1 else drawn


def _sound() -> list[bytes]:
    """Write a small picture in every kind and layout."""
    files = []

    def by_pillow(image: Image.Image, kind: str, **options: object) -> None:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        files.append(buffer.getvalue())

    rgba = Image.fromarray(_picture(4, np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        by_pillow(rgba.convert("RGB").convert(mode), "PNG", exif=exif)
    by_pillow(Image.fromarray(_picture(1, np.uint16)), "PNG")
    for mode in ("L", "RGB", "CMYK"):
        for progressive in (False, True):
            by_pillow(rgba.convert("RGB").convert(mode), "JPEG", progressive=progressive, exif=exif)
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        by_pillow(rgba.convert("RGB").convert(mode), "BMP")
    by_pillow(rgba.convert("P"), "GIF")
    for mode, compression in (("1", "group4"), ("P", "packbits"), ("LAB", None), ("CMYK", "jpeg")):
        image = Image.new("LAB", (31, 24)) if mode == "LAB" else rgba.convert("RGB").convert(mode)
        by_pillow(image, "TIFF", compression=compression)

    def by_tifffile(array: np.ndarray, **options: object) -> None:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, **options)
        files.append(buffer.getvalue())

    grey, colour = _picture(1, np.uint16), _picture(3, np.uint16)
    by_tifffile(grey, photometric="miniswhite", compression="lzw", predictor=True)
    by_tifffile(grey, compression="zlib", tile=(16, 16), bigtiff=True)
    by_tifffile(grey >> 4, bitspersample=12)
    by_tifffile(_picture(1, np.float64), compression="zstd")
    by_tifffile(_picture(1, np.int16), byteorder=">")
    by_tifffile(colour, photometric="rgb", compression="lzma", rowsperstrip=5)
    by_tifffile(np.moveaxis(colour, 2, 0), photometric="rgb", planarconfig="separate")
    by_tifffile(_picture(4, np.uint8), photometric="rgb", extrasamples=["unassalpha"])
    by_tifffile(_picture(3, np.uint8), photometric="ycbcr", compression="jpeg", tile=(16, 16))
    return files + [_deep_png()]


def _png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png(width: int, height: int, depth: int, colour: int, packed: bytes, *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [_png_chunk(b"IHDR", header), *more, _png_chunk(b"IDAT", packed)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _png_chunk(b"IEND", b"")


def _deep_png() -> bytes:
    rows = _picture(4, np.uint16).astype(">u2")
    return _png(31, 24, 16, 6, zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))


def _mutated(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Damage a sound file in one to three ways."""
    ways = rng.choices((_bytes, _field, _cut, _insert, _repeat, _tiff_tag), k=rng.randint(1, 3))
    for way in ways:
        content = way(content, rng)
    how = "+".join(way.__name__.strip("_") for way in ways)
    if content.startswith(b"\x89PNG") and rng.random() < 0.5:
        return _checksums_put_right(content), how + "+checksums"
    return content, how


def _place(content: bytes, rng: random.Random) -> int:
    """Choose a place, most often in the header."""
    return rng.randrange(min(len(content), rng.choice((64, 64, 400, 10**9))) or 1)


def _bytes(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        if damaged:
            damaged[_place(damaged, rng)] = rng.randrange(256)
    return bytes(damaged)


def _field(content: bytes, rng: random.Random) -> bytes:
    """Put an extreme number where a field may be."""
    width = rng.choice((2, 4))
    number = rng.choice(_EXTREMES) % 2 ** (8 * width)
    at = _place(content, rng)
    return (
        content[:at] + number.to_bytes(width, rng.choice(("little", "big"))) + content[at + width :]
    )


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _insert(content: bytes, rng: random.Random) -> bytes:
    at = _place(content, rng)
    return content[:at] + rng.randbytes(rng.randint(1, 300)) + content[at:]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    start = _place(content, rng)
    piece = content[start : start + rng.randint(1, 2000)]
    return content[:start] + piece * rng.randint(2, 50) + content[start:]


def _tiff_tag(content: bytes, rng: random.Random) -> bytes:
    """Give a tag of a small TIFF another number, kind, count or value."""
    if content[:4] not in (b"II*\0", b"MM\0*") or len(content) < 8:
        return _bytes(content, rng)
    order = "<" if content[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", content, 4)
    if start + 2 > len(content):
        return content
    (n_tags,) = struct.unpack_from(order + "H", content, start)
    at = start + 2 + 12 * rng.randrange(max(1, min(n_tags, 40)))
    if at + 12 > len(content):
        return content
    tag, kind, count, value = struct.unpack_from(order + "HHII", content, at)
    change = rng.randrange(4)
    tag = rng.choice(_TIFF_TAGS) if change == 0 else tag
    kind = rng.randrange(20) if change == 1 else kind
    count = rng.choice(_EXTREMES) if change == 2 else count
    value = rng.choice((*_EXTREMES, 3, 5, 8, 32773, 50000)) if change != 2 else value
    damaged = bytearray(content)
    struct.pack_into(order + "HHII", damaged, at, tag, kind, count, value)
    return bytes(damaged)


def _checksums_put_right(content: bytes) -> bytes:
    damaged, at = bytearray(content), 8
    while at + 12 <= len(damaged):
        end = at + 12 + int.from_bytes(damaged[at : at + 4], "big")
        if end > len(damaged):
            break
        damaged[end - 4 : end] = struct.pack(">I", zlib.crc32(damaged[at + 4 : end - 4]))
        at = end
    return bytes(damaged)


def _bombs() -> list[Callable[[], bytes]]:
    """Files that would fill the memory, or take minutes, where nothing was looked for."""

    def zeros(n: int) -> bytes:
        """Pack zeros; but for the checksum at its end, the stream is sound."""
        packer = zlib.compressobj(9)
        first, other = (
            packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
        )
        return first + other * ((n >> 20) - 1) + packer.flush()

    def text(name: bytes, head: bytes) -> bytes:
        return _png(2, 2, 8, 0, zlib.compress(bytes(6)), _png_chunk(name, head + zeros(1 << 28)))

    def tiff(width: int, height: int, packed: bytes, **tags: int) -> bytes:
        """A grey TIFF of one strip, deflate."""
        fields = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 273: 8, 277: 1, 278: height}
        fields |= {279: len(packed)} | {int(tag[1:]): value for tag, value in tags.items()}
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in sorted(fields.items()))
        start = struct.pack("<I", 8 + len(packed))
        return b"II*\0" + start + packed + struct.pack("<H", len(fields)) + entries + bytes(4)

    def bmp(width: int, height: int, *, bits: int, compression: int) -> bytes:
        fields = (0, 0, 54 + 1024, 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
        return b"BM" + struct.pack("<IIIIiiHHIIiiII", *fields) + bytes(1024) + b"\xff\7" * 2000

    def many_offsets() -> bytes:
        whole = bytearray(tiff(8, 8, bytes(38_000_000)))
        at = whole.rindex(struct.pack("<HHI", 273, 4, 1))
        struct.pack_into("<HHII", whole, at, 273, 3, 17_000_000, 8)
        return bytes(whole)

    def many_scans(side: int, n_scans: int) -> bytes:
        """A progressive JPEG whose scans of a few bytes each go over the whole picture."""
        buffer = io.BytesIO()
        Image.new("L", (side, side)).save(buffer, "JPEG", progressive=True)
        whole = buffer.getvalue()
        last = whole.rindex(b"\xff\xda")
        return whole[:last] + whole[last:-2] * n_scans + whole[-2:]

    def circle() -> bytes:
        whole = bytearray(tiff(8, 8, zlib.compress(bytes(64))))
        whole[-4:] = whole[4:8]
        return bytes(whole)

    rows = zlib.compress(b"\0")
    return [
        lambda: _png(2, 2, 8, 0, zeros(1 << 30)),
        lambda: _png(2, 2, 16, 2, zeros(1 << 30)),
        lambda: _png(60_000, 60_000, 8, 0, zeros(1 << 28)),
        lambda: _png(4_000, 4_000, 16, 6, zeros(1 << 27)),
        lambda: _png(2, 2, 8, 0, bytes(39_000_000)),
        lambda: text(b"zTXt", b"k\0\0"),
        lambda: text(b"iTXt", b"k\0\1\0\0\0"),
        lambda: text(b"iCCP", b"k\0\0"),
        lambda: text(b"zTXt", b"Raw profile type exif\0\0"),
        lambda: _png(2, 2, 8, 3, rows, _png_chunk(b"PLTE", bytes(3))),
        lambda: b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + bytes(99),
        lambda: bmp(99_999, 99_999, bits=24, compression=0),
        lambda: bmp(6_000, 6_000, bits=8, compression=1),
        lambda: tiff(2, 2, zeros(1 << 30)),
        lambda: tiff(60_000, 60_000, zeros(1 << 20)),
        lambda: tiff(8, 8, zlib.compress(bytes(64)), t322=60_000, t323=60_000),
        lambda: tiff(8, 8, zlib.compress(bytes(64)), t278=0),
        lambda: tiff(8, 2**31, zlib.compress(bytes(64)), t278=1),
        lambda: tiff(6_000, 6_000, zeros(1 << 28), t279=1),
        many_offsets,
        circle,
        lambda: many_scans(3_000, 2_000),
        lambda: many_scans(3_000, 90),
        lambda: bytes(30_000_000),
    ]
