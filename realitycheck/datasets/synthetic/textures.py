"""Drawn textures with defects: carpet, grid, leather, tile and wood, after MVTec AD's textures.

No `everyday` network has seen one of these surfaces or defects. Masks are exact: a defect is drawn
by its mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from realitycheck.datasets.synthetic.drawn_sets import Drawn, Name, check_counts, write_set
from realitycheck.datasets.synthetic.everyday import noise

SET_NAME = "synthetic_textures"
#: Which defects occur on which surface.
DEFECTS: dict[str, tuple[str, ...]] = {
    "carpet": ("hole", "cut", "thread", "stain"),
    "grid": ("thread", "glue", "hole"),
    "leather": ("cut", "glue", "hole", "scratch"),
    "tile": ("crack", "glue", "stain"),
    "wood": ("hole", "scratch", "stain"),
}


def _coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:size, :size].astype(np.float32)
    return x, y


def _carpet(rng: np.random.Generator, size: int) -> np.ndarray:
    """A plain weave: warp over weft, by turns."""
    x, y = _coordinates(size)
    period = size / 256 * rng.uniform(9, 12)
    x = x + 0.8 * noise(rng, size, size, sigma_px=20)
    y = y + 0.8 * noise(rng, size, size, sigma_px=20)
    column, row = np.floor(x / period), np.floor(y / period)
    over = (column + row) % 2 == 0
    across = np.where(over, x, y) % period / period
    along = np.where(over, y, x)
    height = np.sin(np.pi * across) * (0.85 + 0.15 * np.sin(2 * np.pi * along / (period / 3)))
    yarn = np.array([rng.uniform(120, 165), rng.uniform(112, 150), rng.uniform(105, 150)])
    shade = 0.55 + 0.5 * height + 0.09 * noise(rng, size, size, sigma_px=1.5)
    tone = np.where(over, 1.0, 0.86)
    return shade[..., None] * tone[..., None] * yarn


def _grid(rng: np.random.Generator, size: int) -> np.ndarray:
    """A wire mesh before a dark ground."""
    x, y = _coordinates(size)
    period = size / 256 * rng.uniform(24, 30)
    turn = np.pi / 4 + rng.uniform(-0.03, 0.03)
    u = np.cos(turn) * x + np.sin(turn) * y
    v = np.cos(turn) * y - np.sin(turn) * x
    half = 0.13

    def wire(w: np.ndarray) -> np.ndarray:
        across = np.abs((w / period) % 1 - 0.5) / half
        return np.sqrt(np.clip(1 - across**2, 0, 1))

    first, second = wire(u), wire(v)
    weave = ((np.floor(u / period) + np.floor(v / period)) % 2).astype(np.float32)
    height = np.maximum(first * (0.75 + 0.25 * weave), second * (1 - 0.25 * weave))
    ground = 34 + 6 * noise(rng, size, size, sigma_px=20)
    metal = np.array([178, 180, 184]) * rng.uniform(0.8, 1.05)
    shown = np.where(height[..., None] > 0.05, height[..., None] * metal, ground[..., None])
    return shown + 4 * noise(rng, size, size, sigma_px=1.5)[..., None]


def _leather(rng: np.random.Generator, size: int) -> np.ndarray:
    """Grain of small cells between creases."""
    n = int(rng.integers(26, 33))
    places = np.stack(np.meshgrid(np.arange(n), np.arange(n)), axis=-1).reshape(-1, 2)
    seeds = (places + rng.uniform(0, 0.95, places.shape)) * size / n
    field = np.ones((size, size), np.uint8)
    field[seeds[:, 1].astype(int), seeds[:, 0].astype(int)] = 0
    distance = cv2.distanceTransform(field, cv2.DIST_L2, 5)
    cell = np.clip(distance / (size / 256 * 5.5), 0, 1.25)
    height = 1 - 0.32 * cell**2 + 0.06 * noise(rng, size, size, sigma_px=1.5)
    fold = 0.07 * noise(rng, size, size, sigma_px=40)
    hide = np.array([rng.uniform(95, 135), rng.uniform(58, 78), rng.uniform(36, 52)])
    return (height + fold)[..., None] * hide


def _tile(rng: np.random.Generator, size: int) -> np.ndarray:
    """A glaze of dark and light speckles."""
    ground = np.array([186, 182, 172]) * rng.uniform(0.92, 1.05)
    picture = np.broadcast_to(ground, (size, size, 3)).copy()
    for tone, sigma, level in ((70, 3, 1.0), (120, 6, 1.15), (225, 3, 1.2), (40, 1.5, 2.1)):
        speckle = np.clip(3 * (noise(rng, size, size, sigma_px=sigma) - level), 0, 1)[..., None]
        picture += speckle * (tone - picture)
    return picture * (1 + 0.04 * noise(rng, size, size, sigma_px=40)[..., None])


def _wood(rng: np.random.Generator, size: int) -> np.ndarray:
    """Grain along one direction, by distorted rings."""
    x, y = _coordinates(size)
    bend = 7 * noise(rng, 1, size, sigma_px=60)[0][:, None] if rng.random() < 0.5 else 0.0
    wavy = cv2.resize(
        noise(rng, max(8, size // 12), size, sigma_px=20),
        (size, size),
        interpolation=cv2.INTER_LINEAR,
    )
    across = x + bend + 9 * size / 256 * wavy
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * across / (size / 256 * rng.uniform(14, 22)))
    fine = cv2.resize(
        noise(rng, max(8, size // 10), size, sigma_px=1.5),
        (size, size),
        interpolation=cv2.INTER_LINEAR,
    )
    light = np.array([198, 156, 106]) * rng.uniform(0.85, 1.05)
    dark = light * np.array([0.68, 0.62, 0.56])
    share = np.clip(0.25 + 0.5 * rings**3 + 0.12 * fine, 0, 1)[..., None]
    return light + share * (dark - light)


SURFACES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "carpet": _carpet,
    "grid": _grid,
    "leather": _leather,
    "tile": _tile,
    "wood": _wood,
}


def _blob(rng: np.random.Generator, size: int, *, low: float, high: float) -> np.ndarray:
    """An irregular spot somewhere inside the image, bool."""
    x, y = _coordinates(size)
    radius = size * np.exp(rng.uniform(np.log(low), np.log(high)))
    centre = rng.uniform(0.2, 0.8, 2) * size
    angle = np.arctan2(y - centre[1], x - centre[0])
    reach = np.ones_like(angle)
    for n in range(2, 7):
        reach += rng.normal(0, 0.22 / n) * np.cos(n * angle + rng.uniform(0, 2 * np.pi))
    stretch = np.exp(rng.normal(0, 0.25))
    distance = np.hypot((x - centre[0]) * stretch, (y - centre[1]) / stretch)
    return distance < radius * np.clip(reach, 0.4, None)


def _walk(rng: np.random.Generator, size: int, *, length: float, wander: float) -> np.ndarray:
    """Points of a line that wanders, inside the image, (N, 2)."""
    while True:
        n = 24
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, wander, n))
        steps = length * size / n * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        points = rng.uniform(0.15, 0.85, 2) * size + np.cumsum(steps, axis=0)
        if (points > 0.04 * size).all() and (points < 0.96 * size).all():
            return points


def _line_mask(lines: Sequence[np.ndarray], size: int, *, width_px: float) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    for line in lines:
        cv2.polylines(
            mask, [(line * 16).round().astype(np.int32)], False, 1, max(1, round(width_px)), shift=4
        )
    return mask > 0


def _draw_defect(
    rng: np.random.Generator, surface: np.ndarray, defect: str
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a defect on a surface: the changed surface, and its mask."""
    size = len(surface)
    unit = size / 256
    changed = surface.copy()
    if defect in ("hole", "stain", "glue"):
        low, high = (0.025, 0.07) if defect == "hole" else (0.05, 0.13)
        mask = _blob(rng, size, low=low, high=high)
        depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
        depth = np.clip(depth / max(depth.max(), 1e-6), 0, 1)[mask][:, None]
        if defect == "hole":
            changed[mask] = surface[mask] * 0.15 + 14 * (1 - depth)
        elif defect == "stain":
            tint = np.array([[90, 60, 40], [70, 70, 110], [120, 40, 40]])[rng.integers(3)]
            share = rng.uniform(0.45, 0.7)
            changed[mask] = surface[mask] * (1 - share) + share * tint
        else:
            shine = np.clip(noise(rng, size, size, sigma_px=6)[mask][:, None], -1, 2)
            changed[mask] = surface[mask] * 0.45 + 0.55 * (205 + 25 * shine) * (0.75 + 0.25 * depth)
        return changed, mask
    if defect == "thread":
        line = _walk(rng, size, length=rng.uniform(0.35, 0.7), wander=0.22)
        mask = _line_mask([line], size, width_px=rng.uniform(2.0, 3.5) * unit)
        colour = np.array([[190, 60, 60], [60, 80, 180], [235, 235, 225], [200, 170, 60]])
        changed[mask] = colour[rng.integers(4)] * rng.uniform(0.8, 1.05)
        return changed, mask
    if defect == "cut":
        line = _walk(rng, size, length=rng.uniform(0.18, 0.4), wander=0.05)
        mask = _line_mask([line], size, width_px=rng.uniform(3, 5) * unit)
        lip = _line_mask([line + 2.2 * unit], size, width_px=2 * unit) & ~mask
        changed[mask] *= 0.2
        changed[lip] = changed[lip] * 1.25 + 12
        return changed, mask | lip
    if defect == "crack":
        line = _walk(rng, size, length=rng.uniform(0.35, 0.7), wander=0.35)
        branches = [line]
        for _ in range(int(rng.integers(0, 3))):
            start = line[rng.integers(4, len(line) - 4)]
            heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.3, 8))
            steps = 0.02 * size * np.stack([np.cos(heading), np.sin(heading)], axis=1)
            branches.append(np.concatenate([start[None], start + np.cumsum(steps, axis=0)]))
        mask = _line_mask(branches, size, width_px=rng.uniform(1.5, 2.8) * unit)
        changed[mask] *= 0.22
        return changed, mask
    if defect == "scratch":
        first = _walk(rng, size, length=rng.uniform(0.3, 0.6), wander=0.03)
        lines = [first + k * rng.uniform(3, 6) * unit for k in range(int(rng.integers(1, 4)))]
        mask = _line_mask(lines, size, width_px=rng.uniform(1.2, 2.2) * unit)
        changed[mask] = 0.35 * changed[mask] + 0.65 * np.minimum(changed[mask] * 1.6 + 50, 245)
        return changed, mask
    raise ValueError(f"{SET_NAME}: unknown defect {defect!r}")


