"""Ground truth masks: what values a file holds, and the one way in which they become truth.

A mask file only holds values. Which of them is background is decided once for a whole data set
(`realitycheck.datasets.mask_rules`), is written into the manifest as a `MaskReading`, and every
later stage reads the file by that and by nothing else.

Values go by names: `7` for a grey value and for the index of a palette (a palette of greys counts
as grey), `#ff0000` for a colour, `transparent` for pixels without opacity, and with a threshold
`below 128` and `128 and above`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from realitycheck.core.constants import MAX_DECODED_MB
from realitycheck.core.decoding.decoded import ImageError, turned
from realitycheck.core.images import read_stored

BACKGROUND, UNDECIDED, DEFECT = 0, 128, 255
"""The three values of a truth array."""

TRANSPARENT = "transparent"

_TRANSPARENT_CODE = -1


@dataclass(frozen=True)
class MaskReading:
    """How one mask file becomes truth; every value that is not named is defect.

    Attributes:
        background: Names of the values that are background.
        ignore: Names of the values that the annotator left undecided.
        threshold: Level that parts the values in two, in units of the file; None: as they are.
        orientation: EXIF orientation, 1 to 8, that brings the stored pixels onto its image as that
            is shown.
        told: What was decided by a rule and not by convention or setting, for the audit.
    """

    background: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    threshold: float | None = None
    orientation: int = 1
    told: str = ""

    def to_text(self) -> str:
        """Write it for the manifest."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> MaskReading:
        """Read what `to_text` wrote."""
        found = json.loads(text)
        pairs = {name: tuple(found[name]) for name in ("background", "ignore")}
        return cls(**{**found, **pairs})


class ValueFacts(NamedTuple):
    """What is known of one value of a mask.

    Attributes:
        n_px: Pixels that hold it.
        n_frame_px: Those of them at the border of the picture, one pixel wide.
        brightness: Grey value, or sum of the three channels; 0 where it is transparent.
        colour: `#rrggbb` behind the index of a palette; empty for all else.
    """

    n_px: int
    n_frame_px: int
    brightness: float
    colour: str


@dataclass(frozen=True)
class MaskFacts:
    """What a mask file holds, before anybody says what it means.

    Attributes:
        path: The file.
        sha256: Digest of its bytes, hexadecimal.
        form: `grey`, `palette`, `colour` or `transparent` (with pixels without opacity).
        height_px: Height as stored.
        width_px: Width as stored.
        orientation: Its own EXIF orientation, 1 to 8.
        values: Facts of each value by its name, in rising order.
        ground: Name of the value that convention takes for background, whether it occurs or not.
        n_between: Pixels whose level lies between the lowest and the highest one.
        n_loose: Those of them that are a step of a slope, or beside no pixel of the same value.
        is_lossy: Whether its format changes values (JPEG).
    """

    path: Path
    sha256: str
    form: str
    height_px: int
    width_px: int
    orientation: int
    values: Mapping[str, ValueFacts]
    ground: str
    n_between: int
    n_loose: int
    is_lossy: bool

    def count(self, reading: MaskReading) -> int:
        """Number of defect pixels."""
        others = {*reading.background, *reading.ignore}
        return sum(found.n_px for name, found in self.values.items() if name not in others)


class _Drawn(NamedTuple):
    """A decoded mask, pixels as stored: a code per value, and the level that thresholds go by."""

    form: str
    codes: np.ndarray
    levels: np.ndarray
    palette: np.ndarray | None
    orientation: int
    is_lossy: bool


def look_at_mask(
    path: Path,
    *,
    threshold: float | None = None,
    max_decoded_mb: float | None = MAX_DECODED_MB,
) -> MaskFacts:
    """Decode a mask completely, and count its values.

    Args:
        path: The file.
        threshold: Level that parts the values in two, in units of the file: grey values, the
            brightest channel of a colour, the opacity of a mask with transparent pixels.
        max_decoded_mb: As for `read_image`.

    Returns:
        The facts.

    Raises:
        ImageError: If the file cannot be read.
    """
    path = Path(path)
    data, drawn = _decoded(path, max_decoded_mb)
    n_between = n_loose = 0
    if threshold is not None:
        codes = (drawn.levels >= threshold).astype(np.uint8)
        names, bright, ground = _parted(threshold), (0.0, 1.0), _parted(threshold)[0]
        counts, frame = (np.bincount(part, minlength=2) for part in (codes.ravel(), _frame(codes)))
        values = {
            name: ValueFacts(int(counts[code]), int(frame[code]), bright[code], "")
            for code, name in enumerate(names)
            if counts[code]
        }
    else:
        at_frame = _counts(_frame(drawn.codes))
        values = {
            _name(drawn, code): ValueFacts(n, at_frame.get(code, 0), *_look_of(drawn, code))
            for code, n in _counts(drawn.codes.ravel()).items()
        }
        ground = _conventional_ground(drawn)
        if len(values) > 2:
            n_between, n_loose = _count_loose(drawn)
    height, width = drawn.codes.shape
    return MaskFacts(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        form=drawn.form,
        height_px=height,
        width_px=width,
        orientation=drawn.orientation,
        values=values,
        ground=ground,
        n_between=n_between,
        n_loose=n_loose,
        is_lossy=drawn.is_lossy,
    )


