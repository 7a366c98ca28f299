"""Random pictures in every pixel layout, by writers that share nothing with the reader's rules.

A layout is read back to within rounding, or ends in a fault that names it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from realitycheck.core.decoding.decoded import ImageError
from realitycheck.core.images import image_facts, read_image

FIXED = {"mapping": "fixed", "low": -100.0, "high": 155.0}
COMPRESSIONS = ("lzw", "zlib", "packbits", "zstd", "lzma")


@dataclass(frozen=True)
class Layout:
    """A way to write a random picture, and what must come back.

    Attributes:
        write: Writes a picture (samples as float, 0 to 1, shape (H, W, 5)) to a path, and gives
            what must be read: 0 to 255, float, shape (H, W) or (H, W, 3); None for a fault.
        tolerance: Largest departure, of 255; a half is rounding.
        fault: Words that name the layout, where it is refused.
        intensity: How it is read.
    """

    write: Callable[[Path, np.ndarray, np.random.Generator], np.ndarray | None]
    tolerance: float = 0.5
    fault: str | None = None
    intensity: dict | None = None


LAYOUTS: dict[str, Layout] = {}


def layout(name, **about):
    def register(write):
        assert name not in LAYOUTS
        LAYOUTS[name] = Layout(write, **about)
        return write

    return register


def quantised(samples, bits):
    top = 2**bits - 1
    return np.rint(samples * top).astype(np.uint8 if bits <= 8 else np.uint16), 255 / top


def laid_on_black(colours, alpha, scale):
    """Where alpha is 0 everywhere it says nothing, and the colours count."""
    if not alpha.any():
        return colours * scale
    return (
        colours
        * scale
        * (alpha * scale / 255)[..., None][..., : colours.ndim - 1 or 1].reshape(
            alpha.shape + (1,) * (colours.ndim - 2)
        )
    )


def how(rng, **fixed):
    """Choose how a TIFF is packed, which must not change the picture."""
    options = dict(fixed)
    if rng.random() < 0.5:
        options["compression"] = str(rng.choice(COMPRESSIONS))
        if rng.random() < 0.5 and options["compression"] in ("lzw", "zlib", "zstd"):
            options["predictor"] = True
    if rng.random() < 0.3:
        options["tile"] = (16, 16)
    elif rng.random() < 0.5:
        options["rowsperstrip"] = int(rng.integers(1, 9))
    options["bigtiff"] = bool(rng.random() < 0.3)
    options["byteorder"] = str(rng.choice(["<", ">"]))
    return options


# ------------------------------------------------------------------------------- tifffile writes


for bits_ in (8, 16):

    @layout(f"tifffile: grey {bits_}")
    def _(path, samples, rng, bits=bits_):
        stored, scale = quantised(samples[..., 0], bits)
        tifffile.imwrite(path, stored, **how(rng, photometric="minisblack"))
        return stored * scale

    @layout(f"tifffile: white is zero {bits_}")
    def _(path, samples, rng, bits=bits_):
        stored, scale = quantised(samples[..., 0], bits)
        tifffile.imwrite(path, stored, **how(rng, photometric="miniswhite"))
        return 255 - stored * scale

    @layout(f"tifffile: RGB {bits_}")
    def _(path, samples, rng, bits=bits_):
        stored, scale = quantised(samples[..., :3], bits)
        tifffile.imwrite(path, stored, **how(rng, photometric="rgb"))
        return stored * scale

    @layout(f"tifffile: RGB in planes {bits_}")
    def _(path, samples, rng, bits=bits_):
        stored, scale = quantised(samples[..., :3], bits)
        planes = np.moveaxis(stored, 2, 0)
        tifffile.imwrite(path, planes, **how(rng, photometric="rgb", planarconfig="separate"))
        return stored * scale

    @layout(f"tifffile: RGB and two channels more {bits_}")
    def _(path, samples, rng, bits=bits_):
        stored, scale = quantised(samples, bits)
        options = how(rng, photometric="rgb", planarconfig="contig", extrasamples=[0, 0])
        tifffile.imwrite(path, stored, **options)
        return stored[..., :3] * scale

    @layout(f"tifffile: RGB and infrared in planes {bits_}")
    def _(path, samples, rng, bits=bits_):
        stored, scale = quantised(samples[..., :4], bits)
        planes = np.moveaxis(stored, 2, 0)
        options = how(rng, photometric="rgb", planarconfig="separate", extrasamples=[0])
        tifffile.imwrite(path, planes, **options)
        return stored[..., :3] * scale

    @layout(f"tifffile: grey and a channel more {bits_}")
    def _(path, samples, rng, bits=bits_):
        stored, scale = quantised(samples[..., :2], bits)
        options = how(rng, photometric="minisblack", planarconfig="contig", extrasamples=[0])
        tifffile.imwrite(path, stored, **options)
        return stored[..., 0] * scale

    @layout(f"tifffile: grey and three channels more {bits_}", fault="grey with 3 further channels")
    def _(path, samples, rng, bits=bits_):
        stored, _ = quantised(samples[..., :4], bits)
        options = {"planarconfig": "contig", "extrasamples": [0] * 3}
        tifffile.imwrite(path, stored, photometric="minisblack", **options)

    @layout(f"tifffile: RGB with alpha {bits_}", tolerance=1)
    def _(path, samples, rng, bits=bits_):
        stored, scale = quantised(samples[..., :4], bits)
        stored[..., 3] *= rng.random() < 0.7
        tifffile.imwrite(path, stored, **how(rng, photometric="rgb", extrasamples=[2]))
        return laid_on_black(stored[..., :3], stored[..., 3], scale)

    @layout(f"tifffile: RGB with premultiplied alpha {bits_}")
    def _(path, samples, rng, bits=bits_):
        stored, scale = quantised(samples[..., :4], bits)
        stored[..., 3] = np.maximum(stored[..., 3], stored[..., :3].max(axis=2))
        tifffile.imwrite(path, stored, **how(rng, photometric="rgb", extrasamples=[1]))
        return stored[..., :3] * scale

    @layout(f"tifffile: grey with alpha {bits_}", tolerance=1)
    def _(path, samples, rng, bits=bits_):
        stored, scale = quantised(samples[..., :2], bits)
        options = how(rng, photometric="minisblack", planarconfig="contig", extrasamples=[2])
        tifffile.imwrite(path, stored, **options)
        return laid_on_black(stored[..., 0], stored[..., 1], scale)

    @layout(f"tifffile: CMYK {bits_}", tolerance=1)
    def _(path, samples, rng, bits=bits_):
        stored, scale = quantised(samples[..., :4], bits)
        tifffile.imwrite(path, stored, **how(rng, photometric="separated"))
        ink = stored * scale / 255
        return 255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])


@layout("tifffile: palette 8")
def _(path, samples, rng):
    indices = rng.integers(0, 256, samples.shape[:2], dtype=np.uint8)
    palette = rng.integers(0, 65536, (3, 256), dtype=np.uint16)
    tifffile.imwrite(path, indices, **how(rng, photometric="palette", colormap=palette))
    return (palette >> 8).T.astype(float)[indices]


@layout("tifffile: one bit")
def _(path, samples, rng):
    stored = samples[..., 0] > 0.5
    tifffile.imwrite(path, stored, photometric=str(rng.choice(["minisblack", "miniswhite"])))
    with tifffile.TiffFile(path) as tif:
        is_inverted = tif.pages[0].photometric == 0
    return (stored ^ is_inverted) * 255.0


for bits_ in (2, 4, 10, 12, 14):

    @layout(f"tifffile: {bits_} bits packed")
    def _(path, samples, rng, bits=bits_):
        stored, scale = quantised(samples[..., 0], bits)
        kind = str(rng.choice(["minisblack", "miniswhite"]))
        # Big-endian, tifffile packs swapped bytes.
        tifffile.imwrite(path, stored, photometric=kind, bitspersample=bits, byteorder="<")
        return stored * scale if kind == "minisblack" else 255 - stored * scale


for name_ in ("int8", "int16", "int32", "uint32", "float16", "float32", "float64"):
    words_ = f"found {np.dtype(name_).itemsize * 8}-bit .*{name_}"

    @layout(f"tifffile: {name_} as it is", fault=words_)
    def _(path, samples, rng, name=name_):
        stored = (samples[..., 0] * 100).astype(name)
        tifffile.imwrite(path, stored, **how(rng, photometric="minisblack"))

    @layout(f"tifffile: {name_} with fixed ends", intensity=FIXED, tolerance=1)
    def _(path, samples, rng, name=name_):
        # float16 has 11 bits: whole numbers are exact.
        low = 0 if name[0] == "u" else -100
        stored = np.rint(low + samples[..., :3] * (120 - low)).astype(name)
        tifffile.imwrite(path, stored, **how(rng, photometric="rgb"))
        return stored.astype(float) + 100


@layout("tifffile: complex numbers", fault="64-bit complex numbers")
def _(path, samples, rng):
    tifffile.imwrite(path, samples[..., 0].astype(np.complex64), photometric="minisblack")


@layout("tifffile: signed white is zero", fault="16-bit signed integers whose 0 is white")
def _(path, samples, rng):
    tifffile.imwrite(path, (samples[..., 0] * 99).astype(np.int16), photometric="miniswhite")


@layout("tifffile: float with alpha", fault="transparency in 32-bit floating-point numbers")
def _(path, samples, rng):
    stored = samples[..., :4].astype(np.float32)
    tifffile.imwrite(path, stored, photometric="rgb", extrasamples=[2])


@layout("tifffile: colour filter array", fault="a camera's raw data")
def _(path, samples, rng):
    stored, _ = quantised(samples[..., 0], 16)
    tifffile.imwrite(path, stored, photometric="cfa", extratags=[(33421, 3, 2, (2, 2), True)])


@layout("tifffile: LAB 16", fault="LAB colours with 3 channels of 16-bit unsigned integers")
def _(path, samples, rng):
    stored, _ = quantised(samples[..., :3], 16)
    tifffile.imwrite(path, stored, photometric="cielab")


@layout("tifffile: pages", fault="a TIFF of 3 pages")
def _(path, samples, rng):
    stored, _ = quantised(np.tile(samples[..., 0], (2, 2)), 8)
    tifffile.imwrite(path, np.stack([stored] * 3), photometric="minisblack")


@layout("tifffile: ImageJ stack", fault="a TIFF of 4 pages")
def _(path, samples, rng):
    stored, _ = quantised(np.tile(samples[..., 0], (2, 2)), 16)
    tifffile.imwrite(path, np.stack([stored] * 4), imagej=True)


@layout("tifffile: volume", fault="a volume of 16 layers")
def _(path, samples, rng):
    stored, _ = quantised(np.tile(samples[..., 0], (2, 2)), 8)
    options = {"tile": (16, 16, 16), "volumetric": True}
    tifffile.imwrite(path, np.stack([stored] * 16), photometric="minisblack", **options)


@layout("tifffile: a reduced copy beside it")
def _(path, samples, rng):
    stored, scale = quantised(samples[..., :3], 8)
    with tifffile.TiffWriter(path) as writer:
        pages = [(stored, 0), (stored[::2, ::2], 1)]
        for page, kind in pages if rng.random() < 0.5 else pages[::-1]:
            writer.write(page, photometric="rgb", subfiletype=kind)
    return stored * scale


@layout("tifffile: JPEG 2000", fault="compression JPEG2000")
def _(path, samples, rng):
    stored, _ = quantised(np.tile(samples[..., :3], (8, 8, 1)), 8)
    tifffile.imwrite(path, stored, photometric="rgb", compression="jpeg2000")


@layout("tifffile: YCbCr in JPEG", tolerance=12)
def _(path, samples, rng):
    stored, scale = quantised(np.full((32, 48, 3), samples[0, 0, :3]), 8)
    tifffile.imwrite(path, stored, photometric="rgb", compression="jpeg", tile=(16, 16))
    return stored * scale


def turned(stored, orientation):
    image = Image.fromarray(stored)
    method = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(orientation)
    return np.asarray(image if method is None else image.transpose(Image.Transpose(method)))


@layout("tifffile: turned")
def _(path, samples, rng):
    stored, scale = quantised(samples[..., :3], 8)
    orientation = int(rng.integers(1, 9))
    tags = [(274, 3, 1, orientation, True)]
    tifffile.imwrite(path, stored, **how(rng, photometric="rgb", extratags=tags))
    return turned(stored, orientation) * scale


# --------------------------------------------------------------------------------- Pillow writes


for ending_ in ("png", "bmp", "tif"):
    for mode_, n_ in (("1", 1), ("L", 1), ("RGB", 3)):

        @layout(f"Pillow: {mode_} {ending_}")
        def _(path, samples, rng, mode=mode_, n=n_):
            stored, _ = quantised(samples[..., 0] if n == 1 else samples[..., :n], 8)
            image = Image.fromarray(stored)
            image = image.point(lambda v: 255 * (v > 127), mode="1") if mode == "1" else image
            options = {}
            if path.suffix == ".tif" and rng.random() < 0.7:
                options["compression"] = "group4" if mode == "1" else "tiff_lzw"
            image.save(path, **options)
            return (stored > 127) * 255.0 if mode == "1" else stored.astype(float)


@layout("Pillow: palette png")
def _(path, samples, rng):
    n_colours = int(rng.choice([2, 4, 16, 256]))
    indices = rng.integers(0, n_colours, samples.shape[:2], dtype=np.uint8)
    palette = rng.integers(0, 256, (n_colours, 3), dtype=np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette(palette.tobytes())
    image.save(path.with_suffix(".png"), bits={2: 1, 4: 2, 16: 4, 256: 8}[n_colours])
    path.with_suffix(".png").rename(path)
    return palette.astype(float)[indices]


@layout("Pillow: palette gif")
def _(path, samples, rng):
    indices = rng.integers(0, 256, samples.shape[:2], dtype=np.uint8)
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette(palette.tobytes())
    image.save(path, "GIF")
    return palette.astype(float)[indices]


for mode_ in ("LA", "RGBA"):

    @layout(f"Pillow: {mode_} png", tolerance=1)
    def _(path, samples, rng, mode=mode_):
        stored, scale = quantised(samples[..., : len(mode)], 8)
        stored[..., -1] *= rng.random() < 0.7
        Image.fromarray(stored, mode).save(path, "PNG")
        colours = stored[..., 0] if mode == "LA" else stored[..., :3]
        return laid_on_black(colours, stored[..., -1], scale)


@layout("Pillow: a transparent colour png")
def _(path, samples, rng):
    stored, _ = quantised(samples[..., 0], 8)
    stored[0, 0], key = 255, int(stored[-1, -1])
    Image.fromarray(stored).save(path, "PNG", transparency=key)
    shown = np.where(stored == key, 0, stored)
    return (shown if (stored != key).any() else stored).astype(float)


@layout("Pillow: grey 16 png")
def _(path, samples, rng):
    stored, scale = quantised(samples[..., 0], 16)
    Image.fromarray(stored).save(path, "PNG")
    return stored * scale


@layout("Pillow: LAB tif", tolerance=2)
def _(path, samples, rng):
    stored, _ = quantised(samples[..., :3], 8)
    image = Image.frombytes("LAB", stored.shape[1::-1], stored.tobytes())
    image.save(path, "TIFF")
    to_srgb = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    return np.asarray(ImageCms.applyTransform(image, to_srgb)).astype(float)


@layout("Pillow: YCbCr tif", tolerance=1)
def _(path, samples, rng):
    stored, _ = quantised(samples[..., :3], 8)
    Image.fromarray(stored, "YCbCr").save(path, "TIFF", compression="tiff_lzw")
    y, cb, cr = (stored[..., i].astype(float) - 128 * (i > 0) for i in range(3))
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
    return rgb.clip(0, 255)


for mode_ in ("L", "RGB", "CMYK"):

    @layout(f"Pillow: {mode_} jpeg", tolerance=8)
    def _(path, samples, rng, mode=mode_):
        flat = np.full((20, 24, len(mode)), np.rint(samples[0, 0, : len(mode)] * 255), np.uint8)
        image = Image.fromarray(flat[..., 0] if mode == "L" else flat, mode)
        image.save(path, "JPEG", quality=97, progressive=bool(rng.random() < 0.5))
        if mode == "CMYK":
            ink = flat / 255
            return 255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])
        return (flat[..., 0] if mode == "L" else flat).astype(float)


for kind_ in ("PNG", "JPEG", "TIFF"):

    @layout(f"Pillow: turned {kind_}", tolerance=8 if kind_ == "JPEG" else 0.5)
    def _(path, samples, rng, kind=kind_):
        stored, _ = quantised(
            np.kron(samples[:2, :2, :3].repeat(2, 1)[:, :3], np.ones((16, 16, 1))), 8
        )
        exif = Image.Exif()
        exif[274] = orientation = int(rng.integers(1, 9))
        options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
        Image.fromarray(stored).save(path, kind, exif=exif, **options)
        return turned(stored, orientation).astype(float)


# ------------------------------------------------------------------------ OpenCV, imageio write


for ending_ in ("png", "tiff", "bmp"):
    for bits_ in (8, 16):
        for n_ in (1, 3):
            if ending_ == "bmp" and bits_ == 16:
                continue

            @layout(f"OpenCV: {n_} channels of {bits_} bits {ending_}")
            def _(path, samples, rng, ending=ending_, bits=bits_, n=n_):
                stored, scale = quantised(samples[..., 0] if n == 1 else samples[..., :n], bits)
                written = stored if n == 1 else stored[..., ::-1]
                path.write_bytes(cv2.imencode(f".{ending}", written)[1])
                return stored * scale

            @layout(f"imageio: {n_} channels of {bits_} bits {ending_}")
            def _(path, samples, rng, ending=ending_, bits=bits_, n=n_):
                n = 1 if bits == 16 and ending == "png" else n  # Pillow's, which has no 16-bit RGB
                stored, scale = quantised(samples[..., 0] if n == 1 else samples[..., :n], bits)
                plugin = "tifffile" if ending == "tiff" else "pillow"
                path.write_bytes(
                    imageio.imwrite("<bytes>", stored, extension=f".{ending}", plugin=plugin)
                )
                return stored * scale


@layout("OpenCV: RGBA 16 png", tolerance=1)
def _(path, samples, rng):
    stored, scale = quantised(samples[..., :4], 16)
    path.write_bytes(cv2.imencode(".png", stored[..., [2, 1, 0, 3]])[1])
    return laid_on_black(stored[..., :3], stored[..., 3], scale)


@layout("OpenCV: float tiff", fault="found 32-bit floating-point numbers")
def _(path, samples, rng):
    path.write_bytes(cv2.imencode(".tiff", samples[..., 0].astype(np.float32))[1])


@layout("OpenCV: WebP", fault="a WebP image")
def _(path, samples, rng):
    stored, _ = quantised(samples[..., :3], 8)
    path.write_bytes(cv2.imencode(".webp", stored)[1])


@layout("OpenCV: JPEG 2000", fault="a JPEG 2000 image")
def _(path, samples, rng):
    stored, _ = quantised(np.tile(samples[..., :3], (40, 40, 1)), 8)
    path.write_bytes(cv2.imencode(".jp2", stored)[1])


@pytest.mark.parametrize("name", LAYOUTS)
@settings(
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    height=st.integers(1, 21),
    width=st.integers(1, 21),
    seed=st.integers(0, 2**32 - 1),
)
def test_layout_is_read_back_or_named(tmp_path, name, height, width, seed):
    """As any viewer shows it; what has no agreed picture is refused by its name."""
    wanted = LAYOUTS[name]
    rng = np.random.default_rng(seed)
    path = tmp_path / f"a.{name.rsplit(' ', 1)[-1] if name.startswith('Pillow') else 'tif'}"
    expected = wanted.write(path, rng.random((height, width, 5)), rng)
    read = {"intensity": wanted.intensity} if wanted.intensity else {}
    if wanted.fault:
        with pytest.raises(ImageError, match=wanted.fault):
            read_image(path, **read)
        return
    seen = read_image(path, **read)
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    assert seen.shape == expected.shape
    assert abs(seen - expected).max() <= wanted.tolerance + 1e-6
    facts = image_facts(path)
    assert (facts.height_px, facts.width_px) == seen.shape[:2]
