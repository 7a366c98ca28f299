"""The two result tables from scores that can be counted by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.tables import check_table
from realitycheck.metrics.classification import confusion, f_beta
from realitycheck.metrics.intervals import clopper_pearson
from realitycheck.report.tables.classification import CLASSIFICATION, classification_table
from realitycheck.report.tables.confusion import CONFUSION, confusion_table
from realitycheck.report.tables.segmentation import SEGMENTATION, segmentation_table

DATASETS = {"tiles": {"name": "Tiles", "published_as": "mvtec_ad"}}
METHODS = {
    "saa_plus": {"label": "SAA+", "uses_test_truth": True},
    "ask": {"kind": "lvlm", "name": "LVLM", "model": "gemini-2.5-pro"},
}
SETTINGS = {"datasets": DATASETS, "methods": METHODS, "seed": 0, "n_resamples": 200}


def _row(image_id, method, label, **values):
    row = {
        "dataset": "tiles",
        "image_id": image_id,
        "method": method,
        "prompt": "plain",
        "category": "tile",
        "group": None,
        "label": label,
        "label_predicted": None,
        "iou": np.nan,
        "intersection_px": None,
        "union_px": None,
        "truth_px": None,
        "predicted_px": None,
        "lost_px": None,
        "defect_type": None,
        "status": "ok",
    }
    return row | values


def _mask(image_id, label, *, truth, predicted, hit, method="saa_plus", **values):
    union = truth + predicted - hit
    return _row(
        image_id,
        method,
        label,
        truth_px=truth,
        predicted_px=predicted,
        intersection_px=hit,
        union_px=union,
        iou=hit / union if union else np.nan,
        label_predicted="NOK" if predicted else "OK",
        status="ok" if predicted else "no_box",
        **values,
    )


@pytest.fixture
def masks():
    """Three defective images (IoU 0.5, 1, 0) and two good ones, one with a false region."""
    return pd.DataFrame(
        [
            _mask("a", "NOK", truth=20, predicted=10, hit=10),
            _mask("b", "NOK", truth=30, predicted=30, hit=30),
            _mask("c", "NOK", truth=50, predicted=0, hit=0),
            _mask("d", "OK", truth=0, predicted=5, hit=0),
            _mask("e", "OK", truth=0, predicted=0, hit=0),
        ]
    )


@pytest.fixture
def verdicts():
    """tp 3, fn 1, fp 1, tn 4."""
    labels = ["NOK"] * 4 + ["OK"] * 5
    answers = ["NOK", "NOK", "NOK", "OK", "NOK", "OK", "OK", "OK", "OK"]
    return pd.DataFrame(
        [
            _row(f"{k}", "ask", label, label_predicted=answer, prompt="basic")
            for k, (label, answer) in enumerate(zip(labels, answers, strict=True))
        ]
    )


def test_note_says_whose_defects_alignment_moved_out_of_the_image(masks):
    """They are scored, so that the note is the only trace of them in Table 1."""
    masks.loc[0, "lost_px"] = 3
    row = segmentation_table(masks, **SETTINGS).iloc[0]
    assert row["n_lost"] == 1
    assert f"alignment moved defects of 1 of {row['n_scored']} defective images out" in row["note"]


def test_segmentation_row_by_hand(masks):
    """IoU over the defective images only, good ones in the rate of false masks."""
    row = segmentation_table(masks, **SETTINGS).iloc[0]
    assert (row["n_images"], row["n_defective"], row["n_scored"]) == (5, 3, 3)
    assert row["mean_iou"] == pytest.approx(0.5, abs=1e-15)
    assert row["pooled_iou"] == 40 / 100
    assert row["ok_with_mask_rate"] == 0.5
    assert row["median_iou"] == 0.5
    assert row["zero_iou_rate"] == pytest.approx(1 / 3, abs=1e-15)
    assert row["published_iou"] == 0.52
    assert row["iou_minus_published"] == pytest.approx(-0.02, abs=1e-15)
    assert row["mean_iou_low"] < 0.5 < row["mean_iou_high"]
    assert row["status_counts"] == "ok 3, no_box 2"
    assert row["uses_test_truth"] and "ground truth of the test images" in row["note"]
    assert "published value over 76 defective images of MVTec AD, ours over 3" in row["note"]


def test_columns_begin_with_the_contract(masks, verdicts):
    """Users and later stages read these names, in this order."""
    segmentation = segmentation_table(masks, **SETTINGS)
    classification = classification_table(verdicts, **SETTINGS)
    assert " ".join(segmentation.columns[:11]) == (
        "dataset method prompt n_images n_defective mean_iou mean_iou_low mean_iou_high "
        "pooled_iou ok_with_mask_rate published_iou"
    )
    assert " ".join(classification.columns[:21]) == (
        "dataset method prompt n_ok n_nok n_answered tp fp fn tn precision recall f2 f2_low "
        "f2_high f2_floor slip_rate slip_rate_high overkill_rate overkill_rate_high "
        "published_f2"
    )
    for table, schema in ((segmentation, SEGMENTATION), (classification, CLASSIFICATION)):
        assert list(table.columns) == schema.columns
        check_table(table, schema, where=schema.name)


def test_defective_image_without_truth_is_named_and_not_scored(masks):
    """A missing mask is not an IoU of 0; Table 1 says of how many parts it knows the truth."""
    masks.loc[2, ["truth_px", "intersection_px", "union_px", "iou"]] = np.nan
    row = segmentation_table(masks, **SETTINGS).iloc[0]
    assert (row["n_defective"], row["n_scored"], row["n_without_truth"]) == (2, 2, 1)
    assert row["mean_iou"] == 0.75
    assert "IoU over 2 of 3 defective images" in row["note"]


def test_data_set_without_masks_has_a_row_without_iou(masks):
    """The rate of false masks still holds; nothing is dropped."""
    masks[["truth_px", "intersection_px", "union_px", "iou"]] = np.nan
    row = segmentation_table(masks, **SETTINGS).iloc[0]
    assert math.isnan(row["mean_iou"]) and math.isnan(row["pooled_iou"])
    assert (row["n_scored"], row["ok_with_mask_rate"]) == (0, 0.5)
    assert "no defective image has ground truth" in row["note"]


def test_image_without_prediction_makes_the_iou_a_range(masks):
    """One number is printed only where worst and best case agree."""
    masks.loc[2, ["predicted_px", "intersection_px", "union_px", "iou"]] = np.nan
    masks.loc[2, "label_predicted"] = None
    row = segmentation_table(masks, **SETTINGS).iloc[0]
    assert math.isnan(row["mean_iou"])
    assert (row["mean_iou_worst"], row["mean_iou_best"]) == pytest.approx((0.5, 2.5 / 3))
    assert row["n_without_prediction"] == 1
    assert (row["n_defective"], row["n_scored"]) == (3, 2)
    assert "1 of 3 defective images got no mask: the range" in row["note"]
    masks.loc[2, "status"] = "not_comparable"
    for table in (segmentation_table, classification_table):
        assert "(not comparable: not aligned, and of another" in table(masks, **SETTINGS)["note"][0]


def test_method_without_masks_is_not_in_the_segmentation_table(verdicts):
    """A verdict has no IoU."""
    assert segmentation_table(verdicts, **SETTINGS).empty


def test_classification_row_by_hand(verdicts):
    """P = 3/4, R = 3/4: F2 = 0.75; the bounds are Clopper-Pearson's."""
    table = classification_table(verdicts, **SETTINGS)
    row = table.iloc[0]
    assert (row["tp"], row["fn"], row["fp"], row["tn"]) == (3, 1, 1, 4)
    assert (row["n_nok"], row["n_ok"], row["n_answered"], row["n_images"]) == (4, 5, 9, 9)
    assert (row["precision"], row["recall"], row["f2"]) == (0.75, 0.75, 0.75)
    assert (row["slip_rate"], row["overkill_rate"]) == (0.25, 0.2)
    assert row["slip_rate_high"] == clopper_pearson(1, 4, side="upper")[1]
    assert row["slip_rate_low"] == clopper_pearson(1, 4, side="lower")[0]
    assert row["overkill_rate_high"] == clopper_pearson(1, 5, side="upper")[1]
    assert (row["recall_low"], row["recall_high"]) == clopper_pearson(3, 4)
    assert (row["precision_low"], row["precision_high"]) == clopper_pearson(3, 4)
    assert row["f2_floor"] == 20 / 25
    assert row["published_f2"] == 0.99