def read_truth(path: Path, reading: MaskReading) -> np.ndarray:
    """Read a ground truth mask as it was decided to be read.

    Args:
        path: The mask file.
        reading: From the manifest.

    Returns:
        uint8, shape (H, W), as its image is shown: 0 background, 255 defect, 128 undecided.

    Raises:
        ImageError: If the file cannot be read.
    """
    _, drawn = _decoded(Path(path))
    if reading.threshold is not None:
        is_above = drawn.levels >= reading.threshold
        below, _ = _parted(reading.threshold)
        is_defect = is_above if below in reading.background else ~is_above
        truth = np.where(is_defect, np.uint8(DEFECT), np.uint8(BACKGROUND))
    else:
        truth = np.full(drawn.codes.shape, DEFECT, np.uint8)
        for names, meaning in ((reading.background, BACKGROUND), (reading.ignore, UNDECIDED)):
            for name in names:
                truth[drawn.codes == _code(name)] = meaning
    return np.ascontiguousarray(turned(truth, reading.orientation))


def shape_turned(height_px: int, width_px: int, orientation: int) -> tuple[int, int]:
    """Height and width of a picture after an EXIF orientation is applied."""
    return (width_px, height_px) if orientation >= 5 else (height_px, width_px)


def _decoded(path: Path, max_decoded_mb: float | None = None) -> tuple[bytes, _Drawn]:
    """The file's bytes, and what is drawn in it as stored, its orientation not applied."""
    data, found = read_stored(path, max_decoded_mb=max_decoded_mb)
    pixels, palette = found.colours, found.palette
    about = {"orientation": found.orientation, "is_lossy": data[:2] == b"\xff\xd8"}
    if found.alpha is not None:
        is_clear = found.alpha == 0
        # Opacity that is 0 all over is none, unless there is nothing below it.
        if is_clear.any() and (not is_clear.all() or (pixels == pixels[0, 0]).all()):
            if pixels.dtype.itemsize > 1:
                raise ImageError(
                    path,
                    "expected 8 bits for each channel in a mask with transparent pixels, found "
                    f"{8 * pixels.dtype.itemsize}",
                    "save it as an 8-bit PNG",
                )
            rgb = pixels if pixels.ndim == 3 else pixels[:, :, None].repeat(3, axis=2)
            codes = np.where(is_clear, np.int32(_TRANSPARENT_CODE), _packed(rgb))
            return data, _Drawn("transparent", codes, found.alpha, None, **about)
    if palette is not None and not (palette == palette[:, :1]).all():
        levels = palette.max(axis=1)[found.samples]
        return data, _Drawn("palette", found.samples, levels, palette, **about)
    if pixels.ndim == 3:
        red, green, blue = (pixels[..., channel] for channel in range(3))
        if not (np.array_equal(red, green) and np.array_equal(red, blue)):
            eight_bit = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
            return data, _Drawn("colour", _packed(eight_bit), _brightest(pixels), None, **about)
        pixels = red
    return data, _Drawn("grey", pixels, pixels, None, **about)


def _brightest(pixels: np.ndarray) -> np.ndarray:
    red, green, blue = (pixels[..., channel] for channel in range(3))
    return np.maximum(np.maximum(red, green), blue)


def _packed(rgb: np.ndarray) -> np.ndarray:
    """One number per colour, int32, shape (H, W)."""
    packed = rgb[..., 0].astype(np.int32)
    for channel in (1, 2):
        packed <<= 8
        packed |= rgb[..., channel]
    return packed


def _parted(threshold: float) -> tuple[str, str]:
    return f"below {threshold:g}", f"{threshold:g} and above"


def _counts(codes: np.ndarray) -> dict[float, int]:
    """Number of pixels of each code, in rising order."""
    if codes.dtype.kind == "u" and codes.itemsize <= 2:
        counts = np.bincount(codes)
        return {int(code): int(counts[code]) for code in np.flatnonzero(counts)}
    # By hashing: sorting the millions of pixels of a colour mask takes many times as long.
    found = pd.Series(codes).value_counts(sort=False).sort_index()
    return dict(zip(found.index.tolist(), found.tolist(), strict=True))


