"""All runs of a data set are scored in one job, and those that are up to date stay as they are."""

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.constants import LABEL_FLOORS
from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.masks import encode_mask
from realitycheck.core.schemas import MANIFEST, MASKS, SCORES, TRUTH, VERDICTS
from realitycheck.core.tables import read_table, write_table
from realitycheck.metrics.baselines import floor_label
from realitycheck.stages.score_runs import score_all_areas, score_all_labels, score_all_masks

METHODS = ("one", "two")
PARAMS = {
    "ignore_border": "ignore",
    "defects": {"min_covered_share": 0.1, "pixel_pitch_mm": None},
    "labels": "as they are",
    "code": "c0de",
}


def write_masks(folder, method, size):
    """A mask of `size` columns on each of four parts."""
    mask = np.zeros((20, 30), bool)
    mask[4:10, 4 : 4 + size] = True
    rows = [
        dict.fromkeys(MASKS.columns)
        | {"dataset": "chips", "image_id": f"p/{number}", "method": method, "prompt": "plain"}
        | {"mask_height_px": 20, "mask_width_px": 30, "mask_rle": encode_mask(mask)}
        | {"n_regions": 1, "status": "ok"}
        for number in range(4)
    ]
    path = folder / "predictions" / "chips" / method / "plain" / "masks.parquet"
    write_table(rows, path, schema=MASKS, facts={})
    return path


@pytest.fixture
def run(tmp_path):
    """Two methods on four parts, two of them defective."""
    images, truths = [], []
    for number in range(4):
        is_nok = number < 2
        keys = {"dataset": "chips", "image_id": f"p/{number}"}
        truth = np.zeros((20, 30), np.uint8)
        truth[4:10, 4:10] = 255
        if is_nok:
            write_png(truth, image_file(tmp_path / "truth" / "chips", keys["image_id"]))
        about = {"category": "p", "label": "NOK" if is_nok else "OK", "split": "test"}
        about |= {"image_path": "x", "mask_path": "m" if is_nok else None, "sha256": "0"}
        about |= {"width_px": 30, "height_px": 20, "bit_depth": 8, "n_channels": 3}
        images.append(dict.fromkeys(MANIFEST.columns) | keys | about)
        known = {"has_truth": True, "truth_px": 36 if is_nok else 0, "undecided_px": 0}
        known |= {"pixels_sha256": "0", "status": "complete", "lost_px": 0}
        truths.append(dict.fromkeys(TRUTH.columns) | keys | known)
    manifest, truth = tmp_path / "chips.parquet", tmp_path / "truth" / "chips" / "truth.parquet"
    write_table(images, manifest, schema=MANIFEST, facts={})
    write_table(truths, truth, schema=TRUTH, facts={})
    masks = [write_masks(tmp_path, method, 6) for method in METHODS]
    outputs = [
        tuple(tmp_path / "scores/chips" / m / "plain" / f"{name}.parquet" for name in names)
        for m in METHODS
        for names in [("images", "defects")]
    ]
    return manifest, truth, masks, outputs


def content(outputs):
    """Each file with its place on the disk: one that is written again has another."""
    return {path: (path.stat().st_ino, path.read_bytes()) for pair in outputs for path in pair}


def test_runs_that_are_up_to_date_are_left_alone(run, tmp_path):
    """Another mask costs its own run; nothing at all costs nothing."""
    assert score_all_masks(*run, **PARAMS) == 2
    before = content(run[3])
    assert score_all_masks(*run, **PARAMS) == 0
    assert content(run[3]) == before
    write_masks(tmp_path, "two", 3)
    assert score_all_masks(*run, **PARAMS) == 1
    changed = {path for path, found in content(run[3]).items() if found != before[path]}
    assert changed == set(run[3][1])
    ious = read_table(run[3][1][0], schema=SCORES)["iou"].dropna()
    assert ious.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    "change",
    [{"labels": "others"}, {"code": "another"}, {"ignore_border": "foreground"}]
    + [{"defects": PARAMS["defects"] | {"min_covered_share": 0.2}}],
)
def test_whatever_scores_depend_on_has_all_runs_scored(run, change):
    """Labels, code and settings concern every run."""
    score_all_masks(*run, **PARAMS)
    assert score_all_masks(*run, **PARAMS | change) == 2


