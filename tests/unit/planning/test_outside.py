"""Systems and people from outside: raters are runs, declarations are told, files decide reruns."""

import os
from pathlib import Path

import numpy as np
import pytest

from realitycheck.core.images import write_png
from realitycheck.core.settings import SettingsError
from realitycheck.planning.checking import checked_settings
from realitycheck.planning.confirm import settings_of
from realitycheck.planning.plan import Plan
from realitycheck.planning.tries import tries_of
from realitycheck.report.tables.base import method_name

PEOPLE = "image,label,rater\n" + "".join(
    f"{number},OK,{rater}\n" for number in range(4) for rater in ("Anna B.", "Ben")
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A data set of four good and two defective images, and what others say of it."""
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        label = "OK" if number < 4 else "NOK"
        picture = np.full((8, 8, 3), number, np.uint8)
        write_png(picture, tmp_path / "data" / label / f"{number}.png")
        write_png(picture[..., 0] > 4, tmp_path / "vendor" / "p" / f"{number}.png")
    (tmp_path / "people.csv").write_text(PEOPLE)
    return tmp_path


def raw(**methods):
    return {
        "datasets": {
            "p": {
                "format": "folder",
                "root": "data",
                "split": {"kind": "all"},
                "reference": "none",
                "alignment": {"method": "none"},
                "missing_masks": "label_only",
            }
        },
        "methods": {name: {"kind": "imported", **block} for name, block in methods.items()},
    }


def checked(**methods):
    return checked_settings(raw(**methods), counts_parts=True)


def faults_of(**methods):
    with pytest.raises(SettingsError) as found:
        checked(**methods)
    return found.value.faults


def test_each_rater_is_a_run_of_its_own():
    """A row of readiness and of the paired tests; what is said of masks is one row."""
    settings = checked(people={"verdicts": "people.csv"}, vendor={"masks": "vendor/{dataset}"})
    assert settings.runs() == [
        ("p", "people", "Anna_B."),
        ("p", "people", "Ben"),
        ("p", "vendor", "none"),
    ]
    plan = Plan(settings)
    assert settings.mask_runs() == [("p", "vendor", "none")] and settings.map_runs() == []
    assert ["p", "people", "Ben"] in [list(run) for run in plan.table_facts()["runs"]["compared"]]
    only = checked(people={"verdicts": "people.csv", "raters": ["Ben"]})
    assert only.runs() == [("p", "people", "Ben")]


def test_each_rater_and_each_content_is_a_try_and_a_touched_file_is_none(folder):
    """Ten inspectors of whom the best is shown were ten tries."""

    def tried():
        return [each["tried"] for each in tries_of(Plan(checked(**blocks)), "p")]

    blocks = {"people": {"verdicts": "people.csv"}, "vendor": {"masks": "vendor/p"}}
    first = tried()
    assert len({str(each) for each in first}) == 4  # two raters, masks, and masks by area
    os.utime(folder / "people.csv", ns=(1, 1))
    os.utime(folder / "vendor" / "p" / "1.png", ns=(1, 1))
    assert tried() == first
    (folder / "vendor").rename(folder / "moved")
    blocks["vendor"]["masks"] = "moved/p"
    assert tried() == first
    (folder / "people.csv").write_text(PEOPLE.replace("0,OK", "0,NOK"))
    assert [a == b for a, b in zip(tried(), first, strict=True)] == [False, False, True, True]


def test_an_edited_file_runs_its_jobs_again(folder):
    """And the audit, which reads it before anything else."""

    def told():
        plan = Plan(checked(vendor={"masks": "vendor/p"}))
        job = plan.block("vendor").job
        return plan.run_of("p", "vendor", "none", job)["sources"], plan.audited("p")["sources"]

    first = told()
    assert told() == first
    (folder / "vendor" / "p" / "1.png").unlink()
    again = told()
    assert all(a != b for a, b in zip(first, again, strict=True))


def test_what_is_not_declared_stands_beside_every_number():
    """A system may have learned from the parts that it is scored on."""
    settings = checked(
        secret={"verdicts": "people.csv"},
        open={"verdicts": "people.csv", "training_images": ["vendor/p"], "title": "Open"},
        none={
            **{"masks": "vendor/p", "training_images": []},
            **{"transductive": True, "uses_test_truth": True},
        },
    )
    notes = Plan(settings).method_notes()
    assert notes["secret"]["training_unknown"]
    assert "training images not known" in notes["secret"]["note"]
    assert "note" not in notes["open"] and "training_unknown" not in notes["open"]
    assert notes["none"]["transductive"] and notes["none"]["uses_test_truth"]
    assert "(transductive)" in notes["none_area"]["note"]
    assert [method_name(name, notes) for name in ("secret", "open")] == ["Imported: secret", "Open"]
    plan = Plan(settings)
    assert plan.audited("p")["declared"].keys() == {"open"}
    told = {run["method"]: run["uses_test_truth"] for run in plan.audited_runs()}
    assert told["none"].startswith("the truth of the scored images played a part")
    stop = raw(a={"masks": "vendor/p", "uses_test_truth": True})
    with pytest.raises(SettingsError, match="methods.a.uses_test_truth: .* leave the key out"):
        checked_settings(stop | {"audit": {"threshold_on_scored": "stop"}})


def test_declarations_change_no_answer():
    """A stored answer stays valid when somebody declares more."""
    blocks = checked(
        a={"masks": "vendor/p"}, b={"masks": "vendor/p", "training_images": [], "title": "B"}
    ).methods
    assert blocks["a"].plain() == blocks["b"].plain()


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({}, "expected one of masks, coco, maps, verdicts, found none"),
        ({"masks": "vendor", "coco": "c.json"}, "found masks and coco; give each source a block"),
        ({"maps": "vendor"}, "maps need a threshold: a number, or good"),
        ({"coco": "people.csv", "threshold": "good"}, "threshold: good is for maps"),
        (
            {"verdicts": "people.csv", "geometry": "aligned"},
            "geometry means something with masks or",
        ),
        ({"masks": "vendor/p", "labels": {"pass": "OK"}}, "labels means something with verdicts"),
        ({"masks": "vendor/p", "mask_values": {"7": "defekt"}}, "7 must be one of"),
        ({"masks": "none/{dataset}"}, "methods.a: there is no file or folder none/p"),
        ({"masks": "vendor"}, "methods.a: p: vendor/p/0.png: 'p/0.png' is the name of no image"),
        ({"verdicts": "people.csv", "raters": ["Carl"]}, "names no rater 'Carl', but Anna_B., Ben"),
        ({"masks": "vendor/p", "training_images": ["x"]}, "training_images: there is no file or"),
    ],
)
def test_what_is_wrong_is_told_by_the_check(block, words):
    """Before anything runs, with what files hold of images whose names are known."""
    assert any(words in fault for fault in faults_of(a=block)), faults_of(a=block)


def test_one_rater_can_be_confirmed():
    """The run on locked parts is that of the rater who was chosen, and of no other."""
    given = raw(people={"verdicts": "people.csv"})
    alone = checked(people={"verdicts": "people.csv"}).methods["people"].only_prompt("Ben")
    own = settings_of(given, "p", "people", "Ben", Path("confirmed"), alone)
    own["datasets"]["p"]["split"] = {"kind": "all"}
    assert checked_settings(own).runs() == [("p", "people", "Ben")]
