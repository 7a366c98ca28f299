"""Predictions beside the truth: what is scored, and what is not defined."""

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.masks import encode_mask
from realitycheck.core.parquet import ArtifactError
from realitycheck.core.schemas import DEFECTS, SCORES
from realitycheck.core.tables import read_table, write_table
from realitycheck.methods.thresholds import fit_threshold
from realitycheck.stages.evaluate import (
    floor_verdicts,
    score_areas,
    score_defects,
    score_labels,
    score_masks,
)

#: Good; good; defective with a drawn mask; defective without.
IDS = ["p/OK/1", "p/OK/2", "p/NOK/void/1", "p/NOK/void/2"]


@pytest.fixture
def manifest():
    return pd.DataFrame(
        {
            "dataset": "chips",
            "image_id": IDS,
            "category": "p",
            "group": None,
            "label": ["OK", "OK", "NOK", "NOK"],
            "defect_type": [None, None, "void", "void"],
            "mask_path": [None, None, "raw/1.png", None],
        }
    )


@pytest.fixture
def truth(tmp_path):
    """The drawn defect covers 4 of 20 pixels; 2 more are undecided."""
    pixels = np.zeros((4, 5), np.uint8)
    pixels[1:3, 1:3] = 255
    pixels[3, 1:3] = 128
    write_png(pixels, image_file(tmp_path / "truth", IDS[2]))
    return pd.DataFrame(
        {
            "dataset": "chips",
            "image_id": IDS,
            "has_truth": [True, True, True, False],
            "truth_px": [0, 0, 4, 0],
            "undecided_px": [0, 0, 2, 0],
            "pixels_sha256": "ab",
            "status": ["complete", "complete", "complete", "not_drawn"],
            "lost_px": 0,
            **dict.fromkeys(
                ("whole_rle", "whole_height_px", "whole_width_px", "left_px", "top_px")
            ),
        }
    )


def masks_table(masks):
    return pd.DataFrame(
        [
            {
                "dataset": "chips",
                "image_id": image_id,
                "method": "mine",
                "prompt": "plain",
                "mask_height_px": 4,
                "mask_width_px": 5,
                "mask_rle": encode_mask(mask),
                "score": 0.5,
                "n_regions": int(mask.any()),
                "status": "ok" if mask.any() else "no_box",
                "latency_s": 0.1,
            }
            for image_id, mask in zip(IDS, masks, strict=True)
        ]
    )


def score(manifest, truth, masks, tmp_path, ignore_border="ignore"):
    rows = list(
        score_masks(
            manifest,
            truth,
            masks if isinstance(masks, pd.DataFrame) else masks_table(masks),
            truth_folder=tmp_path / "truth",
            ignore_border=ignore_border,
        )
    )
    write_table(rows, tmp_path / "s.parquet", schema=SCORES, facts={})
    return read_table(tmp_path / "s.parquet", schema=SCORES).set_index("image_id")


@pytest.fixture
def masks():
    """Nothing; one pixel; the lower three rows of columns 1 and 2; everything."""
    masks = np.zeros((4, 4, 5), bool)
    masks[1, 0, 0] = True
    masks[2, 1:4, 1:3] = True
    masks[3] = True
    return masks


def lose(truth, *, whole, top=0, left=0):
    """Truth table in which defect pixels lie beyond the 4 x 5 px canvas."""
    lost_px = int(whole.sum() - whole[top : top + 4, left : left + 5].sum())
    columns = {
        "truth_px": int(whole.sum()),
        "lost_px": lost_px,
        "status": "partly_lost",
        "whole_rle": encode_mask(whole),
        "whole_height_px": whole.shape[0],
        "whole_width_px": whole.shape[1],
        "top_px": top,
        "left_px": left,
    }
    truth = truth.astype(dict.fromkeys(columns, object))
    truth.loc[2, list(columns)] = list(columns.values())
    return truth


