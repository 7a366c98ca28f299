"""What the documents say how to add goes all the way to the page.

Methods, a format and a service come from another package; a program runs in an environment of its
own; a table and a figure are added to the code by a module and a line of their registry.
"""

import json
import os
import shutil
import sysconfig
import venv

import pytest
from PIL import Image

SETTINGS = {
    "datasets": {
        "parts": {
            "format": "good_and_bad",
            "root": "data/parts",
            "alignment": {"method": "none"},
            "may_leave_site": True,
            "object_name": "part",
        }
    },
    "prompts": {"parts": {"basic": {"lvlm": "Is the {object} defective?", "reference": False}}},
    "methods": {
        "marks": {"kind": "red_marks"},
        "redness": {},
        "asked": {
            "kind": "lvlm",
            "backend": "pessimist",
            "model": "p-1",
            "price": {"input": 1, "output": 1},
        },
    },
    "compute": {"device": "cpu", "threads": 1},
    "evaluation": {"n_resamples": 200, "area_verdicts": False},
    "report": {"n_overlays": 1, "panels": "chosen"},
}
#: Maps of redness, by a program that runs in an environment of its own.
PROGRAM = """
import sys
import numpy as np
import pandas as pd
from PIL import Image

assert "environment" in sys.prefix
images = pd.read_parquet("images.parquet")
for index, file in zip(images["index"], images["file"]):
    image = np.asarray(Image.open(file), np.float32)
    values = (image[..., 0] - image[..., 1:].max(axis=2)).clip(0) / 255
    np.save(f"maps/{index:06d}.npy", values)
"""
ENTRY_POINTS = """[realitycheck.methods]
red_marks = outside.red_marks
redness = outside.redness
[realitycheck.formats]
good_and_bad = outside.parts
[realitycheck.services]
pessimist = outside.service
"""
#: Line of each registry for what the folder `inside` of the plug-ins holds.
LINES = {
    "table": '"rejected": Table("Rejected parts"),',
    "figure": '"rejected": FigureEntry("Rejected parts"),',
}


@pytest.fixture
def outside(repository, tmp_path, monkeypatch):
    """The package, installed for every process that a test starts."""
    folder = tmp_path / "installed"
    shutil.copytree(repository / "tests" / "plugins" / "outside", folder / "outside")
    about = folder / "outside-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    known = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *([known] if known else [])]))
    return folder / "outside"


@pytest.fixture
def added(repository, code, tmp_path):
    """A copy of the code with a table and a figure, by the files that CONTRIBUTING.md names."""
    code = shutil.copytree(code, tmp_path / "code")
    for what, line in LINES.items():
        folder = code / "realitycheck" / "report" / f"{what}s"
        module = repository / "tests" / "plugins" / "inside" / f"rejected_{what}.py"
        shutil.copy(module, folder / "rejected.py")
        registry = folder / "registry.py"
        opening = f"{what.upper()}S = {{\n"
        text = registry.read_text()
        assert opening in text
        registry.write_text(text.replace(opening, f"{opening}    {line}\n"))
    return code


@pytest.fixture
def own(tmp_path):
    """A block of a program in another virtual environment, which finds the packages of this one."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return {
        **{"kind": "command", "command": "python program.py", "gives": "maps"},
        **{"python": str(folder / "bin" / "python"), "title": "Own redness"},
        **{"threshold": 0.5, "training": "none", "training_images": []},
    }


def test_what_is_added_reaches_every_result(new_run, outside, added, own, tmp_path):
    """Masks, pixel scores, panels, verdicts, tables, figures, page; an edit runs its own jobs."""
    settings = {**SETTINGS, "methods": {**SETTINGS["methods"], "own": own}}
    run = new_run(tmp_path / "parts", settings)
    run.code = added
    (run.folder / "program.py").write_text(PROGRAM)
    for label, names in {"OK": "abc", "NOK": "xyz"}.items():
        for name in names:
            run.add_part(label, name)
    run.finish()
    manifest = run.read("manifests/parts.parquet")
    assert set(manifest["image_id"].str.rpartition("/")[0]) == {"part/OK", "part/NOK"}
    masks = run.read("predictions/parts/marks/none/masks.parquet").set_index("image_id")
    assert (masks["status"] == "ok").sum() == 3
    assert run.read("scores/parts/marks/none/pixels.parquet")["auroc"].item() > 0.95
    assert len(run.read("predictions/parts/marks/none/panels.parquet")) == 1
    table = run.read("tables/segmentation.parquet").set_index("method")
    assert table.loc["marks", "method_name"] == "Red marks"
    assert table.loc["marks", "mean_iou"] > 0.5
    verdicts = run.read("tables/classification.parquet").set_index("method")
    assert verdicts.loc["redness", ["tp", "tn", "fp", "fn"]].tolist() == [3, 3, 0, 0]
    assert verdicts.loc["asked", ["tp", "tn", "fp", "fn"]].tolist() == [3, 0, 3, 0]
    assert verdicts.loc["marks", "verdict_by"] == "any mask"
    assert verdicts.loc["redness", "verdict_by"] == "model"
    assert table.loc["own", "mean_iou"] > 0.5
    assert run.read("scores/parts/own/none/pixels.parquet")["auroc"].item() > 0.95
    assert len(run.read("predictions/parts/own/none/panels.parquet")) == 1
    assert verdicts.loc["own", ["tp", "tn"]].tolist() == [3, 3]
    rejected = run.read("tables/rejected.parquet").set_index("method")["n_rejected"]
    assert rejected[["marks", "redness", "asked", "accept_everything"]].tolist() == [3, 3, 6, 0]
    for path in ("tables/rejected.csv", "tables/rejected.md", "tables/rejected.tex"):
        assert (run.results / path).is_file()
    assert Image.open(run.results / "figures" / "rejected.png").size[0] > 100
    page = (run.results / "report.html").read_text(encoding="utf-8")
    for words in ("Red marks", "Redness", "Own redness", "drawn for a test", "It is never good."):
        assert words in page
    assert "How much is rejected" in page and "A bar for each run." in page

    views = outside / "red_marks" / "views.py"
    views.write_text(views.read_text().replace("Excess of red", "Too red"))
    assert run.planned_jobs() == {"plot_panels": 1, "render_report": 1}
    figure = added / "realitycheck" / "report" / "figures" / "rejected.py"
    figure.write_text(figure.read_text().replace("width=3", "width=2"))
    assert run.planned_jobs() == {"plot_panels": 1, "plot": 1, "render_report": 1}
    (run.folder / "program.py").write_text(PROGRAM + "raise SystemExit('edited')\n")
    said = run.fail("results/predictions/parts/own/none/masks.parquet")
    assert "Its last lines" in said and "edited" in said


def test_kind_whose_package_is_not_installed_is_refused_with_the_known_ones(new_run, tmp_path):
    """Never taken for one of those."""
    run = new_run(tmp_path / "parts", json.loads(json.dumps(SETTINGS)))
    said = run.fail("--dry-run")
    assert "methods.marks: 'kind' is 'red_marks'; use one of" in said and "'few_shot'" in said
