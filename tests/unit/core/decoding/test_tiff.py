"""TIFF layouts that a person meets, and what a hostile TIFF could do."""

import struct

import numpy as np
import pytest
import tifffile

from realitycheck.core.decoding.decoded import ImageError
from realitycheck.core.images import image_facts, read_image
from realitycheck.core.masks import MaskReading, look_at_mask, read_truth

GREY = np.random.default_rng(0).integers(0, 256, (6, 9), dtype=np.uint8)


def tiff(path, data=None, *, order="<", **tags):
    """Write a TIFF of one strip by hand; `t258=12` sets tag 258, None leaves it out."""
    data = GREY.tobytes() if data is None else data
    fields = {256: 9, 257: 6, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 6, 279: len(data)}
    fields |= {int(name[1:]): value for name, value in tags.items()}
    entries = [
        struct.pack(order + "HHII", tag, 4, 1, value)
        for tag, value in sorted(fields.items())
        if value is not None
    ]
    data += bytes(len(data) % 2)
    start = struct.pack(order + "I", 8 + len(data))
    head = (b"II*\0" if order == "<" else b"MM\0*") + start
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    path.write_bytes(head + data + directory)
    return path


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("photometric", [0, 1, None])
def test_white_is_zero_is_turned_round(tmp_path, order, photometric):
    """X-ray and film scanners write it; without the tag, black is 0."""
    stored = 255 - GREY if photometric == 0 else GREY
    path = tiff(tmp_path / "a", stored.tobytes(), order=order, t262=photometric)
    assert (read_image(path)[:, :, 0] == GREY).all()


def test_palette_of_8_bit_values_is_not_cut_to_black(tmp_path):
    """Some writers leave 8-bit values where 16 bits are due."""
    palette = np.random.default_rng(1).integers(0, 256, (3, 256), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a", GREY, photometric="palette", colormap=palette)
    assert (read_image(tmp_path / "a") == palette.T[GREY]).all()
    assert image_facts(tmp_path / "a").n_channels == 3


def test_trimap_in_a_palette_keeps_its_indices(tmp_path):
    """The colours are for people."""
    palette = np.random.default_rng(1).integers(0, 65536, (3, 256), dtype=np.uint16)
    values = np.array([[1, 2, 3]], np.uint8)
    tifffile.imwrite(tmp_path / "m", values, photometric="palette", colormap=palette)
    assert look_at_mask(tmp_path / "m").form == "palette"
    reading = MaskReading(background=("2",), ignore=("3",))
    assert read_truth(tmp_path / "m", reading).tolist() == [[255, 0, 128]]


def test_mask_of_one_bit_is_read_as_drawn(tmp_path):
    """With white at 0, too."""
    tiff(tmp_path / "m", bytes([0b01111111, 0xFF]) * 6, t258=1, t262=0)
    truth = read_truth(tmp_path / "m", MaskReading(background=("0",)))
    assert truth[:, 0].tolist() == [255] * 6 and not truth[:, 1:].any()


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"t50706": 1}, "a camera's raw file"),
        ({"t254": 1, "t330": 8}, "a camera's raw file"),
        ({"t65420": 1}, "a Hamamatsu slide"),
        ({"t262": 32845}, "LogLuv colours"),
        ({"t262": 777}, "photometric interpretation 777"),
        ({"t259": 34712}, "compression JPEG2000"),
        ({"t258": 64, "t339": 5}, "64-bit complex numbers"),
        ({"t258": 40}, "40-bit unsigned integers"),
        ({"t32997": 3}, "a volume of 3 layers"),
        ({"t262": 3, "t258": 32}, "a palette with 1 channels of 32-bit"),
        ({"t277": 3, "t256": 3}, "grey with 2 further channels"),
        ({"t262": 5, "t277": 5, "t256": 1, "t332": 2}, "5 inks"),
        ({"t262": 6, "t277": 3, "t256": 3}, "YCbCr colours that are coarser"),
    ],
)
def test_layout_without_an_agreed_picture_is_named(tmp_path, tags, words):
    """'Damaged' would send its owner the wrong way."""
    with pytest.raises(ImageError, match=words) as caught:
        read_image(tiff(tmp_path / "a", **tags))
    assert "damaged" not in caught.value.problem


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"t279": 0}, "cut short"),
        ({"t273": 9999}, "cut short"),
        ({"t279": 53}, "53 of 54 bytes: it is cut short"),
        ({"t278": 0}, "segments of 9 x 0 pixels"),
        ({"t278": 1}, "1 of 6 segments are listed"),
        ({"t256": 0}, "found 0 x 6 pixels"),
        ({"t273": None}, "segments are listed"),
        ({"t256": 300_000, "t257": 300_000}, "max_decoded_mb"),
        ({"t322": 60_000, "t323": 60_000, "t324": 8, "t325": 54}, "max_decoded_mb"),
    ],
)
def test_tags_that_lie_are_found_before_decoding(tmp_path, tags, words):
    """Nothing may be made up where data are missing."""
    with pytest.raises(ImageError, match=words):
        image_facts(tiff(tmp_path / "a", **tags))


def test_pages_in_a_circle_end(tmp_path):
    """The last page may lead to the first."""
    path = tiff(tmp_path / "a")
    data = bytearray(path.read_bytes())
    data[-4:] = data[4:8]
    path.write_bytes(data)
    with pytest.raises(ImageError, match="form a circle"):
        image_facts(path)


def test_tag_of_very_many_numbers_is_not_read(tmp_path):
    """Each of two bytes would become an object of forty."""
    path = tiff(tmp_path / "a", bytes(9_000_000))
    data = bytearray(path.read_bytes())
    at = data.rindex(struct.pack("<HHI", 273, 4, 1))
    struct.pack_into("<HHII", data, at, 273, 3, 4_000_000, 8)
    path.write_bytes(data)
    with pytest.raises(ImageError, match="numbers in its tags"):
        image_facts(path)


def test_reduced_copies_are_no_pages(tmp_path):
    """Viewers show the picture, and a thumbnail beside it is its own."""
    for name, first in (("a", 0), ("b", 1)):
        with tifffile.TiffWriter(tmp_path / name) as writer:
            for kind in (first, 1 - first):
                writer.write(
                    GREY[::2] if kind else GREY, photometric="minisblack", subfiletype=kind
                )
        assert (read_image(tmp_path / name)[:, :, 0] == GREY).all()


def test_only_page_is_read_even_if_it_is_called_a_copy(tmp_path):
    """Some writers mark every file so."""
    assert (read_image(tiff(tmp_path / "a", t254=1))[:, :, 0] == GREY).all()


def test_nan_and_infinity_are_named(tmp_path):
    """In every width of floats."""
    for dtype in (np.float16, np.float32, np.float64):
        values = np.array([[0, np.inf, 1]], dtype)
        tifffile.imwrite(tmp_path / "a", values, photometric="minisblack")
        with pytest.raises(ImageError, match="found NaN or infinity"):
            image_facts(tmp_path / "a")
