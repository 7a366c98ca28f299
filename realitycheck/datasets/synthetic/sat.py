"""Draw scanning-acoustic C-scans of an electronic package whose truth is known exactly.

Stands in for the study's private set IndustrialSAT: greyscale amplitude images of a moulded power
package, gated at the die attach, with the same counts (231 OK, 32 NOK) and the same three defect
types. A part is described in the *nominal frame*, the drawing of the package on a canvas as large
as the image; every image has its own similarity transform into it, and each pixel asks the drawing
what lies below it, so the recorded transform is exact and nothing is resampled.

Defects are drawn as visible as the study's were to a trained classifier, which found most of them
(F2 0.82), while the difference to a reference did not: mechanical play and drift hide them from it.

What is drawn, in the order in which the sound meets it: mechanical tolerances of each component,
material texture, the defect, the transducer's lateral blur, speckle, the gain that drifts from scan
line to scan line, the brightness of the scan, noise, and rounding to grey values.

Source: the study, section 3.3 (kind of image, defect types, counts); Yu (2020), "Scanning acoustic
microscopy for material evaluation" (gaps reflect nearly all sound and look bright, edges scatter it
and look dark). The geometry is our own and copies no product.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from realitycheck.core.files import write_text
from realitycheck.core.images import write_png

CATEGORY = "package"
DEFECT_TYPES = ("void", "crack", "delamination")
TRUTH_COLUMNS = (
    "image",
    "label",
    "defect_type",
    *(f"m{row}{column}" for row in range(3) for column in range(3)),
    "defect_area_px",
    "defect_size_px",
    "contrast",
    "brightness",
)

# Grey levels (0 black, 1 white) of what the gate sees, without brightness and noise.
_WATER = 0.13
_MOULD = 0.33
_COPPER = 0.60
_SOLDER = 0.475
_SILICON = 0.41

# Everything below is in fractions of the canvas side: x to the right, y down.
_BODY = (0.50, 0.45, 0.390, 0.345)  # centre x, centre y, half width, half height
_PADDLE = (0.50, 0.385, 0.300, 0.232)
_DIES = ((0.395, 0.385, 0.145, 0.165), (0.675, 0.405, 0.080, 0.118))
_LEADS_X = (0.205, 0.345, 0.500, 0.640, 0.795)
_TIE_BARS_X = (0.330, 0.640)
_RIM = 0.0042  # width over which an edge scatters the sound


@dataclass(frozen=True)
class SatSettings:
    """How a scan is drawn; fractions are of the canvas side unless said otherwise.

    Attributes:
        image_size_px: Side of the square image, in pixels, at least 32.
        bit_depth: Bits per grey value of the files, 8 or 16.
        max_rotation_deg: Registration error: the part is turned by up to this, either way.
        max_shift_fraction: Registration error: shift along x and along y, either way.
        max_scale_fraction: Registration error: the scale is 1 ± this.
        max_brightness_fraction: The brightness of a scan is 1 ± this.
        quarter_turns: Whether a part may also lie turned by 90, 180 or 270 degrees.
        tolerance: Multiplier of all mechanical tolerances; 0 draws every part alike.
        blur_fraction: Standard deviation of the transducer's lateral blur.
        speckle: Standard deviation of the multiplicative speckle, 0 to 1.
        line_drift: Standard deviation of the slow gain drift over scan lines, 0 to 1.
        texture: Multiplier of the material texture; 0 draws plain materials.
        noise: Standard deviation of the receiver's noise, in grey levels of 0 to 1.
        min_defect_fraction: Smallest defect (diameter of the circle of equal area).
        max_defect_fraction: Largest void. The limits hold 1.5-fold for delaminations and, for the
            length of cracks, 2-fold.
        min_contrast: Smallest change of grey level (0 to 1) that a defect causes; 1.5-fold for
            cracks, which are thinner than the beam.
        max_contrast: Largest such change.
    """

    image_size_px: int = 512
    bit_depth: int = 8
    max_rotation_deg: float = 2.0
    max_shift_fraction: float = 0.02
    max_scale_fraction: float = 0.01
    max_brightness_fraction: float = 0.15
    quarter_turns: bool = False
    tolerance: float = 1.0
    blur_fraction: float = 0.0024
    speckle: float = 0.06
    line_drift: float = 0.03
    texture: float = 1.0
    noise: float = 0.008
    min_defect_fraction: float = 0.03
    max_defect_fraction: float = 0.12
    min_contrast: float = 0.16
    max_contrast: float = 0.36

    def __post_init__(self) -> None:
        """Refuse values that no image can be drawn with, all at once."""
        faults = []
        if self.image_size_px < 32:
            faults.append(f"image_size_px must be at least 32, got {self.image_size_px}")
        if self.bit_depth not in (8, 16):
            faults.append(f"bit_depth must be 8 or 16, got {self.bit_depth}")
        limits = {
            "max_rotation_deg": 45.0,
            "max_shift_fraction": 0.5,
            "max_scale_fraction": 0.5,
            "max_brightness_fraction": 0.9,
            "tolerance": 3.0,
            "blur_fraction": 0.05,
            "speckle": 1.0,
            "line_drift": 0.5,
            "texture": 3.0,
            "noise": 0.5,
        }
        for name, limit in limits.items():
            value = getattr(self, name)
            if not 0 <= value <= limit:
                faults.append(f"{name} must lie in [0, {limit:g}], got {value:g}")
        if not 0 < self.min_defect_fraction <= self.max_defect_fraction <= 0.14:
            faults.append(
                "min_defect_fraction and max_defect_fraction must satisfy 0 < min <= max <= 0.14, "
                f"got {self.min_defect_fraction:g} and {self.max_defect_fraction:g}"
            )
        if not 0 < self.min_contrast <= self.max_contrast <= 0.6:
            faults.append(
                "min_contrast and max_contrast must satisfy 0 < min <= max <= 0.6, "
                f"got {self.min_contrast:g} and {self.max_contrast:g}"
            )
        if faults:
            raise ValueError("settings of synthetic_sat: " + "; ".join(faults))


@dataclass(frozen=True)
class SatImage:
    """One scan and everything that is known about it.

    Attributes:
        image: Grey values, uint8 or uint16 by `bit_depth`, shape (H, W).
        mask: Pixels whose reflectivity the defect changes, bool, shape (H, W).
        label: "OK" or "NOK".
        defect_type: One of `DEFECT_TYPES`, or None on a good part.
        matrix: The true transform nominal ← image, float64, shape (3, 3), in pixels; pixel
            centres lie at whole numbers.
        defect_size_px: The drawn size: diameter of the circle of equal area, of a crack its
            length, in pixels; 0 on a good part.
        contrast: Change of grey level by the defect, -1 to 1 (bright is positive); 0 on a good
            part.
        brightness: The scan's gain, 1 is nominal.
    """

    image: np.ndarray
    mask: np.ndarray
    label: str
    defect_type: str | None
    matrix: np.ndarray
    defect_size_px: float
    contrast: float
    brightness: float


def _length(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Give the length of vectors (a, b).

    Not by `cv2.magnitude`, whose last bit depends on where in memory the arrays lie.
    """
    return np.sqrt(a * a + b * b)


