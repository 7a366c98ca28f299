"""What a method has learned from elsewhere must not be scored."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from realitycheck.core.images import read_image
from realitycheck.datasets.locked import file_digest
from realitycheck.stages.training_overlap import AuditError, check_training, training_images


@pytest.fixture
def scored(tmp_path):
    """Manifest of twelve scored images of two products, on disk."""
    rows = []
    for number in range(12):
        category = "ab"[number % 2]
        path = tmp_path / "data" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(drawn(number, category)).save(path)
        row = {"image_id": f"{category}/{number}", "category": category, "image_path": str(path)}
        rows.append(row | {"sha256": file_digest(path)})
    return pd.DataFrame(rows)


def drawn(seed, category):
    """A picture of a product: what all of its pictures share, and what is its own."""
    shared = np.random.default_rng(ord(category)).integers(0, 200, (12, 12))
    own = np.random.default_rng(seed).integers(0, 50, (12, 12))
    return np.kron(shared + own, np.ones((8, 8))).astype(np.uint8)


def check(manifest, *paths):
    check_training("chips", "vendor", map(str, paths), manifest, read=read, n_workers=2)


def read(path):
    return read_image(path)


def test_other_pictures_of_the_same_products_are_no_overlap(scored, tmp_path):
    """Parts of one product look alike, and are other parts."""
    folder = tmp_path / "learned"
    folder.mkdir()
    for number in range(20, 32):
        picture = drawn(number, "ab"[number % 2])
        Image.fromarray(np.rot90(picture, number)).save(folder / f"{number}.png")
    check(scored, folder)
    check(scored)


def test_a_scored_image_among_the_training_images_stops_the_run(scored, tmp_path):
    """The same file under another name, and the same picture saved again and turned."""
    folder = tmp_path / "learned"
    folder.mkdir()
    for number in range(20, 32):
        Image.fromarray(drawn(number, "ab"[number % 2])).save(folder / f"{number}.png")
    (folder / "copy.png").write_bytes((tmp_path / "data" / "2.png").read_bytes())
    turned = Image.fromarray(np.rot90(drawn(3, "b")))
    turned.save(folder / "again.jpg", quality=90)
    with pytest.raises(AuditError) as stopped:
        check(scored, folder)
    told = str(stopped.value)
    assert "methods.vendor.training_images: vendor has learned from 2 of the 12 scored" in told
    assert f"{folder}/copy.png and a/2: the same file" in told
    assert f"{folder}/again.jpg and b/3: nearly the same picture (correlation 1.000, turned" in told


def test_a_list_names_images_by_lines(scored, tmp_path):
    """From its own folder; what it names and is not there is told, all of it."""
    listed = tmp_path / "learned.txt"
    listed.write_text("# of last year\n\ndata/0.png\n")
    images, faults = training_images([str(listed)])
    assert images == [tmp_path / "data" / "0.png"] and faults == []
    with pytest.raises(AuditError, match="0.png and a/0: the same file"):
        check(scored, listed)
    listed.write_text("x.png\ny.png\n")
    with pytest.raises(AuditError, match=r"(?s)line 1: there is no file x.png.*line 2: .* y.png"):
        check(scored, listed)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AuditError, match="expected images, found none"):
        check(scored, tmp_path / "empty")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(AuditError, match="cannot be compared"):
        check(scored, tmp_path / "broken.png")
