"""The vocabulary of the everyday domain: what things are made of, as outlines of their parts.

Every thing is a list of parts in its own coordinates: x to the right, y down, about -1 to 1. A
part is an outline, the name of its paint and the group it belongs to, and each call draws another
individual. `everyday` puts them into scenes; `synthetic_pets` draws its animals
by the same vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Outline = np.ndarray


@dataclass(frozen=True)
class Part:
    """One closed outline.

    Attributes:
        outline: float, (N, 2), x and y in the thing's coordinates.
        paint: Name of its paint in the thing's palette.
        group: Name of the larger part it belongs to, as a person would point at it.
    """

    outline: Outline
    paint: str
    group: str


def ellipse(x: float, y: float, rx: float, ry: float, *, turn: float = 0.0, n: int = 28) -> Outline:
    """Give an ellipse by centre, radii and turn in radians."""
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    u, v = rx * np.cos(angle), ry * np.sin(angle)
    c, s = np.cos(turn), np.sin(turn)
    return np.stack([x + c * u - s * v, y + s * u + c * v], axis=1)


def rounded(points: list[tuple[float, float]], *, passes: int = 2) -> Outline:
    """Cut the corners of a polygon, by Chaikin's rule, so that it becomes round."""
    outline = np.asarray(points, float)
    for _ in range(passes):
        following = np.roll(outline, -1, axis=0)
        outline = np.stack(
            [0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following], axis=1
        ).reshape(-1, 2)
    return outline


def polygon(points: list[tuple[float, float]]) -> Outline:
    """Give a polygon with sharp corners."""
    return np.asarray(points, float)


def stroke(points: list[tuple[float, float]], start: float, end: float) -> Outline:
    """Give the outline of a smooth stroke along points, its half width going from start to end."""
    line = np.asarray(points, float)
    for _ in range(2 if len(line) > 2 else 0):  # smoothed, with its ends kept
        middle = np.stack(
            [0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]], axis=1
        ).reshape(-1, 2)
        line = np.concatenate([line[:1], middle, line[-1:]])
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    half = np.linspace(start, end, len(line))[:, None]
    cap = ellipse(*line[-1], end, end, n=8)
    order = np.argsort(((cap - line[-1]) * along[-1]).sum(axis=1))
    tip = cap[order[-3:]]
    tip = tip[np.argsort((tip * across[-1]).sum(axis=1))]
    return np.concatenate([line - half * across, tip, (line + half * across)[::-1]])


def mirrored(outline: Outline) -> Outline:
    """Turn left and right round."""
    return outline * np.array([-1.0, 1.0])


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


# -------------------------------------------------------------------------------------- animals

Animal = Callable[[np.random.Generator], list[Part]]


def _face(
    rng: np.random.Generator, x: float, y: float, r: float, *, slit: bool, shift: float
) -> list[Part]:
    """Draw two eyes; a cat's are large and have slits, a dog's are small and dark."""
    parts = []
    apart = r * _between(rng, 0.38, 0.5)
    size = r * (_between(rng, 0.17, 0.24) if slit else _between(rng, 0.10, 0.15))
    for side in (-1, 1):
        centre = x + side * apart + shift
        if slit:
            parts.append(
                Part(ellipse(centre, y, size, 0.75 * size, turn=-0.25 * side), "iris", "head")
            )
            parts.append(Part(ellipse(centre, y, 0.28 * size, 0.68 * size, n=12), "pupil", "head"))
        else:
            parts.append(Part(ellipse(centre, y, size, size, n=14), "pupil", "head"))
            glint = 0.3 * size
            parts.append(
                Part(ellipse(centre + glint, y - glint, glint, glint, n=8), "glint", "head")
            )
    return parts


def cat_head(rng: np.random.Generator, x: float, y: float, r: float) -> list[Part]:
    """Draw a cat's head: round and broad, with pricked pointed ears, slit eyes and whiskers."""
    shift = r * _between(rng, -0.12, 0.12)
    parts = []
    ear, spread = r * _between(rng, 0.75, 1.05), r * _between(rng, 0.55, 0.7)
    for side in (-1, 1):
        tip = (x + side * (spread + 0.14 * r), y - 0.55 * r - ear)
        base = [(x + side * 0.12 * r, y - 0.72 * r), (x + side * 0.98 * r, y - 0.25 * r)]
        parts.append(Part(polygon([base[0], tip, base[1]]), "coat", "head"))
        inner = [
            (0.62 * px + 0.38 * (x + side * spread), 0.62 * py + 0.38 * (y - 0.62 * r))
            for px, py in (base[0], tip, base[1])
        ]
        parts.append(Part(polygon(inner), "skin", "head"))
    parts.append(Part(ellipse(x, y, 1.05 * r, _between(rng, 0.84, 0.95) * r), "coat", "head"))
    parts += _face(rng, x, y - 0.10 * r, r, slit=True, shift=shift)
    muzzle = y + 0.36 * r
    for side in (-1, 1):
        parts.append(
            Part(ellipse(x + shift + side * 0.17 * r, muzzle, 0.23 * r, 0.18 * r), "light", "head")
        )
    nose = [(-0.11, -0.14), (0.11, -0.14), (0.0, 0.0)]
    parts.append(
        Part(polygon([(x + shift + r * u, muzzle + r * v) for u, v in nose]), "nose", "head")
    )
    for side in (-1, 1):
        for lift in (-0.16, 0.0, 0.16):
            start = (x + shift + side * 0.3 * r, muzzle + 0.3 * lift * r)
            end = (x + shift + side * _between(rng, 1.2, 1.45) * r, muzzle + lift * 1.6 * r)
            parts.append(Part(stroke([start, end], 0.022 * r, 0.012 * r), "whisker", "whiskers"))
    return parts