def test_changed_truth_and_damaged_scores_are_made_again(run):
    """The truth concerns every run, damage its own file."""
    score_all_masks(*run, **PARAMS)
    path = run[3][0][1]
    path.write_bytes(path.read_bytes()[:-20])
    assert score_all_masks(*run, **PARAMS) == 1
    table = read_table(run[1], schema=TRUTH)
    write_table(table.assign(pixels_sha256="1"), run[1], schema=TRUTH, facts={})
    assert score_all_masks(*run, **PARAMS) == 2


def test_areas_follow_the_scores_they_judge_by(run, tmp_path):
    """Under a name of their own, beside the method's."""
    score_all_masks(*run, **PARAMS)
    scores = [pair[0] for pair in run[3]]
    areas = [tmp_path / f"scores/chips/{m}_area/plain/images.parquet" for m in METHODS]
    settings = {"max_overkill_rate": 0.05, "seed": 0, "code": "c0de"}
    assert score_all_areas(scores, areas, **settings) == 2
    assert set(read_table(areas[1], schema=SCORES)["method"]) == {"two_area"}
    write_masks(tmp_path, "one", 2)
    score_all_masks(*run, **PARAMS)
    assert score_all_areas(scores, areas, **settings) == 1
    assert score_all_areas(scores, areas, **settings | {"max_overkill_rate": 0.5}) == 2


def test_labels_are_scored_where_a_verdict_has_changed(run, tmp_path):
    """A model that was asked anew has no other method scored again."""

    def answer(method, label):
        rows = [
            dict.fromkeys(VERDICTS.columns)
            | {"dataset": "chips", "image_id": f"p/{number}", "method": method, "sample": 0}
            | {"prompt": "basic", "label_predicted": label, "status": "answered"}
            for number in range(4)
        ]
        path = tmp_path / "verdicts" / method / "labels.parquet"
        write_table(rows, path, schema=VERDICTS, facts={})
        return path

    verdicts = [answer(method, "OK") for method in METHODS]
    outputs = [tmp_path / "scores" / method / "images.parquet" for method in METHODS]
    params = {"labels": "as they are", "code": "c0de"}
    assert score_all_labels(run[0], verdicts, outputs, **params) == 2
    answer("two", "NOK")
    assert score_all_labels(run[0], verdicts, outputs, **params) == 1
    found = pd.concat([read_table(path, schema=SCORES) for path in outputs])
    assert dict(zip(found["method"], found["label_predicted"], strict=False)) == {
        "one": "OK",
        "two": "NOK",
    }


def test_verdicts_of_floors_are_written_and_scored_beside_those_of_methods(run, tmp_path):
    """They need no model, so the job that scores them makes them, once for the same labels."""
    floors = [tmp_path / "verdicts" / floor / "none" / "labels.parquet" for floor in LABEL_FLOORS]
    outputs = [tmp_path / "scores" / floor / "images.parquet" for floor in LABEL_FLOORS]
    params = {"floors": floors, "labels": "as they are", "code": "c0de"}
    assert score_all_labels(run[0], [], outputs, **params) == 2
    for floor, path, output in zip(LABEL_FLOORS, floors, outputs, strict=True):
        verdicts, scores = read_table(path, schema=VERDICTS), read_table(output, schema=SCORES)
        assert len(verdicts) == len(scores) == 4
        assert set(verdicts["method"]) == {floor} and set(verdicts["prompt"]) == {"none"}
        assert set(scores["label_predicted"]) == {floor_label(floor)}
    before = floors[0].stat().st_ino
    assert score_all_labels(run[0], [], outputs, **params) == 0
    assert floors[0].stat().st_ino == before
    assert score_all_labels(run[0], [], outputs, **params | {"labels": "others"}) == 2
