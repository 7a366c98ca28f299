"""Truth and masks are laid over images that a rule chose."""

import shutil

import matplotlib
import numpy as np
import pandas as pd
import pytest

from realitycheck.core.files import image_file
from realitycheck.core.images import write_png
from realitycheck.core.masks import encode_mask
from realitycheck.core.schemas import MASKS, SCORES
from realitycheck.core.tables import read_table, write_table
from realitycheck.report.figures import overlays
from realitycheck.report.results import Results, read_tables

IDS = [f"p/NOK/void/{number}" for number in range(4)]
METHODS = {
    "mine": {
        "kind": "grounded_sam",
        "name": "My method",
        "note": "weights of sam from the file a",
    },
    "other": {"kind": "pixel_difference"},
}
RUNS = [("mine", "plain"), ("other", "none")]


@pytest.fixture
def run(tmp_path):
    """Two methods on four defective images of 24 x 32 pixels; the last one has no truth."""
    rng = np.random.default_rng(0)
    for number, image_id in enumerate(IDS):
        image = rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)
        write_png(image, image_file(tmp_path / "aligned" / "chips", image_id))
        if number < 3:
            truth = np.zeros((24, 32), np.uint8)
            truth[5:10, 5:10] = 255
            write_png(truth, image_file(tmp_path / "truth" / "chips", image_id))
    scores, masks = [], {}
    for method, prompt in RUNS:
        rows = []
        for number, image_id in enumerate(IDS):
            mask = np.zeros((24, 32), bool)
            mask[5:10, 5 : 6 + number] = True
            keys = {"dataset": "chips", "image_id": image_id, "method": method, "prompt": prompt}
            rows.append(
                dict.fromkeys(MASKS.columns)
                | keys
                | {
                    "mask_height_px": 24,
                    "mask_width_px": 32,
                    "mask_rle": encode_mask(mask),
                    "n_regions": 1,
                    "status": "ok",
                }
            )
            scores.append(
                dict.fromkeys(SCORES.columns)
                | keys
                | {
                    "label": "NOK",
                    "label_predicted": "NOK",
                    "category": "p",
                    "defect_type": "void",
                    "iou": None if number == 3 else (number + 1) / 5,
                    "truth_px": None if number == 3 else 25,
                    "predicted_px": 5,
                    "status": "ok",
                }
            )
        run = f"chips/{method}/{prompt}"
        masks[method, prompt] = tmp_path / "predictions" / run / "masks.parquet"
        write_table(rows, masks[method, prompt], schema=MASKS, facts={})
        write_table(
            [row for row in scores if row["method"] == method],
            tmp_path / "scores" / run / "images.parquet",
            schema=SCORES,
            facts={},
        )
    return tmp_path, masks


def scores_of(folder):
    paths = [folder / "scores" / "chips" / "/".join(run) / "images.parquet" for run in RUNS]
    return read_tables(paths, schema=SCORES)


def draw(run, *, scores=None, runs=RUNS, n_images=3):
    folder, masks = run
    if scores is not None:
        for (method, prompt), rows in scores.groupby(["method", "prompt"]):
            path = folder / "scores" / "chips" / method / prompt / "images.parquet"
            write_table(rows, path, schema=SCORES, facts={})
    found = folder.glob("scores/*/*/*/images.parquet")
    results = Results(
        folder,
        {"scores": list(found), "masks": list(masks.values())},
        {
            "datasets": {"chips": {"name": "Chips"}},
            "methods": METHODS,
            "runs": {"shown_masks": [("chips", *run) for run in runs]},
            "report": {"n_overlays": n_images, "seed": 0},
        },
    )
    return overlays.plot(results, "chips", title="")


def words_of(figure):
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def test_scores_of_all_runs_stand_in_one_table(run):
    """Tables compare methods, so they need all of them."""
    folder, _ = run
    found = scores_of(folder)
    assert len(found) == 8
    assert list(found.columns) == SCORES.columns
    assert list(found.index) == list(range(8))


def test_figure_shows_truth_and_every_method(run):
    """Its words say which data set, which methods, and how the images were chosen."""
    words = words_of(draw(run))
    for expected in ("Chips", "My method", "(plain)", "IoU 0.", "weights of sam", "seed 0"):
        assert expected in words, expected
    assert "(none)" not in words


def test_only_weights_of_the_figure_are_named(run):
    """Methods of other data sets say nothing here."""
    words = words_of(draw(run, runs=RUNS[1:]))
    assert "weights of" not in words


def test_data_set_without_truth_has_a_figure_too(run):
    """Most people have not drawn where their defects are; they still want to see the masks."""
    folder, _ = run
    scores = scores_of(folder)
    shutil.rmtree(folder / "truth")
    words = words_of(draw(run, scores=scores.assign(iou=None, truth_px=None)))
    assert "nobody drew where their defects are" in words
    assert "best" not in words
    assert "nan" not in words.lower()


def test_data_set_of_good_parts_alone_has_a_figure_too(run):
    """What methods mark on good parts is worth seeing, and the rule says what is shown."""
    folder, _ = run
    scores = scores_of(folder)
    good = scores.assign(label="OK", iou=None, truth_px=0)
    words = words_of(draw(run, scores=good))
    assert "there are no defective ones" in words and "best" not in words


def test_mask_on_a_square_of_its_own_is_drawn_on_the_image(run):
    """SAA+ marks on 400 × 400 px if told to; the image has its own shape."""
    _, masks = run
    path = next(iter(masks.values()))
    table = read_table(path, schema=MASKS)
    square = np.zeros((400, 400), bool)
    square[100:200, 100:200] = True
    table = table.assign(mask_height_px=400, mask_width_px=400, mask_rle=encode_mask(square))
    write_table(table, path, schema=MASKS, facts={})
    assert "My method" in words_of(draw(run))


def test_figure_has_as_many_rows_as_asked_or_as_there_are(run):
    """Two axes of images per row more or less: truth and each method stand beside the image."""
    few, many = draw(run, n_images=1), draw(run, n_images=3)
    n_few = sum(bool(axes.get_images()) for axes in few.axes)
    n_many = sum(bool(axes.get_images()) for axes in many.axes)
    assert n_many == 3 * n_few > 0


def test_scores_table_is_read_as_written(run):
    """An undefined IoU stays undefined on its way into a figure."""
    folder, _ = run
    found = scores_of(folder).query("method == 'mine'").set_index("image_id")["iou"]
    assert pd.isna(found[IDS[3]])
