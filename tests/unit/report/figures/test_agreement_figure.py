"""Agreement as a picture: whom it shows, and when squares are drawn."""

import numpy as np
import pandas as pd

from realitycheck.report.figures.agreement import plot_agreement
from realitycheck.report.tables.agreement import AGREEMENT
from realitycheck.report.tables.base import typed_table


def table(*raters, missing=False):
    """Every rater within itself and with the truth, and every pair."""
    about = {"dataset": "chips", "dataset_name": "Chips", "method": "line"}
    about |= {"method_name": "Cost in $ and €", "other_prompt": "*"}
    share = {"agreement": 0.8, "agreement_worst": 0.8, "agreement_best": 0.8}
    share |= {"agreement_low": 0.6, "agreement_high": 0.9}
    if missing:
        share |= {"agreement": None, "agreement_best": 0.85}
    rows = [
        about | share | {"prompt": rater, "quantity": quantity}
        for rater in raters
        for quantity in ("within", "truth")
    ]
    if len(raters) > 1:
        rows += [about | share | {"prompt": "*", "quantity": "between"}]
    rows += [
        about | {"prompt": first, "other_prompt": other, "quantity": "pair", "kappa": kappa}
        for kappa, (first, other) in zip(
            [-0.1, np.nan, 0.9], zip(raters, raters[1:] + raters[:1], strict=True), strict=False
        )
        if len(raters) > 1
    ]
    return typed_table(rows, AGREEMENT)


def test_squares_are_drawn_for_three_raters_and_more():
    """Of two there is one number, which the table has."""
    assert len(plot_agreement(table("anna", "ben")).axes) == 1
    shares, squares = plot_agreement(table("anna", "ben", "carl")).axes
    names = [label.get_text() for label in shares.get_yticklabels()]
    assert names == [
        *(f"Cost in $ and € ({rater})" for rater in ("anna", "ben", "carl")),
        "Cost in $ and €: all together",
    ]
    assert {text.get_text() for text in squares.texts} == {"·", "−0.10", "–", "0.90"}


def test_lines_are_the_intervals_and_open_parts_are_hollow():
    (axes,) = plot_agreement(table("basic", missing=True)).axes
    drawn = [line for line in axes.get_lines() if len(line.get_xdata())]
    assert [tuple(line.get_xdata()) for line in drawn] == [(0.6, 0.9), (0.825,)] * 2
    assert [line.get_mfc() for line in drawn if len(line.get_xdata()) == 1] == ["white"] * 2


def test_nothing_to_compare_is_said():
    (words,) = plot_agreement(pd.DataFrame(columns=AGREEMENT.columns)).texts
    assert words.get_text() == "No part has more than one verdict."
