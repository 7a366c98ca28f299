"""Overlays and the spread of the IoU: which images, which pixels, which files."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from realitycheck.core.views import YELLOW, draw_overlay
from realitycheck.report.figures.iou_distribution import plot_iou_distribution
from realitycheck.report.figures.overlays import choose_images, iou_notes, plot_overlays
from realitycheck.report.figures.style import save_figure
from realitycheck.report.tables.segmentation import segmentation_table


def _scores(ious, methods=("a",)):
    """One row an image and method; ious by image id."""
    return pd.DataFrame(
        [
            {
                "dataset": "set",
                "image_id": image_id,
                "method": method,
                "prompt": "plain",
                "category": "c",
                "group": None,
                "label": "NOK",
                "label_predicted": "NOK",
                "iou": iou,
                "intersection_px": iou * 100,
                "union_px": 100.0,
                "truth_px": 50.0,
                "predicted_px": 50.0,
                "lost_px": 0.0,
                "defect_type": "void",
                "status": "ok",
            }
            for image_id, iou in ious.items()
            for method in methods
        ]
    )


def _choose(scores, n_random=0, seed=0):
    return choose_images(scores, n_random, rng=np.random.default_rng(seed))


def test_best_median_and_worst_are_chosen_by_mean_iou():
    """Over both methods: b is best on average though a is best for one."""
    scores = pd.concat(
        [
            _scores({"a": 1.0, "b": 0.8, "c": 0.1, "d": 0.3, "e": 0.0}, ["one"]),
            _scores({"a": 0.0, "b": 0.8, "c": 0.1, "d": 0.3, "e": 0.0}, ["two"]),
        ]
    )
    chosen = _choose(scores)
    assert chosen["image_id"].tolist() == ["b", "d", "e"]
    assert chosen["reason"].tolist() == ["best", "median", "worst"]
    assert chosen["mean_iou"].tolist() == pytest.approx([0.8, 0.3, 0.0])


def test_random_images_come_from_the_others_and_from_the_seed():
    """The draw repeats itself and does not depend on the order of rows."""
    scores = _scores({f"i{k:02d}": k / 30 for k in range(30)})
    chosen = _choose(scores, 4)
    assert chosen["image_id"].is_unique and len(chosen) == 7
    assert chosen["reason"].tolist()[3:] == ["random"] * 4
    pd.testing.assert_frame_equal(chosen, _choose(scores.iloc[::-1], 4))
    assert chosen["image_id"].tolist() != _choose(scores, 4, seed=1)["image_id"].tolist()


def test_ties_are_broken_by_name():
    """All methods at 0, as on the study's SAT images: still a rule."""
    chosen = _choose(_scores(dict.fromkeys("edcba", 0.0)))
    assert chosen["image_id"].tolist() == ["a", "c", "e"]


@pytest.mark.parametrize(("n_images", "n_chosen"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)])
def test_few_images_are_shown_once(n_images, n_chosen):
    """The only image is best, median and worst; it is not shown three times."""
    scores = _scores({f"{k}": k / 10 for k in range(n_images)})
    if n_images == 0:
        scores = _scores({"x": 0.1}).iloc[:0]
    assert len(_choose(scores, 2)) == n_chosen


def test_good_images_and_those_without_truth_are_not_chosen():
    """They have no IoU to be ranked by."""
    scores = _scores({"a": 0.5, "b": 0.9, "c": 0.1})
    scores.loc[1, "label"] = "OK"
    scores.loc[2, "truth_px"] = None
    assert _choose(scores, 5)["image_id"].tolist() == ["a"]


def test_overlay_tints_the_mask_and_leaves_the_rest():
    """Inside: 45 % yellow on grey 100; outside: the image."""
    image = np.full((60, 80, 3), 100, dtype=np.uint8)
    mask = np.zeros((60, 80), dtype=bool)
    mask[20:40, 20:60] = True
    drawn = draw_overlay(image, mask)
    expected = np.round(100 + 0.45 * (np.array(YELLOW) - 100.0))
    np.testing.assert_array_equal(drawn[30, 40], expected)
    np.testing.assert_array_equal(drawn[:15], image[:15])
    assert (drawn == YELLOW).all(axis=2).any(), "the outline is pure yellow"
    assert (image == 100).all(), "the caller's image stays as it was"


