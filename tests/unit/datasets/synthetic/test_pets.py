"""Drawn pets: cats are NOK with an exact mask, dogs are OK."""

import csv

import cv2
import numpy as np
import pytest

from realitycheck.datasets.synthetic.drawn_sets import image_rng
from realitycheck.datasets.synthetic.pets import draw_pet, generate


def test_files_lie_in_the_folder_layout_with_truth(tmp_path):
    """What is drawn is read like any user's folder."""
    truth = generate(tmp_path, n_ok=2, n_nok=2, n_train=1, image_size_px=96)
    rows = list(csv.DictReader(truth.open(encoding="utf-8")))
    assert [(row["image"], row["label"]) for row in rows] == [
        ("train/OK/0000.png", "OK"),
        ("test/OK/0000.png", "OK"),
        ("test/OK/0001.png", "OK"),
        ("test/NOK/cat/0000.png", "NOK"),
        ("test/NOK/cat/0001.png", "NOK"),
    ]
    masks = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.glob("masks/**/*.png"))
    assert masks == ["masks/test/NOK/cat/0000.png", "masks/test/NOK/cat/0001.png"]
    for row in rows[3:]:
        mask = cv2.imread(str(tmp_path / "masks" / row["image"]), cv2.IMREAD_UNCHANGED)
        assert int((mask > 0).sum()) == int(row["area_px"]) > 100


def test_another_count_keeps_the_images_that_both_have(tmp_path):
    """A larger set must not be another set."""
    for name, n in (("small", 1), ("large", 3)):
        generate(tmp_path / name, n_ok=n, n_nok=n, n_train=0, image_size_px=96)
    for image in ("test/OK/0000.png", "test/NOK/cat/0000.png"):
        small, large = (tmp_path / name / "images" / image for name in ("small", "large"))
        assert small.read_bytes() == large.read_bytes()


def test_animal_is_whole_and_of_varied_size():
    """An animal that hides behind a cup would be no easy case."""
    shares = []
    for index in range(8):
        drawn = draw_pet(image_rng("t", str(index), seed=0), "cat", size_px=96)
        border = np.concatenate([drawn.mask[[0, -1]].ravel(), drawn.mask[:, [0, -1]].ravel()])
        assert border.mean() < 0.08
        shares.append(drawn.mask.mean())
    assert max(shares) > 2 * min(shares) > 0


def test_negative_count_is_refused(tmp_path):
    """It would silently draw nothing."""
    with pytest.raises(ValueError, match="n_ok of synthetic_pets must be at least 0"):
        generate(tmp_path, n_ok=-1, n_nok=1, n_train=0)