def draw_texture(
    rng: np.random.Generator, category: str, defect: str | None, *, size_px: int = 256
) -> Drawn:
    """Draw a surface, with a defect or without.

    Args:
        rng: Source of chance; equal ones give equal images.
        category: Key of `SURFACES`.
        defect: One of `DEFECTS[category]`; None draws a good one.
        size_px: Width and height.

    Returns:
        Image and mask.
    """
    surface = SURFACES[category](rng, size_px).astype(np.float32)
    mask = np.zeros((size_px, size_px), bool)
    if defect is not None:
        surface, mask = _draw_defect(rng, surface, defect)
    picture = cv2.GaussianBlur(surface, (0, 0), 0.5 * size_px / 256 + 0.1)
    picture = picture * rng.uniform(0.9, 1.1) + 2.5 * rng.standard_normal(picture.shape, np.float32)
    return Drawn(np.clip(picture, 0, 255).astype(np.uint8), mask)


def list_images(categories: Sequence[str], *, n_ok: int, n_nok: int, n_train: int) -> list[Name]:
    """Name the images of a set; the counts are per category, and its defects take turns."""
    names = []
    for category in categories:
        defects = DEFECTS[category]
        names += [Name(f"train/OK/{category}/{i:04d}", category, "") for i in range(n_train)]
        names += [Name(f"test/OK/{category}/{i:04d}", category, "") for i in range(n_ok)]
        for i in range(n_nok):
            defect = defects[i % len(defects)]
            path = f"test/NOK/{category}/{defect}/{i // len(defects):04d}"
            names.append(Name(path, category, defect))
    return names


