"""What a mask file holds, and how it becomes truth."""

import hashlib

import cv2
import numpy as np
import pytest
from PIL import Image

from realitycheck.core.decoding.decoded import ImageError
from realitycheck.core.images import image_facts
from realitycheck.core.masks import MaskReading, look_at_mask, read_truth

DARK = MaskReading(background=("0",))
#: What PIL calls the turn that brings the stored pixels to what is shown.
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def with_orientation(path, array, orientation):
    """Write a picture with an EXIF orientation, as a camera or a tool does."""
    exif = Image.Exif()
    exif[274] = orientation
    if path.suffix == ".tif":
        Image.fromarray(array).save(path, tiffinfo={274: orientation})
    else:
        Image.fromarray(array).save(path, exif=exif)
    return path


@pytest.mark.parametrize("value", [1, 38, 255])
def test_any_other_value_than_0_is_defect(tmp_path, value):
    """Tools write 1, 255 or a class number."""
    path = save(tmp_path / "m.png", np.array([[0, value]], np.uint8))
    assert read_truth(path, DARK).tolist() == [[0, 255]]
    assert look_at_mask(path).count(DARK) == 1


def test_form_and_values_go_by_the_file_and_not_by_how_it_looks(tmp_path):
    """Index 1 of a palette is 1 whatever its colour; transparent pixels have no colour."""
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([255, 255, 255, 128, 0, 0])
    palette.save(tmp_path / "palette.png")
    greys = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    greys.putpalette([0, 0, 0, 200, 200, 200])
    greys.save(tmp_path / "greys.png")
    save(tmp_path / "blue.png", np.array([[[0, 0, 0], [0, 0, 9]]], np.uint8))
    save(tmp_path / "bit.png", np.array([[False, True]]))
    save(tmp_path / "deep.png", np.array([[0, 65535]], np.uint16))
    save(tmp_path / "float.tif", np.array([[0, 0.5]], np.float32))
    save(tmp_path / "overlay.png", np.array([[[255, 0, 0, 0], [255, 0, 0, 255]]], np.uint8))
    save(tmp_path / "opaque.png", np.array([[[0, 0, 0, 255], [9, 9, 9, 255]]], np.uint8))
    expected = {
        "palette.png": ("palette", ["0", "1"], "0"),
        "greys.png": ("grey", ["0", "200"], "0"),
        "blue.png": ("colour", ["#000000", "#000009"], "#000000"),
        "bit.png": ("grey", ["0", "255"], "0"),
        "deep.png": ("grey", ["0", "65535"], "0"),
        "float.tif": ("grey", ["0", "0.5"], "0"),
        "overlay.png": ("transparent", ["transparent", "#ff0000"], "transparent"),
        "opaque.png": ("grey", ["0", "9"], "0"),
    }
    for name, (form, values, ground) in expected.items():
        facts = look_at_mask(tmp_path / name)
        assert (facts.form, list(facts.values), facts.ground) == (form, values, ground), name
        assert read_truth(tmp_path / name, MaskReading((ground,))).tolist() == [[0, 255]], name


def test_palette_facts_hold_the_colour(tmp_path):
    """A message that says only 'index 1' says nothing to who drew it red."""
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([255, 255, 255, 255, 0, 0])
    palette.save(tmp_path / "p.png")
    assert look_at_mask(tmp_path / "p.png").values["1"].colour == "#ff0000"


def test_layer_without_a_stroke_is_empty_and_opacity_of_0_all_over_is_none(tmp_path):
    """Bitmaps of 32 bits carry a fourth byte that nobody filled."""
    save(tmp_path / "layer.png", np.zeros((2, 2, 4), np.uint8))
    assert list(look_at_mask(tmp_path / "layer.png").values) == ["transparent"]
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0, :3] = 255
    save(tmp_path / "unused.png", rgba)
    assert list(look_at_mask(tmp_path / "unused.png").values) == ["0", "255"]


