"""A method that cannot work on a data set is named before anything is computed."""

import pandas as pd
import pytest

from realitycheck.config import load_settings
from realitycheck.planning import Plan
from realitycheck.stages.audit import AuditError, audit_dataset
from realitycheck.stages.needs import lacking

COLUMNS = ("image_id", "category", "label", "group", "mask_path")


def images(*rows):
    return pd.DataFrame(rows, columns=list(COLUMNS))


NOTHING = images()
REFERENCES = pd.DataFrame({"category": ["nut"]})
GOOD = images(("1", "nut", "OK", None, None), ("2", "nut", "OK", None, None))
VIEWS = images(("1", "nut", "OK", "a", None), ("2", "nut", "OK", "a", None))
BAD = images(("3", "nut", "NOK", None, "3.png"), ("4", "nut", "NOK", None, None))
UNDRAWN = images(("3", "nut", "NOK", None, None))


@pytest.mark.parametrize(
    ("need", "manifest", "train", "references", "message"),
    [
        ("reference", BAD, NOTHING, REFERENCES[:0], "needs a reference, which reference: auto"),
        ("reference", BAD, NOTHING, REFERENCES, None),
        ("good", BAD, NOTHING, REFERENCES, "category nut has 0; add good parts"),
        ("good", VIEWS, NOTHING, REFERENCES, "category nut has 1; add good parts"),
        ("good", GOOD, NOTHING, REFERENCES, None),
        ("good", BAD, GOOD, REFERENCES, None),
        ("good", BAD, GOOD.assign(category="bolt"), REFERENCES, "good training images of each"),
        ("good_training", GOOD, VIEWS, REFERENCES, "category nut has 1; add good parts, or raise"),
        ("good_training", BAD, GOOD, REFERENCES, None),
        ("truth", UNDRAWN, NOTHING, REFERENCES, "set binarise: good or union"),
        ("truth", GOOD, NOTHING, REFERENCES, "set binarise: good or union"),
        ("truth", BAD, NOTHING, REFERENCES, None),
    ],
)
def test_what_is_missing_is_named_by_method_and_category(
    need, manifest, train, references, message
):
    """Each with what would help; what is there is not spoken of."""
    found = list(lacking(manifest, train, references, {"m": [need]}))
    assert [line.startswith("m: ") and message in line for line in found] == [True] * bool(message)


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
    needs = Plan(load_settings(raw, folder=tmp_path)).audited("p")["needs"]
    assert needs == {
        "alignment": ["reference"],
        "pixel_difference": ["good", "reference"],
        "saa_plus": ["truth"],
        "lvlm": ["reference"],
    }


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
            learners={},
            needs={"a": ["good"], "b": ["reference"]},
        )
    assert "a: sets its threshold" in str(caught.value) and "b: needs a ref" in str(caught.value)
    assert "leave them out with datasets.chips.methods" in str(caught.value)