def test_defect_of_one_pixel_survives_a_strong_reduction():
    """By area it would fade to 1 / 256 of its contrast."""
    image = np.full((1024, 1024, 3), 100, dtype=np.uint8)
    mask = np.zeros((1024, 1024), dtype=bool)
    mask[511, 700] = True
    drawn = draw_overlay(image, mask, size_px=(64, 64))
    rows, columns = np.nonzero((drawn == YELLOW).all(axis=2))
    assert (rows.mean(), columns.mean()) == (511 * 64 // 1024, 700 * 64 // 1024)


def test_overlay_keeps_each_corner_when_enlarged():
    """A turned or mirrored mask would be seen here."""
    image = np.zeros((3, 4, 3), dtype=np.uint8)
    mask = np.zeros((3, 4), dtype=bool)
    mask[0, 3] = True
    drawn = draw_overlay(image, mask, size_px=(300, 400)).any(axis=2)
    assert drawn[50, 350] and not drawn[50, 50] and not drawn[250, 350]


def _figure(load, chosen=None, **options):
    if chosen is None:
        chosen = _choose(_scores({"a/$x$_1": 0.4, "b": 0.0}))
    return plot_overlays(chosen, load, methods={"m": "Method", "n": "Other"}, **options)


def _load(image_id):
    image = np.full((90, 120, 3), 120, dtype=np.uint8)
    truth = np.zeros((90, 120), dtype=np.uint8)
    truth[10:13, 100:104] = 255
    return image, truth, {"m": truth == 255, "n": np.zeros((90, 120), dtype=bool)}


def test_figure_has_a_cell_an_image_and_column():
    """Two images; image, truth and two methods."""
    figure = _figure(_load, title="T", footnote="f" * 300)
    assert len(figure.axes) == 2 * 4
    texts = [text.get_text() for text in figure.texts]
    assert {"Image", "Ground truth", "Method", "Other", "T"} <= set(texts)
    assert sum("void" in text for text in texts) == 2


def test_small_defect_is_enlarged_in_the_far_corner():
    """The defect is top right, so the enlarged view lies bottom left, in every cell."""
    with_zoom, without = _figure(_load), _figure(_load, zoom_small=False)
    for column in range(4):
        cell, plain = (f.axes[column].get_images()[0].get_array() for f in (with_zoom, without))
        height, width = cell.shape[:2]
        is_changed = (cell != plain).any(axis=2)
        assert is_changed[-height // 4 :, : width // 4].mean() > 0.1 or column in (0, 3)
        assert not is_changed[-height // 4 :, -width // 4 :].any()
    inset = with_zoom.axes[1].get_images()[0].get_array()[-150:, :150]
    assert (inset == YELLOW).all(axis=2).any()


def test_image_without_truth_is_drawn_bare():
    """A data set without masks has figures too."""
    figure = _figure(lambda image_id: (_load(image_id)[0], None, _load(image_id)[2]))
    image, truth = (figure.axes[k].get_images()[0].get_array() for k in (0, 1))
    np.testing.assert_array_equal(image, truth)


def test_images_are_loaded_one_after_the_other():
    """Nothing of an image stays when the next is loaded: memory does not grow with their number."""
    import weakref

    seen = []

    def load(image_id):
        assert all(reference() is None for reference in seen), "an earlier image is still held"
        image, truth, masks = _load(image_id)
        seen.append(weakref.ref(image))
        return image, truth, masks

    _figure(load)
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda i: (*_load(i)[:2], {"m": _load(i)[1] == 255}), "expected the masks of m, n, but n"),
        (lambda i: (_load(i)[0][..., 0], *_load(i)[1:]), "must be uint8 RGB"),
        (lambda i: (*_load(i)[:2], dict.fromkeys("mn", np.ones((2, 2), bool))), r"\(90, 120\)"),
    ],
)
def test_broken_input_is_refused(load, message):
    """A mask of another size belongs to another image."""
    with pytest.raises(ValueError, match=message):
        _figure(load)


def test_nothing_to_draw_is_refused():
    """An empty picture in a report would look like a result."""
    with pytest.raises(ValueError, match="0 images and 2 methods"):
        _figure(_load, _choose(_scores({"x": 0.1}).iloc[:0]))


def test_files_are_the_same_each_time_and_have_the_resolution_asked_for(tmp_path):
    """A re-run must not look like a change."""
    for folder in ("one", "two"):
        save_figure(_figure(_load), tmp_path / folder, stem="f", dpi=100)
    for name in ("f.png", "f.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with Image.open(tmp_path / "one" / "f.png") as png:
        width_inches = _figure(_load).get_size_inches()[0]
        assert png.width == pytest.approx(100 * width_inches, abs=1)


def test_notes_say_iou_and_what_happened():
    """Below each cell: the score, or why there is none."""
    scores = _scores({"a": 0.834, "b": 0.0, "c": 0.0, "d": 0.0})
    scores.loc[1, ["status", "predicted_px"]] = ["no_box", 0.0]
    scores.loc[2, ["iou", "predicted_px"]] = [np.nan, 0.0]
    scores.loc[3, ["iou", "predicted_px"]] = np.nan
    assert iou_notes(scores) == {
        ("a", "a"): "IoU 0.83",
        ("b", "a"): "IoU 0.00 (no box)",
        ("c", "a"): "nothing found",
        ("d", "a"): "no mask",
    }
    scores.loc[0, "status"] = "not_comparable"
    assert iou_notes(scores)["a", "a"] == "not judged: not comparable to the reference", "no IoU"
    with pytest.raises(ValueError, match="a under a has two"):
        iou_notes(pd.concat([scores, scores]))


def test_distribution_has_a_panel_a_data_set_and_a_line_a_method(tmp_path):
    """Each image is a point, and the study's mean stands beside ours."""
    first = _scores({"a": 0.5, "b": 0.9}, ["grounded_sam", "sam_clip"])
    scores = pd.concat([first, first.assign(dataset="other")])
    table = segmentation_table(
        scores,
        datasets={"set": {"published_as": "mvtec_ad"}, "other": {}},
        methods={"grounded_sam": {"label": "GroundingDINO + SAM"}, "sam_clip": {"name": "Mine"}},
        seed=0,
        n_resamples=50,
    )
    figure = plot_iou_distribution(scores, table, rng=np.random.default_rng(0))
    assert len(figure.axes) == 2
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["GroundingDINO + SAM (plain)", "Mine (plain)"]
    points = figure.axes[0].collections[0].get_offsets()
    assert sorted(points[:, 0]) == [0.5, 0.9]
    save_figure(figure, tmp_path, stem="d")
    assert (tmp_path / "d.png").stat().st_size > 0
    with pytest.raises(ValueError, match="segmentation table is empty"):
        plot_iou_distribution(scores, table.iloc[:0], rng=np.random.default_rng(0))
