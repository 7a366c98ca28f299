"""Drawn pets: cats are NOK, dogs are OK, on cluttered everyday backgrounds.

The drawn counterpart of Oxford-IIIT-Pet, the study's everyday data set. Each image shows one animal
of any pose, coat and size among things of a household. The animals are drawn by the vocabulary of
parts of the everyday domain, but no image is one that the `everyday` networks were trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from realitycheck.datasets.synthetic import everyday
from realitycheck.datasets.synthetic.drawn_sets import Drawn, Name, check_counts, write_set
from realitycheck.datasets.synthetic.everyday_parts import THINGS

SET_NAME = "synthetic_pets"
#: Things that stand around.
CLUTTER = tuple(THINGS)
_LEAST_VISIBLE = 0.8


def draw_pet(rng: np.random.Generator, animal: str, *, size_px: int = 256) -> Drawn:
    """Draw an animal in front of clutter.

    Args:
        rng: Source of chance; equal ones give equal images.
        animal: "cat" or "dog".
        size_px: Width and height.

    Returns:
        The image, and the mask of the animal, of dogs as well.
    """
    side = everyday.SUPERSAMPLING * size_px
    while True:
        kind = str(rng.choice(["room", "outdoors", "pattern", "mottled"], p=[0.5, 0.3, 0.1, 0.1]))
        canvas = everyday.draw_canvas(rng, size_px, kind=kind)
        identities, parts = np.zeros((2, side, side), np.uint8)
        layers = (canvas, identities, parts)
        for number in range(int(rng.integers(2, 6))):
            everyday.add_thing(
                rng,
                layers,
                str(rng.choice(CLUTTER)),
                identity=2 + number,
                first_part=1,
                centre=tuple(rng.uniform(0.05, 0.95, 2) * side),
                scale_px=side * rng.uniform(0.08, 0.24),
            )
        scale = side * rng.uniform(0.18, 0.42)
        room = min(0.5, 0.8 * scale / side)
        added = everyday.add_thing(
            rng,
            layers,
            animal,
            identity=1,
            first_part=1,
            centre=tuple(rng.uniform(room, 1 - room, 2) * side),
            scale_px=scale,
        )
        shown = int((identities == 1).sum())
        # An animal that the border cuts in two is drawn anew.
        border = np.concatenate([identities[[0, -1]].ravel(), identities[:, [0, -1]].ravel()])
        if added is not None and shown >= _LEAST_VISIBLE * added[2] and (border == 1).mean() < 0.04:
            break
    image = everyday.finish_picture(rng, canvas, size_hw=(size_px, size_px))
    mask = everyday.shrink(identities, size_hw=(size_px, size_px)) == 1
    return Drawn(image, mask)


def list_images(*, n_ok: int, n_nok: int, n_train: int) -> list[Name]:
    """Name the images of a set."""
    return [
        *(Name(f"train/OK/{i:04d}", "", "") for i in range(n_train)),
        *(Name(f"test/OK/{i:04d}", "", "") for i in range(n_ok)),
        *(Name(f"test/NOK/cat/{i:04d}", "", "cat") for i in range(n_nok)),
    ]


def generate(
    root: Path | str,
    *,
    n_ok: int,
    n_nok: int,
    n_train: int,
    image_size_px: int = 256,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a set of pets; see `drawn_sets.write_set`.

    Args:
        root: Folder to write to.
        n_ok: Dogs that are scored.
        n_nok: Cats, which are to be found.
        n_train: Further dogs.
        image_size_px: Width and height.
        seed: Seed of the set.
        progress: Called after every image with the number done and the total.

    Returns:
        The path of `truth.csv`.

    Raises:
        ValueError: If a count or the seed is negative.
    """
    check_counts(SET_NAME, n_ok=n_ok, n_nok=n_nok, n_train=n_train, seed=seed)

    def draw(rng: np.random.Generator, name: Name) -> Drawn:
        drawn = draw_pet(rng, name.defect_type or "dog", size_px=image_size_px)
        return drawn if name.defect_type else Drawn(drawn.image, np.zeros_like(drawn.mask))

    names = list_images(n_ok=n_ok, n_nok=n_nok, n_train=n_train)
    return write_set(root, SET_NAME, names, draw, seed=seed, progress=progress)