def test_threshold_parts_levels_in_two(tmp_path):
    """Grey values, the brightest channel, or the opacity; at the threshold is above it."""
    grey = save(tmp_path / "g.png", np.array([[0, 127, 128, 255]], np.uint8))
    colour = save(tmp_path / "c.png", np.array([[[0, 0, 0], [9, 127, 1], [128, 0, 5]]], np.uint8))
    opacity = save(tmp_path / "o.png", np.array([[[5, 5, 5, 0], [5, 5, 5, 200]]], np.uint8))
    dark = MaskReading(background=("below 128",), threshold=128)
    assert read_truth(grey, dark).tolist() == [[0, 0, 255, 255]]
    assert read_truth(colour, dark).tolist() == [[0, 0, 255]]
    assert read_truth(opacity, dark).tolist() == [[0, 255]]
    assert look_at_mask(grey, threshold=128).count(dark) == 2
    bright = MaskReading(background=("128 and above",), threshold=128)
    assert read_truth(grey, bright).tolist() == [[255, 255, 0, 0]]


def test_undecided_values_stay_undecided(tmp_path):
    """As the border of a trimap: neither defect nor background."""
    path = save(tmp_path / "m.png", np.array([[1, 2, 3]], np.uint8))
    reading = MaskReading(background=("2",), ignore=("3",))
    assert read_truth(path, reading).tolist() == [[255, 0, 128]]
    assert look_at_mask(path).count(reading) == 1


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_orientation_is_found_and_applied_in_every_format(tmp_path, ending, orientation):
    """JPEG is not the only format that carries it, and Pillow itself turns some and not others."""
    array = np.zeros((16, 32), np.uint8)
    array[:8, :8] = 255
    path = with_orientation(tmp_path / f"m.{ending}", array, orientation)
    assert image_facts(path).orientation == orientation
    facts = look_at_mask(path)
    assert (facts.height_px, facts.width_px) == (16, 32), "as stored"
    assert facts.orientation == orientation
    shown = Image.fromarray(array)
    if TURNS[orientation] is not None:
        shown = shown.transpose(TURNS[orientation])
    reading = MaskReading(("below 128",), threshold=128, orientation=orientation)
    np.testing.assert_array_equal(read_truth(path, reading), np.asarray(shown))
    upright = MaskReading(("below 128",), threshold=128)
    np.testing.assert_array_equal(read_truth(path, upright), array)


def test_palette_and_transparency_are_turned_alike(tmp_path):
    """They are decoded by another path than grey values."""
    indices = np.zeros((16, 32), np.uint8)
    indices[:8, :8] = 1
    exif = Image.Exif()
    exif[274] = 6
    palette = Image.fromarray(indices, "P")
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.save(tmp_path / "p.png", exif=exif)
    palette.save(tmp_path / "p.tif", tiffinfo={274: 6})
    rgba = np.zeros((16, 32, 4), np.uint8)
    rgba[:8, :8, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "t.png", exif=exif)
    Image.fromarray(rgba).save(tmp_path / "t.tif", tiffinfo={274: 6})
    expected = np.rot90(indices, -1) * 255
    for path in sorted(tmp_path.iterdir()):
        ground = look_at_mask(path).ground
        truth = read_truth(path, MaskReading((ground,), orientation=6))
        np.testing.assert_array_equal(truth, expected, err_msg=path.name)


def test_slopes_are_told_from_regions(tmp_path):
    """Class numbers are flat whatever their values; brushes, resizing and noise are not."""
    bar = np.zeros((40, 60), np.uint8)
    bar[10:20, 10:40] = 255
    classes = np.zeros_like(bar)
    classes[10:20, 10:20], classes[10:20, 20:40] = 240, 255
    for name, array, is_soft in (
        ("classes", classes, False),
        ("blurred", cv2.GaussianBlur(bar, (5, 5), 1), True),
        ("resized", cv2.resize(bar, (45, 31), interpolation=cv2.INTER_LINEAR), True),
    ):
        facts = look_at_mask(save(tmp_path / f"{name}.png", array))
        assert (facts.n_loose > 0.5 * facts.n_between) is is_soft, name


def test_reading_survives_the_manifest():
    """It travels as text, and every stage must find the same one."""
    reading = MaskReading(("transparent", "#ffffff"), ("255",), 128.0, 6, "told")
    assert MaskReading.from_text(reading.to_text()) == reading


def test_facts_hold_the_digest_of_the_file(tmp_path):
    """The digest is of the bytes that were decoded."""
    path = save(tmp_path / "m.png", np.array([[0, 255]], np.uint8))
    assert look_at_mask(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_no_picture_is_refused(tmp_path):
    """As for images."""
    (tmp_path / "m.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="expected a whole PNG"):
        look_at_mask(tmp_path / "m.png")
