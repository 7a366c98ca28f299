"""Pictures are as large as the page allows, and lie beside it when it does not."""

import base64
import io
from functools import partial

import numpy as np
from PIL import Image

from realitycheck.report.page.pictures import (
    SIDES_PX,
    PictureShelf,
    as_data,
    choose_side,
    encode_picture,
)


def picture(number, size=(60, 80)):
    return np.random.default_rng(number).integers(0, 256, (*size, 3)).astype(np.uint8)


def size_of(encoded):
    return Image.open(io.BytesIO(encoded)).size


def test_a_picture_is_reduced_and_never_enlarged():
    """An enlarged thumbnail only takes space."""
    assert size_of(encode_picture(picture(0, (600, 1200)), side_px=300)) == (300, 150)
    assert size_of(encode_picture(picture(0), side_px=300)) == (80, 60)


def test_fewer_bytes_mean_smaller_pictures_and_then_a_folder():
    """The largest size that fits is taken; where none does, pictures go beside the page."""
    loads = [partial(picture, number, (500, 700)) for number in range(20)]
    sizes = [choose_side(loads, max_bytes=limit) for limit in (1e9, 2.5e6, 1e3)]
    assert sizes[0] == (SIDES_PX[0], True)
    assert SIDES_PX[-1] <= sizes[1][0] < SIDES_PX[0] and sizes[1][1]
    assert sizes[2] == (SIDES_PX[0], False)
    assert choose_side([], max_bytes=0) == (SIDES_PX[0], True)


def test_pictures_in_the_page_need_no_file(tmp_path):
    """And what an earlier, larger page left beside it is gone."""
    folder = tmp_path / "report_images"
    folder.mkdir()
    (folder / "image_00000.webp").write_bytes(b"old")
    shelf = PictureShelf(folder, in_page=True)
    sources = list(shelf.put("image", [partial(picture, n) for n in range(3)], side_px=64))
    assert not folder.exists()
    expected = [as_data(encode_picture(picture(n), side_px=64)) for n in range(3)]
    assert sources == expected
    assert base64.b64decode(sources[0].partition(",")[2])[8:12] == b"WEBP"


def test_pictures_beside_the_page_keep_their_order(tmp_path):
    """They are encoded several at once."""
    shelf = PictureShelf(tmp_path / "report_images", in_page=False, n_threads=3)
    sources = list(shelf.put("image", [partial(picture, n) for n in range(130)], side_px=64))
    assert sources[:2] == ["report_images/image_00000.webp", "report_images/image_00001.webp"]
    assert len(set(sources)) == 130
    for number in (0, 64, 129):
        found = (tmp_path / sources[number]).read_bytes()
        assert found == encode_picture(picture(number), side_px=64)
