"""Figures of the evidence say what the tables say, and why where there is nothing to draw."""

import numpy as np
import pandas as pd
import pytest

from realitycheck.report.figures.detection_probability import plot_detection_probability
from realitycheck.report.figures.published_scores import plot_published_scores
from realitycheck.report.figures.slip_overkill import _numbers_text, plot_slip_overkill

KEYS = {"dataset": "d", "dataset_name": "Plates", "prompt": "plain"}


def words(figure):
    """Every text of a figure."""
    figure.canvas.draw()
    texts = [text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))]
    return "\n".join(filter(None, texts)).replace("\n", " ")


def readiness(*rates):
    rows = []
    for number, (slip, overkill) in enumerate(rates):
        row = KEYS | {"method": f"m{number}", "method_name": f"Method {number}"}
        for name, rate in (("slip_rate", slip), ("overkill_rate", overkill)):
            row |= {name: rate, f"{name}_low": rate / 2, f"{name}_high": min(1, rate * 1.5 + 0.02)}
        limits = {"max_slip_rate": 0.03, "max_overkill_rate": 0.07, "n_ok": 40, "n_nok": 30}
        limits |= {"n_answered": 70}
        rows.append(row | limits)
    return pd.DataFrame(rows)


def detection(status="estimated", reason="", n_defects=40):
    keys = {"method": "m", "prompt": "plain"}
    row = KEYS | keys | {"method_name": "Method", "unit": "mm2", "status": status}
    row |= {"reason": reason, "n_defects": n_defects, "n_hits": 25, "a90": 120.0, "a90_95": 190.0}
    sizes = np.geomspace(5, 500, 20) if status == "estimated" else np.array([])
    share = 1 / (1 + (40 / sizes) ** 1.5)
    curve = pd.DataFrame({"size": sizes, "probability": share})
    curve["probability_low"], curve["probability_high"] = share * 0.8, np.minimum(1, share * 1.2)
    bins = pd.DataFrame(
        {"size_low": [5.0, 50.0], "size_high": [50.0, 500.0], "n_defects": [19, 21]}
        | {"n_hits": [6, 19], "recall": [6 / 19, 19 / 21]}
        | {"recall_low": [0.1, 0.7], "recall_high": [0.6, 0.99]}
    )
    for table in (curve, bins):
        table["method"], table["prompt"] = "m", "plain"
    return pd.DataFrame([row]), curve, bins


def test_limits_counts_and_names_stand_in_the_figure():
    """A printed figure is read without its table."""
    said = words(plot_slip_overkill(readiness((0.1, 0.2), (0.5, 0.0))))
    for part in ("limit 3 %", "limit 7 %", "30 defective, 40 good parts", "Method 0 (plain)"):
        assert part in said


def test_methods_on_one_spot_share_a_mark_with_both_numbers():
    """Two methods that reject everything would hide each other."""
    said = words(plot_slip_overkill(readiness((0.0, 1.0), (0.0, 1.0), (0.4, 0.1))))
    assert "1, 2" in said


def test_an_unanswered_range_is_drawn_in_the_middle_of_its_bounds():
    """There is no rate to put the mark on, so it is hollow."""
    table = readiness((0.1, 0.2))
    table[["slip_rate", "overkill_rate"]] = np.nan
    (mark,) = [text for text in plot_slip_overkill(table).axes[0].texts if text.get_text() == "1"]
    assert mark.xy == pytest.approx((0.21, 0.11))
    assert mark.get_bbox_patch().get_facecolor() == (1, 1, 1, 1)


def test_a_method_that_judged_no_part_has_no_mark():
    """Bounds of 0 and 1 would put it in the middle, as if it had been asked and had guessed."""
    table = readiness((0.1, 0.2), (0.5, 0.5))
    table.loc[1, ["n_answered", "slip_rate", "overkill_rate"]] = [0, np.nan, np.nan]
    figure = plot_slip_overkill(table)
    assert not [text for text in figure.axes[0].texts if text.get_text() == "2"]
    assert "Method 1 (plain): no part was judged" in words(figure)