def test_truth_beyond_the_canvas_counts_as_not_found(manifest, truth, tmp_path):
    """The mask meets all 4 defect pixels of the canvas; 4 more of the same defect and 2 of another
    one lie above it."""
    whole = np.zeros((8, 5), bool)
    whole[3:7, 1:3] = True
    whole[0, :2] = True
    truth = lose(truth, whole=whole, top=4)
    write_png(255 * whole[4:].astype(np.uint8), image_file(tmp_path / "truth", IDS[2]))
    found = np.zeros((4, 5), bool)
    found[:3, 1:3] = True
    empty = np.zeros_like(found)
    masks = [empty, empty, found, empty]
    row = score(manifest, truth, masks, tmp_path).loc[IDS[2]]
    assert (row["intersection_px"], row["union_px"], row["truth_px"], row["lost_px"]) == (
        *(6, 10, 10, 4),
    )
    assert row["iou"] == 0.6
    defects = defects_of(manifest, truth, masks, tmp_path, min_covered_share=0.76)
    assert defects["area_px"].tolist() == [2, 8]
    assert defects["lost_px"].tolist() == [2, 2]
    assert defects["covered_share"].tolist() == [0.0, 0.75]
    assert not defects["is_hit"].any()


def test_lost_truth_is_scaled_to_a_mask_of_another_size(manifest, truth, tmp_path):
    """A mask of 2 x 2 px for 4 x 5: 4 pixels are then one, and never none."""
    whole = np.zeros((8, 5), bool)
    whole[0, :4] = True
    truth = lose(truth, whole=whole, top=4)
    write_png(np.zeros((4, 5), np.uint8), image_file(tmp_path / "truth", IDS[2]))
    masks = masks_table([np.zeros((4, 5), bool)] * 4)
    masks.loc[2, ["mask_height_px", "mask_width_px"]] = 2
    masks.loc[2, "mask_rle"] = encode_mask(np.ones((2, 2), bool))
    row = score(manifest, truth, masks, tmp_path).loc[IDS[2]]
    assert (row["iou"], row["union_px"], row["truth_px"]) == (0.0, 5, 1)


def test_scores_by_hand(manifest, truth, masks, tmp_path):
    """The third mask covers the defect's 4 pixels and both undecided ones, which do not count."""
    found = score(manifest, truth, masks, tmp_path)
    assert len(found) == 4
    row = found.loc[IDS[2]]
    assert (row["iou"], row["intersection_px"], row["union_px"]) == (1.0, 4, 4)
    assert (row["truth_px"], row["predicted_px"]) == (4, 4)


@pytest.mark.parametrize(
    ("rule", "iou", "truth_px", "predicted_px"),
    [("ignore", 1.0, 4, 4), ("foreground", 1.0, 6, 6), ("background", 4 / 6, 4, 6)],
)
def test_undecided_pixels_count_as_told(
    manifest, truth, masks, tmp_path, rule, iou, truth_px, predicted_px
):
    """4 certain and 2 undecided pixels, all 6 of them predicted."""
    row = score(manifest, truth, masks, tmp_path, ignore_border=rule).loc[IDS[2]]
    assert row["iou"] == pytest.approx(iou)
    assert (row["truth_px"], row["predicted_px"]) == (truth_px, predicted_px)


def test_iou_is_undefined_on_good_parts(manifest, truth, masks, tmp_path):
    """There is no defect to hit. What was predicted there is still counted."""
    found = score(manifest, truth, masks, tmp_path)
    assert found.loc[IDS[:2], "iou"].isna().all()
    assert list(found.loc[IDS[:2], "truth_px"]) == [0, 0]
    assert list(found.loc[IDS[:2], "predicted_px"]) == [0, 1]


