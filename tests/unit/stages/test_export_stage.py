"""Exports are read by other tools, and say what the tables say."""

import json

import numpy as np
import pandas as pd
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.masks import encode_mask
from realitycheck.stages.export import (
    aligned_images,
    image_rows,
    mask_annotations,
    truth_annotations,
    write_coco,
    write_coco_results,
    write_images_csv,
)

SIZE = (30, 40)


@pytest.fixture
def images():
    """Two good and two defective images; the last one has no truth."""
    rows = [
        ("p/OK/a", "OK", None, True, 0),
        ("p/OK/b", "OK", None, True, 0),
        ("p/NOK/dent/c", "NOK", "dent", True, 1),
        ("p/NOK/d", "NOK", None, False, None),
    ]
    names = ["image_id", "label", "defect_type", "has_truth", "truth_px"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(
        lost_px=0, dataset="chips", split="test", width_px=SIZE[1], height_px=SIZE[0]
    )


def ring():
    """A ring and a speck: two regions, one with a hole."""
    mask = np.zeros(SIZE, bool)
    mask[5:15, 8:20] = True
    mask[8:11, 12:16] = False
    mask[25, 35] = True
    return mask


def read(path):
    """Load a file as users of the reference implementation do."""
    coco = COCO(str(path))
    json.loads(path.read_text(encoding="utf-8"))
    return coco


def test_truth_comes_back_to_the_pixel(images, tmp_path):
    """The reference implementation fills the polygons; every image is listed."""
    truth = np.where(ring(), 255, 0).astype(np.uint8)
    truth[20:23, 20:23] = 128  # undecided
    write_png(truth, image_file(tmp_path / "truth", "p/NOK/dent/c"))
    path = tmp_path / "truth.coco.json"
    counts = write_coco(
        path, images, truth_annotations(images, tmp_path / "truth"), description="x", version="1"
    )
    assert counts == {"n_images": 4, "n_annotations": 2}
    coco = read(path)
    assert [image["file_name"] for image in coco.imgs.values()] == [
        f"{image_id}.png" for image_id in images["image_id"]
    ]
    annotations = list(coco.anns.values())
    assert {one["image_id"] for one in annotations} == {3}
    assert {one["attributes"]["defect_type"] for one in annotations} == {"dent"}
    filled = np.zeros(SIZE, bool)
    for one in annotations:
        own = coco.annToMask(one).astype(bool)
        assert own.sum() == one["area"]
        filled |= own
    np.testing.assert_array_equal(filled, ring())
    assert [one["bbox"] for one in annotations] == [[8, 5, 12, 10], [35, 25, 1, 1]]


def test_predictions_share_the_category_and_carry_the_score(images, tmp_path):
    """Then a tool can set them against the truth; any mask is brought to the image's size."""
    masks = pd.DataFrame(
        [
            {"image_id": "p/OK/a", "mask": np.zeros(SIZE, bool), "score": 0.1},
            {"image_id": "p/OK/b", "mask": np.ones((15, 20), bool), "score": None},
            {"image_id": "p/NOK/dent/c", "mask": ring(), "score": 0.75},
        ]
    )
    masks["mask_rle"] = [encode_mask(mask) for mask in masks["mask"]]
    masks["mask_height_px"] = [mask.shape[0] for mask in masks["mask"]]
    masks["mask_width_px"] = [mask.shape[1] for mask in masks["mask"]]
    path = tmp_path / "predictions.coco.json"
    write_coco(path, images, mask_annotations(images, masks), description="x", version="1")
    coco = read(path)
    by_image = {}
    for one in coco.anns.values():
        by_image.setdefault(one["image_id"], []).append(one)
    assert set(by_image) == {2, 3}
    (whole,) = by_image[2]
    assert whole["area"] == SIZE[0] * SIZE[1] and "score" not in whole
    assert [one["score"] for one in by_image[3]] == [0.75, 0.75]
    assert {one["category_id"] for one in coco.anns.values()} == {1}
    assert [category["name"] for category in coco.cats.values()] == ["defect"]


def test_results_are_scored_against_the_truth_by_the_reference_implementation(images, tmp_path):
    """Its own loader takes them as they are: the same regions give an average precision of 1."""
    write_png(
        np.where(ring(), 255, 0).astype(np.uint8), image_file(tmp_path / "truth", "p/NOK/dent/c")
    )
    annotations = list(truth_annotations(images, tmp_path / "truth"))
    write_coco(tmp_path / "truth.json", images, annotations, description="x", version="1")
    found = [(place, mask, {"score": 0.75}) for place, mask, _ in annotations]
    elsewhere = [(0, np.roll(mask, 3, axis=1), {}) for _, mask, _ in annotations]
    assert write_coco_results(tmp_path / "found.json", [*elsewhere, *found]) == 4
    truth = read(tmp_path / "truth.json")
    results = truth.loadRes(str(tmp_path / "found.json"))
    both = {(one["image_id"], one["score"]) for one in results.anns.values()}
    assert both == {(1, 1.0), (3, 0.75)}
    masks = [results.annToMask(one) for one in results.anns.values() if one["image_id"] == 3]
    np.testing.assert_array_equal(np.sum(masks, axis=0).astype(bool), ring())
    assert [one["area"] for one in results.anns.values()] == [int(mask.sum()) for mask in masks] * 2
    scored = COCOeval(truth, results, "segm")
    scored.params.imgIds = [3]
    scored.evaluate()
    scored.accumulate()
    scored.summarize()
    assert scored.stats[0] == pytest.approx(1)


def test_results_of_a_method_that_marks_nothing_are_an_empty_array(tmp_path):
    """Valid JSON, for tools that take it."""
    assert write_coco_results(tmp_path / "none.json", []) == 0
    assert json.loads((tmp_path / "none.json").read_text(encoding="utf-8")) == []


def test_no_annotation_makes_a_valid_file(images, tmp_path):
    """A detector that finds nothing."""
    path = tmp_path / "empty.coco.json"
    write_coco(path, images, [], description="x", version="1")
    coco = read(path)
    assert len(coco.imgs) == 4 and not coco.anns


def test_sizes_are_those_of_the_aligned_images(images):
    """Masks lie on the reference's canvas, not on the raw image."""
    transforms = images[["image_id"]].assign(width_px=99, height_px=77)
    sized = aligned_images(images, transforms)
    assert set(sized["width_px"]) == {99} and set(sized["height_px"]) == {77}
    assert len(sized) == len(images)


def scores_of(images, said, method="m"):
    return pd.DataFrame(
        {
            "dataset": "chips",
            "image_id": images["image_id"],
            "method": method,
            "prompt": "plain",
            "label": images["label"],
            "label_predicted": said,
            "truth_px": images["truth_px"],
            "defect_type": images["defect_type"],
        }
    )


def test_csv_has_a_row_for_every_image_and_method(images, tmp_path):
    """With the outcome in a word, and an answer's reasoning, quotes and line breaks included."""
    answers = pd.DataFrame(
        [
            {"image_id": image_id, "sample": sample, "reasoning": f'a "crack",\n{sample}'}
            | {"finish_reason": "STOP", "model_returned": "x", "tokens_in": 5, "tokens_out": 2}
            | {"cost_usd": 0.01}
            for image_id in images["image_id"]
            for sample in (1, 0)
        ]
    )
    manifest = images.drop(columns=["has_truth", "truth_px", "lost_px"])
    runs = [
        (scores_of(images, ["OK", "NOK", "OK", None]), None),
        (scores_of(images, ["OK", "OK", "NOK", "NOK"], "asker"), answers),
    ]
    path = tmp_path / "images.csv"
    methods = {"asker": {"label": "LVLM"}, "m": {"label": "SAA+"}}
    assert write_images_csv(path, manifest, runs, methods=methods) == 8
    table = pd.read_csv(path)
    assert table["outcome"].tolist()[:4] == ["correct", "overkill", "slip", "no_verdict"]
    assert table["method_name"].tolist() == ["SAA+"] * 4 + ["LVLM"] * 4
    asked = table[table["method"] == "asker"]
    assert (asked["reasoning"] == 'a "crack",\n0').all()
    assert asked["cost_usd"].tolist() == pytest.approx([0.02] * 4), "both samples were paid"
    assert table.loc[table["method"] == "m", "reasoning"].isna().all()


def test_rows_of_every_method_have_the_same_columns(images):
    """They are written below each other."""
    manifest = images.drop(columns=["has_truth", "truth_px", "lost_px"])
    scores = scores_of(images, ["OK"] * 4)
    answers = pd.DataFrame(
        {"image_id": images["image_id"], "sample": 0, "reasoning": "r", "finish_reason": "STOP"}
        | {"model_returned": "m", "tokens_in": 1, "tokens_out": 1, "cost_usd": None}
    )
    without, with_answers = (image_rows(manifest, scores, each) for each in (None, answers))
    assert list(without.columns) == list(with_answers.columns)
    assert with_answers["cost_usd"].isna().all()