def test_floors_stand_below_every_data_set(verdicts):
    """F2 is never shown without what no model reaches; the coin's counts are expected ones."""
    table = classification_table(verdicts, **SETTINGS).set_index("method")
    assert list(table.index) == [
        "ask",
        "reject_everything",
        "accept_everything",
        "coin_at_prevalence",
    ]
    assert table.loc["reject_everything", "f2"] == table.loc["ask", "f2_floor"]
    assert table.loc["accept_everything", "f2"] == 0
    assert table.loc["coin_at_prevalence", "tp"] == pytest.approx(16 / 9)
    assert table["is_floor"].tolist() == [False, True, True, True]


def test_floor_that_comes_with_the_scores_is_not_added_again(verdicts):
    """A run may have a rule of its own for floors."""
    floor = verdicts.assign(method="reject_everything", prompt="none", label_predicted="NOK")
    table = classification_table(pd.concat([verdicts, floor]), **SETTINGS)
    own = table[table["method"] == "reject_everything"]
    assert len(own) == 1
    assert own["f2"].iloc[0] == own["f2_floor"].iloc[0]
    assert own["is_no_better_than_floor"].isna().all()


def test_method_below_the_floor_is_marked(verdicts):
    """It rejects the good and passes the defective parts."""
    swapped = {"OK": "NOK", "NOK": "OK"}
    verdicts["label_predicted"] = verdicts["label"].map(swapped)
    row = classification_table(verdicts, **SETTINGS).iloc[0]
    assert row["is_no_better_than_floor"]
    assert "no better than no model" in row["note"]


