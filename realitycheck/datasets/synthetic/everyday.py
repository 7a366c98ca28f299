"""The everyday domain: drawn scenes of animals, shapes and things, with names, masks and boxes.

It is what the `everyday` networks are trained on, and nothing else. Scenes are drawn afresh from a
seed, so training never sees one twice, and no evaluation image is among them: the evaluation sets
draw from seeds of their own names.
"""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from realitycheck.datasets.synthetic.everyday_parts import ANIMALS, NOUNS, SHAPES, THINGS, Part

#: Name → ranges of hue in degrees, saturation and value.
COLOURS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-8, 6), (0.7, 0.95), (0.55, 0.95)),
    "orange": ((18, 32), (0.7, 0.95), (0.8, 1.0)),
    "yellow": ((46, 58), (0.6, 0.95), (0.85, 1.0)),
    "green": ((90, 150), (0.45, 0.9), (0.35, 0.8)),
    "blue": ((205, 240), (0.5, 0.9), (0.45, 0.95)),
    "purple": ((265, 295), (0.4, 0.8), (0.4, 0.8)),
    "pink": ((325, 345), (0.25, 0.5), (0.88, 1.0)),
    "brown": ((14, 30), (0.45, 0.75), (0.28, 0.5)),
    "black": ((0, 360), (0.0, 0.25), (0.04, 0.15)),
    "white": ((0, 360), (0.0, 0.06), (0.92, 1.0)),
    "gray": ((0, 360), (0.0, 0.08), (0.35, 0.65)),
}
COAT_COLOURS = ("black", "white", "gray", "brown", "orange")
#: What a surface looks like, in the words of a caption; "plain" is not said.
FINISHES = ("plain", "striped", "dotted", "checked", "wooden", "metal")
COAT_FINISHES = ("plain", "striped", "spotted", "patched")
BACKGROUNDS = ("room", "outdoors", "wash", "mottled", "pattern")

#: Everything is drawn at this many times the size and brought down, so that edges are smooth.
SUPERSAMPLING = 2
_NOISE_SIZE = 1024


@dataclass(frozen=True)
class Instance:
    """One visible thing of a scene.

    Attributes:
        noun: Key of `NOUNS`.
        colour: Key of `COLOURS`.
        finish: One of `FINISHES` or `COAT_FINISHES`.
        identity: Its value in the scene's `identities`.
        box: x_min, y_min, x_max, y_max of its visible pixels, exclusive at the far ends.
        area_px: Its visible pixels.
        parts: Values in the scene's `parts` that belong to it.
    """

    noun: str
    colour: str
    finish: str
    identity: int
    box: tuple[int, int, int, int]
    area_px: int
    parts: tuple[int, ...] = ()

    @property
    def phrase(self) -> str:
        """The thing with its adjectives, as "gray striped cat"."""
        words = [self.colour, *((self.finish,) if self.finish != "plain" else ()), self.noun]
        return " ".join(words)


@dataclass
class Scene:
    """A drawn scene.

    Attributes:
        image: uint8 RGB, (H, W, 3).
        identities: uint8, (H, W): which instance a pixel belongs to, 0 for the background.
        parts: uint8, (H, W): which part of which instance, 0 for the background.
        instances: The things that can be seen well enough to be named.
    """

    image: np.ndarray
    identities: np.ndarray
    parts: np.ndarray
    instances: list[Instance] = field(default_factory=list)


def draw_colour(rng: np.random.Generator, name: str) -> np.ndarray:
    """Draw a colour that bears a name, RGB 0 to 255, float32, (3,)."""
    hue, saturation, value = (rng.uniform(*limits) for limits in COLOURS[name])
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value), np.float32)