def generate(
    root: Path | str,
    *,
    categories: Sequence[str] = tuple(SURFACES),
    n_ok: int,
    n_nok: int,
    n_train: int,
    image_size_px: int = 256,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a set of textures; see `drawn_sets.write_set`.

    Args:
        root: Folder to write to.
        categories: Some of `SURFACES`.
        n_ok: Good images of each category that are scored.
        n_nok: Defective images of each category.
        n_train: Further good images of each category.
        image_size_px: Width and height.
        seed: Seed of the set.
        progress: Called after every image with the number done and the total.

    Returns:
        The path of `truth.csv`.

    Raises:
        ValueError: If a count or the seed is negative, or a category is unknown.
    """
    check_counts(SET_NAME, n_ok=n_ok, n_nok=n_nok, n_train=n_train, seed=seed)
    unknown = [category for category in categories if category not in SURFACES]
    if unknown:
        raise ValueError(
            f"categories of {SET_NAME}: expected some of {', '.join(SURFACES)}, found "
            f"{unknown[0]!r}"
        )

    def draw(rng: np.random.Generator, name: Name) -> Drawn:
        return draw_texture(rng, name.category, name.defect_type or None, size_px=image_size_px)

    names = list_images(categories, n_ok=n_ok, n_nok=n_nok, n_train=n_train)
    return write_set(root, SET_NAME, names, draw, seed=seed, progress=progress)
