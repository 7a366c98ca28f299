"""Panels show what they are given, say what became of an image, and stay legible."""

import io

import numpy as np
import pytest
from PIL import Image

from realitycheck.core.schemas import MASK_STATUSES
from realitycheck.core.views import (
    N_LISTED,
    YELLOW,
    BoxStyle,
    Candidate,
    View,
    boxes_view,
    image_view,
    list_view,
    map_view,
    mask_view,
    masks_view,
    points_view,
)
from realitycheck.report.panels import plot_panel, result_words, save_panel
from realitycheck.report.words import STATUS_WORDS

KEPT, LOW = BoxStyle("kept", "yellow", is_dashed=False), BoxStyle("score too low", "white")
GREY = np.full((60, 80, 3), 100, np.uint8)


def candidates(n_kept, n_rejected):
    """Boxes, best first, the kept ones before the others."""
    return [
        Candidate(
            number,
            1 - number / 100,
            f"defect {number}",
            number <= n_kept,
            (number, 2, number + 20, 30),
            KEPT if number <= n_kept else LOW,
        )
        for number in range(1, n_kept + n_rejected + 1)
    ]


def score(**changes):
    """A row of the scores table: a defective image with a mask that hits a quarter."""
    return {
        "status": "ok",
        "score": 0.625,
        "iou": 0.25,
        "intersection_px": 10,
        "union_px": 40,
        "label": "NOK",
        "label_predicted": "NOK",
    } | changes


def draw(views, **words):
    return plot_panel(views, **({"title": "t", "subtitle": "s", "caption": "c"} | words))


def words_of(figure):
    """Everything that is written in a figure."""
    texts = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        texts += [text.get_text() for text in axes.texts]
        texts += [label.get_text() for label in axes.get_xticklabels()]
    return texts


def test_every_status_has_words():
    """A person is told what happened, not given a code."""
    assert {status for status, words in STATUS_WORDS.items() if words.sentence} == MASK_STATUSES


def test_result_says_status_score_iou_and_verdict():
    assert result_words(score(), threshold=0.31) == (
        "Status ok: a mask was found. Score 0.625. Threshold 0.31. IoU 0.25 (10 px in common of "
        "40 px). Verdict NOK, rightly: a defective part is rejected."
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": "OK", "iou": None}, "No IoU: the part is good. Verdict NOK, wrongly: a good"),
        ({"label_predicted": "OK"}, "Verdict OK, wrongly: a defective part passes (slip)"),
        ({"label": "OK", "iou": None, "label_predicted": "OK"}, "Verdict OK, rightly"),
        ({"iou": 0.0}, "a defective part is rejected, though none of the defect is marked."),
        ({"iou": np.nan}, "No IoU: nobody drew where the defect is."),
        (
            {"status": "missing", "iou": None, "label_predicted": None},
            "No IoU: the image was not judged. No verdict.",
        ),
    ],
)
def test_result_names_each_outcome(changes, words):
    """Slip and overkill are what the report counts; a panel shows one of them."""
    assert words in result_words(score(**changes))


def test_result_without_score_or_finite_threshold_says_so():
    """No box, no score; and where all maps are constant no value reaches the threshold."""
    told = result_words(score(status="no_box", score=None, iou=0.0), threshold=np.inf)
    assert "Score" not in told
    assert "Threshold above every value." in told
    assert "found no box" in told


def test_every_kept_box_is_drawn_and_the_others_are_counted():
    """What made the mask is never left out; of the rest the best are shown and all are counted."""
    view = boxes_view(GREY, candidates(20, 30), title="Boxes", note="Note.")
    drawn = [each.number for each in view.boxes]
    assert set(drawn) == {*range(1, 21), *range(21, 21 + N_LISTED)}
    assert drawn[-1] == 1, "the best lies on top"
    assert view.note == "Note. Not drawn: 18 rejected with lower scores."
    figure = draw([view])
    assert len(figure.axes[0].patches) == 20 + N_LISTED
    assert "kept (20)" in words_of(figure)
    assert f"score too low ({N_LISTED})" in words_of(figure)


def test_list_names_the_best_and_counts_all():
    view = list_view(candidates(2, 15), title="Scores", threshold=0.9, note="Note.")
    assert [each.number for each in view.candidates] == list(range(1, N_LISTED + 1))
    assert view.note == f"Note. The best {N_LISTED} of 17 are listed."
    words = words_of(draw([image_view(GREY), view]))
    assert "1:  0.990  defect 1" in words
    assert "threshold 0.9" in words


def test_list_without_candidates_says_that_there_is_none():
    """An empty place would look like a fault of the drawing."""
    assert "There is none." in words_of(draw([list_view([], title="Scores", threshold=0.5)]))


def test_map_shows_its_range_and_threshold():
    values = np.linspace(0, 0.5, 16, dtype=np.float32).reshape(4, 4)
    view = map_view(values, image_size_hw=(60, 80), title="Map", threshold=0.25)
    words = words_of(draw([view]))
    assert {"0", "0.5", "threshold 0.25"} <= set(words)


