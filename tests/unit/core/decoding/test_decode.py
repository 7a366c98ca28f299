"""What stands around the pixels: trailers, colours, transparency, bombs, and what is no picture."""

import io
import os
import socket
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from realitycheck.core.decoding.decoded import ImageError
from realitycheck.core.images import image_facts, read_image
from realitycheck.core.masks import MaskReading, look_at_mask, read_truth

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
WHITE_XYY = (0.3127, 0.3290, 1.0)
SRGB_XYY = (0.64, 0.33, 1.0, 0.30, 0.60, 1.0, 0.15, 0.06, 1.0)
#: Primaries of Display P3, as phones write it.
P3_XYY = (0.68, 0.32, 1.0, 0.265, 0.69, 1.0, 0.15, 0.06, 1.0)


def encoded(array, kind, mode=None, **options):
    buffer = io.BytesIO()
    Image.fromarray(array, mode).save(buffer, kind, **options)
    return buffer.getvalue()


def truth_of(path):
    """Read a mask with the background of its kind."""
    return read_truth(path, MaskReading(background=(look_at_mask(path).ground,)))


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(png, name, body):
    """Put a chunk behind the header of a PNG."""
    return png[:33] + chunk(name, body) + png[33:]


def written(path, data):
    path.write_bytes(data)
    return path


# ---------------------------------------------------------------------------------- what follows


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("trailer", ["noise", "zeros", "picture"])
def test_what_follows_a_picture_is_no_part_of_it(tmp_path, kind, trailer):
    """Phones append a video and cameras their records; about half of random bytes hold markers."""
    rng = np.random.default_rng(1)
    whole = encoded(RGB, kind)
    expected = read_image(written(tmp_path / "whole", whole))
    for _ in range(5):
        more = {"noise": rng.bytes(100_000), "zeros": bytes(5000), "picture": whole}[trailer]
        path = written(tmp_path / "longer", whole + more)
        assert (read_image(path) == expected).all()


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_cut_short_is_refused_whatever_stands_in_its_header(tmp_path, progressive):
    """A thumbnail has an end marker of its own, and it is not the picture's."""
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(noise, "JPEG", progressive=progressive)
    thumbnail = b"\xff\xe1" + struct.pack(">H", len(data[:900]) + 4) + data[:900] + b"\xff\xd9"
    path = written(tmp_path / "a", data[:2] + thumbnail + data[2:-200])
    with pytest.raises(ImageError, match="no end marker: it is cut short"):
        image_facts(path)


def test_first_picture_of_a_jpeg_with_several_counts(tmp_path):
    """Phones write depth and gain maps as further pictures."""
    first, second = (Image.fromarray(np.full((16, 16, 3), v, np.uint8)) for v in (200, 10))
    first.save(tmp_path / "a", "MPO", save_all=True, append_images=[second])
    assert abs(read_image(tmp_path / "a").astype(int) - 200).max() <= 2


def test_texts_of_a_png_are_not_unpacked(tmp_path):
    """A comment of 16 MB, packed to 16 KB, is nothing to look at."""
    comment = zlib.compress(bytes(1 << 24), 9)
    whole = encoded(RGB, "PNG")
    data = with_chunk(whole, b"zTXt", b"Comment\0\0" + comment)
    assert (read_image(written(tmp_path / "a", data)) == RGB).all()
    profile = with_chunk(whole, b"iCCP", b"p\0\0" + comment)
    with pytest.raises(ImageError, match="too large"):
        read_image(written(tmp_path / "b", profile))


# ----------------------------------------------------------------------------------------- size