@dataclass(frozen=True)
class _Plate:
    """A rounded rectangle: centre, half sides, corner radius, turn in radians."""

    x: float
    y: float
    half_width: float
    half_height: float
    radius: float = 0.004
    turn: float = 0.0

    def distance(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Give the signed distance to the outline, negative inside, in canvas fractions."""
        cos, sin = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        du, dv = u - np.float32(self.x), v - np.float32(self.y)
        a = np.abs(du * cos + dv * sin) - np.float32(self.half_width - self.radius)
        b = np.abs(dv * cos - du * sin) - np.float32(self.half_height - self.radius)
        outside = _length(np.maximum(a, 0), np.maximum(b, 0))
        return outside + np.minimum(np.maximum(a, b), 0) - np.float32(self.radius)

    def reach(self) -> float:
        """Give the radius of a circle around the centre that holds the plate."""
        return float(np.hypot(self.half_width, self.half_height))


class _Scene:
    """The canvas being painted, in the image's own pixels."""

    def __init__(self, matrix: np.ndarray, *, size_px: int) -> None:
        self.size_px = size_px
        self.inverse = np.linalg.inv(matrix)
        grid_x, grid_y = np.meshgrid(np.arange(size_px), np.arange(size_px))
        # Canvas fractions below every pixel centre: 0 and 1 are the canvas' outer edges.
        rows = [(m[0] * grid_x + m[1] * grid_y + m[2] + 0.5) / size_px for m in matrix[:2]]
        self.u, self.v = (row.astype(np.float32) for row in rows)
        self.px_per_unit = size_px / float(np.sqrt(np.linalg.det(matrix[:2, :2])))
        # Grey level, amplitude of fine grain, amplitude of coarse mottle.
        self.layers = np.empty((size_px, size_px, 3), np.float32)
        self.layers[:] = (_WATER, 0.006, 0.008)

    def window(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """Give the rows and columns within `reach` (canvas fractions) of a nominal point."""
        nominal = np.array([x * self.size_px - 0.5, y * self.size_px - 0.5, 1.0])
        column, row = (self.inverse @ nominal)[:2]
        half = reach * self.px_per_unit + 2
        bounds = [(int(np.floor(c - half)), int(np.ceil(c + half)) + 1) for c in (row, column)]
        rows, columns = (slice(max(lo, 0), max(min(hi, self.size_px), 0)) for lo, hi in bounds)
        return rows, columns

    def paint(self, plate: _Plate, ink: tuple[float, float, float], *, rim: float = 0.0) -> None:
        """Lay a plate over what is there and darken its outline by the share `rim`."""
        window = self.window(plate.x, plate.y, plate.reach() + 3 * _RIM)
        if self.u[window].size == 0:  # beyond the image
            return
        distance = plate.distance(self.u[window], self.v[window])
        cover = np.clip(0.5 - distance * np.float32(self.px_per_unit), 0, 1)[..., None]
        self.layers[window] += cover * (np.float32(ink) - self.layers[window])
        if rim > 0:
            dark = np.exp(-((distance / np.float32(_RIM)) ** 2))
            self.layers[window][..., 0] *= 1 - np.float32(rim) * dark

    def shade(self, field: np.ndarray, window: tuple[slice, slice], share: float) -> None:
        """Darken (share above 0) or brighten by a field of 0 to 1."""
        self.layers[window][..., 0] *= 1 - np.float32(share) * field


def draw_part(
    rng: np.random.Generator,
    *,
    defect_type: str | None = None,
    settings: SatSettings | None = None,
) -> SatImage:
    """Draw one part, good or with one defect.

    The part, the defect and the noise have their own streams of chance: two generators of the same
    seed give the same part and the same scan with and without a defect.

    Args:
        rng: Source of chance; three streams are spawned from it.
        defect_type: One of `DEFECT_TYPES`, or None for a good part.
        settings: How the scan is drawn; the defaults of `SatSettings` when None.

    Returns:
        The scan with its truth.

    Raises:
        ValueError: If `defect_type` is unknown, or a defect finds no place inside the image.
    """
    settings = SatSettings() if settings is None else settings
    if defect_type is not None and defect_type not in DEFECT_TYPES:
        raise ValueError(
            f"defect_type must be one of {', '.join(DEFECT_TYPES)} or None, got {defect_type!r}"
        )
    part_rng, defect_rng, noise_rng = rng.spawn(3)
    matrix = _draw_transform(part_rng, settings=settings)
    brightness = 1 + part_rng.uniform(-1, 1) * settings.max_brightness_fraction
    scene = _Scene(matrix, size_px=settings.image_size_px)
    paddle, dies, solders = _paint_package(scene, part_rng, tolerance=settings.tolerance)
    level = _add_texture(scene, noise_rng, settings=settings)

    mask = np.zeros(level.shape, bool)
    contrast, size = 0.0, 0.0
    if defect_type is not None:
        mask, size = _draw_defect(
            scene, defect_rng, defect_type, settings=settings, places=(paddle, dies, solders)
        )
        contrast = _draw_contrast(defect_rng, defect_type, settings=settings)
        level = _apply_defect(level, mask, contrast)

    grey = _scan(level, noise_rng, brightness=brightness, settings=settings)
    top = 2**settings.bit_depth - 1
    image = np.rint(np.clip(grey, 0, 1) * top).astype(np.uint8 if top == 255 else np.uint16)
    return SatImage(
        image=image,
        mask=mask,
        label="OK" if defect_type is None else "NOK",
        defect_type=defect_type,
        matrix=matrix,
        defect_size_px=size * scene.px_per_unit,
        contrast=contrast,
        brightness=brightness,
    )


def _draw_transform(rng: np.random.Generator, *, settings: SatSettings) -> np.ndarray:
    """Draw the similarity nominal ← image about the canvas centre, shape (3, 3)."""
    angle = np.deg2rad(rng.uniform(-1, 1) * settings.max_rotation_deg)
    scale = 1 + rng.uniform(-1, 1) * settings.max_scale_fraction
    shift = rng.uniform(-1, 1, 2) * settings.max_shift_fraction * settings.image_size_px
    turns = rng.integers(4)
    if settings.quarter_turns:
        angle += turns * np.pi / 2
    centre = (settings.image_size_px - 1) / 2
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre + shift - linear @ [centre, centre]
    return matrix


def _paint_package(
    scene: _Scene, rng: np.random.Generator, *, tolerance: float
) -> tuple[_Plate, list[_Plate], list[_Plate]]:
    """Paint the package with its tolerances; give paddle, dies and solder layers as built.

    The lead frame carries the nominal frame; the mould and, with play in the molten solder, the
    dies lie a little off it.
    """

    def play(spread: float) -> float:
        return float(np.clip(rng.normal(), -2, 2)) * spread * tolerance

    mould = (_MOULD + play(0.008), 0.030, 0.012)
    copper = (_COPPER + play(0.012), 0.012, 0.014)
    x, y, w, h = _BODY
    dx, dy = play(0.0004), play(0.0004)
    body = _Plate(x + dx, y + dy, w + play(0.0004), h + play(0.0004), 0.022)
    outer = (0.47 + play(0.02), 0.012, 0.012)
    leads = [(c, 0.023, 0.675, 0.985) for c in _LEADS_X]
    bars = [(c, 0.014, 0.015, 0.160) for c in _TIE_BARS_X]
    stamped = [
        (c + play(0.0005), half + play(0.0004), top + play(0.001), low)
        for c, half, top, low in leads + bars
    ]
    metal = [_Plate(c, (a + b) / 2, half, (b - a) / 2) for c, half, a, b in stamped]
    for plate in metal:
        scene.paint(plate, outer, rim=0.35)
    scene.paint(body, mould, rim=0.5)

    # A moulding pin's dimple, bottom left, and two ejector marks: shallow, so mostly an edge.
    for mx, my, radius in ((0.160, 0.745, 0.022), (0.150, 0.150, 0.030), (0.850, 0.150, 0.030)):
        mark = _Plate(mx + dx, my + dy, radius, radius, radius)
        scene.paint(mark, (mould[0] * 0.93, 0.024, 0.012), rim=0.22)

    # Lead frame inside the mould: leads end in posts for the bond wires.
    for plate in metal:
        inside_top = max(plate.y - plate.half_height, body.y - body.half_height)
        inside_low = min(plate.y + plate.half_height, body.y + body.half_height)
        half = (inside_low - inside_top) / 2
        middle = (inside_low + inside_top) / 2
        scene.paint(_Plate(plate.x, middle, plate.half_width, half), copper, rim=0.3)
    posts = [
        _Plate(c + play(0.0005), 0.690 + play(0.0005), half, 0.026, 0.006)
        for c, half in zip(_LEADS_X, (0.048, 0.040, 0.040, 0.040, 0.048), strict=True)
    ]
    for post in posts:
        scene.paint(post, copper, rim=0.3)
    x, y, w, h = _PADDLE
    paddle = _Plate(x, y, w + play(0.0005), h + play(0.0005), 0.012)
    scene.paint(paddle, copper, rim=0.35)
    notch = _Plate(x + w, y + h, 0.040, 0.030, 0.008)
    scene.paint(notch, mould)

    dies, solders = [], []
    for x, y, w, h in _DIES:
        turn = np.deg2rad(play(0.7))
        die = _Plate(x + play(0.0045), y + play(0.0045), w, h, 0.003, turn)
        squeeze = 0.014 + play(0.003)
        solder = _Plate(
            die.x + play(0.002),
            die.y + play(0.002),
            w + squeeze + play(0.001),
            h + squeeze + play(0.001),
            0.012,
            turn + np.deg2rad(play(0.3)),
        )
        scene.paint(solder, (_SOLDER + play(0.015), 0.014, 0.034), rim=0.22)
        scene.paint(die, (_SILICON + play(0.015), 0.012, 0.026), rim=0.45)
        _paint_metal(scene, die)
        dies.append(die)
        solders.append(solder)
    _paint_wires(scene, rng, dies=dies, posts=posts, tolerance=tolerance)
    return paddle, dies, solders


def _paint_metal(scene: _Scene, die: _Plate) -> None:
    """Paint a die's metallisation: bond pads that reflect a little less than silicon."""
    cos, sin = np.cos(die.turn), np.sin(die.turn)
    if die.half_width > 0.1:  # transistor: two emitter fields and a gate pad
        fields = [(-0.45, -0.12, 0.42, 0.70), (0.45, -0.12, 0.42, 0.70), (0.0, 0.82, 0.20, 0.10)]
    else:  # diode: one anode field
        fields = [(0.0, 0.0, 0.78, 0.84)]
    for a, b, w, h in fields:
        px, py = a * die.half_width, b * die.half_height
        pad = _Plate(
            die.x + px * cos - py * sin,
            die.y + px * sin + py * cos,
            w * die.half_width,
            h * die.half_height,
            0.004,
            die.turn,
        )
        scene.paint(pad, (_SILICON - 0.030, 0.012, 0.026), rim=0.10)


def _paint_wires(
    scene: _Scene,
    rng: np.random.Generator,
    *,
    dies: list[_Plate],
    posts: list[_Plate],
    tolerance: float,
) -> None:
    """Shade the bond wires, which lie above the gate and take some sound away."""
    routes = [(0, -0.45, 1), (0, -0.30, 1), (0, 0.45, 2), (0, 0.60, 2), (1, -0.2, 3), (1, 0.3, 4)]
    for number, (die_index, along, post_index) in enumerate(routes):
        die, post = dies[die_index], posts[post_index]
        offset = (number % 2 - 0.5) * 0.016
        jitter = np.clip(rng.normal(size=3), -2, 2) * 0.003 * tolerance
        start = np.array(
            [die.x + along * die.half_width + jitter[0], die.y + 0.3 * die.half_height]
        )
        end = np.array([post.x + offset + jitter[1], post.y + jitter[2]])
        centre, reach = (start + end) / 2, float(np.linalg.norm(end - start)) / 2 + 0.02
        window = scene.window(centre[0], centre[1], reach)
        if scene.u[window].size == 0:
            continue
        distance = _segment_distance(scene.u[window], scene.v[window], start, end)
        scene.shade(np.exp(-((distance / np.float32(0.0045)) ** 2)), window, 0.16)


def _segment_distance(
    u: np.ndarray, v: np.ndarray, start: np.ndarray, end: np.ndarray
) -> np.ndarray:
    """Give the distance of every point to a line segment, in canvas fractions."""
    along = (end - start).astype(np.float32)
    du, dv = u - np.float32(start[0]), v - np.float32(start[1])
    square = max(float(along @ along), 1e-12)
    share = np.clip((du * along[0] + dv * along[1]) / np.float32(square), 0, 1)
    return _length(du - share * along[0], dv - share * along[1])


def _smooth_noise(rng: np.random.Generator, *, size_px: int, sigma_px: float) -> np.ndarray:
    """Draw Gaussian noise of unit variance with a correlation length, shape (H, W), float32."""
    # Coarse fields are drawn small and enlarged: the same statistics for a fraction of the time.
    step = max(1, int(sigma_px / 2))
    small = -(-size_px // step) + 2
    field = rng.standard_normal((small, small), np.float32)
    sigma = sigma_px / step
    if sigma > 0.2:
        field = cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        field /= max(float(field.std()), 1e-6)
    if step > 1:
        field = cv2.resize(field, (small * step, small * step), interpolation=cv2.INTER_CUBIC)
    return field[:size_px, :size_px]


def _add_texture(scene: _Scene, rng: np.random.Generator, *, settings: SatSettings) -> np.ndarray:
    """Give the reflectivity of the part with material texture and tilt, shape (H, W), float32."""
    size_px = settings.image_size_px
    unit = size_px / 512
    fine = _smooth_noise(rng, size_px=size_px, sigma_px=1.3 * unit)
    coarse = _smooth_noise(rng, size_px=size_px, sigma_px=9 * unit)
    slope = np.clip(rng.normal(size=2), -2, 2) * 0.05
    level, fine_share, coarse_share = (scene.layers[..., i] for i in range(3))
    tilt = 1 + settings.texture * (slope[0] * (scene.u - 0.5) + slope[1] * (scene.v - 0.5))
    grain = fine_share * fine + coarse_share * coarse
    return ((level + np.float32(settings.texture) * grain) * tilt).astype(np.float32)


def _draw_log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform between those of `low` and `high`."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _draw_contrast(rng: np.random.Generator, defect_type: str, *, settings: SatSettings) -> float:
    """Draw the signed change of grey level: gaps shine, cracks scatter."""
    size = _draw_log_uniform(rng, settings.min_contrast, settings.max_contrast)
    if defect_type == "crack":
        # The beam is wider than a crack and would blur away half of what a wide defect shows.
        return -1.5 * size
    is_dark = defect_type == "delamination" and rng.random() < 0.2
    return -size if is_dark else size


def _apply_defect(level: np.ndarray, mask: np.ndarray, contrast: float) -> np.ndarray:
    """Change the reflectivity inside the mask, and nowhere else.

    The rim of a gap reflects less than its middle, where the beam falls on nothing but the gap.
    """
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)[mask]
    profile = 0.7 + 0.3 * depth / max(float(depth.max()), 1e-6)
    changed = level.copy()
    changed[mask] += np.float32(contrast) * profile
    return changed


def _draw_defect(
    scene: _Scene,
    rng: np.random.Generator,
    defect_type: str,
    *,
    settings: SatSettings,
    places: tuple[_Plate, list[_Plate], list[_Plate]],
) -> tuple[np.ndarray, float]:
    """Draw a defect's mask, bool, shape (H, W), and its size in canvas fractions.

    A defect that the image would cut is drawn anew: its whole area is known.
    """
    low, high = settings.min_defect_fraction, settings.max_defect_fraction
    factor = {"void": 1.0, "crack": 2.0, "delamination": 1.5}[defect_type]
    size = _draw_log_uniform(rng, factor * low, factor * high)
    for _ in range(100):
        mask = _place_defect(scene, rng, defect_type, size=size, places=places)
        frame = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
        if mask.any() and not any(side.any() for side in frame):
            return mask, size
    raise ValueError(
        f"synthetic_sat: found no place for a {defect_type} of {size:.3f} of the width inside the "
        "image in 100 trials; lower max_shift_fraction, max_rotation_deg or max_scale_fraction"
    )


def _place_defect(
    scene: _Scene,
    rng: np.random.Generator,
    defect_type: str,
    *,
    size: float,
    places: tuple[_Plate, list[_Plate], list[_Plate]],
) -> np.ndarray:
    """Draw a defect of a size somewhere on its kind of component; an empty mask if it is cut."""
    paddle, dies, solders = places
    if defect_type == "crack":
        # A long crack needs the large die; a short one falls on either by area.
        die = dies[0] if size > 0.14 or rng.random() < 0.7 else dies[1]
        return _draw_crack(scene, rng, size, die=die)
    if defect_type == "void":
        solder = solders[0] if size > 0.08 or rng.random() < 0.7 else solders[1]
        reach = 0.9 * np.array([solder.half_width, solder.half_height]) - size / 3
        spot = np.array([solder.x, solder.y]) + rng.uniform(-1, 1, 2) * np.maximum(reach, 0)
        return _draw_blob(scene, rng, size, spot=spot, plate=solder, ragged=0.10)
    # A delamination starts where the stress is: at an edge or corner of the paddle or a die.
    plate = (paddle, dies[0], dies[1])[rng.choice(3, p=(0.5, 0.3, 0.2))]
    plate = paddle if size > 0.10 else plate
    side = rng.uniform(-1, 1, 2)
    side[rng.integers(2)] = rng.choice((-1.0, 1.0))
    # The notch takes the paddle's lower right corner away: start on the other three sides' parts.
    if plate is paddle and side[0] > 0.7 and side[1] > 0.7:
        side = -side
    spot = np.array([plate.x, plate.y]) + side * [plate.half_width, plate.half_height]
    return _draw_blob(scene, rng, size, spot=spot, plate=plate, ragged=0.15)


def _draw_blob(
    scene: _Scene,
    rng: np.random.Generator,
    size: float,
    *,
    spot: np.ndarray,
    plate: _Plate,
    ragged: float,
) -> np.ndarray:
    """Draw an irregular blob around a spot, cut at a plate's outline, of exactly the wanted area.

    Pixels of the plate are taken in the order of their distance from the spot, measured in a
    wavy ellipse, until the area of a circle of diameter `size` is reached.
    """
    waves = np.arange(2, 7)
    weight = ragged * rng.normal(size=waves.size) / np.sqrt(waves - 1)
    phase = rng.uniform(0, 2 * np.pi, waves.size)
    stretch = rng.uniform(0.75, 1.33)
    mask = np.zeros(scene.u.shape, bool)
    window = scene.window(spot[0], spot[1], 2.5 * size + 0.01)
    u, v = scene.u[window], scene.v[window]
    if u.size == 0:
        return mask
    du, dv = (u - spot[0]) * stretch, (v - spot[1]) / stretch
    angle = np.arctan2(dv, du)
    radius = 1 + sum(
        w * np.cos(n * angle + p) for w, n, p in zip(weight, waves, phase, strict=True)
    )
    order = np.hypot(du, dv) / np.maximum(radius, 0.35)
    order[plate.distance(u, v) > 0] = np.inf
    n_wanted = max(1, round(np.pi / 4 * (size * scene.px_per_unit) ** 2))
    n_inside = int(np.isfinite(order).sum())
    if n_inside < n_wanted:  # too much lies beyond the image
        return mask
    limit = np.partition(order, n_wanted - 1, axis=None)[n_wanted - 1]
    mask[window] = order <= limit
    return mask


def _draw_crack(
    scene: _Scene, rng: np.random.Generator, length: float, *, die: _Plate
) -> np.ndarray:
    """Draw a crack that starts at a die's edge and wanders inward, as a mask."""
    side = rng.uniform(-0.8, 0.8, 2)
    axis = int(rng.integers(2))
    side[axis] = rng.choice((-0.995, 0.995))
    point = np.array([die.x, die.y]) + side * [die.half_width, die.half_height]
    inward = np.array([die.x, die.y]) - point
    heading = np.arctan2(inward[1], inward[0]) + rng.uniform(-0.25, 0.25)
    n_steps = max(2, round(length / 0.008))
    width = rng.uniform(0.0030, 0.0055)
    half_width = max(width / 2, 0.75 / scene.px_per_unit)
    window = scene.window(point[0], point[1], length + 0.01)
    u, v = scene.u[window], scene.v[window]
    mask = np.zeros(scene.u.shape, bool)
    if u.size == 0:
        return mask
    distance = np.full(u.shape, np.inf, np.float32)
    direction = heading
    for _ in range(n_steps):
        # Pulled back to its heading, so that it wanders but does not curl up.
        direction += rng.normal(0, 0.35) - 0.4 * (direction - heading)
        end = point + length / n_steps * np.array([np.cos(direction), np.sin(direction)])
        distance = np.minimum(distance, _segment_distance(u, v, point, end))
        point = end
    mask[window] = (distance <= half_width) & (die.distance(u, v) <= 0)
    return mask


def _scan(
    level: np.ndarray, rng: np.random.Generator, *, brightness: float, settings: SatSettings
) -> np.ndarray:
    """Scan a reflectivity with the transducer, line by line; shape (H, W), grey 0 to 1."""
    size_px = settings.image_size_px
    focus = rng.uniform(0.85, 1.2)
    sigma = settings.blur_fraction * size_px * focus
    seen = cv2.GaussianBlur(level, (0, 0), sigma) if sigma > 0.1 else level
    speckle = _smooth_noise(rng, size_px=size_px, sigma_px=0.8 * size_px / 512)
    noise = rng.standard_normal((size_px, size_px), np.float32)
    # Gain of every line: a slow autoregressive drift, a small jitter, and at times a step where
    # the operator's gate tracks the surface anew.
    steps = rng.normal(size=size_px)
    memory = 0.97
    drift = np.empty(size_px)
    drift[0] = steps[0]
    for row in range(1, size_px):
        drift[row] = memory * drift[row - 1] + np.sqrt(1 - memory**2) * steps[row]
    drift += 0.35 * rng.normal(size=size_px)
    first, last = np.sort(rng.integers(0, size_px, 2))
    drift[first:last] += rng.normal() * 0.7
    gain = brightness * (1 + settings.line_drift * drift[:, None]).astype(np.float32)
    return seen * gain * (1 + settings.speckle * speckle) + settings.noise * noise


def list_images(*, n_ok: int, n_nok: int, n_train: int) -> Iterator[tuple[str, str | None]]:
    """Name the images of a set: (path below images/ without suffix, defect type or None).

    The defect types take turns, so a larger `n_nok` adds images and renames none.
    """
    for index in range(n_train):
        yield f"train/OK/{index:04d}", None
    for index in range(n_ok):
        yield f"test/OK/{index:04d}", None
    for index in range(n_nok):
        kind = DEFECT_TYPES[index % len(DEFECT_TYPES)]
        yield f"test/NOK/{kind}/{index // len(DEFECT_TYPES):04d}", kind


def image_rng(name: str, *, seed: int) -> np.random.Generator:
    """Give an image its own source of chance, from the seed and its name alone."""
    digest = hashlib.sha256(name.encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    return np.random.default_rng([seed, *words])


def generate(
    root: Path | str,
    *,
    n_ok: int = 231,
    n_nok: int = 32,
    n_train: int = 40,
    seed: int = 0,
    settings: SatSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a data set in the `folder` layout, with its truth.

    Below `root`: `images/test/OK`, `images/test/NOK/{void,crack,delamination}`, `images/train/OK`,
    the masks of the defective images under the same path below `masks`, and `truth.csv` with one
    row an image. The same arguments give the same bytes on the same machine and libraries (another
    processor may round single grey values differently); another count keeps the images that both
    have. Every file appears complete or not at all.

    Args:
        root: Folder to write to; it is made if need be.
        n_ok: Good test images.
        n_nok: Defective test images, the three types in turn.
        n_train: Good training images.
        seed: Seed of the set, at least 0.
        settings: How the scans are drawn; the defaults of `SatSettings` when None.
        progress: Called after every image with the number done and the total.

    Returns:
        The path of `truth.csv`.

    Raises:
        ValueError: If a count or the seed is negative.
    """
    settings = SatSettings() if settings is None else settings
    for name, value in {"n_ok": n_ok, "n_nok": n_nok, "n_train": n_train, "seed": seed}.items():
        if value < 0:
            raise ValueError(f"{name} of synthetic_sat must be at least 0, got {value}")
    root = Path(root)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(TRUTH_COLUMNS)
    names = list(list_images(n_ok=n_ok, n_nok=n_nok, n_train=n_train))
    for done, (name, defect_type) in enumerate(names, start=1):
        part = draw_part(image_rng(name, seed=seed), defect_type=defect_type, settings=settings)
        write_png(part.image, root / "images" / f"{name}.png")
        if defect_type is not None:
            write_png(part.mask, root / "masks" / f"{name}.png")
        writer.writerow(
            (
                f"{name}.png",
                part.label,
                part.defect_type or "",
                *(repr(float(value)) for value in part.matrix.ravel()),
                int(part.mask.sum()),
                repr(float(part.defect_size_px)),
                repr(float(part.contrast)),
                repr(float(part.brightness)),
            )
        )
        if progress is not None:
            progress(done, len(names))
    truth = root / "truth.csv"
    write_text(table.getvalue(), truth)
    return truth