def test_nothing_is_known_of_a_part_that_nobody_drew(manifest, truth, masks, tmp_path):
    """An IoU of 0 would be a made-up answer; the verdict counts all the same."""
    row = score(manifest, truth, masks, tmp_path).loc[IDS[3]]
    assert pd.isna(row[["iou", "intersection_px", "union_px", "truth_px"]]).all()
    assert row["predicted_px"] == 20
    assert row["label_predicted"] == "NOK"


def test_missed_defect_has_an_iou_of_zero(manifest, truth, masks, tmp_path):
    """An empty mask on a defective part is the worst answer, not an undefined one."""
    row = score(manifest, truth, np.zeros_like(masks), tmp_path).loc[IDS[2]]
    assert row["iou"] == 0
    assert (row["label_predicted"], row["status"]) == ("OK", "no_box")


def test_any_mask_is_the_verdict_nok(manifest, truth, masks, tmp_path):
    """So masks and labels meet in one table."""
    found = score(manifest, truth, masks, tmp_path)
    assert list(found.loc[IDS, "label_predicted"]) == ["OK", "NOK", "NOK", "NOK"]
    assert list(found.loc[IDS, "label"]) == ["OK", "OK", "NOK", "NOK"]
    assert found.loc[IDS[2], "defect_type"] == "void"


def test_masks_of_other_images_are_refused(manifest, truth, masks, tmp_path):
    """A lost row would make the method look better or worse than it is."""
    table = masks_table(masks)
    options = {"truth_folder": tmp_path / "truth", "ignore_border": "ignore"}
    with pytest.raises(ArtifactError, match="masks table: .* 1 are missing"):
        list(score_masks(manifest, truth, table.iloc[1:], **options))
    with pytest.raises(ArtifactError, match="truth table: .* 2 are missing"):
        list(score_masks(manifest, truth.iloc[2:], table, **options))
    with pytest.raises(ArtifactError, match="masks table: .* 1 are not in the manifest"):
        list(score_masks(manifest.iloc[1:], truth.iloc[1:], table, **options))


def test_lost_truth_mask_is_named(manifest, truth, masks, tmp_path):
    """Taken for an empty one it would give a wrong score."""
    path = image_file(tmp_path / "truth", IDS[2])
    path.unlink()
    with pytest.raises(ArtifactError, match=f"{path}: this picture is missing or damaged"):
        score(manifest, truth, masks, tmp_path)


@pytest.mark.parametrize(
    ("floor", "label"), [("reject_everything", "NOK"), ("accept_everything", "OK")]
)
def test_verdicts_of_a_floor_are_scored_without_pixels(manifest, tmp_path, floor, label):
    """Every image has one verdict and no IoU."""
    verdicts = floor_verdicts(manifest, floor=floor, prompt="none")
    write_table(
        list(score_labels(manifest, verdicts)), tmp_path / "s.parquet", schema=SCORES, facts={}
    )
    found = read_table(tmp_path / "s.parquet", schema=SCORES)
    assert sorted(found["image_id"]) == sorted(IDS)
    assert set(found["label_predicted"]) == {label}
    assert set(found["method"]) == {floor}
    assert found[["iou", "truth_px", "predicted_px"]].isna().all(axis=None)


def test_verdicts_of_other_images_are_refused(manifest):
    """Every image is answered for, or the score is not taken."""
    verdicts = floor_verdicts(manifest, floor="reject_everything", prompt="none")
    with pytest.raises(ArtifactError, match="verdicts table: .* 1 are missing"):
        list(score_labels(manifest, verdicts.iloc[1:]))


# --------------------------------------------------------------------------------- verdicts by area


def areas(ok, nok, *, category="p", groups=None):
    """Scores of a mask method whose masks have these areas, in pixels."""
    labels = ["OK"] * len(ok) + ["NOK"] * len(nok)
    rows = [
        dict.fromkeys(SCORES.columns)
        | {
            "dataset": "chips",
            "image_id": f"{category}/{label}/{number}",
            "method": "mine",
            "prompt": "plain",
            "category": category,
            "group": groups[number] if groups else None,
            "label": label,
            "label_predicted": "NOK" if area else "OK",
            "predicted_px": area,
            "status": "ok",
        }
        for number, (label, area) in enumerate(zip(labels, [*ok, *nok], strict=True))
    ]
    return pd.DataFrame(rows)


