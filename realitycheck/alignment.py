"""Register images of a part to a reference image of the same part.

Three methods find the transform reference ← image:

- `ecc` maximises the enhanced correlation coefficient, coarse to fine, from several starts;
- `phase` takes rotation and scale from the Fourier-Mellin transform and the shift from phase
  correlation;
- `features` matches SIFT keypoints and fits the motion to those that agree.

All of them compare *edge strength*, not grey values: the length of the smoothed image's gradient,
bounded by its own typical value, so that a gain, an offset and mild non-linear changes of
brightness cancel. A transform is used only if it makes the match better; else the image keeps its
place and says so.

Matrices map image pixels to reference pixels in homogeneous coordinates (x, y, 1); pixel centres
lie at whole numbers, as in OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from scipy import fft

ALIGNMENT_METHODS = ("none", "phase", "ecc", "features")
ALIGNMENT_MOTIONS = ("translation", "euclidean", "similarity", "affine", "homography")

_SMOOTHING_PX = 1.6  # of the gradient, at every pyramid level: speckle is finer, edges survive
_COARSEST_LEVEL_PX = 128  # the level on which starts are compared is no longer than this
_MIN_SIDE_PX = 16  # a narrower image holds no shape to go by
_MOST_SIDES = 8  # a mask is followed so many sides of the reference beyond its canvas
_MIN_VALID_PX = 64  # fewer common pixels say nothing about a match


@dataclass(frozen=True)
class Alignment:
    """How an image lies on the reference.

    Attributes:
        status: `aligned`; `kept_original` where no transform made the match better or none was
            found; `not_requested` with method `none`.
        matrix: reference ← image, float64, shape (3, 3); the identity unless `aligned`.
        residual_before: 1 - r of the untouched image, 0 to 2, where r is the correlation of edge
            strength with the reference over their common pixels; 1 where that is undefined, as
            on a constant image.
        residual_after: The same under `matrix`.
        overlap: Share of the reference's pixels that the image covers under `matrix`, 0 to 1.
    """

    status: str
    matrix: np.ndarray
    residual_before: float
    residual_after: float
    overlap: float


@dataclass(frozen=True)
class _Level:
    """One pyramid level: edge strength, float32, and the matrix level ← full resolution."""

    edges: np.ndarray
    scaling: np.ndarray


def warp_image(
    image: np.ndarray,
    matrix: np.ndarray,
    *,
    height_px: int,
    width_px: int,
    border: str = "replicate",
) -> np.ndarray:
    """Resample an image into the reference's frame, bilinearly.

    Args:
        image: Any image OpenCV can warp, shape (H, W) or (H, W, C).
        matrix: reference ← image, shape (3, 3).
        height_px: Height of the reference.
        width_px: Width of the reference.
        border: What lies beyond the image: `replicate` its edge, or `black`.

    Returns:
        The image on the reference's canvas, same type and channels.

    Raises:
        ValueError: If `border` is unknown.
    """
    borders = {"replicate": cv2.BORDER_REPLICATE, "black": cv2.BORDER_CONSTANT}
    if border not in borders:
        raise ValueError(f"border must be one of {', '.join(borders)}, got {border!r}")
    return cv2.warpPerspective(
        image, matrix, (width_px, height_px), flags=cv2.INTER_LINEAR, borderMode=borders[border]
    )


def warp_mask(mask: np.ndarray, matrix: np.ndarray, *, height_px: int, width_px: int) -> np.ndarray:
    """Resample a mask into the reference's frame; no new value appears, 0 lies beyond.

    Args:
        mask: bool, or uint8 truth with several values, shape (H, W).
        matrix: reference ← image, shape (3, 3).
        height_px: Height of the reference.
        width_px: Width of the reference.

    Returns:
        The mask on the reference's canvas, of the same type, nearest neighbour.
    """
    warped = cv2.warpPerspective(
        mask.astype(np.uint8), matrix, (width_px, height_px), flags=cv2.INTER_NEAREST
    )
    return warped.astype(mask.dtype)


def warp_whole_mask(
    mask: np.ndarray, matrix: np.ndarray, *, height_px: int, width_px: int
) -> tuple[np.ndarray, int, int]:
    """Resample a mask onto a canvas that holds all of it, the reference's canvas within.

    A region too thin or small to be met by nearest neighbour keeps the pixels that its own ones
    come to lie in.

    Args:
        mask: uint8 truth with several values, shape (H, W).
        matrix: reference ← image, shape (3, 3).
        height_px: Height of the reference.
        width_px: Width of the reference.

    Returns:
        The mask on the larger canvas, and column and row of the reference's upper left pixel there.
        Within the reference's canvas it is what `warp_mask` gives.
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return warp_mask(mask, matrix, height_px=height_px, width_px=width_px), 0, 0
    left, top, right, bottom = columns.min(), rows.min(), columns.max(), rows.max()
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    placed = cv2.perspectiveTransform(corners[None], matrix)[0]
    sides = np.array([width_px, height_px])
    low = np.clip(np.floor(placed.min(axis=0)) - 1, -_MOST_SIDES * sides, 0).astype(int)
    high = np.clip(np.ceil(placed.max(axis=0)) + 2, sides, _MOST_SIDES * sides).astype(int)
    shift = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]], np.float64)
    width, height = (int(side) for side in high - low)
    whole = warp_mask(mask, shift @ matrix, height_px=height, width_px=width)
    window = np.s_[-low[1] : height_px - low[1], -low[0] : width_px - low[0]]
    whole[window] = warp_mask(mask, matrix, height_px=height_px, width_px=width_px)
    if not whole.any():
        points = np.column_stack([columns, rows]).astype(np.float64)[None]
        x, y = np.rint(cv2.perspectiveTransform(points, shift @ matrix)[0]).astype(int).T
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        whole[y[inside], x[inside]] = mask[rows[inside], columns[inside]]
    return whole, int(-low[0]), int(-low[1])


