"""A program in plain NumPy, another virtual environment for it, and a few images to judge."""

import hashlib
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.schemas import MANIFEST, TRANSFORMS
from realitycheck.core.tables import write_table
from realitycheck.methods.base import Inputs, Run
from realitycheck.methods.command.segmenter import fit
from realitycheck.methods.command.settings import CommandMethod
from realitycheck.stages.classify import make_verdicts
from realitycheck.stages.segment import make_masks

SIZE_HW = (24, 16)
#: Marks what is brighter than the good training images, and says in which environment it ran.
PROGRAM = """
import json, sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

def read(file):
    return np.asarray(Image.open(file).convert("L"), np.float32) / 255

with open(Path(__file__).parent / "runs.txt", "a") as runs:
    print(Path.cwd().name, file=runs)
print("prefix", sys.prefix)
request = json.loads(Path("request.json").read_text())
images, training = (pd.read_parquet(f"{name}.parquet") for name in ("images", "training"))
usual = max([0.0, *(float(read(file).mean()) for file in training["file"])])
rows = []
for index, file in zip(images["index"], images["file"]):
    excess = np.clip(read(file) - usual, 0, 1).astype(np.float32)
    if request["gives"] == "maps":
        np.save(f"maps/{index:06d}.npy", excess)
    if request["gives"] == "masks":
        Image.fromarray((excess > 0.3).astype(np.uint8) * 255).save(f"masks/{index:06d}.png")
    label = "NOK" if excess.max() > 0.3 else "OK"
    rows.append({"index": index, "label": label, "score": float(excess.max()), "seconds": 0.25})
if request["gives"] == "verdicts":
    pd.DataFrame(rows).assign(reasoning="brighter").to_csv("predictions.csv", index=False)
"""


@pytest.fixture(scope="session")
def other_python(tmp_path_factory):
    """Interpreter of a virtual environment of its own, which finds the packages of this one."""
    folder = tmp_path_factory.mktemp("other") / "environment"
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return str(folder / "bin" / "python")


class Bench:
    """A folder with aligned images, in which a program is asked as the stages ask it.

    Args:
        folder: The folder of the run.
        python: Interpreter of the program.
    """

    def __init__(self, folder, python):
        self.folder, self.python = folder, python
        self.program = folder / "program.py"
        self.program.write_text(PROGRAM)
        self.results = folder / "results"
        good, bad = ("a/good/1", "a/good/2"), ("a/bad/1", "a/bad/2")
        self.scored = self._write("parts", "0-of-1", {**self.drawn(good), **self.drawn(bad, 1.0)})
        training = [f"a/train/{number}" for number in range(4)]
        self.train = self._write("train", "train-0-of-1", self.drawn(training))

    @staticmethod
    def drawn(names, spot=0.2):
        """Dark images with a spot, by name."""
        images = {}
        for number, name in enumerate(names):
            image = np.full((*SIZE_HW, 3), 40 + number, np.uint8)
            image[5:11, 3:9] = int(255 * spot) if spot > 0.5 else 45
            images[name] = image
        return images

    def _write(self, name, shard, images):
        aligned = self.results / "aligned" / "parts"
        transforms, manifest = [], []
        for image_id, image in images.items():
            write_png(image, image_file(aligned, image_id))
            keys = {"dataset": "parts", "image_id": image_id, "category": "a"}
            digest = hashlib.sha256(image.tobytes()).hexdigest()
            size = {"height_px": SIZE_HW[0], "width_px": SIZE_HW[1]}
            transforms.append({**keys, "status": "not_requested", "pixels_sha256": digest, **size})
            label = "NOK" if "/bad/" in image_id else "OK"
            split = "train" if name == "train" else "test"
            manifest.append({**keys, "label": label, "split": split, "sha256": digest, **size})
        made = (
            (aligned / "shards" / f"{shard}.parquet", transforms, TRANSFORMS),
            (self.results / "manifests" / f"{name}.parquet", manifest, MANIFEST),
        )
        for path, rows, schema in made:
            table = pd.DataFrame(rows).reindex(columns=schema.columns)
            write_table(table, path, schema=schema, facts={})
        return [path for path, *_ in made]

    def block(self, gives, **settings):
        """The block of a program."""
        given = {"kind": "command", "command": f"python {self.program}", "python": self.python}
        return CommandMethod.model_validate({**given, "gives": gives, **settings})

    def run_of(self, block):
        """What a job is told."""
        return Run("parts", "own", "none", block.plain())

    def inputs(self, block, **further):
        """Files of a job."""
        files = {"transforms": self.scored[0], "manifest": self.scored[1]}
        if block.training == "good":
            files |= {"train": self.train[1], "training": [self.train[0]]}
        return Inputs({**files, **further})

    def masks(self, block, **further):
        """Masks table of the shard."""
        path = self.results / "predictions" / "masks.parquet"
        make_masks(
            self.inputs(block, **further),
            self.run_of(block),
            {"masks": path},
            kind="command",
            device="cpu",
            code="",
        )
        return pd.read_parquet(path).set_index("image_id")

    def fitted(self, block):
        """Rows of the thresholds table, by image."""
        inputs = self.inputs(block, transforms=[self.train[0]])
        return {r["image_id"]: r["threshold"] for r in fit(inputs, self.run_of(block), "cpu", {})}

    def verdicts(self, block):
        """Verdicts table."""
        path = self.results / "labels.parquet"
        inputs = self.inputs(block, shards=[self.scored[0]])
        make_verdicts(inputs, self.run_of(block), path, kind="command", device="cpu", code="")
        return pd.read_parquet(path).set_index("image_id")

    def runs(self):
        """How often the program was started."""
        path = self.folder / "runs.txt"
        return len(path.read_text().splitlines()) if path.exists() else 0

    @property
    def exchange(self):
        """Folder of the shard."""
        return self.results / "commands" / "parts" / "own" / "none" / "0-of-1"


@pytest.fixture
def bench(tmp_path, other_python):
    """A bench for a program in another environment."""
    return Bench(Path(tmp_path), other_python)