def dog_head(rng: np.random.Generator, x: float, y: float, r: float) -> list[Part]:
    """Draw a dog's head from the front: long, with a large muzzle and, mostly, hanging ears."""
    parts = []
    droop = _between(rng, 0.55, 1.0)
    pricked = rng.random() < 0.12
    for side in (-1, 1):
        if pricked:  # half pricked: the tip folds over
            ear = [(0.35, -0.75), (0.75, -1.35), (1.25, -0.95), (0.9, -0.4)]
            outline = rounded([(x + side * u * r, y + v * r) for u, v in ear])
        else:
            ear = [(0.55, -0.75), (1.05, -0.65), (1.3, droop), (0.95, droop + 0.22), (0.72, 0.1)]
            outline = rounded([(x + side * u * r, y + v * r) for u, v in ear])
        parts.append(Part(outline, "second", "head"))
    long = _between(rng, 1.0, 1.18)
    face = [(-0.8, -0.75), (0.8, -0.75), (0.86, 0.1), (0.5, long), (-0.5, long), (-0.86, 0.1)]
    parts.append(Part(rounded([(x + u * r, y + v * r) for u, v in face]), "coat", "head"))
    if not pricked:  # the ears hang in front of the cheeks
        for side in (-1, 1):
            ear = [(0.62, -0.7), (1.0, -0.6), (1.25, droop), (1.0, droop + 0.18), (0.78, 0.0)]
            outline = rounded([(x + side * u * r, y + v * r) for u, v in ear])
            parts.append(Part(outline, "second", "head"))
    parts += _face(rng, x, y - 0.18 * r, r, slit=False, shift=0.0)
    muzzle = y + _between(rng, 0.48, 0.6) * r
    parts.append(Part(ellipse(x, muzzle, 0.46 * r, 0.44 * r), "light", "head"))
    if rng.random() < 0.5:
        out = [(-0.16, 0.2), (0.16, 0.2), (0.18, 0.75), (0.0, 0.9), (-0.18, 0.75)]
        parts.append(Part(rounded([(x + u * r, muzzle + v * r) for u, v in out]), "tongue", "head"))
    parts.append(Part(ellipse(x, muzzle - 0.2 * r, 0.22 * r, 0.15 * r), "pupil", "head"))
    parts.append(
        Part(
            stroke([(x, muzzle - 0.1 * r), (x, muzzle + 0.22 * r)], 0.025 * r, 0.025 * r),
            "pupil",
            "head",
        )
    )
    return parts


def _dog_profile(rng: np.random.Generator, x: float, y: float, r: float) -> list[Part]:
    """Draw a dog's head from the side, looking to the right: a long snout, an ear that hangs."""
    long = _between(rng, 1.55, 2.0)
    parts = [Part(ellipse(x, y, 0.95 * r, 0.85 * r), "coat", "head")]
    snout = [(0.2, -0.35), (long - 0.2, -0.05), (long, 0.2), (long - 0.1, 0.5), (0.1, 0.75)]
    parts.append(Part(rounded([(x + u * r, y + v * r) for u, v in snout]), "coat", "head"))
    if rng.random() < 0.4:
        out = [(long - 0.5, 0.45), (long - 0.2, 0.45), (long - 0.15, 0.95), (long - 0.45, 0.95)]
        parts.append(Part(rounded([(x + u * r, y + v * r) for u, v in out]), "tongue", "head"))
    parts.append(
        Part(ellipse(x + (long - 0.08) * r, y + 0.08 * r, 0.2 * r, 0.17 * r), "pupil", "head")
    )
    mouth = [(long - 0.15, 0.42), (long - 0.5, 0.48), (0.7, 0.42)]
    parts.append(
        Part(
            stroke([(x + u * r, y + v * r) for u, v in mouth], 0.03 * r, 0.02 * r), "pupil", "head"
        )
    )
    parts.append(Part(ellipse(x + 0.35 * r, y - 0.22 * r, 0.13 * r, 0.13 * r), "pupil", "head"))
    droop = _between(rng, 0.75, 1.15)
    ear = [(-0.55, -0.75), (0.0, -0.7), (0.05, 0.3), (-0.25, droop), (-0.7, droop - 0.1)]
    parts.append(Part(rounded([(x + u * r, y + v * r) for u, v in ear]), "second", "head"))
    return parts


def _legs(
    rng: np.random.Generator, at: list[float], top: float, foot: float, half: float, *, far: bool
) -> list[Part]:
    """Draw legs at some x from top to foot, those of the far side darker."""
    parts = []
    for x in at:
        lean = _between(rng, -0.10, 0.10)
        bend = _between(rng, -0.05, 0.05)
        line = [(x, top), (x + lean / 2 + bend, (top + foot) / 2), (x + lean, foot - half)]
        paint = "far" if far else "coat"
        parts.append(Part(stroke(line, 1.15 * half, 0.8 * half), paint, "legs"))
        parts.append(
            Part(
                ellipse(x + lean + 0.35 * half, foot - 0.55 * half, 1.3 * half, 0.62 * half),
                paint if far else "paw",
                "legs",
            )
        )
    return parts


