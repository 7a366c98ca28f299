"""The audit: each leak is found, stops or is flagged as the settings say, and clean data pass."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.constants import AUDIT_CHECKS
from realitycheck.core.images import read_image, write_png
from realitycheck.core.masks import MaskReading
from realitycheck.core.schemas import AUDIT_FINDINGS
from realitycheck.core.tables import check_table
from realitycheck.datasets.findings import named_defects
from realitycheck.datasets.locked import file_digest
from realitycheck.datasets.registry import list_records
from realitycheck.methods.imported.settings import ImportedMethod
from realitycheck.report.tables.audit import AUDIT, audit_table, groups_in_two_folds
from realitycheck.settings.run import AuditSettings
from realitycheck.stages.audit import (
    AuditError,
    audit_dataset,
    label_by_size,
    truth_by_rule,
)

RULES = AuditSettings().model_dump()
FLAGS = dict.fromkeys(RULES, "flag")


def images(n_ok=6, n_nok=4, n_train=4):
    """Manifest rows of good, defective and training images."""
    rows = []
    for split, label, n in (("test", "OK", n_ok), ("test", "NOK", n_nok), ("train", "OK", n_train)):
        for number in range(n):
            name = f"p/{split}/{label}/{number}"
            rows.append(
                {
                    "dataset": "chips",
                    "image_id": name,
                    "category": "p",
                    "label": label,
                    "defect_type": "void" if label == "NOK" else None,
                    "split": split,
                    "group": None,
                    "image_path": name,
                    "width_px": 64,
                    "height_px": 48,
                    "bit_depth": 8,
                    "n_channels": 1,
                    "sha256": name,
                    "mask_reading": None,
                }
            )
    return pd.DataFrame(rows)


def references(is_scored=False):
    row = {"category": "p", "image_id": "p/test/OK/0", "sha256": "?", "is_scored": is_scored}
    return pd.DataFrame([row])


def drawn(path):
    """A picture of its own for each path; `copy` shows what the first good image shows."""
    seed = "p/test/OK/0" if path.endswith("copy") else path
    rng = np.random.default_rng([ord(letter) for letter in seed])
    return np.repeat(rng.integers(0, 256, (48, 64, 1)).astype(np.uint8), 3, axis=2)


def audit(table, *, rules=RULES, is_scored=False, **changes):
    arguments = {"read": drawn, "rules": rules, "uses_reference": True, "told": {}, "learners": {}}
    arguments |= {"needs": {}} | changes
    rows = audit_dataset(
        "chips",
        table[table["split"] == "test"],
        table[table["split"] == "train"],
        references(is_scored),
        **arguments,
    )
    found = pd.DataFrame(rows)
    check_table(found, AUDIT_FINDINGS, where="test")
    return found.set_index("check")["n_affected"].to_dict(), found.set_index("check")


def test_clean_data_pass_and_every_check_is_reported():
    """No finding is a result too: a reader sees that it was looked for."""
    counts, _ = audit(images())
    assert set(counts.values()) == {0}
    assert set(counts) == {
        *("reference_is_scored", "group_in_two_splits", "size_by_label"),
        *("near_duplicate_across_splits", "near_duplicate_parts", "truth_by_rule"),
    }


def leaks():
    """Each leak with the table that has it, the check, the images it affects, and its words."""
    grouped = images()
    grouped.loc[[0, 1, 10], "group"] = "lot 7"
    copied = images()
    copied.loc[10, "image_path"] = "copy"
    twins = images()
    twins.loc[3, "image_path"] = "copy"
    sized = images()
    sized.loc[sized["label"] == "NOK", "width_px"] = 65
    return {
        "group_in_two_splits": (grouped, 2, "1 group of views"),
        "near_duplicate_across_splits": (copied, 1, "1 pair of a training and a scored image"),
        "near_duplicate_parts": (twins, 2, "1 pair of two scored images"),
        "size_by_label": (sized, 4, "the label of 10 of 10 images"),
    }


@pytest.mark.parametrize("check", leaks())
def test_each_leak_is_found_and_leaves_the_others_clean(check):
    """One fault, one finding."""
    table, n_affected, words = leaks()[check]
    counts, rows = audit(table, rules=FLAGS)
    assert {name: n for name, n in counts.items() if n} == {check: n_affected}
    assert words in rows.loc[check, "finding"]


@pytest.mark.parametrize("check", leaks())
def test_leak_stops_where_the_settings_say_so(check):
    """The message says what, where, the remedy, and how to go on all the same."""
    table, _, words = leaks()[check]
    with pytest.raises(AuditError) as caught:
        audit(table, rules=FLAGS | {check: "stop"})
    said = str(caught.value)
    assert f"{check}: " in said
    assert words in said
    assert "first: p/" in said
    assert f"audit: {{{check}: flag}}" in said


def test_reference_among_scored_images_stops_only_methods_that_see_it():
    """For alignment alone the reference gives nothing away."""
    with pytest.raises(AuditError, match="the reference of the one category is itself scored"):
        audit(images(), is_scored=True)
    assert audit(images(), is_scored=True, uses_reference=False)[0]["reference_is_scored"] == 0
    assert audit(images(), is_scored=True, rules=FLAGS)[0]["reference_is_scored"] == 1


def test_all_leaks_are_told_at_once():
    """A user mends a data set once, not once a leak."""
    table = images()
    table.loc[[0, 10], "group"] = "lot"
    table.loc[table["label"] == "NOK", "bit_depth"] = 16
    with pytest.raises(AuditError) as caught:
        audit(table, is_scored=True)
    for check in ("reference_is_scored", "group_in_two_splits", "size_by_label"):
        assert check in str(caught.value)


def test_views_of_one_part_are_no_duplicates():
    """What a group says belongs together may look alike."""
    table, _, _ = leaks()["near_duplicate_parts"]
    table.loc[[0, 3], "group"] = "part 1"
    assert audit(table, rules=FLAGS)[0]["near_duplicate_parts"] == 0


def test_prompt_that_names_defects_stops_where_the_settings_say_so():
    """The words are known before a network runs."""
    told = {"prompt types of grounded_sam": "void. crack"}
    with pytest.raises(AuditError, match="prompt types of grounded_sam names void"):
        audit(images(), told=told)
    audit(images(), told={"prompt plain of grounded_sam": "defect"})


def test_photographs_of_all_sizes_give_nothing_away():
    """Cats and dogs come in any size; guessing by it is no better than by the commoner label."""
    table = images(40, 30, 0)
    sizes = np.random.default_rng(0).integers(200, 600, (len(table), 2))
    table[["width_px", "height_px"]] = sizes
    assert label_by_size(table).n_affected == 0


def test_sizes_by_category_give_nothing_away():
    """Each product has its own camera."""
    table = images(10, 10, 0)
    other = table.assign(category="q", width_px=100, image_id="q" + table["image_id"])
    assert label_by_size(pd.concat([table, other])).n_affected == 0


def test_mostly_parted_sizes_are_told():
    """20 defective images from another camera, two of them from the same."""
    table = images(30, 22, 0)
    nok = table.index[table["label"] == "NOK"]
    table.loc[nok[2:], "height_px"] = 50
    found = label_by_size(table)
    assert found.n_affected == 20
    assert "the label of 50 of 52 images can be told" in found.finding


def test_single_odd_image_is_no_leak():
    """One image of another size happens; nobody can cheat with it."""
    table = images(30, 22, 0)
    table.loc[table.index[-1], "height_px"] = 50
    assert label_by_size(table).n_affected == 0


@pytest.mark.parametrize(
    ("text", "types", "named"),
    [
        ("void, crack", ["void", "delamination"], ["void"]),
        ("Look for Scratches.", ["scratch"], ["scratch"]),
        ("thin cracks", ["crack", None, float("nan")], ["crack"]),
        ("metal contaminations", ["metal_contamination", "color"], ["metal_contamination"]),
        ("metal parts", ["metal_contamination"], []),
        ("defect", ["defect", "bad", "broken"], []),
        ("glass", ["glas"], []),
        ("avoid", ["void"], []),
        ("", ["void"], []),
    ],
)
def test_named_types_are_whole_words(text, types, named):
    """Singular or plural, any case, all words of a type; general words name none."""
    assert named_defects(text, types) == named


def test_parts_in_two_folds_are_found():
    """Folds are ours: this would be a fault of the program, and must show."""
    manifest = images(3, 1, 0)
    manifest["group"] = ["a", "a", "b", None]
    folds = pd.DataFrame({"image_id": manifest["image_id"], "fold": [0, 1, 1, None]})
    found = groups_in_two_folds(folds, manifest)
    assert (found.n_affected, found.finding) == (2, "1 group of views lie in several folds")
    folds["fold"] = [0, 0, 1, 1]
    assert groups_in_two_folds(folds, manifest).n_affected == 0


def run(method, prompt="none", **facts):
    about = {
        "dataset": "chips",
        "method": method,
        "prompt": prompt,
        "uses_reference": False,
        "uses_training_images": False,
        "uses_test_truth": "",
        "told": "",
        "dataset_name": "Chips",
        "method_name": method.upper(),
    }
    return about | facts


def test_truth_that_a_rule_decided_is_told():
    """Convention and settings need no flag; borders and sizes may err."""
    manifest = images()
    assert truth_by_rule(manifest).n_affected == 0
    said = MaskReading(("255",), told="255 is read as background").to_text()
    manifest.loc[6, "mask_reading"] = MaskReading(("0",)).to_text()
    manifest.loc[7:8, "mask_reading"] = said
    found = truth_by_rule(manifest)
    assert found == ("255 is read as background", 2, "p/test/NOK/1")


def test_defects_out_of_the_image_stand_beside_every_run_of_the_data_set():
    """No method can see them, whether it gives masks or verdicts."""
    manifest = images()
    manifest = manifest[manifest["split"] == "test"]
    truth = pd.DataFrame(
        {
            "image_id": manifest["image_id"],
            "truth_px": [0] * 6 + [50, 50, 50, 50],
            "lost_px": [0] * 6 + [0, 0, 50, 20],
            "status": ["complete"] * 8 + ["lost", "partly_lost"],
        }
    )
    _, found = audit(images(), rules=FLAGS)
    runs = [run("saa_plus", "plain"), run("resnet_mlp")]
    table = audit_table(found.reset_index(), runs, {"chips": manifest}, {}, {"chips": truth})
    rows = table[table["check"] == "defects_lost"].set_index("method")
    assert list(rows.index) == ["saa_plus", "resnet_mlp"]
    row = rows.loc["resnet_mlp"]
    assert row["finding"].startswith("alignment moved 70 of 200 defect pixels out of the image")
    assert "in 2 of 4 defective images, all of them in 1" in row["finding"]
    assert row["example"] == "p/test/NOK/2, 50 of 50 px"
    assert row["n_affected"] == 2 and "counts as not found" in row["consequence"]


def test_findings_stand_beside_the_rows_they_touch():
    """A flag on a row that a leak does not touch would be as wrong as none on one that it does."""
    _, found = audit(leaks()["near_duplicate_across_splits"][0], rules=FLAGS, is_scored=True)
    runs = [
        run("pixel_difference", uses_reference=True, uses_training_images=True),
        run("saa_plus", "plain", uses_test_truth="the threshold is the best one"),
        run("grounded_sam", "types", told="void. crack"),
        run("resnet_mlp"),
    ]
    manifest = images()
    manifest = manifest[manifest["split"] == "test"]
    table = audit_table(found.reset_index(), runs, {"chips": manifest}, {}, {})
    check_table(table, AUDIT, where="test")
    touched = table[table["n_affected"] > 0]
    assert set(zip(touched["check"], touched["method"], strict=True)) == {
        ("reference_is_scored", "pixel_difference"),
        ("near_duplicate_across_splits", "pixel_difference"),
        ("threshold_on_scored", "saa_plus"),
        ("prompt_names_defects", "grounded_sam"),
    }
    assert (touched["consequence"] != "").all()
    clean = table[table["n_affected"] == 0]
    assert set(clean["method"]) == {"*"}
    assert set(clean["check"]) | set(touched["check"]) == set(AUDIT_CHECKS)
    named = touched.set_index("check").loc["prompt_names_defects"]
    assert named["finding"] == "the prompt names void, and 4 scored images show that"


# What methods that learn in folds need


PLAIN = {"plain": {"parts": "good", "compares_with_reference": True, "is_aligned": True}}


def learner(n_folds, **needs):
    return {"parts": "folds", "n_folds": n_folds, "seed": 0, **needs}


def test_all_methods_that_lack_parts_are_named_before_anything_is_computed():
    """Six good and four defective parts: enough for two folds, not for five; all faults at once."""
    learners = {
        "supervised": learner(5, least_good_parts=3),
        "few": learner(2),
        "tuned": learner(5),
    }
    with pytest.raises(AuditError) as caught:
        audit(images(), learners=learners)
    said = str(caught.value)
    assert "supervised: 5 folds need at least 5 independent NOK parts, found 4" in said
    assert "tuned: 5 folds need" in said and "few:" not in said
    assert "datasets.chips.methods" in said


def test_good_parts_of_every_inner_fold_and_category_count():
    """Two folds of two inner ones leave one or two of six good parts, where three are needed."""
    with pytest.raises(AuditError, match="category p: expected at least 3 independent good parts"):
        audit(images(), learners={"supervised": learner(2, least_good_parts=3)})


def test_views_of_one_part_count_once():
    table = images()
    table.loc[table["label"] == "NOK", "group"] = "one part"
    with pytest.raises(AuditError, match="2 folds need at least 2 independent NOK parts, found 1"):
        audit(table, learners={"tuned": learner(2)})


def test_enough_parts_pass():
    counts, _ = audit(images(), learners={"tuned": learner(3)})
    assert set(counts.values()) == {0}


def test_parts_that_other_methods_need_count_by_category():
    """Told here, and not when their networks have run; the remedy is not what is set already."""
    small = images(n_ok=2, n_nok=1, n_train=1).assign(category="small")
    small["image_id"] = "small/" + small["image_id"]
    table = pd.concat([images(), small], ignore_index=True)
    learners = {"few": {"parts": "good training"}, **PLAIN}
    key = "datasets.chips.split.train_fraction"
    with pytest.raises(AuditError) as caught:
        audit(table, learners=learners, keeps_back=key)
    assert (
        "few: category small: needs at least 2 independent good training parts, found 1 (of 3 good "
        f"ones); set {key} to 0.67 or more, or collect more good parts of small"
    ) in str(caught.value)
    assert "plain" not in str(caught.value)
    with pytest.raises(AuditError, match="put more good parts of small into train"):
        audit(table, learners=learners)
    no_train = table[table["split"] == "test"]
    few = no_train[(no_train["category"] == "p") | (no_train["label"] == "NOK")]
    with pytest.raises(
        AuditError, match="plain: category small: .*2 independent good parts, found 0"
    ):
        audit(few, learners=PLAIN)
    counts, _ = audit(no_train, learners=PLAIN)
    assert set(counts.values()) == {0}


def test_files_from_elsewhere_that_fit_no_image_stop_with_all_their_faults(tmp_path):
    """Before anything is computed, of every method at once; locked images have names, too."""
    for name in ("OK/a", "OK/locked", "NOK/b"):
        path = tmp_path / "data" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(drawn(name), path)
    rows = images(n_ok=1, n_nok=1, n_train=0)
    rows["image_path"] = [str(tmp_path / "data" / name) for name in ("OK/a.png", "NOK/b.png")]
    split = {"kind": "all", "seed": 0, "train_fraction": 0.0}
    listed = {"format": "folder", "root": str(tmp_path / "data"), "split": split}
    ids = {str(each.image_path): each.image_id for each in list_records(listed).records}
    rows["image_id"] = [ids[path] for path in rows["image_path"]]
    (tmp_path / "first.csv").write_text("image,label\na,OK\nlocked,OK\n")
    (tmp_path / "second.csv").write_text("image,label\nx,OK\ny,OK\n")
    sources = {
        name: {
            "kind": "imported",
            "settings": ImportedMethod(
                kind="imported", verdicts=str(tmp_path / f"{name}.csv")
            ).plain(),
        }
        for name in ("first", "second")
    }
    read = {"read": read_image, "sources": sources, "listed": listed}
    with pytest.raises(AuditError) as stopped:
        audit(rows, **read)
    told = str(stopped.value)
    assert "what was made elsewhere has 2 faults" in told and "first:" not in told
    assert "second: " in told and "'x' (line 2)" in told and "'y' (line 3)" in told
    del sources["second"]
    audit(rows, **read)


def test_training_images_of_a_method_that_are_scored_stop(tmp_path):
    """Whatever `audit` says of other findings: the scores would say nothing."""
    rows = images(n_ok=2, n_nok=1, n_train=0)
    rows["image_path"] = [str(tmp_path / f"{number}.png") for number in range(3)]
    for path in rows["image_path"]:
        write_png(drawn(path), path)
    rows["sha256"] = [file_digest(Path(path)) for path in rows["image_path"]]
    declared = {"vendor": {"paths": [str(tmp_path / "1.png")]}}
    with pytest.raises(AuditError, match="1.png and p/test/OK/1: the same file"):
        audit(rows, read=read_image, declared=declared, rules=FLAGS)
