"""Labels that a decision hangs on: the fewest, by name, with links."""

import json

import pandas as pd
import pytest

from realitycheck.core.tables import check_table
from realitycheck.core.tries_file import Count, Tried
from realitycheck.report.page.card_facts import label_facts
from realitycheck.report.tables.classification import classification_table
from realitycheck.report.tables.labels import (
    LABEL_IMAGES,
    LABELS,
    labels_tables,
    labels_text,
)
from realitycheck.report.tables.readiness import readiness_table
from realitycheck.report.text import render_markdown

NAMES = {
    "datasets": {"chips": {"name": "Chips"}},
    "methods": {"one": {"name": "One"}, "two": {"name": "Two"}, "three": {"name": "Three"}},
}
TIMES = pd.DataFrame(columns=["dataset", "method", "prompt", "seconds_per_part", "seconds_note"])


def scores(method, wrong=(), score=None, n_nok=149, n_ok=120):
    """All parts judged rightly but some, by their number; defective ones come first."""
    n = n_nok + n_ok
    said = ["NOK" if (k < n_nok) != (k in wrong) else "OK" for k in range(n)]
    return pd.DataFrame(
        {
            "dataset": "chips",
            "image_id": [f"p/{number:03}" for number in range(n)],
            "method": method,
            "prompt": "none",
            "category": "p",
            "group": None,
            "label": ["NOK"] * n_nok + ["OK"] * n_ok,
            "label_predicted": said,
            "score": score,
            "iou": None,
            "intersection_px": None,
            "union_px": None,
            "truth_px": None,
            "predicted_px": None,
            "lost_px": None,
            "defect_type": None,
            "status": "ok",
        }
    )


def found(*runs, limits=None, n_tries=1):
    limits = limits or {"max_slip_rate": 0.02, "max_overkill_rate": 0.05}
    table = pd.concat(runs, ignore_index=True)
    classification = classification_table(table, **NAMES, seed=0, n_resamples=200)
    tried = {"chips": Tried(Count(n_scored=max(n_tries, len(runs))), {})}
    readiness = readiness_table(classification, TIMES, requirements=limits, tried=tried)
    labels, images = labels_tables(table, readiness, methods=NAMES["methods"])
    check_table(labels, LABELS, where="test")
    check_table(images, LABEL_IMAGES, where="test")
    return readiness, labels, images


def test_one_label_overturns_a_proof_that_just_holds():
    """149 of 149: if one of the passed good parts is defective in truth, 2 % are not proven."""
    readiness, labels, images = found(scores("one"))
    assert readiness["decision"][0] == "ready"
    assert list(labels.loc[0, ["n_wrong_labels", "decision_then"]]) == [1, "cannot_tell"]
    assert len(images) == 1


def test_labels_that_other_methods_contradict_come_first():
    """Two methods reject a good part that the first one passes: is it good?"""
    _, labels, images = found(
        scores("one", n_nok=300),
        scores("two", [310], n_nok=300),
        scores("three", [310, 5], n_nok=300),
    )
    own = images[images["method"] == "one"]
    assert labels["n_wrong_labels"][0] == len(own) == 2
    row = own.set_index("place").loc[1]
    assert (row["image_id"], row["n_against"], row["n_verdicts"]) == ("p/310", 2, 3)


def test_of_equal_doubt_the_score_nearest_to_the_threshold_comes_first():
    """A passed good part at 0.49 is more doubtful than one at 0.1, where 0.5 is rejected."""
    level = [0.9] * 149 + [0.1] * 120
    level[200], level[148] = 0.49, 0.7
    _, _, images = found(scores("one", score=level))
    assert list(images["image_id"]) == ["p/200"]
    assert images["distance"][0] == pytest.approx((0.595 - 0.49) / 0.8)


def test_decision_is_that_among_all_tries_with_time_and_cost():
    """What holds for twenty tries hangs on other labels than what holds for one."""
    readiness, labels, _ = found(scores("one", n_nok=400, n_ok=300))
    assert labels["n_wrong_labels"][0] == 4
    readiness, labels, _ = found(scores("one", n_nok=400, n_ok=300), n_tries=20)
    assert (readiness["decision"][0], labels["n_wrong_labels"][0]) == ("ready", 1)
    limits = {"max_slip_rate": 0.02, "max_overkill_rate": 0.05, "max_seconds_per_part": 1.0}
    readiness, labels, _ = found(scores("one", n_nok=400, n_ok=300), limits=limits)
    assert readiness["decision"][0] == "cannot_tell", "its time is not known"
    assert pd.isna(labels["decision_then"][0]) or labels["decision_then"][0] != "ready"


def test_words_and_links_name_the_parts():
    """Three by name, and how many more; where no label decides, that is said."""
    _, labels, images = found(scores("one", n_nok=400, n_ok=300))
    printed = render_markdown(labels_text(labels, images))
    assert "p/400, p/401, p/402 and 1 more | 4 |" in printed.replace("\\", "")
    facts = label_facts(labels.iloc[0], images)
    assert facts["words"] == "If 4 of 700 labels are wrong, it is “cannot tell”. Most likely: "
    filters = [json.loads(link["filter"]) for link in facts["links"]]
    assert filters[0] == {"dataset": "chips", "method": "one", "prompt": "", "images": ["p/400"]}
    assert len(filters) == 5 and len(filters[-1]["images"]) == 4
    _, labels, images = found(scores("one", range(100)))
    assert pd.isna(labels["n_wrong_labels"][0]) and not len(images)
    assert "| > 10 |" in render_markdown(labels_text(labels, images)).replace("&gt;", ">")
    facts = label_facts(labels.iloc[0], images)
    assert facts["words"] == "Even 10 wrong labels among 269 would not change it."
