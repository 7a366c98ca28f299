"""Names by which other systems call an image."""

import pytest

from realitycheck.methods.imported.names import Image, Names

DIGEST = "ab" * 32
IMAGES = [
    Image("chip/test/NOK/a", "data/chips/test/NOK/a.png", DIGEST),
    Image("chip/test/OK/a", "data/chips/test/OK/a.png", "cd" * 32),
    Image("chip/test/OK/b.1", "data/chips/test/OK/b.1.JPG", "ef" * 32),
    Image("chip/test/OK/grün", "data/chips/test/OK/gru\u0308n.bmp", "01" * 32),
]


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("chip/test/NOK/a", "chip/test/NOK/a"),  # image id
        ("chip/test/NOK/a.png", "chip/test/NOK/a"),  # as the exports of this program call it
        ("data/chips/test/OK/a.png", "chip/test/OK/a"),
        ("NOK/a.png", "chip/test/NOK/a"),  # the end of its path
        ("OK/a", "chip/test/OK/a"),
        (".\\OK\\a.png", "chip/test/OK/a"),
        ("b.1.JPG", "chip/test/OK/b.1"),
        ("b.1", "chip/test/OK/b.1"),
        ("b.1.png", "chip/test/OK/b.1"),  # a mask's name has an ending of its own
        ("gr\u00fcn", "chip/test/OK/grün"),  # however its letters are composed
        (DIGEST.upper(), "chip/test/NOK/a"),
    ],
)
def test_an_image_is_found_by_each_of_its_names(name, image_id):
    """Nobody has to rename a thousand files."""
    assert Names(IMAGES).find(name) == [image_id]


def test_a_file_name_of_two_images_names_neither():
    """A guess would put a prediction onto another part."""
    assert Names(IMAGES).find("a.png") == ["chip/test/NOK/a", "chip/test/OK/a"]
    assert Names(IMAGES).find("K/a.png") == []  # a part of a folder's name is no folder
    assert Names(IMAGES).find("") == Names(IMAGES).find("c.png") == []
