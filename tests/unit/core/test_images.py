"""Pictures and masks of every kind come in as one kind; what is damaged does not."""

import contextlib
import hashlib
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from realitycheck.core.decoding.decoded import ImageError
from realitycheck.core.images import image_facts, intensity_problem, read_image, write_png
from realitycheck.core.masks import look_at_mask

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65536, (6, 9, 3), dtype=np.uint16)


def save(path, array, kind="PNG", **options):
    Image.fromarray(array).save(path, kind, **options)
    return path


def png_bytes(width, height, depth, colour_type, rows, extra=b""):
    """Write a PNG by hand, for kinds that Pillow does not write."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def tiff_bytes(pixels, *, bits, samples, orientation=1, n_pages=1):
    """Write an uncompressed little-endian TIFF by hand: (H, W) shape from `pixels`, raw data."""
    (height, width), data = pixels
    entries = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, 2 if samples == 3 else 1),
        (273, 8),
        (274, orientation),
        (277, samples),
        (278, height),
        (279, len(data)),
    ]
    directory = 8 + len(data)
    size = 2 + 12 * len(entries) + 4
    body = b""
    for page in range(n_pages):
        start = directory + page * (size + 8)
        body += struct.pack("<H", len(entries))
        for tag, value in entries:
            kind, count = (4, 1) if tag in (273, 279) else (3, 1)
            if tag == 258 and samples == 3:
                count, value = 3, start + size
            body += struct.pack("<HHII", tag, kind, count, value)
        following = start + size + 8 if page + 1 < n_pages else 0
        body += struct.pack("<I", following) + struct.pack("<HHHH", bits, bits, bits, 0)
    return b"II*\0" + struct.pack("<I", directory) + data + body


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_rgb_comes_back_as_it_was(tmp_path, kind):
    """A lossless file holds the same picture, whatever its kind."""
    assert (read_image(save(tmp_path / "a", RGB, kind)) == RGB).all()


def test_jpeg_comes_back_nearly(tmp_path):
    """A flat JPEG loses nothing but rounding."""
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    got = read_image(save(tmp_path / "a.jpg", flat, "JPEG", quality=95))
    assert np.abs(got.astype(int) - flat).max() <= 3


def test_kind_is_told_by_content_and_not_by_name(tmp_path):
    """Public sets hold PNG and GIF files under `.jpg` names."""
    assert (read_image(save(tmp_path / "a.jpg", RGB, "PNG")) == RGB).all()
    grey = np.array([[0, 255]], np.uint8)
    assert (read_image(save(tmp_path / "b.jpg", grey, "GIF"))[0, :, 1] == [0, 255]).all()


def test_grey_is_repeated_over_three_channels(tmp_path):
    """Models expect RGB."""
    path = save(tmp_path / "a.png", RGB[:, :, 0])
    got = read_image(path)
    assert got.shape == (6, 9, 3) and got.flags["C_CONTIGUOUS"]
    assert all((got[:, :, channel] == RGB[:, :, 0]).all() for channel in range(3))
    assert (image_facts(path).n_channels, image_facts(path).bit_depth) == (1, 8)


def test_black_and_white_becomes_0_and_255(tmp_path):
    """One bit stands for the whole range."""
    path = save(tmp_path / "a.png", np.array([[True, False]]))
    assert read_image(path)[0, :, 0].tolist() == [255, 0]
    assert image_facts(path).bit_depth == 1


def test_palette_is_looked_up(tmp_path):
    """An index is no grey value."""
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 0, 5])
    image.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[10, 20, 30], [200, 0, 5]]]
    assert image_facts(tmp_path / "a.png").n_channels == 3


def test_alpha_is_laid_on_black(tmp_path):
    """Opaque stays, transparent becomes black, half becomes half: 200 * 128 / 255 = 100.4."""
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 128]]], np.uint8)
    path = save(tmp_path / "a.png", rgba)
    assert read_image(path).tolist() == [[[200, 100, 0], [0, 0, 0], [100, 50, 0]]]
    assert image_facts(path).n_channels == 4


def test_deep_alpha_is_laid_on_black_at_full_depth(tmp_path):
    """16-bit grey with alpha: 60000 at half alpha is 30000, which is 117 in 8 bits."""
    row = np.array([1000, 65535, 60000, 32768, 60000, 0], ">u2").tobytes()
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(3, 1, 16, 4, [row]))
    assert read_image(path)[0, :, 0].tolist() == [round(1000 / 257), 117, 0]
    assert (image_facts(path).n_channels, image_facts(path).bit_depth) == (2, 16)


def test_transparent_colour_of_a_16_bit_grey_png_is_black(tmp_path):
    """PNG can name one grey value as transparent."""
    key = struct.pack(">I", 2) + b"tRNS" + struct.pack(">H", 30000)
    key += struct.pack(">I", zlib.crc32(key[4:]))
    row = np.array([30000, 65535], ">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png_bytes(2, 1, 16, 0, [row], key))
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_divided_by_257(tmp_path, kind):
    """0, 257 and 65535 are 0, 1 and 255; the low byte takes part in rounding."""
    grey = np.array([[0, 128, 129, 257, 65535]], np.uint16)
    path = save(tmp_path / "a", grey, kind)
    assert read_image(path)[0, :, 0].tolist() == [0, 0, 1, 1, 255]
    assert image_facts(path).bit_depth == 16


@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_16_bit_colour_keeps_its_depth(tmp_path, ending):
    """A narrow window of 16-bit colour has more than 8 bits' worth of steps."""
    path = tmp_path / f"a{ending}"
    cv2.imwrite(str(path), DEEP[:, :, ::-1])
    facts = image_facts(path)
    assert (facts.bit_depth, facts.n_channels) == (16, 3)
    assert (read_image(path) == np.rint(DEEP / 257)).all()
    got = read_image(path, intensity={"mapping": "fixed", "low": 1000, "high": 1255})
    assert (got == np.clip(DEEP.astype(int) - 1000, 0, 255)).all()