def by_area(scores, tmp_path, **options):
    """Verdicts by image, through the file that the stage writes."""
    options = {"max_overkill_rate": 0.0, "n_folds": 5} | options
    rows = list(score_areas(scores, "mine_area", **options))
    write_table(rows, tmp_path / "areas.parquet", schema=SCORES, facts={})
    table = read_table(tmp_path / "areas.parquet", schema=SCORES)
    assert len(table) == len(scores) and set(table["method"]) == {"mine_area"}
    return table.set_index("image_id")


def test_an_area_that_good_images_reach_is_no_defect(tmp_path):
    """Five good images with up to 30 px: above that, and only above, an image is NOK."""
    found = by_area(areas([0, 10, 20, 30, 30], [30, 31, 0]), tmp_path)
    assert list(found["label_predicted"][["p/NOK/5", "p/NOK/6", "p/NOK/7"]]) == ["OK", "NOK", "OK"]
    assert (found.loc[found["label"] == "OK", "label_predicted"] == "OK").all()
    assert found["predicted_px"].notna().all() and set(found["status"]) == {"ok"}


def test_a_good_image_has_no_say_in_its_own_threshold(tmp_path):
    """The largest good area exceeds what all others reach, so that image is rejected."""
    found = by_area(areas([0, 10, 20, 30, 500], [400, 600]), tmp_path)
    assert found.loc["p/OK/4", "label_predicted"] == "NOK"
    # Defective images are judged by all good ones, 500 px among them.
    assert list(found["label_predicted"][["p/NOK/5", "p/NOK/6"]]) == ["OK", "NOK"]


def test_the_threshold_leaves_the_share_of_good_images_that_may_be_rejected(tmp_path):
    """Twenty good images, 10 % of them: the threshold is the third largest area."""
    ok = list(range(1, 21))
    assert fit_threshold(map(float, ok), max_overkill_rate=0.1) == 18
    found = by_area(areas(ok, [18, 19]), tmp_path, max_overkill_rate=0.1)
    assert list(found["label_predicted"][["p/NOK/20", "p/NOK/21"]]) == ["OK", "NOK"]


def test_views_of_one_part_judge_each_other_neither_way(tmp_path):
    """The defective view of a part is judged without the good view of the same part."""
    groups = ["a", "b", "c", "d", "e", "e"]
    found = by_area(areas([0, 10, 20, 30, 500], [400], groups=groups), tmp_path)
    assert found.loc["p/NOK/5", "label_predicted"] == "NOK"


def test_categories_have_thresholds_of_their_own(tmp_path):
    """A carpet is no tile; one with too few good parts gets no verdict, and says so."""
    scores = pd.concat(
        [
            areas([5, 5, 5], [6], category="carpet"),
            areas([50, 50, 50], [6], category="tile"),
            areas([5], [6], category="wood"),
        ]
    )
    found = by_area(scores, tmp_path)
    verdict = found["label_predicted"]
    assert (verdict["carpet/NOK/3"], verdict["tile/NOK/3"]) == ("NOK", "OK")
    assert verdict[["wood/OK/0", "wood/NOK/1"]].isna().all()
    assert set(found.loc[found["category"] == "wood", "status"]) == {"no_threshold"}


def defects_of(manifest, truth, masks, tmp_path, **changes):
    options = {"ignore_border": "ignore", "min_covered_share": 0.1} | changes
    rows = list(
        score_defects(
            manifest, truth, masks_table(masks), truth_folder=tmp_path / "truth", **options
        )
    )
    write_table(rows, tmp_path / "d.parquet", schema=DEFECTS, facts={})
    return read_table(tmp_path / "d.parquet", schema=DEFECTS)