def cat(rng: np.random.Generator) -> list[Part]:
    """Draw a cat that sits, stands, or lies."""
    pose = rng.choice(["sits", "stands", "lies"], p=[0.4, 0.35, 0.25])
    side = rng.choice([-1, 1])
    r = _between(rng, 0.27, 0.35)
    thin = _between(rng, 0.045, 0.07)
    parts: list[Part] = []
    if pose == "sits":
        wide = _between(rng, 0.36, 0.48)
        curl = _between(rng, -0.5, 0.3)
        line = [(0.5 * wide, 0.85), (wide + 0.25, 0.8), (wide + 0.4, 0.3), (wide + 0.25, curl)]
        parts.append(Part(stroke(line, thin, 0.75 * thin), "coat", "tail"))
        body = [
            (-0.2, -0.3),
            (0.2, -0.3),
            (wide, 0.55),
            (0.9 * wide, 1.0),
            (-0.9 * wide, 1.0),
            (-wide, 0.55),
        ]
        parts.append(Part(rounded(body), "coat", "body"))
        parts.append(Part(ellipse(0, 0.18, 0.16, 0.3), "belly", "body"))
        parts += _legs(rng, [-0.14, 0.14], 0.25, 1.0, 0.085, far=False)
        parts += cat_head(rng, _between(rng, -0.06, 0.06), -0.42, r)
    elif pose == "stands":
        long, tall = _between(rng, 0.52, 0.66), _between(rng, 0.2, 0.27)
        rise = _between(rng, -0.95, -0.35)
        line = [
            (-long, -0.02),
            (-long - 0.25, -0.15),
            (-long - 0.2, rise),
            (-long - 0.02, rise - 0.15),
        ]
        parts.append(Part(stroke(line, thin, 0.75 * thin), "coat", "tail"))
        half = _between(rng, 0.06, 0.08)
        parts += _legs(rng, [-0.75 * long, 0.62 * long], 0.1, 0.78, half, far=True)
        body = [
            (-long, -0.16),
            (0.0, -0.12),
            (long, -0.2),
            (long + 0.06, 0.1),
            (0.2, tall + 0.04),
            (-0.7 * long, tall),
            (-long - 0.06, 0.08),
        ]
        parts.append(Part(rounded(body), "coat", "body"))
        parts.append(Part(ellipse(0.05, 0.75 * tall, 0.6 * long, 0.3 * tall), "belly", "body"))
        parts += _legs(rng, [-0.92 * long, 0.8 * long], 0.1, 0.82, half, far=False)
        parts += cat_head(rng, long + 0.08, _between(rng, -0.42, -0.22), 0.9 * r)
    else:
        long = _between(rng, 0.68, 0.85)
        body = [
            (-long, 0.2),
            (-0.6 * long, -0.22),
            (0.3 * long, -0.25),
            (long, 0.1),
            (long, 0.48),
            (-long, 0.5),
        ]
        parts.append(Part(rounded(body), "coat", "body"))
        line = [(-long, 0.35), (-long - 0.2, 0.42), (-0.5 * long, 0.56), (0.0, 0.5)]
        parts.append(Part(stroke(line, thin, 0.8 * thin), "second", "tail"))
        for x in (0.55, 0.85):
            parts.append(Part(ellipse(x * long, 0.48, 0.2, 0.075), "paw", "legs"))
        parts += cat_head(rng, 0.72 * long, -0.12, r)
    if side < 0:
        parts = [Part(mirrored(p.outline), p.paint, p.group) for p in parts]
    return parts