def test_unanswered_images_make_every_score_a_range(verdicts):
    """One defective and one good part unanswered: worst and best case by hand."""
    verdicts.loc[[0, 5], "label_predicted"] = None
    verdicts.loc[[0, 5], "status"] = "refused"
    row = classification_table(verdicts, **SETTINGS).iloc[0]
    assert (row["n_answered"], row["n_unanswered_nok"], row["n_unanswered_ok"]) == (7, 1, 1)
    assert (row["tp"], row["fn"], row["fp"], row["tn"]) == (2, 1, 1, 3)
    assert math.isnan(row["f2"]) and math.isnan(row["slip_rate"])
    assert (row["slip_rate_worst"], row["slip_rate_best"]) == (0.5, 0.25)
    assert (row["overkill_rate_worst"], row["overkill_rate_best"]) == (0.4, 0.2)
    assert (row["precision_worst"], row["precision_best"]) == (0.5, 0.75)
    assert row["f2_low"] <= row["f2_worst"] < row["f2_best"] <= row["f2_high"]
    assert row["slip_rate_high"] == clopper_pearson(2, 4, side="upper")[1]
    assert "2 of 9 images unanswered" in row["note"]
    assert row["status_counts"] == "ok 7, refused 2"


def test_nothing_answered_is_a_range_from_zero_to_one(verdicts):
    """No answer at all is a row too."""
    verdicts["label_predicted"] = None
    row = classification_table(verdicts, **SETTINGS).iloc[0]
    assert row["n_answered"] == 0
    assert (row["f2_worst"], row["f2_best"]) == (0, 1)
    assert math.isnan(row["f2"])


def test_data_set_without_defective_parts_has_no_f2(verdicts):
    """Only the overkill rate can be measured on good parts."""
    good = verdicts[verdicts["label"] == "OK"]
    row = classification_table(good, **SETTINGS).iloc[0]
    assert math.isnan(row["slip_rate"]) and math.isnan(row["f2_floor"])
    assert row["overkill_rate"] == 0.2


@pytest.mark.parametrize(
    ("label", "known", "unknown"),
    [("NOK", "slip_rate", "overkill_rate"), ("OK", "overkill_rate", "slip_rate")],
)
def test_rate_without_a_part_is_not_known(verdicts, label, known, unknown):
    """Never 0 or 100 %, nor bounded by them; floors likewise, and no F2 to be better than."""
    table = classification_table(verdicts[verdicts["label"] == label], **SETTINGS)
    for name in (unknown, f"{unknown}_low", f"{unknown}_high", "precision", "f2", "f2_floor"):
        assert table[name].isna().all(), name
    assert table[known].notna().all() and table.iloc[0][f"{known}_high"] < 1
    assert table["is_no_better_than_floor"].isna().all()
    assert "part is scored: " + unknown.replace("_", " ") in table.iloc[0]["note"]