def test_each_region_of_the_truth_is_a_defect(manifest, truth, masks, tmp_path):
    """Two regions that touch by a corner are one; another stands alone. Good parts have none."""
    pixels = np.zeros((4, 5), np.uint8)
    pixels[0, 0] = pixels[1, 1] = pixels[3, 3] = pixels[3, 4] = 255
    write_png(pixels, image_file(tmp_path / "truth", IDS[2]))
    masks[2] = False
    masks[2, 3, 4] = True
    found = defects_of(manifest, truth, masks, tmp_path, pixel_pitch_mm=0.5)
    assert found["image_id"].tolist() == [IDS[2]] * 2
    assert found["defect_id"].tolist() == [1, 2]
    assert found["area_px"].tolist() == [2, 2]
    assert found["area_mm2"].tolist() == [0.5, 0.5]
    assert found["covered_share"].tolist() == [0.0, 0.5]
    assert found["is_hit"].tolist() == [False, True]
    assert found["defect_type"].tolist() == ["void", "void"]


@pytest.mark.parametrize(
    ("rule", "area", "share"), [("ignore", 4, 1.0), ("background", 4, 1.0), ("foreground", 6, 1.0)]
)
def test_undecided_pixels_belong_to_a_defect_only_as_foreground(
    manifest, truth, masks, tmp_path, rule, area, share
):
    """As with IoU; without a pitch there is no area in mm²."""
    row = defects_of(manifest, truth, masks, tmp_path, ignore_border=rule).iloc[0]
    assert (row["area_px"], row["covered_share"]) == (area, share)
    assert np.isnan(row["area_mm2"])


@pytest.mark.parametrize(("share", "is_hit"), [(0.25, True), (0.26, False)])
def test_defect_is_found_from_the_given_share_on(manifest, truth, masks, tmp_path, share, is_hit):
    """One of four pixels is a quarter, and a quarter is enough where a quarter is asked for."""
    masks[2] = False
    masks[2, 1, 1] = True
    found = defects_of(manifest, truth, masks, tmp_path, min_covered_share=share)
    assert found["is_hit"].tolist() == [is_hit]


def test_defect_keeps_its_area_under_a_mask_of_another_size(manifest, truth, masks, tmp_path):
    """SAA+ may mark on a square of its own; a defect must not shrink with it."""
    table = masks_table(masks)
    large = np.kron(masks[2], np.ones((3, 2), bool)).astype(bool)
    at = table["image_id"] == IDS[2]
    table.loc[at, ["mask_height_px", "mask_width_px"]] = large.shape
    table.loc[at, "mask_rle"] = encode_mask(large)
    (row,) = score_defects(
        manifest,
        truth,
        table,
        truth_folder=tmp_path / "truth",
        ignore_border="ignore",
        min_covered_share=0.1,
    )
    assert (row["area_px"], row["covered_share"]) == (4, 1.0)


def test_an_image_that_could_not_be_judged_is_unanswered(manifest, truth, masks, tmp_path):
    """Not accepted: an empty mask for want of a comparison says nothing of the part."""
    table = masks_table(np.zeros_like(masks))
    table.loc[[0, 3], "status"] = "not_comparable"
    found = score(manifest, truth, table, tmp_path)
    unjudged = found.loc[[IDS[0], IDS[3]]]
    assert unjudged["label_predicted"].isna().all()
    assert unjudged[["iou", "intersection_px", "union_px", "predicted_px"]].isna().all(axis=None)
    assert found.drop(unjudged.index)["label_predicted"].eq("OK").all()
    by_area = pd.DataFrame(score_areas(found.reset_index(), "area", max_overkill_rate=0.0))
    by_area = by_area.set_index("image_id").loc[unjudged.index]
    assert by_area["label_predicted"].isna().all()
    assert set(by_area["status"]) == {"not_comparable"}
