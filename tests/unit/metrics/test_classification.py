"""Confusion counts and rates, by hand and against scikit-learn."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from realitycheck.metrics.classification import (
    Confusion,
    best_case,
    confusion,
    f_beta,
    overkill_rate,
    precision,
    recall,
    slip_rate,
    worst_case,
)

LABEL = st.sampled_from(["OK", "NOK"])


def test_counts_by_hand_keep_the_unanswered_apart():
    """Each of the six outcomes once, the slip twice."""
    labels = ["NOK", "NOK", "NOK", "NOK", "OK", "OK", "OK"]
    predicted = ["NOK", "OK", "OK", None, "NOK", "OK", float("nan")]
    counts = confusion(labels, predicted)
    assert counts == Confusion(tp=1, fp=1, fn=2, tn=1, unanswered_nok=1, unanswered_ok=1)
    assert (counts.n_nok, counts.n_ok, counts.n_answered) == (4, 3, 5)


def test_missing_verdicts_of_a_pandas_column_are_unanswered():
    """Parquet gives pandas.NA or NaN, not None."""
    predicted = pd.Series(["NOK", None, "OK"], dtype="string")
    assert confusion(pd.Series(["NOK", "NOK", "OK"]), predicted).unanswered_nok == 1


def test_rates_by_hand():
    """P = 3/4 and R = 3/5: F2 = 5 * 0.45 / 3.6 = 0.625."""
    counts = Confusion(tp=3, fp=1, fn=2, tn=9)
    assert precision(counts) == 0.75
    assert recall(counts) == 0.6
    assert slip_rate(counts) == 0.4
    assert overkill_rate(counts) == 0.1
    assert f_beta(counts) == pytest.approx(5 * 0.75 * 0.6 / (4 * 0.75 + 0.6), abs=1e-15)
    assert f_beta(counts) == 0.625


@settings(max_examples=80)
@given(pairs=st.lists(st.tuples(LABEL, LABEL), min_size=1, max_size=60), beta=st.floats(0.2, 4))
def test_scores_agree_with_scikit_learn(pairs, beta):
    """Wherever scikit-learn's value is defined, ours is the same; elsewhere ours is missing."""
    labels, predicted = zip(*pairs, strict=True)
    counts = confusion(labels, predicted)
    assert [[counts.tn, counts.fp], [counts.fn, counts.tp]] == metrics.confusion_matrix(
        labels, predicted, labels=["OK", "NOK"]
    ).tolist()
    options = {"pos_label": "NOK", "zero_division": np.nan}
    for ours, theirs in (
        (precision(counts), metrics.precision_score(labels, predicted, **options)),
        (recall(counts), metrics.recall_score(labels, predicted, **options)),
        (f_beta(counts, beta), metrics.fbeta_score(labels, predicted, beta=beta, **options)),
    ):
        assert ours == pytest.approx(theirs, abs=1e-12, nan_ok=True)
    assert slip_rate(counts) == pytest.approx(1 - recall(counts), abs=1e-12, nan_ok=True)


def test_edges_are_undefined_and_not_zero():
    """No defective part, no good part, nothing rejected, nothing answered."""
    only_good = confusion(["OK", "OK"], ["OK", "OK"])
    assert math.isnan(recall(only_good)) and math.isnan(f_beta(only_good))
    assert math.isnan(slip_rate(only_good)) and overkill_rate(only_good) == 0
    only_bad = confusion(["NOK"], ["OK"])
    assert math.isnan(precision(only_bad)) and math.isnan(overkill_rate(only_bad))
    assert f_beta(only_bad) == 0
    silent = confusion(["NOK", "OK"], [None, None])
    assert silent.n_answered == 0
    for rate in (precision, recall, f_beta, slip_rate, overkill_rate):
        assert math.isnan(rate(silent))


def test_good_set_with_a_false_alarm_has_f2_zero():
    """0 / fp is defined: something was rejected and nothing was right about it."""
    assert f_beta(confusion(["OK", "OK"], ["NOK", "OK"])) == 0


@settings(max_examples=40)
@given(pairs=st.lists(st.tuples(LABEL, st.sampled_from(["OK", "NOK", None])), max_size=7))
def test_worst_and_best_bound_every_way_to_answer(pairs):
    """Tried out: each completion of the missing verdicts lies inside the range."""
    labels = [label for label, _ in pairs]
    counts = confusion(labels, [verdict for _, verdict in pairs])
    low, high = worst_case(counts), best_case(counts)
    choices = [[verdict] if verdict else ["OK", "NOK"] for _, verdict in pairs]
    for verdicts in itertools.product(*choices):
        filled = confusion(labels, verdicts)
        for rate, sign in ((f_beta, 1), (recall, 1), (precision, 1), (slip_rate, -1)):
            value, worst, best = sign * rate(filled), sign * rate(low), sign * rate(high)
            if not math.isnan(value):
                assert math.isnan(worst) or worst <= value + 1e-15
                assert math.isnan(best) or value <= best + 1e-15


def test_arrays_of_counts_give_arrays_of_scores():
    """The bootstrap scores all resamples at once, undefined ones too."""
    counts = Confusion(*(np.array(column) for column in ([3, 0], [1, 0], [2, 0], [9, 5])))
    np.testing.assert_array_equal(f_beta(counts), [0.625, np.nan])


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        (["OK", "bad"], ["OK", "OK"], "true label .*1 of 2 .*position 1, value 'bad'"),
        (["OK", None], ["OK", "OK"], "true label .*1 of 2"),
        (["OK", "OK"], ["OK", "defect"], "verdict .*1 of 2 .*position 1, value 'defect'"),
        (["OK"], ["OK", "OK"], r"\(1,\) and \(2,\)"),
    ],
)
def test_other_labels_are_refused(labels, predicted, message):
    """An unknown word must not be counted as a pass."""
    with pytest.raises(ValueError, match=message):
        confusion(labels, predicted)


def test_beta_must_be_positive():
    """beta = 0 would be precision under another name."""
    with pytest.raises(ValueError, match="above 0, but is 0"):
        f_beta(Confusion(1, 1, 1, 1), 0)