def test_mask_method_gets_a_verdict_row(masks):
    """Any mask means NOK, so both families meet in one table."""
    row = classification_table(masks, **SETTINGS).iloc[0]
    expected = confusion(["NOK"] * 3 + ["OK"] * 2, ["NOK", "NOK", "OK", "NOK", "OK"])
    assert row["f2"] == f_beta(expected)
    assert pd.isna(row["published_f2"])


def test_whole_image_is_a_floor_of_masks_only(masks):
    """As a verdict it is the floor that rejects everything."""
    whole = masks.assign(
        method="whole_image",
        prompt="none",
        predicted_px=100,
        intersection_px=masks["truth_px"],
        union_px=100,
        iou=masks["truth_px"] / 100,
        label_predicted="NOK",
    )
    both = pd.concat([whole, masks])
    assert segmentation_table(both, **SETTINGS)["method"].tolist() == ["saa_plus", "whole_image"]
    assert "whole_image" not in set(classification_table(both, **SETTINGS)["method"])


def test_added_method_moves_no_other_number(masks):
    """Each row has its own stream of chance, whatever stands beside it and in which order."""
    alone = segmentation_table(masks, **SETTINGS)
    other = masks.assign(method="sam_clip")
    both = segmentation_table(pd.concat([other, masks.iloc[::-1]]), **SETTINGS)
    own = both[both["method"] == "saa_plus"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, alone)


def test_groups_are_counted_and_named(verdicts):
    """The rates' bounds take images as independent: the row says so."""
    verdicts["group"] = ["p1", "p1", "p2", None, "p3", "p3", "p3", None, "p4"]
    row = classification_table(verdicts, **SETTINGS).iloc[0]
    assert row["n_groups"] == 6
    assert "9 images of 6 groups" in row["note"]


def test_variant_is_part_of_the_name(masks):
    """Both variants are rows of the same table."""
    other = masks.assign(method="saa_repaired")
    methods = {
        "saa_plus": {"label": "SAA+", "variant": "published"},
        "saa_repaired": {
            **{"kind": "saa_plus", "label": "SAA+", "variant": "repaired"},
            "note": "weights of sam from the file a.pth",
        },
    }
    table = segmentation_table(pd.concat([masks, other]), **SETTINGS | {"methods": methods})
    assert table["method_name"].tolist() == ["SAA+", "SAA+ (repaired)"]
    assert table["published_iou"].tolist() == [0.52, 0.52]
    assert "weights of sam" in table["note"].iloc[1]


def test_no_scores_give_an_empty_table(masks):
    """With all its columns, so that later stages find them."""
    assert segmentation_table(masks.iloc[:0], **SETTINGS).shape == (0, len(SEGMENTATION.columns))


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (lambda t: t.drop(columns="group"), {}, "group are missing"),
        (lambda t: pd.concat([t, t.iloc[:1]]), {}, "1 rows repeat .*image a"),
        (lambda t: t.assign(image_id=None), {}, "needs its image_id, but 5 of 5"),
        (lambda t: t, {"datasets": {}}, "'tiles', which is not described"),
        (
            lambda t: t,
            {"datasets": {"tiles": {"published_as": "mvtec"}}},
            "one of industrial_sat, mvtec_ad, .*'mvtec'",
        ),
        (lambda t: t, {"methods": {"saa_plus": {"colour": 1}}}, "but found colour"),
        (lambda t: t.assign(iou=np.nan), {}, "3 have none .*image a"),
        (
            lambda t: pd.concat([t, t.iloc[1:].assign(method="sam_clip")]),
            {},
            "the same 5 images, but 1 are missing .first: a",
        ),
        (
            lambda t: pd.concat([t, t.assign(method="sam_clip", label="NOK", truth_px=None)]),
            {},
            "one true label, but 2 have two .first: d",
        ),
        (lambda t: t.assign(label="bad"), {}, 'must be "OK" or "NOK", but 5 of 5'),
    ],
)
def test_scores_that_would_give_a_wrong_table_are_refused(masks, spoil, options, message):
    """Each of them would otherwise pass as a slightly different number."""
    with pytest.raises(ValueError, match=message):
        classification_table(spoil(masks), **SETTINGS | options)


