"""The study's numbers, as printed in its Tables 1 and 2, and how rows of ours find them."""

import numpy as np
import pandas as pd
import pytest

from realitycheck.report.tables.published import find_published, load_published

TABLE_1 = {
    "industrial_sat": (0.00, 0.00, 0.00, 0.00),
    "mvtec_ad": (0.13, 0.05, 0.19, 0.52),
    "oxford_iiit_pet": (0.80, 0.65, 0.78, 0.77),
}
METHODS = ("grounded_sam", "sam_clip", "clip_surgery_sam", "saa_plus")


@pytest.mark.parametrize("dataset", TABLE_1)
def test_table_1_is_stored_as_printed(dataset):
    """A typing slip here would look like a difference to the study."""
    published, _ = load_published()
    values = [
        find_published(published, dataset, metric="mean_iou", kind=kind, prompt="plain")["value"]
        for kind in METHODS
    ]
    assert tuple(values) == TABLE_1[dataset]


@pytest.mark.parametrize(
    ("dataset", "prompt", "value"),
    [
        ("industrial_sat", "basic", 0.37),
        ("industrial_sat", "refined", 0.31),
        ("mvtec_ad", "basic", 0.99),
        ("mvtec_ad", "refined", 0.92),
    ],
)
def test_table_2_is_stored_as_printed(dataset, prompt, value):
    """Both prompts of the LVLM on both industrial sets."""
    published, _ = load_published()
    found = find_published(published, dataset, metric="f2", kind="lvlm", prompt=prompt)
    assert (found["value"], found["source"]) == (value, "Table 2")


def test_preliminary_studies_match_any_prompt():
    """They have none; one of them was judged in words only."""
    published, _ = load_published()
    resnet = find_published(
        published, "industrial_sat", metric="f2", kind="resnet_mlp", prompt="none"
    )
    assert resnet["value"] == 0.82
    difference = find_published(
        published, "industrial_sat", metric="f2", kind="pixel_difference", prompt="x"
    )
    assert np.isnan(difference["value"]) and difference["words"] == "not sufficient"


def test_numbers_of_images_are_the_study_s():
    """They stand in the notes wherever ours differ."""
    _, datasets = load_published()
    counts = {name: (study["n_nok"], study["n_ok"]) for name, study in datasets.items()}
    assert counts == {
        "industrial_sat": (32, 231),
        "mvtec_ad": (76, 253),
        "oxford_iiit_pet": (60, 140),
    }


@pytest.mark.parametrize(
    ("model", "is_found"),
    [
        (None, True),
        ("gemini-2.5-pro", True),
        ("models/gemini-2.5-pro", True),
        ("gemini-2.5-pro-001", True),
        ("gemini-3.1-pro-preview", False),
        ("gemini-2.5-pro-lite", False),
    ],
)
def test_another_model_has_no_published_value(model, is_found):
    """The study's number beside a successor's would read as its reproduction."""
    published, _ = load_published()
    found = find_published(
        published, "mvtec_ad", metric="f2", kind="lvlm", prompt="basic", model=model
    )
    assert (found is not None) == is_found


def test_rows_without_counterpart_find_nothing():
    """Another prompt, another data set, a method the study does not have."""
    published, _ = load_published()
    options = {"metric": "mean_iou", "kind": "saa_plus", "prompt": "plain"}
    assert find_published(published, None, **options) is None
    assert find_published(published, "mvtec_ad", **options | {"prompt": "longer"}) is None
    assert find_published(published, "mvtec_ad", **options | {"kind": "whole_image"}) is None


def test_two_fitting_values_are_refused():
    """Silently taking the first would hide a slip in the data file."""
    published, _ = load_published()
    twice = pd.concat([published, published])
    with pytest.raises(ValueError, match="2 values fit mean_iou of saa_plus on mvtec_ad"):
        find_published(twice, "mvtec_ad", metric="mean_iou", kind="saa_plus", prompt="plain")