def test_12_bit_grey_is_stretched_from_its_own_top(tmp_path):
    """Identity means full scale to full scale, and 12 bits end at 4095."""
    packed = bytes([0xFF, 0xF0, 0x00])  # 4095, 0
    (tmp_path / "a.tif").write_bytes(tiff_bytes(((1, 2), packed), bits=12, samples=1))
    assert image_facts(tmp_path / "a.tif").bit_depth == 12
    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_exif_orientation_is_applied(tmp_path, kind, orientation):
    """A camera on its side writes a tag and not a turned picture."""
    exif = Image.Exif()
    exif[274] = orientation
    path = save(tmp_path / "a", RGB, kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert (read_image(path) == expected).all()
    facts = image_facts(path)
    assert (facts.height_px, facts.width_px) == expected.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_16_bit_colour_is_applied_once(tmp_path, orientation):
    """Two decoders share this work, and only one may turn."""
    path = tmp_path / "a.tif"
    data = DEEP.astype("<u2").tobytes()
    path.write_bytes(tiff_bytes(((6, 9), data), bits=16, samples=3, orientation=orientation))
    turned = Image.fromarray(np.rint(DEEP / 257).astype(np.uint8))
    turned.getexif()[274] = orientation
    assert (read_image(path) == np.asarray(ImageOps.exif_transpose(turned))).all()


def test_window_takes_the_quantiles_of_each_image(tmp_path):
    """0 to 100: the 0.1 quantile is 10 and becomes 0, the 0.9 quantile is 90 and becomes 255."""
    path = save(tmp_path / "a.png", np.arange(101, dtype=np.uint16)[None] + 500)
    got = read_image(path, intensity={"mapping": "window", "low": 0.1, "high": 0.9})[0, :, 0]
    assert got[[0, 10, 50, 90, 100]].tolist() == [0, 0, 128, 255, 255]
    assert (np.diff(got.astype(int)) >= 0).all()


def test_image_without_contrast_becomes_black(tmp_path):
    """Nothing may be divided by a width of 0."""
    path = save(tmp_path / "a.png", np.full((4, 4), 777, np.uint16))
    assert read_image(path, intensity={"mapping": "window", "low": 0.01, "high": 0.99}).max() == 0


def test_fixed_clips_outside_its_values(tmp_path):
    """A detector's known range is the same for all parts."""
    path = save(tmp_path / "a.png", np.array([[0, 100, 150, 200, 255]], np.uint8))
    got = read_image(path, intensity={"mapping": "fixed", "low": 100, "high": 200})
    assert got[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_32_bit_needs_a_window(tmp_path):
    """A depth map in floats has no natural white."""
    path = save(tmp_path / "a.tif", np.array([[-1.0, 0.0, 3.0]], np.float32), "TIFF")
    assert image_facts(path).bit_depth == 32
    with pytest.raises(ImageError, match="found 32-bit floating-point numbers.*mapping: window"):
        read_image(path)
    got = read_image(path, intensity={"mapping": "window", "low": 0, "high": 1})
    assert got[0, :, 0].tolist() == [0, 64, 255]
    assert "signed" in intensity_problem("int16", {"mapping": "identity"})[0]
    assert intensity_problem("uint16", {"mapping": "identity"}) is None


def test_nan_is_refused(tmp_path):
    """A depth map often marks holes so, and a comparison with NaN is never true."""
    path = save(tmp_path / "a.tif", np.array([[np.nan, 1.0]], np.float32), "TIFF")
    with pytest.raises(ImageError, match="found NaN"):
        image_facts(path)


@pytest.mark.parametrize(
    ("intensity", "message"),
    [
        ({"mapping": "gamma"}, "identity, window or fixed, found 'gamma'"),
        ({"mapping": "window", "low": 0.9, "high": 0.1}, "quantiles 0 <= low < high <= 1"),
        ({"mapping": "window", "low": 1, "high": 99}, "found low 1 and high 99"),
        ({"mapping": "fixed", "low": 5}, "set both"),
        ({"mapping": "identity", "top": 5}, r"found \['top'\]"),
    ],
)
def test_senseless_intensity_is_refused(tmp_path, intensity, message):
    """A wrong setting must not look like a wrong image."""
    path = save(tmp_path / "a.png", RGB)
    with pytest.raises(ValueError, match=message):
        read_image(path, intensity=intensity)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow grumbles before it refuses
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_cut_short_is_refused(tmp_path, kind, share):
    """A copy that was cut off shows at ingest, wherever the cut is."""
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = save(tmp_path / "whole", noise, kind).read_bytes()
    (tmp_path / "cut").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match="damaged|cut short"):
        image_facts(tmp_path / "cut")


def test_jpeg_padded_with_zeros_is_refused(tmp_path):
    """A broken download often has its full size; decoders take zeros for picture data."""
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = save(tmp_path / "whole", noise, "JPEG").read_bytes()
    (tmp_path / "padded").write_bytes(data[:-500] + bytes(500))
    with pytest.raises(ImageError, match="damaged|cut short"):
        image_facts(tmp_path / "padded")


def test_flipped_bit_in_png_is_refused(tmp_path):
    """PNG carries checksums, and they are looked at."""
    data = bytearray(save(tmp_path / "whole", RGB).read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / "flipped").write_bytes(data)
    with pytest.raises(ImageError, match="damaged"):
        image_facts(tmp_path / "flipped")


@pytest.mark.filterwarnings("ignore")  # Pillow grumbles before it refuses
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF"])
def test_damage_anywhere_in_the_header_is_an_image_error_or_harmless(tmp_path, kind):
    """Decoders raise all sorts of exceptions; ingest must be able to go on to the next file."""
    data = save(tmp_path / "whole", RGB, kind).read_bytes()
    rng = np.random.default_rng(4)
    for _ in range(150):
        damaged = bytearray(data)
        for position in rng.integers(0, min(len(data), 250), 3):
            damaged[position] = rng.integers(0, 256)
        (tmp_path / "damaged").write_bytes(damaged)
        with contextlib.suppress(ImageError):
            image_facts(tmp_path / "damaged")


def test_error_names_file_problem_and_remedy(tmp_path):
    """Each of the three is also there by itself."""
    with pytest.raises(ImageError, match="nowhere.png: .*found no file; restore") as caught:
        read_image(tmp_path / "nowhere.png")
    assert caught.value.path == tmp_path / "nowhere.png"
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ImageError, match=r"empty file \(0 bytes\)"):
        read_image(tmp_path / "empty")
    (tmp_path / "text").write_bytes(b"hello world")
    with pytest.raises(ImageError, match="11 bytes that begin with b'hello wo'"):
        read_image(tmp_path / "text")