def dog(rng: np.random.Generator) -> list[Part]:
    """Draw a dog that sits, stands, or lies."""
    pose = rng.choice(["sits", "stands", "lies"], p=[0.35, 0.45, 0.2])
    side = rng.choice([-1, 1])
    r = _between(rng, 0.25, 0.32)
    thick = _between(rng, 0.06, 0.1)
    collar = rng.random() < 0.5
    parts: list[Part] = []
    if pose == "sits":
        wide = _between(rng, 0.36, 0.46)
        line = [(0.6 * wide, 0.85), (wide + 0.15, 0.7), (wide + 0.3, _between(rng, 0.2, 0.55))]
        parts.append(Part(stroke(line, thick, 0.5 * thick), "coat", "tail"))
        body = [
            (-0.26, -0.25),
            (0.26, -0.25),
            (wide, 0.45),
            (wide, 1.0),
            (-wide, 1.0),
            (-wide, 0.45),
        ]
        parts.append(Part(rounded(body), "coat", "body"))
        parts.append(Part(ellipse(0, 0.2, 0.2, 0.34), "belly", "body"))
        parts += _legs(rng, [-0.17, 0.17], 0.2, 1.0, 0.105, far=False)
        if collar:
            parts.append(Part(ellipse(0, -0.12, 0.3, 0.09), "collar", "collar"))
        parts += dog_head(rng, _between(rng, -0.05, 0.05), -0.48, r)
    elif pose == "stands":
        long, deep = _between(rng, 0.5, 0.62), _between(rng, 0.22, 0.3)
        line = [
            (-long, -0.1),
            (-long - 0.16, -0.25),
            (-long - _between(rng, 0.1, 0.4), _between(rng, -0.62, -0.1)),
        ]
        parts.append(Part(stroke(line, thick, 0.45 * thick), "coat", "tail"))
        half = _between(rng, 0.075, 0.105)
        parts += _legs(rng, [-0.7 * long, 0.55 * long], 0.1, 0.86, half, far=True)
        body = [
            (-long, -0.2),
            (0.0, -0.16),
            (long, -0.28),
            (long + 0.1, 0.1),
            (0.5 * long, deep + 0.06),
            (-0.4 * long, 0.75 * deep),
            (-long - 0.06, 0.12),
        ]
        parts.append(Part(rounded(body), "coat", "body"))
        parts.append(
            Part(ellipse(0.35 * long, 0.8 * deep, 0.45 * long, 0.3 * deep), "belly", "body")
        )
        parts += _legs(rng, [-0.9 * long, 0.78 * long], 0.1, 0.9, half, far=False)
        head = (long + 0.1, _between(rng, -0.55, -0.38))
        neck = [(0.75 * long, -0.05), (long + 0.02, -0.2), head]
        parts.append(Part(stroke(neck, 0.26, 0.16), "coat", "body"))
        if collar:
            at = (0.5 * (long + 0.02 + head[0]), 0.5 * (-0.12 + head[1]))
            parts.append(Part(ellipse(*at, 0.19, 0.05, turn=0.35), "collar", "collar"))
        drawn = dog_head if rng.random() < 0.35 else _dog_profile
        parts += drawn(rng, *head, 0.8 * r)
    else:
        long = _between(rng, 0.7, 0.88)
        line = [(-long, 0.35), (-long - 0.25, 0.3), (-long - 0.3, _between(rng, 0.0, 0.4))]
        parts.append(Part(stroke(line, thick, 0.5 * thick), "coat", "tail"))
        body = [
            (-long, 0.15),
            (-0.6 * long, -0.15),
            (0.3 * long, -0.2),
            (long, 0.05),
            (long, 0.48),
            (-long, 0.5),
        ]
        parts.append(Part(rounded(body), "coat", "body"))
        for x in (0.6, 0.95):
            parts.append(Part(ellipse(x * long, 0.47, 0.27, 0.085), "paw", "legs"))
        parts += dog_head(rng, 0.75 * long, -0.2, r)
    if side < 0:
        parts = [Part(mirrored(p.outline), p.paint, p.group) for p in parts]
    return parts


def rabbit(rng: np.random.Generator) -> list[Part]:
    """Draw a sitting rabbit: two long upright ears, a round tail."""
    ear = _between(rng, 0.5, 0.7)
    parts = [Part(ellipse(-0.62, 0.7, 0.15, 0.15), "light", "tail")]
    parts.append(Part(ellipse(-0.1, 0.5, 0.52, 0.46), "coat", "body"))
    parts.append(Part(ellipse(-0.28, 0.68, 0.26, 0.25), "far", "legs"))
    parts.append(Part(ellipse(-0.2, 0.92, 0.34, 0.09), "paw", "legs"))
    parts.append(Part(ellipse(0.3, 0.88, 0.16, 0.1), "paw", "legs"))
    for lean in (-0.22, 0.1):
        turn = lean + _between(rng, -0.1, 0.1)
        x, y = 0.28 + 1.1 * lean, -0.25 - 0.75 * ear
        parts.append(Part(ellipse(x, y, 0.11, ear, turn=turn), "coat", "ears"))
        parts.append(Part(ellipse(x, y, 0.05, 0.75 * ear, turn=turn), "skin", "ears"))
    parts.append(Part(ellipse(0.3, -0.02, 0.32, 0.28), "coat", "head"))
    parts.append(Part(ellipse(0.4, -0.1, 0.05, 0.06), "pupil", "head"))
    parts.append(Part(ellipse(0.6, 0.0, 0.045, 0.035), "nose", "head"))
    return _maybe_mirrored(parts, rng)


def bird(rng: np.random.Generator) -> list[Part]:
    """Draw a bird from the side, with wing, beak and thin legs."""
    parts = [
        Part(
            polygon([(-0.4, 0.05), (-1.0, _between(rng, -0.3, 0.2)), (-0.95, 0.3), (-0.4, 0.3)]),
            "second",
            "tail",
        )
    ]
    for x in (-0.05, 0.12):
        parts.append(Part(stroke([(x, 0.4), (x + 0.05, 0.85)], 0.03, 0.03), "beak", "legs"))
        parts.append(Part(stroke([(x - 0.05, 0.85), (x + 0.18, 0.86)], 0.03, 0.02), "beak", "legs"))
    parts.append(Part(ellipse(0, 0.1, 0.55, 0.4, turn=-0.2), "coat", "body"))
    parts.append(Part(ellipse(0.1, 0.25, 0.34, 0.2, turn=-0.2), "belly", "body"))
    parts.append(Part(ellipse(0.48, -0.3, 0.27, 0.26), "coat", "head"))
    parts.append(Part(polygon([(0.68, -0.4), (1.05, -0.26), (0.68, -0.16)]), "beak", "head"))
    parts.append(Part(ellipse(0.54, -0.36, 0.05, 0.05), "pupil", "head"))
    wing = [(-0.45, 0.3), (-0.75, 0.25), (0.1, -0.25), (0.3, 0.0), (0.05, 0.3)]
    parts.append(Part(rounded(wing), "second", "wing"))
    return _maybe_mirrored(parts, rng)


