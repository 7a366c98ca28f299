"""Find images that show nearly the same picture, saved again, resized, brighter, mirrored, turned.

Industrial images of one product all look alike, so an ordinary perceptual hash takes each for a
copy of each. Here the mean picture of the category is taken away first: what is hashed and compared
is what makes an image differ from the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

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
_PAIRS_PER_CHUNK = 500_000

#: The eight ways in which a square picture can lie: quarter turns, and mirrored.
_POSES = tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4))


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


def _low_frequencies(pictures: np.ndarray) -> np.ndarray:
    """The lowest coefficients of the cosine transform, (N, 16, 16)."""
    from scipy.fft import dct

    waves = dct(np.eye(np.shape(pictures)[-1], dtype=np.float32), axis=0, norm="ortho")
    waves = waves[:_HASH_SIDE]
    return waves @ np.asarray(pictures, np.float32) @ waves.T


def _bits(low: np.ndarray) -> np.ndarray:
    """Hash pictures: which coefficients, (N, 16, 16), are above their median; uint64, (N, 4).

    The constant takes no part. Source: Zauner (2010), "Implementation and benchmarking of
    perceptual image hash functions", section 3.2, here with 16 x 16 coefficients.
    """
    low = low.reshape(len(low), -1)[:, 1:]
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(np.pad(bits, ((0, 0), (1, 0))), axis=1).view(np.uint64)


class Pair(NamedTuple):
    """Two images of nearly the same picture.

    Attributes:
        first: Position of the one.
        second: Position of the other, above `first`.
        correlation: Of their thumbnails, the second brought into the pose of the first.
        pose: How the second lies to the first: "", "turned by 90°", "mirrored", ….
    """

    first: int
    second: int
    correlation: float
    pose: str


def near_duplicates(thumbnails: np.ndarray) -> list[Pair]:
    """Find pairs of near-duplicates among the images of one category.

    Pairs whose hashes differ in at most 40 of 255 bits are confirmed by the correlation of their
    thumbnails, which must be 0.97 or more; both after the mean thumbnail is taken away. So two
    images alone are never a pair: what all pictures of the product share cannot be told.

    Each image is compared with the others in all eight poses. A pair in another pose is confirmed
    once more after the mean is taken of all images, each in the pose in which it is most like the
    first: parts of one product that lie turned are no copies for that.

    Args:
        thumbnails: From `thumbnail`, (N, S, S).

    Returns:
        The pairs, each once.
    """
    pictures = _standard(np.asarray(thumbnails, np.float32).reshape(len(thumbnails), -1))
    pictures = pictures.reshape(np.shape(thumbnails))
    mean = pictures.mean(axis=0)
    low, low_mean = _low_frequencies(pictures), _low_frequencies(mean[None])
    hashes = _bits(low - low_mean)
    found: dict[tuple[int, int], Pair] = {}
    for pose in _POSES:
        for first, second in _alike(hashes, _bits(_low_in_pose(low, pose) - low_mean)):
            if (first, second) in found:
                continue
            one, other = pictures[first], _in_pose(pictures[second : second + 1], pose)[0]
            correlation = _correlation(one, other, mean)
            if correlation >= _MIN_CORRELATION and pose != _POSES[0]:
                correlation = _correlation(one, other, _mean_in_pose_of(one, pictures))
            if correlation >= _MIN_CORRELATION:
                found[first, second] = Pair(first, second, correlation, _words(pose))
    return [found[pair] for pair in sorted(found)]


def likest(picture: np.ndarray, others: np.ndarray, kinds: np.ndarray) -> object:
    """Say which kind of pictures one is most like, in any pose.

    Args:
        picture: From `thumbnail`, (S, S).
        others: Thumbnails, (N, S, S).
        kinds: Kind of each of them, (N,).

    Returns:
        The kind whose mean picture correlates most with it.
    """
    known = np.unique(kinds)
    means = np.stack([others[kinds == kind].mean(axis=0, dtype=np.float32) for kind in known])
    posed = np.concatenate([_in_pose(picture[None].astype(np.float32), pose) for pose in _POSES])
    likeness = _standard(means.reshape(len(known), -1)) @ posed.reshape(len(_POSES), -1).T
    return known[likeness.max(axis=1).argmax()]


def _alike(hashes: np.ndarray, others: np.ndarray) -> Iterator[tuple[int, int]]:
    """Positions of a hash and of a later one of the others that differ in few bits."""
    start = 0
    while start < len(hashes):
        columns = others[start + 1 :]
        block = hashes[start : start + max(1, _PAIRS_PER_CHUNK // max(1, len(columns)))]
        # Half of the bits rule out nearly all pairs.
        distance = np.bitwise_count(block[:, None, 0] ^ columns[None, :, 0])
        distance += np.bitwise_count(block[:, None, 1] ^ columns[None, :, 1])
        rows, places = np.nonzero(distance <= _MAX_BITS)
        whole = np.bitwise_count(block[rows] ^ columns[places]).sum(axis=1)
        for i, j in zip(rows[whole <= _MAX_BITS], places[whole <= _MAX_BITS], strict=True):
            if i <= j:
                yield int(start + i), int(start + 1 + j)
        start += len(block)


def _in_pose(pictures: np.ndarray, pose: tuple[int, bool]) -> np.ndarray:
    """Mirror pictures, (N, S, S), left to right, and turn them by quarters."""
    turns, mirrored = pose
    return np.rot90(pictures[:, :, ::-1] if mirrored else pictures, turns, axes=(1, 2))


def _low_in_pose(low: np.ndarray, pose: tuple[int, bool]) -> np.ndarray:
    """Coefficients of pictures in a pose from those of the pictures.

    A mirror image has the other sign at each odd frequency across; a quarter turn against the clock
    is the transposed mirror image.
    """
    turns, mirrored = pose
    sign = np.where(np.arange(_HASH_SIDE) % 2, -1, 1).astype(low.dtype)
    low = low * sign if mirrored else low
    for _ in range(turns):
        low = (low * sign).swapaxes(1, 2)
    return low


def _words(pose: tuple[int, bool]) -> str:
    turns, mirrored = pose
    turned = f"turned by {90 * turns}°" if turns else ""
    return " and ".join(filter(None, ["mirrored" if mirrored else "", turned]))


def _correlation(one: np.ndarray, other: np.ndarray, mean: np.ndarray) -> float:
    """Correlate two pictures, (S, S), less a mean one."""
    first, second = _standard((np.stack([one, other]) - mean).reshape(2, -1))
    return float(first @ second / first.size)


def _mean_in_pose_of(one: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Mean of pictures, (N, S, S), each in the pose in which it is most like the one, (S, S)."""
    best = np.full(len(pictures), -np.inf)
    total = np.zeros_like(pictures)
    for pose in _POSES:
        posed = _in_pose(pictures, pose)
        likeness = np.einsum("nij,ij->n", posed, one)
        better = likeness > best
        total[better], best[better] = posed[better], likeness[better]
    return total.mean(axis=0)


def _standard(rows: np.ndarray) -> np.ndarray:
    """Give each row mean 0 and spread 1; a constant row becomes 0."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-6)