def test_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    """A few bytes may claim to be 70,000 x 70,000 pixels."""
    (tmp_path / "bomb.png").write_bytes(png_bytes(70_000, 70_000, 8, 0, [b"\0"]))
    with pytest.raises(ImageError, match="at most 600 MB.*tiles"):
        image_facts(tmp_path / "bomb.png")


def test_bomb_is_refused_also_where_pillow_does_not_look(tmp_path, monkeypatch):
    """Another library in the process may have switched Pillow's own limit off."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    (tmp_path / "bomb.png").write_bytes(png_bytes(70_000, 70_000, 8, 0, [b"\0"]))
    with pytest.raises(ImageError, match="found 70000 x 70000"):
        image_facts(tmp_path / "bomb.png")


def test_tiff_of_several_pages_is_refused(tmp_path):
    """Nobody could say which page is meant."""
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_bytes(((1, 2), b"\x05\x06"), bits=8, samples=1, n_pages=2))
    with pytest.raises(ImageError, match="TIFF of 2 pages"):
        image_facts(path)


def test_cmyk_is_converted(tmp_path):
    """Four inks are four channels in the file and three colours for the models."""
    path = tmp_path / "a.tif"
    Image.new("CMYK", (3, 2), (0, 255, 255, 0)).save(path, "TIFF")
    assert image_facts(path).n_channels == 4
    assert read_image(path)[0, 0].tolist() == [255, 0, 0]


def test_facts_hold_the_digest_of_the_file(tmp_path):
    """The file's digest changes with how it is written, the picture's does not."""
    one, two = save(tmp_path / "a.png", RGB), save(tmp_path / "a.bmp", RGB, "BMP")
    assert image_facts(one).sha256 == hashlib.sha256(one.read_bytes()).hexdigest()
    assert image_facts(one).sha256 != image_facts(two).sha256
    assert image_facts(one).pixel_digest == image_facts(two).pixel_digest
    other = save(tmp_path / "b.png", RGB.swapaxes(0, 1).copy())
    assert image_facts(one).pixel_digest != image_facts(other).pixel_digest


@pytest.mark.parametrize("array", [RGB, RGB[:, :, 0], DEEP[:, :, 0], RGB[:, ::-1]])
def test_written_png_comes_back(tmp_path, array):
    """Folders are made, and nothing else is left behind."""
    path = tmp_path / "deep" / "er" / "a.png"
    write_png(array, path)
    assert (
        cv2.imread(str(path), cv2.IMREAD_UNCHANGED).reshape(6, 9, -1)[..., ::-1]
        == array.reshape(6, 9, -1)
    ).all()
    assert [entry.name for entry in path.parent.iterdir()] == ["a.png"]


def test_longest_file_name_is_written(tmp_path):
    """A serial number, a date, a station in the name: the temporary one must not be longer."""
    path = tmp_path / ("x" * 251 + ".png")
    write_png(RGB, path)
    assert (read_image(path) == RGB).all()


@pytest.mark.parametrize("read", [read_image, look_at_mask, image_facts])
def test_pipe_is_refused_and_not_waited_for(tmp_path, read):
    """Nobody writes into it, so that reading it would never end."""
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    for name in ("a.png", "b.png"):
        with pytest.raises(ImageError, match="expected an image, found a pipe; put the file"):
            read(tmp_path / name)


def test_bool_mask_is_written_as_0_and_255(tmp_path):
    """That is what a mask PNG of this project holds."""
    write_png(np.array([[True, False]]), tmp_path / "m.png")
    assert np.asarray(Image.open(tmp_path / "m.png")).tolist() == [[255, 0]]


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    """A killed job must not leave half a picture under the final name."""
    path = tmp_path / "a.png"
    write_png(RGB, path)

    def break_off(self, file, *args, **kwargs):
        with open(file, "wb") as opened:
            opened.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", break_off)
    with pytest.raises(OSError, match="disk full"):
        write_png(np.zeros_like(RGB), path)
    monkeypatch.undo()
    assert (read_image(path) == RGB).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 3), np.uint8)]
)
def test_other_arrays_are_not_written(tmp_path, array):
    """A float array has no agreed white."""
    with pytest.raises(ValueError, match="a PNG is written from"):
        write_png(array, tmp_path / "a.png")


def test_array_belongs_to_the_caller(tmp_path):
    """What is read may be drawn on."""
    got = read_image(save(tmp_path / "a.png", RGB))
    got[:] = 0
    assert got.max() == 0
