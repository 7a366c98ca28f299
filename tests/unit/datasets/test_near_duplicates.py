"""Near-duplicates are found among images that all look alike, and only those."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realitycheck.datasets import near_duplicates as module
from realitycheck.datasets.near_duplicates import near_duplicates, thumbnail


def perceptual_hashes(pictures):
    return module._bits(module._low_frequencies(pictures))


def parts(n, *, seed=0, size=160, noise=12):
    """Photographs of n parts of one product: the same drawing, and what each part's own is."""
    rng = np.random.default_rng(seed)
    drawing = cv2.GaussianBlur(rng.normal(size=(size, size)), None, 8) * 900 + 128
    own = [cv2.GaussianBlur(rng.normal(size=(size, size)), None, 3) * noise * 9 for _ in range(n)]
    return [
        np.repeat(np.clip(drawing + each, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        for each in own
    ]


def saved_again(image, quality=70):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)


CHANGES = {
    "saved as JPEG": saved_again,
    "half the size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5),
    "brighter": lambda image: cv2.convertScaleAbs(image, alpha=0.9, beta=15),
    "a small mark": lambda image: cv2.circle(image.copy(), (80, 80), 2, (255, 255, 255), -1),
}


def pairs_of(images):
    return [(i, j) for i, j, *_ in near_duplicates(np.stack([thumbnail(each) for each in images]))]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_changed_copy_is_found_among_parts_of_one_product(change):
    """What every part shares is taken away, so that 20 others are no copies."""
    images = parts(20)
    assert pairs_of([*images, change(images[7])]) == [(7, 20)]


POSES = {
    "mirrored": lambda image: image[:, ::-1],
    "turned by 90°": lambda image: np.rot90(image, 3),
    "turned by 180°": lambda image: np.rot90(image, 2),
    "turned by 270°": lambda image: np.rot90(image, 1),
    "mirrored and turned by 90°": lambda image: np.rot90(image, 3)[:, ::-1],
    "mirrored and turned by 180°": lambda image: image[::-1],
    "mirrored and turned by 270°": lambda image: np.rot90(image, 1)[:, ::-1],
}


@pytest.mark.parametrize("pose", POSES)
def test_mirrored_and_turned_copies_are_found(pose):
    """An export with augmentation made before the split puts such copies into training."""
    images = parts(20)
    copy = saved_again(np.ascontiguousarray(POSES[pose](images[7])))
    (pair,) = near_duplicates(np.stack([thumbnail(each) for each in [*images, copy]]))
    assert (pair.first, pair.second, pair.pose) == (7, 20, pose)


def test_parts_that_lie_turned_are_no_copies():
    """Each lies in another pose, so that in no pose the mean is what all of them share."""
    images = [POSES[pose](image) for pose, image in zip(POSES, parts(7, noise=2), strict=True)]
    assert pairs_of([np.ascontiguousarray(image) for image in images]) == []


def test_augmented_copies_are_found_where_all_images_are_some():
    """A turned copy of every image: then the mean holds each picture in two poses."""
    images = parts(12, noise=40)
    copies = [np.ascontiguousarray(list(POSES.values())[i % 7](x)) for i, x in enumerate(images)]
    assert pairs_of([*images, *copies]) == [(i, i + 12) for i in range(12)]


def test_ordinary_hash_would_take_all_parts_for_copies():
    """The reason for taking the mean away: raw pictures of a product differ in few bits."""
    small = np.stack([thumbnail(each) for each in parts(12, noise=2)])
    hashes = perceptual_hashes(small)
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(-1)
    assert (distance[np.triu_indices(12, 1)] <= 40).mean() > 0.5
    assert near_duplicates(small) == []


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_few_parts_of_one_product_are_no_copies(n):
    """A small data set of parts that look alike must not be stopped."""
    assert pairs_of(parts(n, noise=1)) == []


@pytest.mark.parametrize("n", [2, 3, 6])
def test_copy_among_few_parts_is_found(n):
    """Even the mean of three pictures leaves what makes the third one differ."""
    images = parts(n)
    assert pairs_of([*images, saved_again(images[0], quality=90)]) == [(0, n)]


def test_blank_images_are_no_pair():
    """A constant picture has nothing to compare; identical files are found elsewhere."""
    blank = np.full((40, 40, 3), 7, np.uint8)
    assert pairs_of([blank, blank]) == []
    assert np.isfinite(thumbnail(blank)).all()


def test_pairs_do_not_depend_on_how_many_are_compared_at_once(monkeypatch):
    """Blocks keep memory flat and lose no pair."""
    images = parts(9)
    images += [saved_again(images[0]), saved_again(images[8])]
    monkeypatch.setattr(module, "_PAIRS_PER_CHUNK", 20)
    assert pairs_of(images) == [(0, 9), (8, 10)]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_hash_ignores_brightness_and_contrast(seed):
    """Coefficients are compared with their own median, the constant left out."""
    picture = np.random.default_rng(seed).random((1, 32, 32))
    np.testing.assert_array_equal(perceptual_hashes(picture), perceptual_hashes(3 * picture + 20))