@pytest.mark.parametrize(
    ("threshold", "words"), [(2.0, "threshold 2 (above)"), (-1.0, "threshold -1 (below)")]
)
def test_threshold_beyond_the_map_is_marked_as_such(threshold, words):
    """Else a mark at the end of the scale would look as if it lay within."""
    values = np.eye(4, dtype=np.float32)
    view = map_view(values, image_size_hw=(60, 80), title="Map", threshold=threshold)
    assert words in words_of(draw([view]))


@pytest.mark.parametrize("values", [np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_map_without_range_can_be_drawn(values):
    """A black image has a constant map; that is a result, not an error."""
    view = map_view(values, image_size_hw=(60, 80), title="Map", threshold=np.inf)
    assert not [text for text in words_of(draw([view])) if "threshold" in text]


def test_truth_is_outlined_around_the_defect_and_not_over_it():
    """A defect of a few pixels would else vanish below its own outline."""
    truth = np.zeros((60, 80), bool)
    truth[30, 40] = True
    view = map_view(np.eye(4), image_size_hw=(60, 80), title="Map", truth=truth)
    ((outline, _, name),) = view.contours
    assert name == "around the true defect"
    rows, columns = np.nonzero(outline)
    scale = outline.shape[1] / 80
    assert columns.min() < 40 * scale < 41 * scale < columns.max()
    assert rows.min() < 30 * scale < 31 * scale < rows.max()


def test_selected_masks_are_outlined_and_names_lie_inside():
    """A name at the centre of a ring would name the hole."""
    ring = np.zeros((60, 80), bool)
    ring[10:50, 10:50] = True
    ring[20:40, 20:40] = False
    other = np.zeros((60, 80), bool)
    other[5:9, 60:70] = True
    view = masks_view(
        GREY,
        [ring, other],
        names=["1", "2"],
        is_selected=[True, False],
        title="Masks",
    )
    assert len(view.contours) == 1
    (x, y, name), (x_2, y_2, _) = view.labels
    assert name == "1" and ring[int(y), int(x)]
    assert other[int(y_2), int(x_2)]
    assert "selected" in words_of(draw([view]))


def test_masks_have_different_colours():
    """Neighbours must be told apart."""
    left, right = np.zeros((2, 60, 80), bool)
    left[:, :40], right[:, 40:] = True, True
    view = masks_view(
        GREY, [left, right], names=["", ""], is_selected=[False, False], title="Masks"
    )
    height, width = view.picture.shape[:2]
    one, two = view.picture[height // 2, width // 4], view.picture[height // 2, 3 * width // 4]
    assert np.abs(one.astype(int) - two.astype(int)).max() > 60


def test_points_are_drawn_with_their_meaning():
    points, labels = np.array([[10, 10], [70, 50], [5, 5]]), np.array([1, 0, 0])
    words = words_of(draw([points_view(GREY, points, labels, title="Points")]))
    assert {"belongs to it (1)", "does not (2)"} <= set(words)


def test_mask_of_another_size_is_brought_to_the_image():
    """SAA+ may mark on a square of 400 px."""
    mask = np.zeros((400, 400), bool)
    mask[:200, :200] = True
    view = mask_view(GREY, mask, title="Final mask")
    height, width = view.picture.shape[:2]
    tinted = np.round(100 + 0.45 * (np.array(YELLOW) - 100.0))
    np.testing.assert_array_equal(view.picture[height // 4, width // 4], tinted)
    np.testing.assert_array_equal(view.picture[3 * height // 4, 3 * width // 4], [100, 100, 100])


@pytest.mark.parametrize(
    ("size", "n_views", "n_columns"),
    [((60, 80), 5, 5), ((60, 80), 8, 4), ((60, 80), 7, 4), ((30, 400), 5, 1), ((30, 100), 5, 2)],
)
def test_wide_images_get_wide_places(size, n_views, n_columns):
    """An image of 4000 × 300 px would else be a line of a few pixels."""
    view = image_view(np.zeros((*size, 3), np.uint8))
    figure = draw([view] * n_views)
    lefts = {round(axes.get_position().x0, 3) for axes in figure.axes}
    assert len(lefts) == n_columns


def test_high_image_keeps_its_place():
    """It must not push the rest of the panel out of sight."""
    figure = draw([image_view(np.zeros((4000, 300, 3), np.uint8))] * 5)
    assert figure.get_size_inches()[1] < 6


def test_title_with_a_formula_is_text():
    """File names and prompts are the user's."""
    figure = draw([image_view(GREY)], subtitle="OK/$x_$.png", caption="a $\\frac$")
    save_panel(figure, io.BytesIO())
    assert "OK/$x_$.png" in words_of(figure)


def test_same_panel_gives_the_same_bytes():
    """So that a re-run changes no file that did not change."""
    files = []
    for _ in range(2):
        views = [boxes_view(GREY, candidates(1, 2), title="b"), image_view(GREY)]
        files.append(io.BytesIO())
        save_panel(draw(views), files[-1])
    assert files[0].getvalue() == files[1].getvalue()
    with Image.open(files[0]) as image:
        assert image.format == "PNG"
        assert image.width == 1650


def test_panel_without_views_is_refused():
    with pytest.raises(ValueError, match="at least one view"):
        draw([])


def test_view_of_words_only_takes_no_picture():
    figure = draw([image_view(GREY), View("Saliency", note="That map is not stored.")])
    assert len(figure.axes) == 1
    assert "That map is not stored." in words_of(figure)
