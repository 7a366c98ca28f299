"""Formats: each is one module, of this package or of somebody's own."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from realitycheck.core.images import write_png
from realitycheck.core.registry import Registry, RegistryError
from realitycheck.datasets.registry import FORMATS, list_records

#: A format whose images lie in one folder, the good ones told by their names.
ROWS = '''"""Images in a row: good_001.png, bad_002.png."""

from typing import ClassVar, Literal

from pydantic import Field

from realitycheck.datasets.records import Listing
from realitycheck.datasets.settings import DatasetBlock

from .reading import records_in

LICENCE = "for looking at only"


class RowsDataset(DatasetBlock):
    """Images in one folder, told apart by how their names begin."""

    format: Literal["rows"]
    root: str
    good: str = Field("good", description="how the names of good parts begin")
    layout: ClassVar[str] = "good_001.png and bad_002.png"


Settings = RowsDataset


def list_images(root, settings):
    return Listing(records_in(root, good=settings["good"]), [])
'''
READING = """from realitycheck.datasets.records import Record


def records_in(root, *, good):
    return [
        Record(
            image_id=f"row/{path.stem}",
            category="row",
            label="OK" if path.name.startswith(good) else "NOK",
            defect_type=None,
            split="test",
            group=None,
            image_path=path,
            mask_path=None,
        )
        for path in sorted(root.glob("*.png"))
    ]
"""
#: What the workflow does with a data set while it plans and in the first job.
USE = """
import json, sys
from pathlib import Path
from realitycheck.core.provenance import source_digest, sources
from realitycheck.core.schemas import MANIFEST
from realitycheck.core.tables import read_table
from realitycheck.datasets.registry import FORMATS
from realitycheck.planning.checking import checked_settings
from realitycheck.planning.plan import Plan
from realitycheck.report.page.words import licences_of
from realitycheck.settings.load import json_schema
from realitycheck.stages.prepare import prepare_dataset

cfg = checked_settings(json.loads(sys.argv[1]), counts_parts=True)
plan, out = Plan(cfg), Path("out")
listing = cfg.preparation_settings("mine")
prepare_dataset(
    "mine",
    listing,
    manifest_path=out / "m.parquet",
    train_path=out / "t.parquet",
    references_path=out / "r.parquet",
    digests_path=out / "d.json",
    inventory_path=out / "i.parquet",
    trigger=plan.inventory("mine"),
    signature="now",
    n_workers=1,
)
manifest = read_table(out / "m.parquet", schema=MANIFEST)
print(json.dumps({
    "module": FORMATS.module_of("rows"),
    "labels": dict(zip(manifest["image_id"], manifest["label"])),
    "schema": "RowsDataset" in json_schema()["$defs"],
    "licences": licences_of(plan.page_facts()["licences"], {"mine": {"name": "Mine"}}),
    "code": sorted(name for name in sources(FORMATS.module_of("rows")) if "rows" in name),
}))
"""


@pytest.fixture
def site(tmp_path):
    """A folder of installed packages, with one that gives the format `rows`."""
    folder = tmp_path / "site"
    package, info = folder / "realitycheck_rows", folder / "realitycheck_rows-1.0.dist-info"
    for each in (package, info):
        each.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "format.py").write_text(ROWS)
    (package / "reading.py").write_text(READING)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: realitycheck-rows\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[realitycheck.formats]\nrows = realitycheck_rows.format\n"
    )
    return folder


@pytest.fixture
def with_rows(site, repository, tmp_path):
    """Run Python code in a process that finds the package."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(repository), str(site)))}

    def run(code, *arguments):
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_format_of_another_package_is_planned_prepared_and_listed(with_rows, tmp_path):
    """One module and an entry point, and nothing of ours was edited for it."""
    rng = np.random.default_rng(0)
    for name in ("sound_1", "sound_2", "bad_3"):
        write_png(rng.integers(0, 255, (64, 64, 3), np.uint8), tmp_path / "data" / f"{name}.png")
    raw = {"datasets": {"mine": {"format": "rows", "root": "data", "good": "sound"}}}
    done = with_rows(USE, json.dumps(raw))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == {
        "module": "realitycheck_rows.format",
        "labels": {"row/bad_3": "NOK", "row/sound_1": "OK", "row/sound_2": "OK"},
        "schema": True,
        "licences": [["Images of Mine", "for looking at only"], ["RealityCheck", "Apache-2.0"]],
        "code": ["realitycheck_rows.format", "realitycheck_rows.reading"],
    }


def test_folder_of_such_a_format_must_be_there(with_rows):
    """As that of any other, and the fault says what belongs into it."""
    raw = {"datasets": {"mine": {"format": "rows", "root": "nowhere"}}}
    done = with_rows(USE, json.dumps(raw))
    assert "no folder nowhere; give the folder that holds good_001.png and bad_" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("LICENCE =", "LICENSE =", "realitycheck_rows.format lacks LICENCE; see realitycheck."),
        ('Literal["rows"]', "str", "lacks the field format: Literal['rows'] in Settings"),
        ("Settings = RowsDataset", "", "lacks Settings, a DatasetBlock"),
        ("from .reading", "from .writing", "the format 'rows' cannot be opened: realitycheck_rows"),
    ],
)
def test_module_that_is_no_format_is_named_with_what_it_lacks(site, with_rows, old, new, message):
    """Its author reads this, or whoever has installed it."""
    path = site / "realitycheck_rows" / "format.py"
    path.write_text(path.read_text().replace(old, new))
    done = with_rows("import realitycheck.settings.run")
    assert done.returncode
    assert message in done.stderr


def test_unknown_format_names_the_known_ones(tmp_path):
    """A default format would list another layout's images without a word."""
    known = "folder, mvtec_ad, oxford_iiit_pet, synthetic_sat, synthetic_pets, synthetic_textures"
    with pytest.raises(
        RegistryError, match=f"format: expected one of {known}, found 'coco'; another"
    ):
        list_records({"format": "coco", "root": str(tmp_path)})


def test_kind_that_two_packages_give_is_refused(site, monkeypatch):
    """Which one is meant cannot be told."""
    monkeypatch.syspath_prepend(str(site))
    registry = Registry("format", group="realitycheck.formats", shipped={"rows": "ours.rows"})
    with pytest.raises(
        RegistryError, match=r"'rows' is given by ours\.rows and by realitycheck_ro"
    ):
        registry.open("rows")


def test_every_format_of_the_package_gives_all_that_one_gives():
    """What a list of formats asks of each."""
    for name in FORMATS.modules:
        module = FORMATS.open(name)
        assert module.Settings.model_fields["format"].annotation.__args__ == (name,)
        assert module.LICENCE