def fish(rng: np.random.Generator) -> list[Part]:
    """Draw a fish from the side."""
    deep = _between(rng, 0.3, 0.5)
    parts = [Part(polygon([(-0.45, 0), (-1.0, -0.4), (-0.85, 0), (-1.0, 0.4)]), "second", "tail")]
    parts.append(
        Part(
            polygon([(-0.25, -0.8 * deep), (0.1, -deep - 0.25), (0.3, -0.8 * deep)]),
            "second",
            "fin",
        )
    )
    parts.append(Part(ellipse(0.1, 0, 0.68, deep), "coat", "body"))
    parts.append(Part(polygon([(0.0, 0.05), (-0.28, 0.3), (0.12, 0.25)]), "second", "fin"))
    parts.append(Part(ellipse(0.52, -0.1, 0.09, 0.09), "glint", "body"))
    parts.append(Part(ellipse(0.54, -0.1, 0.045, 0.045), "pupil", "body"))
    return _maybe_mirrored(parts, rng)


def _maybe_mirrored(parts: list[Part], rng: np.random.Generator) -> list[Part]:
    if rng.random() < 0.5:
        return parts
    return [Part(mirrored(p.outline), p.paint, p.group) for p in parts]


ANIMALS: dict[str, Animal] = {"cat": cat, "dog": dog, "rabbit": rabbit, "bird": bird, "fish": fish}


# --------------------------------------------------------------------------------- shapes, things


def _regular(n: int, *, inner: float = 1.0, turn: float = 0.0) -> Outline:
    n_points = n if inner == 1.0 else 2 * n
    angle = np.linspace(0, 2 * np.pi, n_points, endpoint=False) - np.pi / 2 + turn
    radius = np.where(np.arange(n_points) % 2 == 0, 1.0, inner) if inner != 1.0 else 1.0
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _shape(outline: Outline) -> list[Part]:
    return [Part(outline, "main", "shape")]


def _spot(rng: np.random.Generator) -> list[Part]:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = np.ones(40)
    for n in range(2, 6):
        radius += rng.normal(0, 0.25 / n) * np.cos(n * angle + rng.uniform(0, 6.3))
    radius = np.clip(radius, 0.35, None)
    squeeze = rng.uniform(0.6, 1.0)
    return _shape(
        np.stack([radius * np.cos(angle), squeeze * radius * np.sin(angle)], axis=1) * 0.75
    )


def _line(rng: np.random.Generator) -> list[Part]:
    n = int(rng.integers(2, 6))
    x = np.linspace(-1, 1, n)
    y = rng.normal(0, 0.25 if n > 2 else 0.0, n)
    half = rng.uniform(0.02, 0.06)
    return _shape(stroke(list(zip(x, y, strict=True)), half, half))


def _hole(rng: np.random.Generator) -> list[Part]:
    rx, ry = 0.8, 0.8 * rng.uniform(0.6, 1.0)
    return [
        Part(ellipse(0, 0, rx, ry), "dark", "shape"),
        Part(ellipse(0.06, 0.08, 0.86 * rx, 0.84 * ry), "darker", "shape"),
    ]


def _ring(rng: np.random.Generator) -> list[Part]:
    inner = rng.uniform(0.45, 0.7)
    outer, hole = ellipse(0, 0, 1, 1, n=40), ellipse(0, 0, inner, inner, n=40)[::-1]
    return _shape(np.concatenate([outer, outer[:1], hole, hole[:1]]))


def _heart(_rng: np.random.Generator) -> list[Part]:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16
    return _shape(np.stack([x, y], axis=1))


def _crescent(_rng: np.random.Generator) -> list[Part]:
    outer = np.linspace(0.6, 2 * np.pi - 0.6, 30)
    inner = np.linspace(2 * np.pi - 0.75, 0.75, 30)
    return _shape(
        np.concatenate(
            [
                np.stack([np.cos(outer), np.sin(outer)], axis=1),
                np.stack([0.35 + 0.68 * np.cos(inner), 0.8 * np.sin(inner)], axis=1),
            ]
        )
    )


def _cross(rng: np.random.Generator) -> list[Part]:
    w = rng.uniform(0.22, 0.38)
    return _shape(
        polygon(
            [
                (-w, -1),
                (w, -1),
                (w, -w),
                (1, -w),
                (1, w),
                (w, w),
                (w, 1),
                (-w, 1),
                (-w, w),
                (-1, w),
                (-1, -w),
                (-w, -w),
            ]
        )
    )


def _arrow(_rng: np.random.Generator) -> list[Part]:
    return _shape(
        polygon(
            [(-1, -0.22), (0.2, -0.22), (0.2, -0.6), (1, 0), (0.2, 0.6), (0.2, 0.22), (-1, 0.22)]
        )
    )


