"""A method that cannot work on a data set is named before anything is computed."""

import pandas as pd
import pytest

from realitycheck.methods.needs import lacking, lacking_files
from realitycheck.methods.thresholds import besides_references
from realitycheck.planning.plan import Plan
from realitycheck.settings.load import load_settings
from realitycheck.stages.audit import AuditError, audit_dataset

COLUMNS = ("image_id", "category", "label", "group", "mask_path", "sha256", "split")


def images(*rows, split="test"):
    whole = [(*row, f"digest {row[0]}", split) for row in rows]
    return pd.DataFrame(whole, columns=list(COLUMNS))


NOTHING = images()
PLAIN = {"plain": {"parts": "good", "compares_with_reference": True, "is_aligned": True}}
REFERENCES = pd.DataFrame({"category": ["nut"], "image_id": [None], "sha256": ["another"]})
GOOD = images(("1", "nut", "OK", None, None), ("2", "nut", "OK", None, None))
BAD = images(("3", "nut", "NOK", None, "3.png"), ("4", "nut", "NOK", None, None))
UNDRAWN = images(("3", "nut", "NOK", None, None))


@pytest.mark.parametrize(
    ("need", "scored", "references", "message"),
    [
        ("reference", BAD, REFERENCES[:0], "needs a reference, which reference: auto"),
        ("reference", BAD, REFERENCES, None),
        ("truth", UNDRAWN, REFERENCES, "set binarise: good or union"),
        ("truth", GOOD, REFERENCES, "set binarise: good or union"),
        ("truth", BAD, REFERENCES, None),
    ],
)
def test_missing_references_and_masks_are_named(need, scored, references, message):
    """Each with what would help; what is there is not spoken of."""
    found = list(lacking_files(scored, references, {"m": [need]}))
    assert [line.startswith("m: ") and message in line for line in found] == [True] * bool(message)


GOLDEN = images(("golden", "nut", "OK", None, None), split="train")
VIEWS = images(
    ("golden", "nut", "OK", "a", None), ("turned", "nut", "OK", "a", None), split="train"
)
TWO = images(("golden", "nut", "OK", None, None), ("more", "nut", "OK", None, None), split="train")
OF_GOLDEN = pd.DataFrame({"category": ["nut"], "image_id": ["golden"], "sha256": ["digest golden"]})
COPY = OF_GOLDEN.assign(image_id=None)


@pytest.mark.parametrize(
    ("train", "references", "is_lacking"),
    [
        (GOLDEN, OF_GOLDEN, True),
        (GOLDEN, COPY, True),  # a file of its own with the same bytes
        (VIEWS, OF_GOLDEN, True),
        (TWO, OF_GOLDEN, False),
        (GOLDEN, REFERENCES, False),
    ],
)
def test_a_golden_sample_sets_no_threshold_for_its_own_likeness(train, references, is_lacking):
    """Its difference to itself is 0, and every good part would be above."""
    found = list(
        lacking(
            pd.concat([GOOD, BAD]),
            train,
            PLAIN,
            keeps_back=None,
            references=references,
        )
    )
    assert len(found) == is_lacking
    assert all(
        "needs at least 1 independent good training parts besides the reference, found 0" in line
        for line in found
    )
    assert len(besides_references(train, references)) == (0 if is_lacking else 1)


def test_a_scored_reference_does_not_count_either():
    """Without training images two other good parts are needed, for one to judge the other."""
    scored = pd.concat([GOOD, BAD])
    of_first = pd.DataFrame({"category": ["nut"], "image_id": ["1"], "sha256": ["digest 1"]})
    options = {"keeps_back": None, "references": of_first}
    (line,) = lacking(scored, NOTHING, PLAIN, **options)
    assert "needs at least 2 independent good parts besides the reference, found 1" in line


def test_images_of_other_sizes_that_are_not_aligned_cannot_be_compared():
    """Said before anything runs; aligned, or of one size, they can."""
    sizes = pd.concat([GOOD, BAD]).assign(height_px=[60, 60, 70, 80], width_px=90)
    train = pd.concat([TWO]).assign(height_px=[50, 60], width_px=90)
    for is_aligned, height, n_lines in ((False, 50, 1), (True, 50, 0), (False, 60, 0)):
        here = train.assign(height_px=[height, 60])
        learners = {
            "plain": {"parts": "good", "compares_with_reference": True, "is_aligned": is_aligned}
        }
        found = list(lacking(sizes, here, learners, keeps_back=None, references=OF_GOLDEN))
        assert len(found) == n_lines
        assert all("5 of 6 have another size than the reference (90 x 50" in one for one in found)


def test_settings_say_what_each_method_needs(tmp_path):
    """Alignment, too, and a question with a reference image."""
    (tmp_path / "data").mkdir()
    raw = {
        "datasets": {"p": {"format": "folder", "root": "data", "alignment": {"method": "ecc"}}},
        "prompts": {"p": {"x": {"saa_plus": "auto", "lvlm": "Is it sound?"}}},
        "methods": {
            "pixel_difference": {},
            "clip_zero_shot": {},
            "saa_plus": {},
            "lvlm": {"backend": "replay"},
        },
    }
    audited = Plan(load_settings(raw, folder=tmp_path)).audited("p")
    assert audited["needs"] == {
        "alignment": ["reference"],
        "pixel_difference": ["reference"],
        "saa_plus": ["truth"],
        "lvlm": ["reference"],
    }
    assert set(audited["learners"]) == {"pixel_difference"}


def test_audit_stops_with_every_method_that_lacks_something():
    """And with the way to leave it out."""
    with pytest.raises(AuditError) as caught:
        audit_dataset(
            "chips",
            BAD,
            NOTHING,
            REFERENCES[:0],
            read=None,
            rules={},
            uses_reference=True,
            told={},
            learners={"a": PLAIN["plain"]},
            needs={"b": ["reference"]},
        )
    assert "a: category nut: needs at least 2" in str(caught.value)
    assert "b: needs a ref" in str(caught.value)
    assert "leave them out with datasets.chips.methods" in str(caught.value)
