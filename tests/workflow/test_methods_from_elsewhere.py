"""A segmenter and a classifier of another package go all the way to the page."""

import json
import os
import shutil

import pytest

SETTINGS = {
    "datasets": {
        "parts": {"format": "folder", "root": "data/parts", "alignment": {"method": "none"}}
    },
    "methods": {"marks": {"kind": "red_marks"}, "redness": {}},
    "compute": {"device": "cpu", "threads": 1},
    "evaluation": {"n_resamples": 200, "area_verdicts": False},
    "report": {"n_overlays": 1, "panels": "chosen"},
}
ENTRY_POINTS = """[realitycheck.methods]
red_marks = outside.red_marks
redness = outside.redness
"""


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


def test_methods_of_another_package_reach_every_result(new_run, outside, tmp_path):
    """Masks, pixel scores, panels, both tables, the page; an edit runs that method only."""
    run = new_run(tmp_path / "parts", SETTINGS)
    for label, names in {"OK": "abc", "NOK": "xyz"}.items():
        for name in names:
            run.add_part(label, name)
    run.finish()
    masks = run.read("predictions/parts/marks/none/masks.parquet").set_index("image_id")
    assert (masks["status"] == "ok").sum() == 3
    assert run.read("scores/parts/marks/none/pixels.parquet")["auroc"].item() > 0.95
    assert len(run.read("predictions/parts/marks/none/panels.parquet")) == 1
    table = run.read("tables/segmentation.parquet").set_index("method")
    assert table.loc["marks", "method_name"] == "Red marks"
    assert table.loc["marks", "mean_iou"] > 0.5
    verdicts = run.read("tables/classification.parquet").set_index("method")
    assert verdicts.loc["redness", ["tp", "tn", "fp", "fn"]].tolist() == [3, 3, 0, 0]
    assert verdicts.loc["marks", "verdict_by"] == "any mask"
    assert verdicts.loc["redness", "verdict_by"] == "model"
    page = (run.results / "report.html").read_text(encoding="utf-8")
    assert "Red marks" in page and "Redness" in page

    views = outside / "red_marks" / "views.py"
    views.write_text(views.read_text().replace("Excess of red", "Too red"))
    assert run.planned_jobs() == {"plot_panels": 1, "render_report": 1}


def test_kind_whose_package_is_not_installed_is_refused_with_the_known_ones(new_run, tmp_path):
    """Never taken for one of those."""
    run = new_run(tmp_path / "parts", json.loads(json.dumps(SETTINGS)))
    said = run.fail("--dry-run")
    assert "methods.marks: 'kind' is 'red_marks'; use one of" in said and "'few_shot'" in said
