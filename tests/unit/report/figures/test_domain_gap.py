"""The domain gap as a table and a figure for people."""

import numpy as np
import pandas as pd
import pytest

from realitycheck.report.figures.domain_gap import plot_domain_gap
from realitycheck.report.tables.domain_gap import DOMAIN_GAP, domain_gap_text


@pytest.fixture
def table():
    rows = [
        ("sat", 9, 90.0, 6.0, None, None, "Scans"),
        ("pets", 10, 4.0, 1.2, 5.5, 0.8, "Pets for $5"),
    ]
    return pd.DataFrame(rows, columns=DOMAIN_GAP.columns)


def scores(*rows):
    columns = ["dataset", "method", "prompt", "mean_iou", "method_name", "is_floor"]
    return pd.DataFrame(rows, columns=columns)


def test_table_for_people_has_a_row_a_data_set_and_dashes_for_what_is_not_known(table):
    """A set without automatic masks must not look as if it had none."""
    text = domain_gap_text(table)
    assert text.rows == [
        ["Scans", "9", "6.00", "90.0", "–", "–"],
        ["Pets for $5", "10", "1.20", "4.0", "5.5", "0.80"],
    ]


def test_figure_marks_every_run_over_the_gaps(table):
    """The nearer set stands on the left; no line suggests what lies between two data sets."""
    figure = plot_domain_gap(
        table,
        scores(
            ("sat", "a", "plain", 0.1, "Method A", False),
            ("pets", "a", "plain", 0.6, "Method A", False),
            ("pets", "b", "none", np.nan, "Method B", False),
            ("sat", "whole_image", "none", 0.02, "Baseline: whole image", True),
        ),
        title="Carry",
    )
    (axes,) = figure.axes
    drawn = {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
    assert list(drawn) == ["Method A (plain)", "Baseline: whole image"]
    assert {line.get_linestyle() for line in drawn.values()} == {"None"}
    assert list(drawn["Method A (plain)"].get_xdata()) == [1.2, 6.0]
    assert list(drawn["Method A (plain)"].get_ydata()) == [0.6, 0.1]
    names = [text.get_text() for text in figure.texts]
    assert {"Carry", "Scans", "Pets for $5"} <= set(names)


def test_figure_without_scores_says_so(table):
    """An empty frame would look like a fault."""
    figure = plot_domain_gap(table, scores(), title="Carry")
    assert "No defective part has a ground truth" in figure.texts[-1].get_text()