SHAPES: dict[str, Animal] = {
    "circle": lambda _rng: _shape(ellipse(0, 0, 1, 1, n=40)),
    "oval": lambda rng: _shape(ellipse(0, 0, 1, rng.uniform(0.45, 0.7), n=40)),
    "square": lambda _rng: _shape(polygon([(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)])),
    "rectangle": lambda rng: _shape(
        polygon([(-1, -(h := rng.uniform(0.3, 0.6))), (1, -h), (1, h), (-1, h)])
    ),
    "triangle": lambda rng: _shape(
        polygon([(rng.uniform(-0.5, 0.5), -0.9), (0.95, 0.75), (-0.95, 0.75)])
    ),
    "star": lambda rng: _shape(_regular(int(rng.integers(5, 7)), inner=rng.uniform(0.38, 0.55))),
    "hexagon": lambda _rng: _shape(_regular(6)),
    "ring": _ring,
    "heart": _heart,
    "crescent": _crescent,
    "cross": _cross,
    "arrow": _arrow,
    "spot": _spot,
    "line": _line,
    "hole": _hole,
}


def _ball(rng: np.random.Generator) -> list[Part]:
    parts = [Part(ellipse(0, 0, 1, 1, n=40), "main", "thing")]
    if rng.random() < 0.6:
        parts.append(Part(ellipse(0, 0, rng.uniform(0.25, 0.5), 0.99, n=32), "second", "thing"))
    return parts


def _box(rng: np.random.Generator) -> list[Part]:
    h, d = rng.uniform(0.5, 0.8), rng.uniform(0.25, 0.4)
    front = [(-0.9, -h + d), (0.55, -h + d), (0.55, h), (-0.9, h)]
    top = [(-0.9, -h + d), (-0.9 + d, -h), (0.55 + d, -h), (0.55, -h + d)]
    right = [(0.55, -h + d), (0.55 + d, -h), (0.55 + d, h - d), (0.55, h)]
    return [
        Part(polygon(front), "main", "front"),
        Part(polygon(top), "bright", "top"),
        Part(polygon(right), "shade", "side"),
    ]


def _cup(rng: np.random.Generator) -> list[Part]:
    slim = rng.uniform(0.4, 0.6)
    outer, hole = (
        ellipse(slim + 0.12, 0.0, 0.3, 0.38, n=24),
        ellipse(slim + 0.12, 0, 0.18, 0.25)[::-1],
    )
    handle = np.concatenate([outer, outer[:1], hole, hole[:1]])
    return [
        Part(handle, "main", "handle"),
        Part(
            polygon([(-slim, -0.7), (slim, -0.7), (0.85 * slim, 0.8), (-0.85 * slim, 0.8)]),
            "main",
            "body",
        ),
        Part(ellipse(0, -0.7, slim, 0.14), "bright", "rim"),
        Part(ellipse(0, -0.68, 0.85 * slim, 0.1), "dark", "rim"),
    ]


def _bottle(rng: np.random.Generator) -> list[Part]:
    w, neck = rng.uniform(0.28, 0.4), rng.uniform(0.1, 0.15)
    body = [
        (-neck, -0.8),
        (neck, -0.8),
        (neck, -0.35),
        (w, -0.05),
        (w, 1.0),
        (-w, 1.0),
        (-w, -0.05),
        (-neck, -0.35),
    ]
    return [
        Part(rounded(body, passes=1), "main", "body"),
        Part(
            polygon(
                [
                    (-neck - 0.02, -1.0),
                    (neck + 0.02, -1.0),
                    (neck + 0.02, -0.78),
                    (-neck - 0.02, -0.78),
                ]
            ),
            "second",
            "cap",
        ),
        Part(polygon([(-w, 0.25), (w, 0.25), (w, 0.7), (-w, 0.7)]), "bright", "label"),
    ]


def _book(rng: np.random.Generator) -> list[Part]:
    h, t = rng.uniform(0.6, 0.75), rng.uniform(0.12, 0.22)
    return [
        Part(
            polygon([(-0.6 + t, h + t), (0.7 + t, h + t), (0.7 + t, -h + t), (-0.6 + t, -h + t)]),
            "pages",
            "pages",
        ),
        Part(polygon([(-0.6, h), (0.7, h), (0.7, -h), (-0.6, -h)]), "main", "cover"),
        Part(polygon([(-0.6, h), (-0.45, h), (-0.45, -h), (-0.6, -h)]), "shade", "cover"),
        Part(
            polygon([(-0.25, -0.6 * h), (0.5, -0.6 * h), (0.5, -0.3 * h), (-0.25, -0.3 * h)]),
            "second",
            "cover",
        ),
    ]


def _lamp(rng: np.random.Generator) -> list[Part]:
    top = rng.uniform(0.25, 0.4)
    return [
        Part(polygon([(-0.05, -0.3), (0.05, -0.3), (0.05, 0.9), (-0.05, 0.9)]), "metal", "stand"),
        Part(ellipse(0, 0.92, 0.4, 0.1), "metal", "stand"),
        Part(polygon([(-top, -1.0), (top, -1.0), (0.65, -0.2), (-0.65, -0.2)]), "main", "shade"),
    ]