def _name(drawn: _Drawn, code: float) -> str:
    if code == _TRANSPARENT_CODE and drawn.form == "transparent":
        return TRANSPARENT
    if drawn.form in ("colour", "transparent"):
        return f"#{code:06x}"
    return str(int(code)) if float(code).is_integer() else repr(code)


def _code(name: str) -> float:
    if name == TRANSPARENT:
        return _TRANSPARENT_CODE
    return int(name[1:], 16) if name.startswith("#") else float(name)


def _look_of(drawn: _Drawn, code: float) -> tuple[float, str]:
    """Brightness, and for the index of a palette its colour."""
    if drawn.form == "grey":
        return float(code), ""
    if drawn.form == "palette":
        rgb = drawn.palette[code]
        return float(rgb.sum()), "#" + bytes(rgb).hex()
    if code == _TRANSPARENT_CODE:
        return 0.0, ""
    return float(sum(code.to_bytes(3, "big"))), ""


def _conventional_ground(drawn: _Drawn) -> str:
    """Transparent, else index 0 of a palette, else black."""
    if drawn.form == "palette":
        return "0"
    return {"grey": "0", "colour": "#000000", "transparent": TRANSPARENT}[drawn.form]


def _frame(codes: np.ndarray) -> np.ndarray:
    """Pixels at the border of a picture, flat, each once."""
    inner = codes[1:-1]
    sides = [inner[:, 0], inner[:, -1]] if codes.shape[1] > 1 else [inner[:, 0]]
    rows = [codes[0], codes[-1]] if len(codes) > 1 else [codes[0]]
    return np.concatenate([*rows, *sides])


def _count_loose(drawn: _Drawn) -> tuple[int, int]:
    """Pixels between the lowest and the highest level, and those of them that look like an edge.

    Regions that number kinds of defects are flat: their pixels have company. The soft edge of a
    brush or of a resized mask is a slope, and compression leaves scattered values.
    """
    codes = drawn.codes
    if drawn.form == "grey":
        levels = codes.astype(np.float64) if codes.dtype.kind == "f" else codes.astype(np.int32)
    elif drawn.form == "palette":
        levels = drawn.palette.sum(axis=1, dtype=np.int32)[codes]
    elif drawn.form == "transparent":
        levels = drawn.levels.astype(np.int32)
    else:
        levels = (codes >> 16) + (codes >> 8 & 255) + (codes & 255)
    between = (levels > levels.min()) & (levels < levels.max())
    slope = np.zeros(codes.shape, bool)
    for level, steps in ((levels, slope), (levels.T, slope.T)):
        before, here, after = level[:-2], level[1:-1], level[2:]
        steps[1:-1] |= ((before < here) & (here < after)) | ((before > here) & (here > after))
    company = np.zeros(codes.shape, bool)
    for one, other in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
        (np.s_[:-1, 1:], np.s_[1:, :-1]),
    ):
        same = codes[one] == codes[other]
        company[one] |= same
        company[other] |= same
    return int(between.sum()), int((between & (slope | ~company)).sum())


def encode_mask(mask: np.ndarray) -> str:
    """Compress a mask, bool (H, W), to COCO counts."""
    from pycocotools import mask as coco

    return coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode("ascii")


def decode_mask(counts: str, *, height_px: int, width_px: int) -> np.ndarray:
    """Unpack COCO counts to a mask, bool (H, W)."""
    from pycocotools import mask as coco

    return coco.decode({"size": [height_px, width_px], "counts": counts.encode()}).astype(bool)


def masks_of(table: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Image id and mask, bool (H, W), of each row of a masks table."""
    for row in table.itertuples():
        yield (
            row.image_id,
            decode_mask(
                row.mask_rle,
                height_px=int(row.mask_height_px),
                width_px=int(row.mask_width_px),
            ),
        )


class Regions(NamedTuple):
    """Regions of a mask whose pixels touch, at corners too.

    Attributes:
        labels: Number of the region of each pixel, (H, W), from 1; 0 outside.
        boxes: x, y, width, height of each region in pixels, (N, 4).
        sizes: Pixels of each region, (N,).
    """

    labels: np.ndarray
    boxes: np.ndarray
    sizes: np.ndarray


def connected_regions(mask: np.ndarray) -> Regions:
    """Find the regions of a mask, bool (H, W)."""
    _, labels, found, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return Regions(labels, found[1:, :4], found[1:, cv2.CC_STAT_AREA])


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
