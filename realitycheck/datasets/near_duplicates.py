"""Find images that show nearly the same picture, saved again, resized, or brighter.

Industrial images of one product all look alike, so an ordinary perceptual hash takes each for a
copy of each. Here the mean picture of the category is taken away first: what is hashed and compared
is what makes an image differ from the others.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

#: Side of the thumbnails that are compared; 8 kB an image.
THUMBNAIL_PX = 64
#: Side of the block of lowest frequencies that make the hash, the constant left out: 255 bits.
_HASH_SIDE = 16
#: Most bits in which two hashes of a pair differ; unrelated images differ in half of them.
_MAX_BITS = 40
#: Least correlation of the two thumbnails of a pair. Scans of different parts that lie alike reach
#: 0.93; one part photographed twice, or saved again, 0.98 and more.
_MIN_CORRELATION = 0.97
#: Pairs of hashes that are compared at once.
_PAIRS_PER_CHUNK = 4_000_000


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Reduce an image to what is compared.

    Args:
        image: uint8 RGB, (H, W, 3).

    Returns:
        Grey values of mean 0 and spread 1, float16, (`THUMBNAIL_PX`, `THUMBNAIL_PX`); zeros for an
        image of one grey value.
    """
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return _standard(small.reshape(1, -1)).reshape(small.shape).astype(np.float16)


def perceptual_hashes(pictures: np.ndarray) -> np.ndarray:
    """Hash pictures by the signs of their lowest frequencies.

    A bit is whether a coefficient of the discrete cosine transform is above the picture's median
    coefficient; the constant takes no part.

    Source: Zauner (2010), "Implementation and benchmarking of perceptual image hash functions",
    section 3.2, here with 16 x 16 coefficients.

    Args:
        pictures: float, (N, S, S) with S at least 16.

    Returns:
        uint64, (N, 4).
    """
    from scipy.fft import dctn

    low = dctn(np.asarray(pictures, np.float32), axes=(1, 2), norm="ortho")
    low = low[:, :_HASH_SIDE, :_HASH_SIDE].reshape(len(pictures), -1)[:, 1:]
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(np.pad(bits, ((0, 0), (1, 0))), axis=1).view(np.uint64)


def near_duplicates(thumbnails: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """Find pairs of near-duplicates among the images of one category.

    Pairs whose hashes differ in at most 40 of 255 bits are confirmed by the correlation of their
    thumbnails, which must be 0.97 or more; both after the mean thumbnail is taken away. So two
    images alone are never a pair: nobody can tell what they share as pictures of one product.

    Args:
        thumbnails: From `thumbnail`, (N, S, S).

    Yields:
        Positions of the two images, the first below the second, and their correlation.
    """
    pictures = np.asarray(thumbnails, np.float32).reshape(len(thumbnails), -1)
    pictures = _standard(pictures - pictures.mean(axis=0))
    hashes = perceptual_hashes(pictures.reshape(np.shape(thumbnails)))
    rows_at_once = max(1, _PAIRS_PER_CHUNK // max(1, len(hashes)))
    for start in range(0, len(hashes), rows_at_once):
        block = hashes[start : start + rows_at_once]
        distance = np.zeros((len(block), len(hashes)), np.uint16)
        for word in range(hashes.shape[1]):
            distance += np.bitwise_count(block[:, None, word] ^ hashes[None, :, word])
        for i, j in zip(*np.nonzero(distance <= _MAX_BITS), strict=True):
            first, second = int(start + i), int(j)
            if first < second:
                correlation = float(pictures[first] @ pictures[second] / pictures.shape[1])
                if correlation >= _MIN_CORRELATION:
                    yield first, second, correlation


def _standard(rows: np.ndarray) -> np.ndarray:
    """Give each row mean 0 and spread 1; a constant row becomes 0."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-6)
