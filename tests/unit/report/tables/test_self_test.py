"""An easy data set must be easy; where it is not, the set-up is broken."""

import pandas as pd
import pytest

from realitycheck.core.tables import check_table
from realitycheck.report.tables.self_test import (
    SELF_TEST,
    self_test,
    self_test_text,
    stored_bands,
    verdict,
)

COLUMNS = ["dataset", "method", "prompt", "mean_iou", "dataset_name", "method_name"]


def table(**mean_iou):
    rows = [
        ("pets", method, "plain", value, "Pets", method.upper())
        for method, value in mean_iou.items()
    ]
    rows.append(("textures", "grounded_sam", "plain", 0.0, "Textures", "GROUNDED_SAM"))
    return pd.DataFrame(rows, columns=COLUMNS)


KINDS = {"grounded_sam": "grounded_sam", "mine": "grounded_sam", "saa_plus": "saa_plus"}
BANDS = {"grounded_sam": 0.5}


def test_scores_within_their_band_pass():
    """Other data sets, and methods without a band, play no part."""
    tested = self_test(
        table(grounded_sam=0.5, saa_plus=0.0), datasets=["pets"], kinds=KINDS, bands=BANDS
    )
    check_table(tested, SELF_TEST, where="self-test")
    assert list(tested["method"]) == ["grounded_sam"]
    assert verdict(tested).startswith("Self-test passed: 1 of 1 easy runs")


@pytest.mark.parametrize("mean_iou", [0.49, float("nan")])
def test_score_below_its_band_says_that_the_set_up_is_broken(mean_iou):
    """The reader must not take it for what the model can do; no score at all is a failure too."""
    tested = self_test(
        table(grounded_sam=0.8, mine=mean_iou), datasets=["pets"], kinds=KINDS, bands=BANDS
    )
    assert list(tested["passed"]) == [True, False]
    assert "the set-up is broken, not the model" in verdict(tested)
    assert "MINE (plain) on Pets" in verdict(tested)
    text = self_test_text(tested)
    assert [row[-1] for row in text.rows] == ["passed", "FAILED"]
    assert text.legend == [verdict(tested)]


def test_stored_bands_ask_for_something():
    """A band of 0 could never fail."""
    assert stored_bands()
    assert all(0.05 < least < 1 for least in stored_bands().values())