@pytest.mark.parametrize(
    ("figure", "scale"),
    [
        (lambda: plot_slip_overkill(readiness((0.1, 0.2))), "square-root scale"),
        (lambda: plot_detection_probability(*detection()), "logarithmic scale"),
    ],
)
def test_scales_that_are_not_linear_are_named_on_their_axis(figure, scale):
    """Distances on the paper are no differences of the numbers."""
    assert scale in words(figure())


def test_curve_and_marks_carry_the_unit():
    """a90 without its unit is no number."""
    said = words(plot_detection_probability(*detection()))
    for part in ("a90 = 120 mm²", "a90/95 = 190 mm²", "area of the defect in mm²", "19", "21"):
        assert part in said


def test_reason_stands_where_no_curve_could_be_fitted():
    """The raw shares are still drawn."""
    reason = "cannot be estimated: 3 misses, and at least 10 are needed"
    figure = plot_detection_probability(*detection("too_few_misses", reason))
    assert reason in words(figure)
    assert len(figure.axes[0].lines) == 4, "a bar and a point for each bin, no curve, no a90"


@pytest.mark.parametrize(
    ("figure", "sentence"),
    [
        (lambda: plot_detection_probability(*detection(n_defects=0)), "No defect has a ground"),
        (lambda: plot_slip_overkill(readiness()), "There is no method"),
        (
            lambda: plot_published_scores(
                pd.DataFrame({"published_iou": [np.nan]}), pd.DataFrame({"published_f2": [np.nan]})
            ),
            "The study gives no number",
        ),
    ],
)
def test_where_nothing_can_be_drawn_a_sentence_says_why(figure, sentence):
    """An empty frame looks like a fault."""
    assert sentence in words(figure())


def test_study_floor_and_our_interval_stand_on_one_line():
    """The reader sees at once whether the interval holds the study's number."""
    table = pd.DataFrame(
        [
            KEYS
            | {"method": "m", "method_name": "Method", "f2": 0.5, "f2_low": 0.4, "f2_high": 0.6}
            | {"published_f2": 0.37, "f2_floor": 0.41, "n_images": 263, "n_answered": 263}
        ]
    )
    figure = plot_published_scores(pd.DataFrame({"published_iou": [np.nan]}), table)
    (axes,) = figure.axes
    drawn = {tuple(np.round(line.get_xdata(), 2)) for line in axes.lines}
    assert {(0.4, 0.6), (0.5,), (0.37,), (0.41,)} <= drawn
    assert "n = 263" in words(figure)


@pytest.mark.parametrize(("n_answered", "n_ranges"), [(0, 0), (200, 1)])
def test_a_score_that_is_not_known_has_no_point_beside_the_study(n_answered, n_ranges):
    """Not asked: nothing of ours is drawn. Partly answered: the range, without a point in it."""
    row = KEYS | {
        "method": "m",
        "method_name": "Model",
        "f2": np.nan,
        "f2_low": 0.0,
        "f2_high": 1.0,
    }
    row |= {"published_f2": 0.37, "f2_floor": 0.41, "n_images": 263, "n_answered": n_answered}
    figure = plot_published_scores(pd.DataFrame({"published_iou": [np.nan]}), pd.DataFrame([row]))
    drawn = [tuple(np.round(line.get_xdata(), 2)) for line in figure.axes[0].lines]
    assert sorted(drawn) == sorted([(0.37,), (0.41,)] + n_ranges * [(0.0, 1.0)])
    assert ("no part was judged" in words(figure)) == (n_answered == 0)


def test_many_numbers_at_one_place_are_named_by_their_runs():
    """A mark that names eleven methods one by one would leave the figure."""
    assert _numbers_text([1, 2, 3, 4, 7, 8, 13]) == "1–4, 7, 8, 13"
    assert _numbers_text([5]) == "5"
