"""A data set of a few small images as its tables tell it, and a block that imports."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from realitycheck.core.schemas import MANIFEST, TRANSFORMS
from realitycheck.core.tables import write_table
from realitycheck.datasets.records import Record
from realitycheck.methods.base import Inputs, Run
from realitycheck.methods.imported.settings import Settings
from realitycheck.methods.imported.source import faults

HEIGHT, WIDTH = 24, 40


class Chips:
    """Images on disk, with manifest and transforms; predictions go to `vendor`.

    The image `turned` is stored on its side, with an EXIF orientation.
    """

    NAMES = ("OK/a", "OK/b", "NOK/a", "NOK/c", "NOK/turned")

    def __init__(self, folder):
        self.folder, self.vendor = folder, folder / "vendor"
        self.vendor.mkdir()
        rows = []
        for number, name in enumerate(self.NAMES):
            path = folder / "data" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.write_image(path, number, is_turned=name.endswith("turned"))
            rows.append(self.row(name, path, "test"))
        self.manifest = pd.DataFrame(rows).reindex(columns=MANIFEST.columns)
        train = []
        for number in range(3):
            path = folder / "data" / "train" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.write_image(path, 10 + number)
            train.append(self.row(f"train/{number}", path, "train"))
        self.train = pd.DataFrame(train).reindex(columns=MANIFEST.columns)

    @staticmethod
    def write_image(path, seed, *, is_turned=False):
        pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
        picture, exif = Image.fromarray(pixels), Image.Exif()
        if is_turned:  # orientation 6: shown turned by 90° clockwise
            picture, exif[0x0112] = Image.fromarray(np.rot90(pixels)), 6
        picture.save(path, exif=exif)

    @staticmethod
    def row(name, path, split):
        return {
            "dataset": "chips",
            "image_id": f"chip/{name}",
            "category": "chip",
            "label": "NOK" if name.startswith("NOK") else "OK",
            "split": split,
            "image_path": str(path),
            "width_px": WIDTH,
            "height_px": HEIGHT,
            "bit_depth": 8,
            "n_channels": 1,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }

    def transforms(self, *names, status="not_requested", matrix=None, shape=(HEIGHT, WIDTH)):
        """Rows of aligned images; all of them by default."""
        matrix = np.eye(3) if matrix is None else matrix
        return pd.DataFrame(
            {
                "dataset": "chips",
                "image_id": f"chip/{name}",
                "category": "chip",
                "status": status,
                **{f"m{r}{c}": float(matrix[r, c]) for r in range(3) for c in range(3)},
                "residual_before": None,
                "residual_after": None,
                "overlap": 1.0,
                "width_px": shape[1],
                "height_px": shape[0],
                "pixels_sha256": "",
            }
            for name in names or self.NAMES
        )

    def settings(self, **block):
        """A block, whose sources lie below `vendor`."""
        places = ("masks", "coco", "coco_images", "maps", "verdicts")
        given = {k: str(self.vendor / v) if k in places else v for k, v in block.items()}
        return Settings(kind="imported", **given).plain()

    def run(self, prompt="none", **block):
        return Run("chips", "vendor", prompt, self.settings(**block))

    def inputs(self, transforms=None, **files):
        """Files of a job."""
        paths = {name: self.folder / f"{name}.parquet" for name in ("manifest", "train")}
        for name, path in paths.items():
            write_table(getattr(self, name), path, schema=MANIFEST, facts={})
        paths["transforms"] = self.folder / "aligned" / "transforms.parquet"
        table = self.transforms() if transforms is None else transforms
        write_table(table, paths["transforms"], schema=TRANSFORMS, facts={})
        return Inputs(paths | files)

    def records(self):
        """Every image of the data set as it is listed."""
        return [
            Record(r.image_id, r.category, r.label, None, r.split, None, Path(r.image_path), None)
            for table in (self.manifest, self.train)
            for r in table.itertuples()
        ]

    def faults(self, records=None, **block):
        """What the audit says of a block, one line per fault."""
        found = faults(
            "chips",
            self.settings(**block),
            self.manifest,
            self.train,
            self.records() if records is None else records,
            n_workers=1,
        )
        return [str(fault).replace(f"{self.folder}/", "") for fault in found]

    def write_mask(self, name, mask, **options):
        """Write a mask into the vendor's folder `masks`."""
        path = self.vendor / "masks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(mask, np.uint8)).save(path, **options)


@pytest.fixture
def chips(tmp_path):
    """The data set."""
    return Chips(tmp_path)


@pytest.fixture
def blot():
    """A mask with a corner that no symmetry maps onto itself, bool."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2:9, 3:14] = True
    mask[12:20, 30:33] = True
    mask[5, 20] = True
    return mask