def _chair(rng: np.random.Generator) -> list[Part]:
    w = rng.uniform(0.07, 0.1)
    parts = [
        Part(polygon([(x - w, y), (x + w, y), (x + w, 1.0 - o), (x - w, 1.0 - o)]), p, "legs")
        for x, y, o, p in (
            (-0.35, 0.1, 0.15, "shade"),
            (0.55, 0.1, 0.15, "shade"),
            (-0.55, 0.1, 0.0, "main"),
            (0.35, 0.1, 0.0, "main"),
        )
    ]
    parts.append(Part(polygon([(-0.45, -1), (0.65, -1), (0.6, 0.0), (-0.4, 0.0)]), "shade", "back"))
    parts.append(
        Part(polygon([(-0.3, -0.8), (0.5, -0.8), (0.47, -0.25), (-0.27, -0.25)]), "second", "back")
    )
    parts.append(
        Part(polygon([(-0.7, 0.22), (0.5, 0.22), (0.7, 0.0), (-0.42, 0.0)]), "main", "seat")
    )
    return parts


def _table(rng: np.random.Generator) -> list[Part]:
    w = rng.uniform(0.06, 0.1)
    parts = [
        Part(polygon([(x - w, -0.1), (x + w, -0.1), (x + w, y), (x - w, y)]), p, "legs")
        for x, y, p in (
            (-0.6, 0.6, "shade"),
            (0.75, 0.6, "shade"),
            (-0.85, 0.8, "main"),
            (0.55, 0.8, "main"),
        )
    ]
    parts.append(
        Part(polygon([(-0.98, -0.05), (0.7, -0.05), (0.98, -0.4), (-0.65, -0.4)]), "main", "top")
    )
    parts.append(
        Part(polygon([(-0.98, -0.05), (0.7, -0.05), (0.7, 0.07), (-0.98, 0.07)]), "shade", "top")
    )
    return parts


def _tree(rng: np.random.Generator) -> list[Part]:
    parts = [
        Part(polygon([(-0.12, 0.1), (0.12, 0.1), (0.16, 1.0), (-0.16, 1.0)]), "trunk", "trunk")
    ]
    if rng.random() < 0.5:
        for k in range(3):
            y = -0.35 + 0.32 * k
            w = 0.42 + 0.16 * k
            parts.append(
                Part(polygon([(0, y - 0.65), (w, y + 0.15), (-w, y + 0.15)]), "leaf", "crown")
            )
    else:
        for _ in range(6):
            x, y = rng.uniform(-0.35, 0.35), rng.uniform(-0.65, 0.0)
            parts.append(Part(ellipse(x, y, 0.38, 0.33), "leaf", "crown"))
    return parts


def _flower(rng: np.random.Generator) -> list[Part]:
    parts = [
        Part(
            stroke([(0, -0.3), (rng.uniform(-0.1, 0.1), 0.4), (0, 1.0)], 0.04, 0.05), "leaf", "stem"
        )
    ]
    parts.append(Part(ellipse(0.22, 0.5, 0.24, 0.09, turn=-0.5), "leaf", "stem"))
    n = int(rng.integers(5, 9))
    for k in range(n):
        a = 2 * np.pi * k / n
        parts.append(
            Part(
                ellipse(0.3 * np.cos(a), -0.45 + 0.3 * np.sin(a), 0.25, 0.14, turn=a),
                "main",
                "bloom",
            )
        )
    parts.append(Part(ellipse(0, -0.45, 0.17, 0.17), "centre", "bloom"))
    return parts


def _house(rng: np.random.Generator) -> list[Part]:
    h = rng.uniform(0.6, 0.75)
    parts = [
        Part(polygon([(-0.75, -0.2), (0.75, -0.2), (0.75, 0.9), (-0.75, 0.9)]), "main", "wall"),
        Part(polygon([(-0.95, -0.2), (0, -0.2 - h), (0.95, -0.2)]), "second", "roof"),
        Part(polygon([(-0.15, 0.35), (0.2, 0.35), (0.2, 0.9), (-0.15, 0.9)]), "trunk", "door"),
    ]
    for x in (-0.6, 0.35):
        parts.append(
            Part(
                polygon([(x, 0.0), (x + 0.28, 0.0), (x + 0.28, 0.28), (x, 0.28)]), "glass", "window"
            )
        )
    return parts


def _car(rng: np.random.Generator) -> list[Part]:
    h = rng.uniform(0.5, 0.65)
    parts = [
        Part(
            rounded([(-0.55, -0.1), (-0.35, -h), (0.3, -h), (0.6, -0.1)], passes=1), "main", "body"
        ),
        Part(
            polygon([(-0.4, -0.12), (-0.27, -h + 0.12), (-0.03, -h + 0.12), (-0.03, -0.12)]),
            "glass",
            "window",
        ),
        Part(
            polygon([(0.05, -0.12), (0.05, -h + 0.12), (0.24, -h + 0.12), (0.42, -0.12)]),
            "glass",
            "window",
        ),
        Part(
            rounded([(-1, -0.15), (1.0, -0.15), (1.0, 0.35), (-1.0, 0.35)], passes=1),
            "main",
            "body",
        ),
    ]
    for x in (-0.55, 0.55):
        parts.append(Part(ellipse(x, 0.35, 0.24, 0.24), "tyre", "wheel"))
        parts.append(Part(ellipse(x, 0.35, 0.11, 0.11), "metal", "wheel"))
    return _maybe_mirrored(parts, rng)


