"""A product of a few small images, in the layout of a user's own folder."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from realitycheck.core.images import write_png
from realitycheck.core.schemas import MANIFEST, REFERENCES
from realitycheck.core.tables import read_table
from realitycheck.stages.prepare import prepare_dataset

HEIGHT, WIDTH = 96, 128


def draw_part(*, shift=(0, 0), noise=0, defect=False):
    """Draw blobs that lie where `shift` (x, y) moves them; a defect is a bright square."""
    blobs = np.random.default_rng(1).normal(size=(HEIGHT + 40, WIDTH + 40)).astype(np.float32)
    blobs = cv2.GaussianBlur(blobs, None, 5)
    x, y = 20 - shift[0], 20 - shift[1]
    part = blobs[y : y + HEIGHT, x : x + WIDTH]
    part = 128 + 100 * part / np.abs(blobs).max()
    part = part + np.random.default_rng(noise).normal(0, 2, part.shape)
    image = np.repeat(np.clip(part, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if defect:
        image[draw_defect(shift=shift)] = (250, 240, 230)
    return image


def draw_defect(*, shift=(0, 0)):
    """Truth of the defect that `draw_part` draws: 10 x 12 pixels."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[40 + shift[1] : 50 + shift[1], 60 + shift[0] : 72 + shift[0]] = True
    return mask


class Product:
    """A data set on disk with what the prepare stage writes of it."""

    def __init__(self, folder: Path):
        self.root = folder / "raw"
        self.results = folder / "results"
        self.settings = {
            "format": "folder",
            "root": str(self.root),
            "split": {"kind": "all", "seed": 0, "train_fraction": 0.0},
            "reference": "auto",
            "intensity": {"mapping": "identity", "low": None, "high": None},
            "allow_duplicates": False,
            "missing_masks": "fault",
            "named_categories": {},
            "mask_values": "auto",
            "mask_background": "auto",
            "mask_orientation": "auto",
            "max_decoded_mb": 600,
        }

    def draw(self):
        """Three good parts and two defective ones, shifted a little."""
        for index, shift in enumerate([(0, 0), (3, -2), (-4, 1)]):
            write_png(draw_part(shift=shift, noise=index), self.root / f"OK/{index}.png")
        for index, shift in enumerate([(2, 3), (-1, -3)]):
            image = draw_part(shift=shift, noise=10 + index, defect=True)
            write_png(image, self.root / f"NOK/chip/{index}.png")
            write_png(draw_defect(shift=shift), self.root / f"masks/chip/{index}.png")
        return self

    @property
    def paths(self):
        """Where the prepare stage writes."""
        folder = self.results / "manifests"
        return {
            "manifest_path": folder / "chips.parquet",
            "train_path": folder / "chips" / "train.parquet",
            "references_path": folder / "chips" / "references.parquet",
            "digests_path": folder / "chips" / "digests.json",
            "inventory_path": folder / "chips" / "inventory.parquet",
        }

    def prepare(self, **settings):
        """Run the prepare stage."""
        prepare_dataset(
            "chips",
            self.settings | settings,
            **self.paths,
            trigger="before",
            signature="now",
            n_workers=2,
        )
        return self

    @property
    def manifest(self):
        """Its manifest."""
        return read_table(self.paths["manifest_path"], schema=MANIFEST)

    @property
    def references(self):
        """Its references."""
        return read_table(self.paths["references_path"], schema=REFERENCES)


@pytest.fixture
def product(tmp_path):
    """A drawn product that no stage has seen yet."""
    return Product(tmp_path).draw()