def covered(
    matrix: np.ndarray, *, source_shape: tuple[int, int], height_px: int, width_px: int
) -> np.ndarray:
    """Say which pixels of the reference's canvas come from the image.

    A pixel counts if the place it comes from lies between the centres of the image's outermost
    pixels, a thousandth of a pixel of rounding allowed.

    Args:
        matrix: reference ← image, shape (3, 3).
        source_shape: The image's (H, W).
        height_px: Height of the reference.
        width_px: Width of the reference.

    Returns:
        bool, shape (height_px, width_px).
    """
    inverse = np.linalg.inv(matrix)
    x = np.arange(width_px, dtype=np.float64)[None, :]
    y = np.arange(height_px, dtype=np.float64)[:, None]
    depth = inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2]
    inside = depth > 0
    depth = np.where(inside, depth, 1.0)
    for row, size_px in zip(inverse[:2], reversed(source_shape[:2]), strict=True):
        position = (row[0] * x + row[1] * y + row[2]) / depth
        inside &= (position >= -1e-3) & (position <= size_px - 1 + 1e-3)
    return inside


def choose_reference(
    thumbnails: Sequence[np.ndarray] | np.ndarray, *, max_compared: int = 256, seed: int = 0
) -> int:
    """Choose the medoid: the image with the smallest mean distance to the others.

    The distance is Euclidean between thumbnails brought to zero mean and unit variance, so that
    brightness and gain do not matter. Beyond `max_compared` images the mean is taken over a seeded
    subsample of that many; every image remains a candidate, and time and memory grow linearly.

    Args:
        thumbnails: Images of one size, shape (N, H, W) or (N, H, W, C), any numeric type; 64 px
            are plenty.
        max_compared: How many images every candidate is compared with, at least 1.
        seed: Seed of the subsample.

    Returns:
        The index of the medoid, the first of equals.

    Raises:
        ValueError: If there is no thumbnail, or their shapes differ.
    """
    if len(thumbnails) == 0:
        raise ValueError(
            "choose_reference: expected at least one good training image, got none; give a "
            "reference by path or add good images to the training split"
        )
    shapes = {np.shape(thumbnail) for thumbnail in thumbnails}
    if len(shapes) > 1:
        raise ValueError(
            f"choose_reference: thumbnails must have one shape, got {sorted(shapes)[:3]}; "
            "resize them to one size first"
        )
    rows = np.stack([np.asarray(thumbnail, np.float32).ravel() for thumbnail in thumbnails])
    rows -= rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(norms > 1e-6, norms, 1)
    others = rows
    if len(rows) > max_compared:
        chosen = np.random.default_rng(seed).choice(len(rows), max_compared, replace=False)
        others = rows[np.sort(chosen)]
    squares = (rows**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * rows @ others.T
    # Rounded so that equal images tie, and the first of them wins on every machine.
    return int(np.argmin(np.round(np.sqrt(np.maximum(squares, 0)).mean(axis=1), 6)))


class Aligner:
    """Aligns images to one reference, whose pyramid is prepared once."""

    def __init__(
        self,
        reference: np.ndarray,
        *,
        method: str = "ecc",
        motion: str = "euclidean",
        max_long_side_px: int = 768,
        quarter_turns: bool | str = "auto",
        search_rotation_deg: float = 12.0,
        search_scale_fraction: float = 0.06,
        min_overlap: float = 0.6,
        max_residual: float = 0.65,
    ) -> None:
        """Prepare the reference.

        Args:
            reference: uint8, shape (H, W, 3) or (H, W).
            method: One of `ALIGNMENT_METHODS`.
            motion: One of `ALIGNMENT_MOTIONS`; `phase` knows no affine motion and no homography.
            max_long_side_px: Larger images are reduced to this before they are compared; the
                matrix is still in full pixels.
            quarter_turns: Whether parts may lie turned by 90, 180 or 270 degrees. `auto` looks
                for turns only where the unturned match is poor, and wants a clear gain.
            search_rotation_deg: `ecc` finds rotations up to this, either way.
            search_scale_fraction: `ecc` finds scales of 1 ± this, where the motion has a scale.
            min_overlap: A transform must leave this share of the reference covered.
            max_residual: A transform that leaves more than this is chance, and is refused.

        Raises:
            ValueError: If a setting is unknown or out of range, or method and motion clash.
        """
        if method not in ALIGNMENT_METHODS:
            raise ValueError(
                f"alignment method must be one of {', '.join(ALIGNMENT_METHODS)}, got {method!r}"
            )
        if motion not in ALIGNMENT_MOTIONS:
            raise ValueError(
                f"alignment motion must be one of {', '.join(ALIGNMENT_MOTIONS)}, got {motion!r}"
            )
        if method == "phase" and motion in ("affine", "homography"):
            raise ValueError(
                f"alignment method phase cannot find motion {motion}: a spectrum gives shift, "
                "rotation and scale only; use motion similarity, or method ecc or features"
            )
        if quarter_turns not in (True, False, "auto"):
            raise ValueError(f"quarter_turns must be true, false or auto, got {quarter_turns!r}")
        if max_long_side_px < _COARSEST_LEVEL_PX:
            raise ValueError(
                f"max_long_side_px must be at least {_COARSEST_LEVEL_PX}, got {max_long_side_px}"
            )
        self.method = method
        self.motion = motion
        self.quarter_turns = quarter_turns
        self.search_rotation_deg = search_rotation_deg
        self.search_scale_fraction = search_scale_fraction
        self.min_overlap = min_overlap
        self.max_residual = max_residual
        self.shape = reference.shape[:2]
        self._reduction = min(1.0, max_long_side_px / max(self.shape))
        self._grey = _reduce(_to_grey(reference), factor=self._reduction)
        long_side_px = max(self._grey.shape)
        n_levels = 1 + max(0, int(np.ceil(np.log2(long_side_px / _COARSEST_LEVEL_PX))))
        self._levels = _build_pyramid(self._grey, reduction=self._reduction, n_levels=n_levels)

    def align(self, image: np.ndarray) -> Alignment:
        """Find how an image lies on the reference.

        Nothing about an image's content raises: where no transform is found, or none makes the
        match better, the status is `kept_original`.

        Args:
            image: uint8, shape (H, W, 3) or (H, W); its size may differ from the reference's.

        Returns:
            The transform and what it achieves.
        """
        grey = _reduce(_to_grey(image), factor=self._reduction)
        levels = _build_pyramid(grey, reduction=self._reduction, n_levels=len(self._levels))
        identity = np.eye(3)
        before = self._residual(levels[-1], identity)
        kept = Alignment(
            status="not_requested" if self.method == "none" else "kept_original",
            matrix=identity,
            residual_before=before,
            residual_after=before,
            overlap=self._overlap(identity, image.shape[:2]),
        )
        edges = (levels[-1].edges, self._levels[-1].edges)
        is_empty = any(float(e.std()) < 1e-6 or min(e.shape) < _MIN_SIDE_PX for e in edges)
        if self.method == "none" or is_empty:
            return kept
        find = {"ecc": self._find_ecc, "phase": self._find_phase, "features": self._find_features}
        matrix = find[self.method](grey, levels)
        if matrix is None or not self._is_sane(matrix, image.shape[:2]):
            return kept
        after = self._residual(levels[-1], matrix)
        overlap = self._overlap(matrix, image.shape[:2])
        if overlap < self.min_overlap * kept.overlap or min(before, after) > self.max_residual:
            return kept
        if after >= before:
            # Where the image lies in place already, there is nothing to refuse.
            is_in_place = _largest_move(matrix, *image.shape[:2]) < 1.0
            return replace(kept, status="aligned") if is_in_place else kept
        return Alignment("aligned", matrix, before, after, overlap)

    def _overlap(self, matrix: np.ndarray, source_shape: tuple[int, int]) -> float:
        """Give the share of the reference that the image covers."""
        height_px, width_px = self.shape
        inside = covered(matrix, source_shape=source_shape, height_px=height_px, width_px=width_px)
        return float(inside.mean())

    def _residual(self, level: _Level, matrix: np.ndarray) -> float:
        """Give 1 - the correlation of edge strength on the finest level."""
        return 1 - _correlate(self._levels[-1], level, matrix)

    def _is_sane(self, matrix: np.ndarray, source_shape: tuple[int, int]) -> bool:
        """Say whether a transform is one that a part on a stage can undergo.

        At no corner may it mirror the image, nor stretch one direction by over a third more than
        another direction does anywhere, nor change the scale more than fourfold.
        """
        if not np.all(np.isfinite(matrix)):
            return False
        stretches = []
        for x, y in _corners(*source_shape):
            column, row, depth = matrix @ (x, y, 1)
            if depth < 1e-3:
                return False
            place = np.array([column, row]) / depth
            local = (matrix[:2, :2] - np.outer(place, matrix[2, :2])) / depth
            if np.linalg.det(local) <= 0:
                return False
            stretches.extend(np.linalg.svd(local, compute_uv=False))
        low, high = min(stretches), max(stretches)
        return bool(low >= 0.25 and high <= 4 and high <= 1.34 * low)

    # --- ecc ---------------------------------------------------------------------------------

    def _find_ecc(self, grey: np.ndarray, levels: list[_Level]) -> np.ndarray | None:
        """Find the transform by search on the coarsest level and refinement on all."""
        del grey
        turns = {False: (0,), True: (0, 1, 2, 3), "auto": (0,)}[self.quarter_turns]
        best, score = self._search(levels, turns=turns)
        if self.quarter_turns == "auto" and score < 0.7:
            turned, turned_score = self._search(levels, turns=(1, 2, 3))
            # A turn must pay: on a texture all four directions match about alike.
            if turned_score > score + 0.1:
                best = turned
                score = turned_score
        # A coarse match so poor does not become one on finer levels, where noise only adds.
        if best is None or score < 0.5 * (1 - self.max_residual):
            return None
        finer = slice(1, None) if len(levels) > 1 else slice(None)
        return self._refine(levels[finer], self._levels[finer], best, motion=self.motion)

    def _search(
        self, levels: list[_Level], *, turns: tuple[int, ...]
    ) -> tuple[np.ndarray | None, float]:
        """Compare starts on the coarsest level; give the best, refined, and its correlation."""
        template, level = self._levels[0], levels[0]
        starts = self._list_starts(level.edges.shape, template.edges.shape, turns=turns)
        peaks = _correlate_starts(template.edges, level.edges, starts)
        # Few pixels determine few parameters: the wider motions join in on the finer levels.
        coarse_motion = "similarity" if self.motion in ("affine", "homography") else self.motion
        best, best_score = None, -np.inf
        for index in _pick_distinct(peaks, n_picked=3):
            shift = np.eye(3)
            shift[:2, 2] = peaks[index][1:]
            local = shift @ starts[index]
            matrix = np.linalg.inv(template.scaling) @ local @ level.scaling
            matrix = self._refine([level], [template], matrix, motion=coarse_motion)
            score = _correlate(template, level, matrix)
            if score > best_score:
                best, best_score = matrix, score
        return best, best_score

    def _list_starts(
        self, shape: tuple[int, int], template_shape: tuple[int, int], *, turns: tuple[int, ...]
    ) -> list[np.ndarray]:
        """List the rotations and scales to start from, about the centres, at level resolution."""
        angles, scales = [0.0], [1.0]
        if self.motion != "translation":
            n_steps = int(np.ceil(self.search_rotation_deg / 3))
            angles = list(np.linspace(-1, 1, 2 * n_steps + 1) * self.search_rotation_deg)
        if self.motion not in ("translation", "euclidean"):
            n_steps = int(np.ceil(self.search_scale_fraction / 0.04))
            around = 1 + np.linspace(-1, 1, 2 * n_steps + 1) * self.search_scale_fraction
            fit = max(template_shape) / max(shape)
            scales = list(around) + ([] if abs(fit - 1) < 0.05 else list(around * fit))
        centre = (np.array(shape[::-1]) - 1) / 2
        template_centre = (np.array(template_shape[::-1]) - 1) / 2
        return [
            _similarity(np.deg2rad(angle + 90 * turn), scale, centre, template_centre)
            for turn in turns
            for angle in angles
            for scale in scales
        ]

    def _refine(
        self,
        levels: list[_Level],
        templates: list[_Level],
        matrix: np.ndarray,
        *,
        motion: str,
    ) -> np.ndarray:
        """Refine a transform from coarse to fine."""
        for level, template in zip(levels, templates, strict=True):
            local = template.scaling @ matrix @ np.linalg.inv(level.scaling)
            local = _maximise_ecc(template.edges, level.edges, local, motion=motion)
            matrix = np.linalg.inv(template.scaling) @ local @ level.scaling
        return matrix / matrix[2, 2]

    # --- phase -------------------------------------------------------------------------------

    def _find_phase(self, grey: np.ndarray, levels: list[_Level]) -> np.ndarray | None:
        """Find rotation and scale in the spectrum, then the shift by phase correlation."""
        del grey
        template, level = self._levels[-1], levels[-1]
        side = fft.next_fast_len(max(*template.edges.shape, *level.edges.shape), real=True)
        fixed = _centre_on_square(template.edges, side=side)
        best, best_score = None, -np.inf
        for turn in self._list_turns():
            matrix = _similarity(
                np.pi / 2 * turn, 1.0, _centre_of(level.edges), _centre_of(template.edges)
            )
            # The second pass measures what the first left: small angles are read more finely.
            for _ in range(1 if self.motion == "translation" else 2):
                moving = _warp(level.edges, matrix, shape=template.edges.shape)
                moving = _centre_on_square(moving, side=side)
                if self.motion != "translation":
                    angle, scale = _fourier_mellin(fixed, moving)
                    scale = 1.0 if self.motion == "euclidean" else scale
                    centre = _centre_of(template.edges)
                    matrix = _similarity(angle, scale, centre, centre) @ matrix
                    moving = _warp(level.edges, matrix, shape=template.edges.shape)
                    moving = _centre_on_square(moving, side=side)
                dx, dy = _correlate_phase(fixed, moving)
                shift = np.eye(3)
                shift[:2, 2] = dx, dy
                matrix = shift @ matrix
            score = _correlate(template, level, _unscale(matrix, template, level))
            if score > best_score + (0.1 if turn and self.quarter_turns == "auto" else 0):
                best, best_score = matrix, score
        return None if best is None else _unscale(best, template, level)

    def _list_turns(self) -> tuple[int, ...]:
        """List the quarter turns to try."""
        return (0,) if self.quarter_turns is False else (0, 1, 2, 3)

    # --- features ----------------------------------------------------------------------------

    @cached_property
    def _reference_features(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Hold the reference's keypoints, shape (K, 2), and their descriptors."""
        return _detect_features(self._grey)

    def _find_features(self, grey: np.ndarray, levels: list[_Level]) -> np.ndarray | None:
        """Match keypoints and fit the motion to those that agree."""
        del levels
        fixed, fixed_descriptors = self._reference_features
        moving, moving_descriptors = _detect_features(grey)
        if fixed_descriptors is None or moving_descriptors is None or len(fixed) < 2:
            return None
        pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(moving_descriptors, fixed_descriptors, k=2)
        # Lowe's ratio test (2004), section 7.1: a match must beat the second best.
        kept = [m for m, *rest in pairs if rest and m.distance < 0.8 * rest[0].distance]
        if len(kept) < 4:
            return None
        source = np.float64([moving[m.queryIdx] for m in kept])
        target = np.float64([fixed[m.trainIdx] for m in kept])
        matrix = _fit_motion(source, target, motion=self.motion)
        if matrix is None:
            return None
        to_level = self._levels[-1].scaling
        matrix = np.linalg.inv(to_level) @ matrix @ to_level
        angle = np.arctan2(matrix[1, 0], matrix[0, 0])
        is_turned = abs(angle) > np.pi / 4
        return None if is_turned and self.quarter_turns is False else matrix / matrix[2, 2]


def _to_grey(image: np.ndarray) -> np.ndarray:
    """Give the mean of the channels, float32, shape (H, W)."""
    image = np.asarray(image)
    if image.ndim == 3:
        image = image.mean(axis=2, dtype=np.float32)
    return image.astype(np.float32)


def _reduce(grey: np.ndarray, *, factor: float) -> np.ndarray:
    """Reduce an image by the same factor along both sides."""
    if factor >= 1:
        return grey
    if min(grey.shape) * factor < 1:  # a sliver would vanish
        size = [max(1, round(side * factor)) for side in grey.shape[::-1]]
        return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    # Given as factors, not as a size, so that rounding does not stretch one side.
    return cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _build_pyramid(grey: np.ndarray, *, reduction: float, n_levels: int) -> list[_Level]:
    """Build edge strength from coarse to fine; every level halves the next."""
    half_pixel = 0.5 * (reduction - 1)
    scaling = np.array([[reduction, 0, half_pixel], [0, reduction, half_pixel], [0, 0, 1]])
    levels = []
    for number in range(n_levels):
        if number > 0:
            grey = cv2.pyrDown(grey)
            scaling = np.diag([0.5, 0.5, 1.0]) @ scaling
        levels.append(_Level(edges=_edge_strength(grey), scaling=scaling))
    return levels[::-1]


def _edge_strength(grey: np.ndarray) -> np.ndarray:
    """Turn grey values into edge strength, float32 in [0, 1), shape (H, W).

    s = g / (g + c), g the length of the gradient of the smoothed image, c its 90th percentile.
    Gain and offset of the image cancel; an outlier of any height counts at most 1.
    """
    smooth = cv2.GaussianBlur(grey, (0, 0), _SMOOTHING_PX, borderType=cv2.BORDER_REPLICATE)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, borderType=cv2.BORDER_REPLICATE)
    # Not cv2.magnitude, whose last bit depends on where in memory the arrays lie.
    length = np.sqrt(across * across + down * down)
    typical = float(np.percentile(length, 90))
    # An image with fewer than one edge pixel in ten still has edges.
    typical = max(typical, 0.1 * float(length.max()))
    if typical <= 1e-4:  # constant but for rounding
        return np.zeros_like(grey)
    return length / (length + np.float32(typical))


def _warp(edges: np.ndarray, matrix: np.ndarray, *, shape: tuple[int, int]) -> np.ndarray:
    """Resample a level into another's frame, 0 beyond."""
    return cv2.warpPerspective(edges, matrix, shape[::-1], flags=cv2.INTER_LINEAR)


def _centre_of(edges: np.ndarray) -> np.ndarray:
    """Give the centre of an array as (x, y)."""
    return (np.array(edges.shape[::-1]) - 1) / 2


def _corners(height_px: int, width_px: int) -> np.ndarray:
    """Give the centres of the four corner pixels in order, float64, shape (4, 2)."""
    right, low = width_px - 1.0, height_px - 1.0
    return np.array([[0, 0], [right, 0], [right, low], [0, low]])


def _largest_move(matrix: np.ndarray, height_px: int, width_px: int) -> float:
    """Give how far a transform moves the corner that it moves furthest, in pixels."""
    corners = _corners(height_px, width_px)
    moved = np.column_stack([corners, np.ones(4)]) @ matrix.T
    return float(np.linalg.norm(moved[:, :2] / moved[:, 2:] - corners, axis=1).max())


def _unscale(matrix: np.ndarray, template: _Level, level: _Level) -> np.ndarray:
    """Carry a transform between levels over to full resolution."""
    matrix = np.linalg.inv(template.scaling) @ matrix @ level.scaling
    return matrix / matrix[2, 2]


def _similarity(
    angle: float, scale: float, centre: np.ndarray, to_centre: np.ndarray
) -> np.ndarray:
    """Turn and scale about `centre`, then move it to `to_centre`; shape (3, 3)."""
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    matrix[:2, 2] = to_centre - matrix[:2, :2] @ centre
    return matrix


def _correlate(template: _Level, level: _Level, matrix: np.ndarray) -> float:
    """Give the correlation of edge strength over common pixels, -1 to 1; 0 where undefined."""
    local = template.scaling @ matrix @ np.linalg.inv(level.scaling)
    height_px, width_px = template.edges.shape
    inside = covered(local, source_shape=level.edges.shape, height_px=height_px, width_px=width_px)
    if np.count_nonzero(inside) < _MIN_VALID_PX:
        return 0.0
    a = template.edges[inside].astype(np.float64)
    b = _warp(level.edges, local, shape=template.edges.shape)[inside].astype(np.float64)
    a -= a.mean()
    b -= b.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 1e-9 * a.size else 0.0


def _correlate_starts(
    template: np.ndarray, edges: np.ndarray, starts: list[np.ndarray]
) -> np.ndarray:
    """Give every start's best shift by FFT: rows (score, dx, dy), shape (S, 3).

    The canvas is padded so that up to half an image of shift is not confused with its wrap-around.
    """
    height_px, width_px = template.shape
    padded = [fft.next_fast_len(side * 3 // 2, real=True) for side in (height_px, width_px)]
    fixed = np.conj(fft.rfft2(template - template.mean(), s=padded))
    flat = edges - edges.mean()
    moved = np.stack([_warp(flat, start, shape=template.shape) for start in starts])
    norms = np.maximum(np.sqrt((moved**2).sum(axis=(1, 2))), 1e-6)
    # Peak at d: the start's image must move by -d to match.
    response = fft.irfft2(fft.rfft2(moved, s=padded) * fixed, s=padded)
    limit = [side // 2 for side in (height_px, width_px)]
    response[:, limit[0] : padded[0] - limit[0], :] = -np.inf
    response[:, :, limit[1] : padded[1] - limit[1]] = -np.inf
    flat_peaks = response.reshape(len(starts), -1).argmax(axis=1)
    rows, columns = np.unravel_index(flat_peaks, padded)
    score = response.reshape(len(starts), -1)[np.arange(len(starts)), flat_peaks] / norms
    dy = np.where(rows > padded[0] // 2, rows - padded[0], rows)
    dx = np.where(columns > padded[1] // 2, columns - padded[1], columns)
    return np.stack([score, -dx, -dy], axis=1)


def _pick_distinct(peaks: np.ndarray, *, n_picked: int) -> list[int]:
    """Pick the best starts, leaving out direct neighbours in the list of what was picked."""
    picked: list[int] = []
    for index in np.argsort(-peaks[:, 0], kind="stable"):
        if all(abs(int(index) - other) > 1 for other in picked):
            picked.append(int(index))
        if len(picked) == n_picked:
            break
    return picked


def _steepest_descent(template: np.ndarray, *, motion: str) -> tuple[np.ndarray, float]:
    """Give d template / d parameter at rest, float32, shape (H, W, P), and the unit of length.

    Coordinates are taken from the centre in units of half the long side, so that all parameters
    are of one size.
    """
    height_px, width_px = template.shape
    unit = max(height_px, width_px) / 2
    gx = cv2.Sobel(template, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8) * np.float32(unit)
    gy = cv2.Sobel(template, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8) * np.float32(unit)
    x = ((np.arange(width_px) - (width_px - 1) / 2) / unit).astype(np.float32)[None, :]
    y = ((np.arange(height_px) - (height_px - 1) / 2) / unit).astype(np.float32)[:, None]
    radial = gx * x + gy * y
    columns = {
        "translation": lambda: (gx, gy),
        "euclidean": lambda: (gx, gy, gy * x - gx * y),
        "similarity": lambda: (gx, gy, gy * x - gx * y, radial),
        "affine": lambda: (gx, gy, gx * x, gx * y, gy * x, gy * y),
        "homography": lambda: (
            *(gx, gy, gx * x, gx * y, gy * x, gy * y),
            *(-radial * x, -radial * y),
        ),
    }
    return np.stack(columns[motion](), axis=2), unit


def _motion_matrix(step: np.ndarray, *, motion: str, unit: float, centre: np.ndarray) -> np.ndarray:
    """Build the small transform of a step of parameters, an exact member of its group."""
    local = np.eye(3)
    if motion in ("affine", "homography"):
        local[0, 0] += step[2]
        local[0, 1] = step[3]
        local[1, 0] = step[4]
        local[1, 1] += step[5]
        if motion == "homography":
            local[2, :2] = step[6:]
    elif motion != "translation":
        scale = np.exp(step[3]) if motion == "similarity" else 1.0
        cos, sin = scale * np.cos(step[2]), scale * np.sin(step[2])
        local[:2, :2] = [[cos, -sin], [sin, cos]]
    local[:2, 2] = step[:2]
    frame = np.array(
        [[1 / unit, 0, -centre[0] / unit], [0, 1 / unit, -centre[1] / unit], [0, 0, 1]]
    )
    return np.linalg.inv(frame) @ local @ frame


def _maximise_ecc(
    template: np.ndarray,
    edges: np.ndarray,
    matrix: np.ndarray,
    *,
    motion: str,
    max_iterations: int = 25,
    tolerance_px: float = 0.005,
) -> np.ndarray:
    """Maximise the enhanced correlation coefficient of one level over a motion.

    Each step regresses the warped image on the template, a constant and the template's change
    per parameter. Gain and offset are thus free, which makes the criterion the correlation
    coefficient of Evangelidis and Psarakis (2008), "Parametric image alignment using enhanced
    correlation coefficient maximization", and the step its inverse compositional form: the design
    matrix belongs to the template and is built once. We depart from the paper in weighting pixels
    by Tukey's biweight: a defect or a displaced component shall not pull the whole part along.

    Args:
        template: Edge strength of the reference, float32, shape (H, W).
        edges: Edge strength of the image, float32.
        matrix: Start, template ← image, at this level's resolution.
        motion: One of `ALIGNMENT_MOTIONS`.
        max_iterations: Steps at most.
        tolerance_px: A step that moves no corner further is the last.

    Returns:
        The refined matrix, or the start where a step cannot be taken.
    """
    height_px, width_px = template.shape
    slopes, unit = _steepest_descent(template, motion=motion)
    strength = np.hypot(slopes[..., 0], slopes[..., 1])
    # Flat pixels hold no place; leaving them out saves more than half the work.
    rows, columns = np.nonzero(strength > np.percentile(strength, 60))
    flat = template[rows, columns]
    design = np.column_stack([flat, np.ones_like(flat), slopes[rows, columns]])
    centre = _centre_of(template)
    start = matrix
    for _ in range(max_iterations):
        warped = _warp(edges, matrix, shape=template.shape)[rows, columns]
        is_valid = covered(
            matrix, source_shape=edges.shape, height_px=height_px, width_px=width_px
        )[rows, columns]
        if np.count_nonzero(is_valid) < max(_MIN_VALID_PX, 0.2 * is_valid.size):
            return start
        weight = is_valid.astype(np.float32)
        for _ in range(2):
            weighted = design * weight[:, None]
            normal = (weighted.T @ design).astype(np.float64)
            right = (weighted.T @ warped).astype(np.float64)
            try:
                solution = np.linalg.solve(normal, right)
            except np.linalg.LinAlgError:
                return start
            error = np.abs(warped - design @ solution.astype(np.float32))
            spread = 1.4826 * float(np.median(error[is_valid][::4]))
            if spread < 1e-6:
                break
            weight = np.maximum(1 - (error / np.float32(4.685 * spread)) ** 2, 0) ** 2 * is_valid
        if solution[0] < 1e-3:  # anticorrelated: no step along the slopes can be trusted
            return matrix
        step = _motion_matrix(solution[2:] / solution[0], motion=motion, unit=unit, centre=centre)
        matrix = step @ matrix
        matrix = matrix / matrix[2, 2]
        if _largest_move(step, height_px, width_px) < tolerance_px:
            break
    return matrix


def _centre_on_square(edges: np.ndarray, *, side: int) -> np.ndarray:
    """Put zero-mean, windowed edges in the middle of a square, float32, shape (side, side)."""
    height_px, width_px = edges.shape
    window = cv2.createHanningWindow((max(width_px, 2), max(height_px, 2)), cv2.CV_32F)
    square = np.zeros((side, side), np.float32)
    top, left = (side - height_px) // 2, (side - width_px) // 2
    square[top : top + height_px, left : left + width_px] = (edges - edges.mean()) * window[
        :height_px, :width_px
    ]
    return square


def _correlate_phase(fixed: np.ndarray, moving: np.ndarray) -> tuple[float, float]:
    """Give the shift (dx, dy) fixed ← moving by phase correlation, to a fraction of a pixel.

    The cross-power spectrum keeps its phase and loses its length, and is cut off smoothly above
    the frequencies that smoothing left to the noise. What remains at the peak is close to a
    Gaussian, whose logarithm is a parabola.

    Source: Kuglin and Hines (1975), "The phase correlation image alignment method".
    """
    height_px, width_px = fixed.shape
    cross = fft.rfft2(fixed) * np.conj(fft.rfft2(moving))
    length = np.abs(cross)
    fy = np.fft.fftfreq(height_px)[:, None]
    fx = np.fft.rfftfreq(width_px)[None, :]
    low_pass = np.exp(-2 * (np.pi * 1.5 * _SMOOTHING_PX) ** 2 * (fx**2 + fy**2))
    # A frequency far below the strongest has a phase of noise: it counts less.
    floor = 1e-3 * float(length.max()) + 1e-12
    peak = fft.irfft2(cross / (length + floor) * low_pass, s=fixed.shape)
    row, column = np.unravel_index(int(np.argmax(peak)), peak.shape)
    shift = []
    for index, size_px, axis in ((column, width_px, 1), (row, height_px, 0)):
        around = [
            float(np.roll(peak, -int(index) + 1, axis=axis)[(row, k) if axis else (k, column)])
            for k in range(3)
        ]
        low, middle, high = np.log(np.maximum(around, 1e-12))
        bend = low - 2 * middle + high
        offset = 0.5 * (low - high) / bend if bend < -1e-12 else 0.0
        signed = index - size_px if index > size_px // 2 else index
        shift.append(float(signed + np.clip(offset, -0.5, 0.5)))
    return shift[0], shift[1]


def _fourier_mellin(fixed: np.ndarray, moving: np.ndarray) -> tuple[float, float]:
    """Read rotation and scale fixed ← moving from the spectra, in radians and as a factor.

    Of the two angles a spectrum allows, half a turn apart, the smaller is given.

    Source: Reddy and Chatterji (1996), "An FFT-based technique for translation, rotation, and
    scale-invariant image registration".

    Args:
        fixed: Windowed edge strength, float32, shape (S, S).
        moving: The same of the image to turn.

    Returns:
        The angle, in (-pi/2, pi/2], and the factor, above 0.
    """
    side = fixed.shape[0]
    # Frequencies from 3 cycles per image to what smoothing has left above the noise.
    low, high = 3.0, side / (2 * np.pi * _SMOOTHING_PX)
    n_angles, n_radii = 1024, 256
    angles = np.arange(n_angles) * (np.pi / n_angles)
    radii = low * (high / low) ** (np.arange(n_radii) / (n_radii - 1))
    map_x = (side // 2 + radii[None, :] * np.cos(angles)[:, None]).astype(np.float32)
    map_y = (side // 2 + radii[None, :] * np.sin(angles)[:, None]).astype(np.float32)
    window = np.hanning(n_radii + 2)[1:-1].astype(np.float32)
    maps = []
    for image in (fixed, moving):
        spectrum = np.log(np.abs(np.fft.fftshift(fft.fft2(image))) + 1e-3).astype(np.float32)
        polar = cv2.remap(spectrum, map_x, map_y, cv2.INTER_LINEAR)
        # Less the fall-off with frequency, which says nothing about scale; angles are periodic,
        # so only the radius is windowed.
        maps.append((polar - polar.mean(axis=0, keepdims=True)) * window)
    d_radius, d_angle = _correlate_phase(maps[0], maps[1])
    angle = d_angle * np.pi / n_angles
    # A larger image has a smaller spectrum.
    scale = float(np.exp(-d_radius * np.log(high / low) / (n_radii - 1)))
    return float((angle + np.pi / 2) % np.pi - np.pi / 2), scale


def _detect_features(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Detect SIFT keypoints on the smoothed, stretched image: (K, 2) and (K, 128) or None."""
    smooth = cv2.GaussianBlur(grey, (0, 0), _SMOOTHING_PX)
    low, high = np.percentile(smooth, (0.5, 99.5))
    if high - low < 1e-3:
        return np.empty((0, 2)), None
    stretched = np.clip((smooth - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    sift = cv2.SIFT_create(nfeatures=3000, contrastThreshold=0.02)
    keypoints, descriptors = sift.detectAndCompute(stretched, None)
    points = np.array([keypoint.pt for keypoint in keypoints], np.float64).reshape(-1, 2)
    return points, descriptors


def _fit_motion(source: np.ndarray, target: np.ndarray, *, motion: str) -> np.ndarray | None:
    """Fit a motion target ← source to point pairs, some of them wrong; None where it fails."""
    threshold_px = 3.0
    if motion == "homography":
        matrix, _ = cv2.findHomography(source, target, cv2.USAC_MAGSAC, threshold_px)
        return matrix
    if motion == "affine":
        rows, inliers = cv2.estimateAffine2D(
            source, target, method=cv2.RANSAC, ransacReprojThreshold=threshold_px
        )
    else:
        rows, inliers = cv2.estimateAffinePartial2D(
            source, target, method=cv2.RANSAC, ransacReprojThreshold=threshold_px
        )
    if rows is None or inliers is None or np.count_nonzero(inliers) < 4:
        return None
    if motion in ("affine", "similarity"):
        return np.vstack([rows, [0, 0, 1]])
    # No estimator of OpenCV fixes the scale: fit to the similarity's inliers in closed form.
    is_inlier = inliers.ravel().astype(bool)
    a, b = source[is_inlier], target[is_inlier]
    a_mean, b_mean = a.mean(axis=0), b.mean(axis=0)
    angle = 0.0
    if motion == "euclidean":
        a, b = a - a_mean, b - b_mean
        angle = np.arctan2(np.sum(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]), np.sum(a * b))
    return _similarity(float(angle), 1.0, a_mean, b_mean)


def matrix_of(row: Any) -> np.ndarray:
    """Transform of a row of the transforms table, float64, (3, 3), reference ← image."""
    return np.array([[getattr(row, f"m{r}{c}") for c in range(3)] for r in range(3)])


def covered_pixels(transform: Any, manifest_row: Any) -> np.ndarray:
    """Pixels of an aligned image that come from the image, bool (H, W); the rest was filled in."""
    height, width = int(transform.height_px), int(transform.width_px)
    return covered(
        matrix_of(transform),
        source_shape=(int(manifest_row.height_px), int(manifest_row.width_px)),
        height_px=height,
        width_px=width,
    )