@pytest.mark.parametrize(("depth", "colour", "n"), [(8, 0, 1), (16, 2, 6)])
def test_png_that_unpacks_to_more_than_its_picture_is_no_bomb(tmp_path, depth, colour, n):
    """1 GB of packed zeros takes seconds to unpack; two rows are enough."""
    header = struct.pack(">IIBBBBB", 2, 2, depth, colour, 0, 0, 0)

    def png(raw):
        chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9))
        return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")

    path = written(tmp_path / "a", png(bytes(1 << 24)))
    assert (read_image(path) == 0).all()
    path = written(tmp_path / "b", png(np.random.default_rng(0).bytes(200_000)))
    with pytest.raises(ImageError, match="bytes of packed data for 2 x 2 pixels"):
        read_image(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF"])
def test_size_is_limited_by_a_setting_before_anything_is_decoded(tmp_path, kind):
    """A file of some hundred bytes may unpack to fill the memory."""
    path = written(tmp_path / "a", encoded(np.zeros((1200, 900), np.uint8), kind))
    size = os.path.getsize(path)
    image_facts(path, max_decoded_mb=max(1.1, size / 1e6))
    with pytest.raises(ImageError, match="900 x 1200.*raise max_decoded_mb|file of at most"):
        image_facts(path, max_decoded_mb=1.05)
    with pytest.raises(ImageError, match="900 x 1200.*raise max_decoded_mb|file of at most"):
        read_image(path, max_decoded_mb=1.05)


def test_file_is_limited_before_it_is_read(tmp_path):
    """A file of 1 GB that claims to be of 2 x 2 pixels would be read as a whole."""
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.write(encoded(RGB, "PNG"))
        file.truncate(10**9)
    with pytest.raises(ImageError, match="at most 600 MB, found 1000 MB"):
        image_facts(path)


def test_jpeg_of_very_many_scans_is_refused(tmp_path):
    """Each scan of some bytes costs the time of the whole picture."""
    data = encoded(np.zeros((64, 64), np.uint8), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    path = written(tmp_path / "a", data[:last] + data[last:-2] * 300 + data[-2:])
    with pytest.raises(ImageError, match="more than 100 scans"):
        image_facts(path)


# --------------------------------------------------------------------------------- transparency


def bmp_with_fourth_byte(rgb, fourth):
    """Write a 32-bit BMP whose header declares alpha."""
    height, width = rgb.shape[:2]
    pixels = np.dstack([rgb[::-1, :, ::-1], np.full((height, width), fourth, np.uint8)]).tobytes()
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    at = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", at + len(pixels), 0, 0, at) + header + pixels


@pytest.mark.parametrize("fourth", [0, 255])
def test_fourth_byte_of_a_bmp_that_is_0_everywhere_is_no_alpha(tmp_path, fourth):
    """Programs that know no transparency leave it at 0."""
    path = written(tmp_path / "a", bmp_with_fourth_byte(RGB, fourth))
    assert (read_image(path) == RGB).all()
    drawn = np.where(RGB[:, :, :1] > 127, np.uint8(255), np.uint8(0)).repeat(3, axis=2)
    truth = truth_of(written(tmp_path / "m", bmp_with_fourth_byte(drawn, fourth)))
    assert (truth == drawn[:, :, 0]).all()


def test_alpha_of_a_picture_that_is_0_everywhere_is_left_out_of_account(tmp_path):
    """Nothing would be left of it; of a mask, nothing is what it says."""
    clear = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    path = written(tmp_path / "a", encoded(clear, "PNG"))
    assert (read_image(path) == RGB).all()
    mask = np.dstack([np.full((6, 9, 3), 255, np.uint8), np.zeros((6, 9), np.uint8)])
    assert not truth_of(written(tmp_path / "m", encoded(mask, "PNG"))).any()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_transparent_grey_of_few_bits_is_black(tmp_path, depth):
    """The value is in units of the file, not of the stretched picture."""
    header = struct.pack(">IIBBBBB", 2, 1, depth, 0, 0, 0, 0)
    top = 2**depth - 1
    row = bytes([0, (top << (8 - depth)) | ((top - 1) << (8 - 2 * depth))])
    parts = chunk(b"IHDR", header) + chunk(b"tRNS", struct.pack(">H", top))
    parts += chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    path = written(tmp_path / "a", b"\x89PNG\r\n\x1a\n" + parts)
    assert read_image(path)[0, :, 0].tolist() == [0, round(255 * (top - 1) / top)]


# --------------------------------------------------------------------------------------- colours


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_wide_colours_are_brought_to_srgb(tmp_path, kind):
    """Phones write Display P3; its green is greener than sRGB's, so numbers must change."""
    profile = imagecodecs.cms_profile("rgb", whitepoint=WHITE_XYY, primaries=P3_XYY, gamma=2.2)
    flat = np.full((16, 16, 3), (200, 60, 60), np.uint8)
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    path = written(tmp_path / "a", encoded(flat, kind, icc_profile=profile, **options))
    light = (np.array([200, 60, 60]) / 255) ** 2.2
    p3 = np.array([[0.4866, 0.2657, 0.1982], [0.2290, 0.6917, 0.0793], [0, 0.0451, 1.0439]])
    srgb = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    linear = np.linalg.solve(srgb, p3 @ light).clip(0, 1)
    expected = 255 * np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    assert abs(read_image(path)[8, 8] - expected).max() <= 3
    raw = {"mapping": "fixed", "low": 0, "high": 255}
    assert abs(read_image(path, intensity=raw)[8, 8].astype(int) - (200, 60, 60)).max() <= 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_linear_grey_is_shown_brighter(tmp_path, dtype):
    """A camera's linear values, said to be so, are no sRGB."""
    top = np.iinfo(dtype).max
    linear = np.linspace(0, 1, 60)
    stored = np.rint(linear * top).astype(dtype)[None]
    profile = imagecodecs.cms_profile("gray", whitepoint=WHITE_XYY, gamma=1.0)
    path = written(tmp_path / "a", encoded(stored, "PNG", icc_profile=profile))
    exact = stored[0] / top
    expected = 255 * np.where(exact <= 0.0031308, 12.92 * exact, 1.055 * exact ** (1 / 2.4) - 0.055)
    assert abs(read_image(path)[0, :, 0] - expected).max() <= 1.01
    gamma = with_chunk(encoded(stored, "PNG"), b"gAMA", struct.pack(">I", 100_000))
    assert abs(read_image(written(tmp_path / "b", gamma))[0, :, 0] - expected).max() <= 1.01


@pytest.mark.parametrize("what", ["sRGB", "gamma 2.2", "grey of RGB", "broken", "gAMA"])
def test_profile_that_changes_nothing_changes_nothing(tmp_path, what):
    """Nearly every picture has one; not a bit may differ for it."""
    profile = {
        "sRGB": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        "gamma 2.2": imagecodecs.cms_profile(
            "rgb", whitepoint=WHITE_XYY, primaries=SRGB_XYY, gamma=2.2
        ),
        "grey of RGB": imagecodecs.cms_profile("gray", whitepoint=WHITE_XYY, gamma=1.0),
        "broken": b"x" * 128,
    }.get(what)
    data = encoded(RGB, "PNG", icc_profile=profile) if profile else encoded(RGB, "PNG")
    if what == "gAMA":
        data = with_chunk(data, b"gAMA", struct.pack(">I", 45_455))
    assert (read_image(written(tmp_path / "a", data)) == RGB).all()


def test_inks_are_inverted_where_adobes_marker_says_so(tmp_path):
    """Without it, more is more ink."""
    ink = np.full((16, 16, 4), (0, 200, 100, 30), np.uint8)
    data = encoded(ink, "JPEG", "CMYK", quality=100)
    share = ink[0, 0] / 255
    expected = 255 * (1 - share[:3]) * (1 - share[3])
    assert abs(read_image(written(tmp_path / "a", data))[8, 8] - expected).max() <= 3
    at = data.index(b"\xff\xee")
    plain = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    share = 1 - share
    expected = 255 * (1 - share[:3]) * (1 - share[3])
    assert abs(read_image(written(tmp_path / "b", plain))[8, 8] - expected).max() <= 3


@pytest.mark.parametrize("bits", [12, 16])
def test_jpeg_of_more_than_8_bits_keeps_them(tmp_path, bits):
    """Radiographs are written so; 12 bits end at 4095."""
    grey = np.random.default_rng(3).integers(0, 2**bits, (20, 24)).astype(np.uint16)
    data = imagecodecs.jpeg8_encode(grey, lossless=True, bitspersample=bits)
    exif = Image.Exif()
    exif[274] = 8
    block = exif.tobytes()
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    path = written(tmp_path / "a", data)
    assert image_facts(path).bit_depth == bits
    assert abs(read_image(path)[:, :, 0] - np.rot90(grey) * (255 / (2**bits - 1))).max() <= 0.5


# -------------------------------------------------------------------------- what is no picture

FOREIGN = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n": "Git LFS.*git lfs pull",
    b"<!DOCTYPE html><html><body>Log in</body></html>": "an HTML page.*download it again",
    b"\xef\xbb\xbf\n  <html>": "an HTML page",
    b'{"error": "not found"}': "a JSON document",
    b"outs:\n- md5: 0123\n  path: a.png\n": "a DVC pointer; run `dvc pull`",
    b"/annex/objects/SHA256E-s9--00.png\n": "a git-annex pointer; run `git annex get`",
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic": "a HEIC image",
    b"\0\0\0\x18ftypavif\0\0\0\0": "an AVIF image",
    b"\0\0\0\x18ftypmp42\0\0\0\0": "an MP4 or QuickTime video",
    b"\0\0\0\x18ftypcrx \0\0\0\0": "a Canon raw image",
    b"RIFF\0\0\0\0WEBPVP8 ": "a WebP image",
    b"\0\0\0\x0cjP  \r\n\x87\n": "a JPEG 2000 image",
    b"\xff\x4f\xff\x51\0\0": "a JPEG 2000 image",
    b"\xff\xd8\xff\xf7\0\x0b\x08": "a JPEG-LS image",
    b"\xff\x0a\0\0": "a JPEG XL image",
    bytes(128) + b"DICM\2\0": "a DICOM image.*export it as 16-bit PNG",
    b"%PDF-1.7\n": "a PDF document",
    b"8BPS\0\1": "a Photoshop document",
    b"PK\3\4\0\0": "a ZIP archive",
    b"\x93NUMPY\1\0": "a NumPy array",
    b"P5\n2 2\n255\n1234": "a Netpbm image",
    b"bplist00\xd1": "a macOS property list",
    b"\0\5\x16\7\0\2": "a macOS attachment",
    bytes(5000): "5000 bytes that begin with zeros only; copy it again",
    b"hello world": "11 bytes that begin with b'hello wo'",
}


@pytest.mark.parametrize("data", FOREIGN, ids=lambda data: repr(data[:12]))
def test_what_is_no_picture_is_named(tmp_path, data):
    """'Damaged; copy it again' helps nobody whose file is whole."""
    path = written(tmp_path / "a.png", data)
    for read in (image_facts, read_image, look_at_mask):
        with pytest.raises(ImageError, match=FOREIGN[data]) as caught:
            read(path)
        assert "damaged" not in caught.value.problem


def test_link_to_nothing_is_named(tmp_path):
    """A data set of git-annex is full of them until its files are fetched."""
    path = tmp_path / "a.png"
    path.symlink_to(".git/annex/objects/x.png")
    with pytest.raises(ImageError, match="a link to .*x.png, which is not there.*git annex get"):
        image_facts(path)


def test_nothing_that_blocks_is_opened(tmp_path):
    """Reading a pipe waits until somebody writes, and a device never ends."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)  # a socket's path is short
        server.bind("socket")
        os.chdir(here)
        for name in ("pipe", "device", "socket"):
            for read in (image_facts, read_image, look_at_mask):
                with pytest.raises(ImageError, match=f"found a {name}; put the file"):
                    read(tmp_path / name)