@functools.cache
def _noise_sheet(sigma_px: float) -> np.ndarray:
    """A sheet of smooth noise of unit variance that all pictures cut pieces from."""
    rng = np.random.default_rng(int(10 * sigma_px))
    step = max(1, int(sigma_px / 2))
    small = _NOISE_SIZE // step
    sheet = rng.standard_normal((small, small), np.float32)
    sheet = cv2.GaussianBlur(
        sheet, (0, 0), max(sigma_px / step, 0.3), borderType=cv2.BORDER_REFLECT
    )
    sheet = cv2.resize(sheet, (_NOISE_SIZE, _NOISE_SIZE), interpolation=cv2.INTER_CUBIC)
    return sheet / sheet.std()


def noise(rng: np.random.Generator, height: int, width: int, *, sigma_px: float) -> np.ndarray:
    """Cut a piece of smooth noise of unit variance, float32, (height, width)."""
    sheet = _noise_sheet(float(sigma_px))
    if height > _NOISE_SIZE or width > _NOISE_SIZE:
        sheet = np.tile(sheet, (-(-height // _NOISE_SIZE) + 1, -(-width // _NOISE_SIZE) + 1))
    row = int(rng.integers(sheet.shape[0] - height + 1))
    column = int(rng.integers(sheet.shape[1] - width + 1))
    return sheet[row : row + height, column : column + width]


# ----------------------------------------------------------------------------------- backgrounds


def _gradient(height: int, width: int, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return np.broadcast_to(top + share * (bottom - top), (height, width, 3)).copy()


def _soft(rng: np.random.Generator) -> np.ndarray:
    """A colour of a wall or a floor: seldom loud."""
    hue, saturation, value = rng.uniform(0, 1), rng.uniform(0, 0.5) ** 1.3, rng.uniform(0.3, 0.98)
    return 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32)


def _stripes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A periodic pattern between 0 and 1: stripes, checks or dots, float32, (height, width)."""
    period = rng.uniform(0.03, 0.16) * width
    turn = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])
    y, x = np.mgrid[:height, :width].astype(np.float32)
    u = (np.cos(turn) * x + np.sin(turn) * y) * np.float32(2 * np.pi / period)
    v = (np.cos(turn) * y - np.sin(turn) * x) * np.float32(2 * np.pi / period)
    kind = rng.integers(3)
    if kind == 0:
        wave = np.sin(u)
    elif kind == 1:
        wave = np.sin(u) * np.sin(v)
    else:
        wave = np.cos(u) + np.cos(v) - 1.1
    return np.clip(0.5 + 3 * wave, 0, 1)


def draw_background(
    rng: np.random.Generator, height: int, width: int, *, kind: str | None = None
) -> np.ndarray:
    """Draw what lies behind the things.

    Args:
        rng: Source of chance.
        height: Pixels.
        width: Pixels.
        kind: One of `BACKGROUNDS`; None draws one.

    Returns:
        float32 RGB, 0 to 255, (height, width, 3).
    """
    kind = kind or str(rng.choice(BACKGROUNDS, p=[0.34, 0.26, 0.14, 0.14, 0.12]))
    if kind == "outdoors":
        sky, ground = (
            draw_colour(rng, "blue"),
            draw_colour(rng, str(rng.choice(["green", "brown", "yellow"]))),
        )
        sky = 0.4 * sky + 0.6 * 255 * rng.uniform(0.75, 1.0)
        horizon = int(height * rng.uniform(0.2, 0.6))
        picture = _gradient(height, width, sky, np.full(3, 235, np.float32))
        clouds = np.clip(noise(rng, height, width, sigma_px=40) - 0.4, 0, 1)[..., None]
        picture += (250 - picture) * 0.8 * clouds
        for depth in range(int(rng.integers(0, 3))):
            rise = noise(rng, 1, width, sigma_px=60)[0] * height * 0.05
            edge = horizon - (2 - depth) * 0.05 * height + rise
            tint = ground * rng.uniform(0.5, 0.9) + 40
            below = np.arange(height)[:, None] > edge[None, :]
            picture[below] = 0.6 * tint + 0.4 * sky
        lawn = _gradient(height - horizon, width, 0.8 * ground + 20, 0.95 * ground)
        blades = noise(rng, height - horizon, width, sigma_px=float(rng.choice([1.5, 3, 6])))
        picture[horizon:] = lawn * (1 + 0.13 * blades[..., None])
    elif kind == "room":
        wall, floor = _soft(rng), _soft(rng)
        edge = int(height * rng.uniform(0.45, 0.8))
        picture = _gradient(height, width, wall * rng.uniform(0.85, 1), wall * rng.uniform(0.85, 1))
        if rng.random() < 0.4:
            paper = _stripes(rng, edge, width)[..., None]
            picture[:edge] += paper * rng.uniform(-35, 35)
        if rng.random() < 0.35:  # a window
            w, h = rng.uniform(0.2, 0.4) * width, rng.uniform(0.2, 0.35) * height
            x, y = rng.uniform(0, width - w), rng.uniform(0, max(edge - h, 1))
            cv2.rectangle(picture, (int(x), int(y)), (int(x + w), int(y + h)), (235, 235, 230), -1)
            glass = tuple(float(c) for c in 0.5 * draw_colour(rng, "blue") + 110)
            m = 0.04 * width
            cv2.rectangle(
                picture, (int(x + m), int(y + m)), (int(x + w - m), int(y + h - m)), glass, -1
            )
        boards = np.broadcast_to(floor, (height - edge, width, 3)).copy()
        if rng.random() < 0.6:
            n = int(rng.integers(3, 8))
            rows = np.linspace(0, 1, height - edge) ** 0.7 * n
            shade = (rng.uniform(-18, 18, n + 1)).astype(np.float32)[rows.astype(int)]
            boards += shade[:, None, None]
        boards *= (
            1
            + 0.05
            * noise(rng, height - edge, width, sigma_px=float(rng.choice([1.5, 6, 20])))[..., None]
        )
        picture[edge:] = boards
        skirting = max(2, int(0.02 * height))
        picture[edge - skirting : edge] = 0.5 * wall + 0.5 * rng.uniform(60, 255)
    elif kind == "wash":
        picture = _gradient(height, width, _soft(rng), _soft(rng))
    elif kind == "mottled":
        first, second = _soft(rng), _soft(rng)
        share = 0.5 + 0.35 * noise(rng, height, width, sigma_px=float(rng.choice([3, 6, 20, 40])))
        share = np.clip(share, 0, 1)[..., None]
        picture = first + share * (second - first)
    elif kind == "pattern":
        first = _soft(rng)
        second = np.clip(first + rng.uniform(-60, 60, 3), 0, 255)
        picture = first + _stripes(rng, height, width)[..., None] * (second - first)
    else:
        raise ValueError(f"background: expected one of {', '.join(BACKGROUNDS)}, found {kind!r}")
    picture = picture + 4 * rng.uniform(0, 1.5) * noise(rng, height, width, sigma_px=1.5)[..., None]
    light = noise(rng, height, width, sigma_px=60)[..., None]
    return (picture * (1 + 0.05 * light)).astype(np.float32)


def draw_canvas(rng: np.random.Generator, size_px: int, *, kind: str | None = None) -> np.ndarray:
    """Draw a background for a picture of a size, at the size that things are drawn at."""
    side = SUPERSAMPLING * size_px
    picture = draw_background(rng, size_px, size_px, kind=kind)
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR)


# ---------------------------------------------------------------------------------------- things


def animal_palette(rng: np.random.Generator, colour: str) -> dict[str, np.ndarray]:
    """Choose the paints of an animal whose coat has a colour."""
    coat = draw_colour(rng, colour)
    white, black = np.full(3, 240, np.float32), np.full(3, 18, np.float32)
    second = coat * rng.uniform(0.55, 0.85) if rng.random() < 0.7 else 0.6 * coat + 0.4 * white
    pale = 0.45 * coat + 0.55 * white if rng.random() < 0.6 else coat * rng.uniform(0.8, 1.1)
    dark = coat.mean() < 70
    iris = str(rng.choice(["green", "yellow", "blue", "orange"]))
    return {
        "coat": coat,
        "second": second if not dark else coat + rng.uniform(10, 60),
        "light": pale,
        "belly": pale if rng.random() < 0.6 else coat * rng.uniform(0.9, 1.1),
        "far": coat * 0.72,
        "paw": white if rng.random() < 0.25 else coat * rng.uniform(0.9, 1.08),
        "skin": np.array([225, 160, 160], np.float32) * rng.uniform(0.8, 1.05),
        "iris": draw_colour(rng, iris),
        "pupil": black,
        "glint": white,
        "nose": np.array([220, 130, 140], np.float32) if rng.random() < 0.6 else black,
        "whisker": white * 0.95 if dark or rng.random() < 0.5 else black + 40,
        "tongue": np.array([225, 95, 110], np.float32),
        "collar": draw_colour(rng, str(rng.choice(["red", "blue", "green", "yellow", "purple"]))),
        "beak": draw_colour(rng, str(rng.choice(["orange", "yellow"]))),
    }


def thing_palette(rng: np.random.Generator, colour: str, finish: str) -> dict[str, np.ndarray]:
    """Choose the paints of a shape or a thing of a colour."""
    main = draw_colour(rng, colour)
    other = str(rng.choice(list(COLOURS)))
    trunk = draw_colour(rng, "brown")
    return {
        "main": main,
        "second": draw_colour(rng, other) if rng.random() < 0.6 else main * 0.7,
        "bright": np.clip(main * 1.12 + 14, 0, 255),
        "shade": main * 0.74,
        "dark": np.full(3, 40, np.float32) + rng.uniform(-15, 25),
        "darker": np.full(3, 18, np.float32) + rng.uniform(-10, 10),
        "pages": np.full(3, 232, np.float32) + rng.uniform(-14, 14, 3),
        "metal": np.full(3, 150, np.float32) + rng.uniform(-70, 50),
        "trunk": trunk,
        "leaf": main if colour == "green" else draw_colour(rng, "green"),
        "centre": draw_colour(rng, str(rng.choice(["yellow", "brown", "orange"]))),
        "glass": np.array([170, 200, 220], np.float32) * rng.uniform(0.7, 1.1),
        "tyre": np.full(3, 30, np.float32),
    }


def _finish_field(
    rng: np.random.Generator, finish: str, height: int, width: int, *, scale_px: float
) -> np.ndarray | None:
    """Where the second colour of a finish lies, 0 to 1; None for a plain one."""
    if finish in ("plain", "metal"):
        return None
    wobble = noise(rng, height, width, sigma_px=20)
    if finish in ("spotted", "patched"):
        fine = finish == "spotted"
        field_ = noise(rng, height, width, sigma_px=12 if fine else 40)
        return np.clip(4 * (field_ - (0.7 if fine else 0.25)), 0, 1)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    turn = rng.uniform(0, np.pi)
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    period = rng.uniform(0.22, 0.45) * scale_px
    k = np.float32(2 * np.pi / max(period, 5))
    if finish == "wooden":
        rings = np.sin(k * 2.2 * (u + 0.12 * scale_px * wobble))
        return np.clip(0.5 + 0.6 * rings, 0, 1) * 0.6
    if finish == "striped":
        return np.clip(0.5 + 3 * np.sin(k * (u + 0.05 * scale_px * wobble)), 0, 1)
    if finish == "checked":
        return np.clip(0.5 + 6 * np.sin(k * u) * np.sin(k * v), 0, 1)
    return np.clip(3 * (np.cos(k * u) + np.cos(k * v) - 1.0), 0, 1)  # dotted


#: Paints that a finish covers; eyes and legs of a table keep theirs.
_COVERED = frozenset({"coat", "second", "far", "paw", "main", "bright", "shade"})


@dataclass(frozen=True)
class _Drawn:
    """A thing on its own window of the canvas; whiskers cover, but are not solid."""

    top: int
    left: int
    colours: np.ndarray
    covers: np.ndarray
    solid: np.ndarray
    groups: np.ndarray


def paint_thing(
    rng: np.random.Generator,
    parts: Sequence[Part],
    palette: dict[str, np.ndarray],
    *,
    finish: str,
    centre: tuple[float, float],
    scale_px: float,
    turn: float,
    stretch: float,
    canvas_hw: tuple[int, int],
) -> _Drawn | None:
    """Paint a thing's parts on a window of the canvas; None where it lies outside."""
    c, s = np.cos(turn), np.sin(turn)
    matrix = scale_px * np.array([[c, -s], [s, c]]) @ np.diag([stretch, 1 / stretch])
    outlines = [part.outline @ matrix.T + np.asarray(centre) for part in parts]
    low = np.floor(np.min([o.min(axis=0) for o in outlines], axis=0)).astype(int) - 3
    high = np.ceil(np.max([o.max(axis=0) for o in outlines], axis=0)).astype(int) + 4
    left, top = np.maximum(low, 0)
    right, bottom = np.minimum(high, canvas_hw[::-1])
    if right - left < 4 or bottom - top < 4:
        return None
    height, width = int(bottom - top), int(right - left)
    index, whiskers = np.zeros((2, height, width), np.uint8)
    names = list(dict.fromkeys(part.group for part in parts))
    paints = np.zeros((len(parts) + 1, 3), np.float32)
    groups = np.zeros(len(parts) + 1, np.uint8)
    covered = np.zeros(len(parts) + 1, np.float32)
    for number, (part, outline) in enumerate(zip(parts, outlines, strict=True), start=1):
        shifted = ((outline - (left, top)) * 16).round().astype(np.int32)
        target = whiskers if part.group == "whiskers" else index
        cv2.fillPoly(target, [shifted], number, shift=4)
        paints[number] = palette[part.paint] * rng.uniform(0.97, 1.03)
        groups[number] = names.index(part.group) + 1
        covered[number] = part.paint in _COVERED
    colours = paints[np.where(whiskers > 0, whiskers, index)]
    pattern = _finish_field(rng, finish, height, width, scale_px=scale_px)
    if pattern is not None:
        base = palette.get("coat", palette.get("main"))
        if finish == "wooden":
            other = base * 0.6
        elif "coat" in palette:
            other = base * 0.45 if base.mean() > 110 else base * 0.6 + 75 * rng.uniform(0.6, 1.1)
        else:
            other = base * 0.35 if base.mean() > 120 else base * 0.4 + 150
        share = (pattern * covered[index])[..., None]
        colours += share * (other - colours)
    if finish == "metal":
        y, x = np.mgrid[:height, :width].astype(np.float32)
        shine = np.sin(
            (x + rng.uniform(0.3, 1) * y) * np.float32(3.5 / max(scale_px, 4)) + rng.uniform(0, 6)
        )
        colours += 45 * (shine * covered[index])[..., None]
    # Light from one side, and rounder where it turns away.
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    angle = rng.uniform(np.pi * 0.9, np.pi * 2.1)
    light = 1 + rng.uniform(0.03, 0.16) * (np.cos(angle) * x + np.sin(angle) * y)
    grain = rng.uniform(0.02, 0.09) * noise(
        rng, height, width, sigma_px=float(rng.choice([1.5, 3]))
    )
    colours *= (light + grain)[..., None]
    if rng.random() < 0.45:  # drawn with contours
        ink = rng.uniform(0.25, 0.6)
        edge = cv2.morphologyEx(index, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        colours[edge] *= ink
    return _Drawn(
        int(top), int(left), colours, (index > 0) | (whiskers > 0), index > 0, groups[index]
    )


def place_thing(
    canvas: np.ndarray,
    identities: np.ndarray,
    part_map: np.ndarray,
    drawn: _Drawn,
    *,
    identity: int,
    first_part: int,
    rng: np.random.Generator,
) -> None:
    """Lay a painted thing over the canvas, with a soft shadow in some cases; changes the arrays."""
    height, width = drawn.covers.shape
    window = (slice(drawn.top, drawn.top + height), slice(drawn.left, drawn.left + width))
    covers, solid = drawn.covers, drawn.solid
    if rng.random() < 0.5:
        drop = max(2, int(0.03 * max(height, width)))
        shadow = np.zeros((height, width), np.float32)
        shadow[drop:] = solid[:-drop]
        shadow = cv2.blur(shadow, (4 * drop + 1, 2 * drop + 1), borderType=cv2.BORDER_CONSTANT)
        canvas[window] *= (1 - rng.uniform(0.15, 0.45) * shadow)[..., None]
    canvas[window][covers] = drawn.colours[covers]
    identities[window][solid] = identity
    part_map[window][solid] = first_part + drawn.groups[solid] - 1


def finish_picture(
    rng: np.random.Generator, canvas: np.ndarray, *, size_hw: tuple[int, int]
) -> np.ndarray:
    """Bring a canvas to its size and take the picture: exposure, white balance, blur, noise."""
    height, width = size_hw
    picture = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    picture = (picture - 128) * rng.uniform(0.8, 1.1) + 128 + rng.uniform(-14, 14)
    picture = picture * rng.uniform(0.95, 1.05, 3).astype(np.float32)
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.1))
    spread = rng.uniform(0, 7)
    picture = picture + spread * rng.standard_normal(picture.shape, np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8)


def shrink(labels: np.ndarray, *, size_hw: tuple[int, int]) -> np.ndarray:
    """Bring a map of labels to the picture's size: each pixel takes one of those it covers."""
    return np.ascontiguousarray(
        labels[SUPERSAMPLING // 2 :: SUPERSAMPLING, SUPERSAMPLING // 2 :: SUPERSAMPLING][
            : size_hw[0], : size_hw[1]
        ]
    )


def describe(
    identities: np.ndarray,
    parts: np.ndarray,
    drawn: dict[int, tuple[str, str, str, int]],
    *,
    min_area_px: int = 40,
    min_visible: float = 0.45,
) -> list[Instance]:
    """List the things that can be seen well enough.

    Args:
        identities: See `Scene`.
        parts: See `Scene`.
        drawn: For each identity its noun, colour, finish, and how many pixels it would have alone.
        min_area_px: Smaller ones are not named.
        min_visible: Those of which a smaller share can be seen are not named.
    """
    found = []
    for identity, (noun, colour, finish, full_px) in drawn.items():
        mask = identities == identity
        area = int(mask.sum())
        if area < min_area_px or area < min_visible * full_px:
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        own = tuple(int(value) for value in np.unique(parts[mask]))
        found.append(Instance(noun, colour, finish, identity, box, area, own))
    return found


def choose_look(rng: np.random.Generator, noun: str) -> tuple[str, str, dict[str, np.ndarray]]:
    """Draw colour, finish and paints of a thing."""
    if noun in ANIMALS:
        colour = str(rng.choice(COAT_COLOURS if noun not in ("bird", "fish") else list(COLOURS)))
        finish = str(rng.choice(COAT_FINISHES, p=[0.46, 0.22, 0.16, 0.16]))
        return colour, finish, animal_palette(rng, colour)
    if noun == "hole":
        return "black", "plain", thing_palette(rng, "black", "plain")
    if noun == "tree":
        return "green", "plain", thing_palette(rng, "green", "plain")
    finish = str(rng.choice(FINISHES, p=[0.56, 0.12, 0.09, 0.09, 0.07, 0.07]))
    finish = "plain" if noun == "line" else finish
    colour = "brown" if finish == "wooden" else str(rng.choice(list(COLOURS)))
    return colour, finish, thing_palette(rng, colour, finish)


def _draw_noun(rng: np.random.Generator) -> str:
    kind = rng.choice(3, p=[0.42, 0.24, 0.34])
    if kind == 0:
        weights = [0.32, 0.32, 0.12, 0.12, 0.12]
        return str(rng.choice(list(ANIMALS), p=weights))
    return str(rng.choice(list(SHAPES if kind == 1 else THINGS)))


def add_thing(
    rng: np.random.Generator,
    layers: tuple[np.ndarray, np.ndarray, np.ndarray],
    noun: str,
    *,
    identity: int,
    first_part: int,
    centre: tuple[float, float],
    scale_px: float,
) -> tuple[str, str, int, int] | None:
    """Draw a thing into a scene; changes the layers.

    Args:
        rng: Source of chance.
        layers: Canvas, identities, parts, all at the canvas' size.
        noun: What.
        identity: Value in the identities.
        first_part: First value in the parts.
        centre: x and y on the canvas.
        scale_px: Length of its unit on the canvas.

    Returns:
        Colour, finish, its pixels on the canvas, and how many parts it has; None where it lies
        outside.
    """
    canvas, identities, part_map = layers
    colour, finish, palette = choose_look(rng, noun)
    free = noun in SHAPES
    drawn = paint_thing(
        rng,
        NOUNS[noun](rng),
        palette,
        finish=finish,
        centre=centre,
        scale_px=scale_px,
        turn=rng.uniform(-np.pi, np.pi) if free else rng.normal(0, 0.12),
        stretch=float(np.exp(rng.normal(0, 0.08))),
        canvas_hw=canvas.shape[:2],
    )
    if drawn is None:
        return None
    place_thing(
        canvas, identities, part_map, drawn, identity=identity, first_part=first_part, rng=rng
    )
    return colour, finish, int(drawn.solid.sum()), int(drawn.groups.max())


def draw_scene(rng: np.random.Generator, *, size_px: int = 256) -> Scene:
    """Draw an everyday scene.

    Args:
        rng: Source of chance; equal ones give equal scenes.
        size_px: Side of the picture in pixels.

    Returns:
        The scene.
    """
    side = SUPERSAMPLING * size_px
    canvas = draw_canvas(rng, size_px)
    identities, part_map = np.zeros((side, side), np.uint8), np.zeros((side, side), np.uint8)
    drawn: dict[int, tuple[str, str, str, int]] = {}
    taken: list[np.ndarray] = []
    first_part = 1
    for _ in range(int(rng.integers(1, 8))):
        noun = _draw_noun(rng)
        low, high = (0.09, 0.42) if noun in ANIMALS else (0.05, 0.30)
        scale = side * float(np.exp(rng.uniform(np.log(low), np.log(high))))
        for _ in range(8):
            centre = rng.uniform(0.08, 0.92, 2) * side
            box = np.array([*(centre - 0.9 * scale), *(centre + 0.9 * scale)])
            if all(_overlap(box, other) < 0.3 for other in taken):
                break
        else:
            continue
        if first_part > 230:
            break
        identity = len(taken) + 1
        added = add_thing(
            rng,
            (canvas, identities, part_map),
            noun,
            identity=identity,
            first_part=first_part,
            centre=(float(centre[0]), float(centre[1])),
            scale_px=scale,
        )
        if added is None:
            continue
        colour, finish, pixels, n_parts = added
        taken.append(box)
        drawn[identity] = (noun, colour, finish, pixels // SUPERSAMPLING**2)
        first_part += n_parts
    size_hw = (size_px, size_px)
    image = finish_picture(rng, canvas, size_hw=size_hw)
    identities, part_map = shrink(identities, size_hw=size_hw), shrink(part_map, size_hw=size_hw)
    return Scene(image, identities, part_map, describe(identities, part_map, drawn))


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Shared area over the smaller box's area."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / float(min(np.prod(first[2:] - first[:2]), np.prod(second[2:] - second[:2])))
