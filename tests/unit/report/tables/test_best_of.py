"""The best of several is named with what to expect of it."""

import numpy as np
import pandas as pd
import pytest

from realitycheck.core.schemas import SCORES
from realitycheck.report.tables.best_of import best_of_table, best_of_text, best_sentence

DATASETS = {"chips": {"name": "Chips"}}
METHODS = {f"m{n}": {"kind": "lvlm", "name": f"Model {n}"} for n in range(20)}


def scored(error, *, n_methods=20, n_parts=200, seed=0):
    """Methods that are wrong on a part by chance alone, each as often."""
    rng = np.random.default_rng(seed)
    truth = np.array(["OK", "NOK"] * (n_parts // 2))
    rows = []
    for number in range(n_methods):
        said = np.where(rng.random(n_parts) < error, np.where(truth == "OK", "NOK", "OK"), truth)
        for part in range(n_parts):
            rows.append(
                dict.fromkeys(SCORES.columns)
                | {"dataset": "chips", "method": f"m{number}", "prompt": "plain"}
                | {"image_id": f"{part:03}", "category": "p", "label": truth[part]}
                | {"label_predicted": said[part], "status": "answered"}
            )
    return pd.DataFrame(rows)


def best_of(scores, n_tries=24):
    return best_of_table(
        scores, DATASETS, METHODS, n_tries={"chips": n_tries}, n_resamples=400, seed=0
    )


def test_winner_of_equal_methods_is_expected_where_all_are():
    """Twenty methods that are right in 7 of 10 parts: the best was lucky, and that is taken off."""
    seen, expected = [], []
    for seed in range(8):
        row = best_of(scored(0.3, seed=seed)).set_index("quantity").loc["informedness"]
        seen.append(row["score"])
        expected.append(row["expected"])
    truly = 1 - 2 * 0.3
    assert np.mean(seen) > truly + 0.07
    assert np.mean(expected) == pytest.approx(truly, abs=0.04)


def test_best_is_told_with_all_that_were_tried():
    """Not only those at hand; masks are compared where there are any."""
    table = best_of(scored(0.3, n_methods=3))
    assert list(table["quantity"]) == ["f2", "informedness"]
    assert (table["n_compared"] == 3).all() and (table["n_tries"] == 24).all()
    said = best_sentence(table, "chips")
    assert said.startswith("Best of 24 by F2: Model ")
    assert f"expect about {table['expected'][0]:.2f} on new ones" in said
    assert [row[3] for row in best_of_text(table).rows] == ["best of 24"] * 2


def test_one_method_is_the_best_of_nothing():
    """No row, no sentence; a method that judged nothing is none to compare with."""
    scores = scored(0.3, n_methods=2)
    scores.loc[scores["method"] == "m1", "label_predicted"] = None
    table = best_of(scores)
    assert table.empty
    assert best_sentence(table, "chips") == ""


def test_masks_are_compared_by_their_overlap_once():
    """Verdicts by area are of the same masks."""
    scores = scored(0.3, n_methods=3, n_parts=40)
    scores["predicted_px"], scores["truth_px"] = 5, 10
    scores["iou"] = scores["method"].map({"m0": 0.2, "m1": 0.6, "m2": 0.4})
    methods = METHODS | {"m2": METHODS["m2"] | {"verdict_by": "area"}}
    table = best_of_table(scores, DATASETS, methods, n_tries={}, n_resamples=200, seed=0).set_index(
        "quantity"
    )
    row = table.loc["mean_iou"]
    assert (row["method"], row["n_compared"], row["score"]) == ("m1", 2, pytest.approx(0.6))
    assert row["shrinkage"] == 0, "one that is better on every part is no luck"