def test_what_is_known_of_answers_stands_beside_the_verdicts(verdicts):
    """A run without such facts has none, and no row is lost for it."""
    keys = {"dataset": "tiles", "method": "ask", "prompt": "basic"}
    facts = {"n_samples": 3, "fleiss_kappa": 0.5, "flip_rate": 0.25}
    answers = pd.DataFrame([keys | facts | {"cost_per_1000_parts_usd": 7.5, "note": "so far"}])
    table = classification_table(verdicts, answers=answers, **SETTINGS).set_index("method")
    assert (table.loc["ask", list(facts)] == pd.Series(facts)).all()
    assert table.loc["ask", "cost_per_1000_parts_usd"] == 7.5
    assert "so far" in table.loc["ask", "note"]
    assert table.loc["reject_everything", [*facts, "cost_per_1000_parts_usd"]].isna().all()
    without = classification_table(verdicts, **SETTINGS).set_index("method")
    assert without.loc["ask", list(facts)].isna().all()


def test_a_verdict_by_area_says_so_and_has_no_counterpart_in_the_study(masks):
    """The name for people follows the method's own."""
    rows = pd.concat([masks, masks.assign(method="saa_plus_area")])
    methods = METHODS | {
        "saa_plus_area": METHODS["saa_plus"] | {"kind": "saa_plus", "verdict_by": "area"}
    }
    table = classification_table(rows, **SETTINGS | {"methods": methods}).set_index("method")
    assert table.loc["saa_plus", ["method_name", "verdict_by"]].tolist() == ["SAA+", "any mask"]
    area = table.loc["saa_plus_area"]
    assert [area["method_name"], area["verdict_by"]] == ["SAA+ (area)", "area"]
    assert area["uses_test_truth"] and "good images of other folds" in area["note"]
    assert list(table.index)[:2] == ["saa_plus", "saa_plus_area"]


def test_confusion_counts_add_up_with_the_unanswered_by_status(verdicts):
    """Who gave no verdict is counted by the reason."""
    verdicts.loc[[0, 8], ["label_predicted", "status"]] = [None, "refused"]
    verdicts.loc[1, ["label_predicted", "status"]] = [None, "truncated"]
    table = confusion_table(classification_table(verdicts, **SETTINGS))
    assert list(table.columns) == CONFUSION.columns
    row = table.iloc[0]
    assert (row["tp"], row["fp"], row["fn"], row["tn"]) == (1, 1, 1, 3)
    assert (row["n_unanswered_nok"], row["n_unanswered_ok"]) == (2, 1)
    assert row["unanswered_status"] == "refused 2, truncated 1"
    counted = table[["tp", "fp", "fn", "tn", "n_unanswered_nok", "n_unanswered_ok"]].sum(axis=1)
    np.testing.assert_allclose(counted.to_numpy(float), table["n_images"])
    assert set(table["method"]) == {
        *("ask", "reject_everything", "accept_everything", "coin_at_prevalence")
    }


def test_masks_are_measured_against_the_whole_image(masks):
    """A mask that overlaps less than everything does is no better than no model."""
    floor = masks.assign(
        method="whole_image", prompt="none", predicted_px=100, intersection_px=masks["truth_px"]
    )
    floor = floor.assign(union_px=100, iou=[0.9, 0.95, 0.97, np.nan, np.nan])
    table = segmentation_table(pd.concat([masks, floor]), **SETTINGS).set_index("method")
    assert table["iou_floor"].tolist() == pytest.approx([0.94, 0.94])
    row = table.loc["saa_plus"]
    assert bool(row["is_no_better_than_floor"]) == (row["mean_iou_high"] <= 0.94)
    worse = masks.assign(iou=[0.1, 0.12, 0.11, np.nan, np.nan])
    row = (
        segmentation_table(pd.concat([worse, floor]), **SETTINGS)
        .set_index("method")
        .loc["saa_plus"]
    )
    assert row["is_no_better_than_floor"]
    assert "no better than no model" in row["note"]
    assert pd.isna(table.loc["whole_image", "is_no_better_than_floor"])
    alone = segmentation_table(masks, **SETTINGS).iloc[0]
    assert pd.isna(alone["iou_floor"])
    assert pd.isna(alone["is_no_better_than_floor"])