def _apple(_rng: np.random.Generator) -> list[Part]:
    return [
        Part(stroke([(0, -0.55), (0.08, -0.95)], 0.05, 0.04), "trunk", "stem"),
        Part(ellipse(0.28, -0.8, 0.22, 0.1, turn=-0.4), "leaf", "leaf"),
        Part(ellipse(-0.25, 0.05, 0.58, 0.7), "main", "thing"),
        Part(ellipse(0.25, 0.05, 0.58, 0.7), "main", "thing"),
    ]


def _mushroom(rng: np.random.Generator) -> list[Part]:
    t = np.linspace(np.pi, 2 * np.pi, 24)
    w = rng.uniform(0.75, 0.95)
    parts = [
        Part(polygon([(-0.2, 0.0), (0.2, 0.0), (0.28, 0.9), (-0.28, 0.9)]), "pages", "stem"),
        Part(np.stack([w * np.cos(t), 0.1 + 0.85 * np.sin(t)], axis=1), "main", "cap"),
    ]
    for x, y, s in ((-0.4, -0.2, 0.13), (0.1, -0.5, 0.14), (0.45, -0.15, 0.11)):
        parts.append(Part(ellipse(x * w, y, s, 0.8 * s), "pages", "cap"))
    return parts


def _clock(rng: np.random.Generator) -> list[Part]:
    a, b = rng.uniform(0, 6.3, 2)
    return [
        Part(ellipse(0, 0, 1, 1, n=40), "main", "thing"),
        Part(ellipse(0, 0, 0.8, 0.8, n=40), "pages", "face"),
        Part(stroke([(0, 0), (0.62 * np.cos(a), 0.62 * np.sin(a))], 0.04, 0.03), "tyre", "face"),
        Part(stroke([(0, 0), (0.42 * np.cos(b), 0.42 * np.sin(b))], 0.05, 0.04), "tyre", "face"),
    ]


def _sofa(rng: np.random.Generator) -> list[Part]:
    h = rng.uniform(0.45, 0.6)
    return [
        Part(polygon([(-0.85, 0.5), (-0.7, 0.5), (-0.72, 0.7), (-0.83, 0.7)]), "trunk", "legs"),
        Part(polygon([(0.85, 0.5), (0.7, 0.5), (0.72, 0.7), (0.83, 0.7)]), "trunk", "legs"),
        Part(rounded([(-0.9, -h), (0.9, -h), (0.9, 0.4), (-0.9, 0.4)], passes=1), "shade", "back"),
        Part(rounded([(-0.8, 0.0), (0.0, 0.0), (0.0, 0.4), (-0.8, 0.4)], passes=1), "main", "seat"),
        Part(rounded([(0.0, 0.0), (0.8, 0.0), (0.8, 0.4), (0.0, 0.4)], passes=1), "main", "seat"),
        Part(polygon([(-0.9, 0.3), (0.9, 0.3), (0.9, 0.55), (-0.9, 0.55)]), "main", "seat"),
        Part(
            rounded([(-1.0, -0.15), (-0.75, -0.15), (-0.75, 0.58), (-1.0, 0.58)], passes=1),
            "bright",
            "arm",
        ),
        Part(
            rounded([(0.75, -0.15), (1.0, -0.15), (1.0, 0.58), (0.75, 0.58)], passes=1),
            "bright",
            "arm",
        ),
    ]


def _plant(rng: np.random.Generator) -> list[Part]:
    parts = []
    for k in range(int(rng.integers(5, 9))):
        a = rng.uniform(-1.1, 1.1)
        long = rng.uniform(0.7, 1.1)
        tip = (long * np.sin(a), 0.25 - long * np.cos(a))
        middle = (0.55 * tip[0] + 0.05, 0.5 * (0.25 + tip[1]) - 0.1)
        parts.append(
            Part(
                stroke([(0, 0.3), middle, tip], 0.09, 0.015),
                "leaf" if k % 2 else "second",
                "leaves",
            )
        )
    parts.append(
        Part(polygon([(-0.4, 0.25), (0.4, 0.25), (0.28, 1.0), (-0.28, 1.0)]), "main", "pot")
    )
    return parts


def _umbrella(_rng: np.random.Generator) -> list[Part]:
    t = np.linspace(np.pi, 2 * np.pi, 30)
    dome = np.stack([np.cos(t), 0.05 + 0.85 * np.sin(t)], axis=1)
    return [
        Part(polygon([(-0.04, -0.2), (0.04, -0.2), (0.04, 0.95), (-0.04, 0.95)]), "trunk", "stick"),
        Part(dome, "main", "cloth"),
        Part(np.stack([0.4 * np.cos(t), 0.05 + 0.85 * np.sin(t)], axis=1), "second", "cloth"),
    ]


THINGS: dict[str, Animal] = {
    "ball": _ball,
    "box": _box,
    "cup": _cup,
    "bottle": _bottle,
    "book": _book,
    "lamp": _lamp,
    "chair": _chair,
    "table": _table,
    "tree": _tree,
    "flower": _flower,
    "house": _house,
    "car": _car,
    "apple": _apple,
    "mushroom": _mushroom,
    "clock": _clock,
    "sofa": _sofa,
    "plant": _plant,
    "umbrella": _umbrella,
}

NOUNS: dict[str, Animal] = {**ANIMALS, **SHAPES, **THINGS}
