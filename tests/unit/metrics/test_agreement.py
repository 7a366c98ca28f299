"""Agreement of repeats and raters, by hand, as published, and against independent packages."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats import inter_rater

from realitycheck.metrics.agreement import (
    agreed_share,
    agreement_of,
    cohen_kappa,
    fleiss_kappa,
    kappa_of_raters,
    verdict_matrix,
)
from realitycheck.metrics.intervals import clopper_pearson

NAN = float("nan")
#: Verdicts of one to four raters on up to 12 parts, some missing.
VERDICTS = st.tuples(st.integers(0, 12), st.integers(1, 4)).flatmap(
    lambda shape: arrays(float, shape, elements=st.sampled_from([0.0, 1.0, NAN]))
)
# Diagnoses of 30 patients by six psychiatrists each, from table 1 of Fleiss (1971), "Measuring
# nominal scale agreement among many raters", Psychological Bulletin 76, 378-382. Digit: how many
# chose depression, personality disorder, schizophrenia, neurosis, other.
DIAGNOSES = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""


def table(*labels):
    """One row a repeat; each argument holds one image's labels."""
    return pd.DataFrame(
        [
            {"image_id": f"{i}", "sample": s, "label_predicted": label}
            for i, row in enumerate(labels)
            for s, label in enumerate(row)
        ]
    )


def test_worked_example():
    """Two images, three repeats: P = (1 + 1/3)/2 = 2/3, Pe = (4/6)^2 + (2/6)^2 = 5/9, k = 1/4."""
    found = agreement_of(table(("OK", "OK", "OK"), ("OK", "NOK", "NOK")))
    assert found.fleiss_kappa == pytest.approx(0.25, abs=1e-12)
    assert found.flip_rate == 0.5
    assert found.pair_disagreement == pytest.approx(1 / 3)
    assert (found.n_images, found.n_complete, found.n_samples) == (2, 2, 3)


def test_full_agreement_is_one():
    found = agreement_of(table(("OK", "OK"), ("NOK", "NOK")))
    assert (found.fleiss_kappa, found.flip_rate, found.pair_disagreement) == (1.0, 0.0, 0.0)


def test_agreement_on_one_label_only_is_undefined():
    """Chance alone would agree as well."""
    found = agreement_of(table(("OK", "OK"), ("OK", "OK")))
    assert math.isnan(found.fleiss_kappa)
    assert found.flip_rate == 0.0


def test_images_with_a_missing_answer_are_left_out_and_counted():
    found = agreement_of(table(("OK", "OK"), ("NOK", None), ("NOK", "OK")))
    assert (found.n_images, found.n_complete) == (3, 2)
    assert found.flip_rate == 0.5


@pytest.mark.parametrize("rows", [(("OK",), ("NOK",)), ((None, None),)])
def test_nothing_to_compare_is_undefined(rows):
    found = agreement_of(table(*rows))
    assert all(math.isnan(x) for x in found[3:])


def test_random_tables_agree_with_the_definition():
    """Observed agreement of pairs against the agreement that the margins give by chance."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        n, k = int(rng.integers(2, 30)), int(rng.integers(2, 6))
        labels = np.where(rng.random((n, k)) < 0.4, "NOK", "OK")
        pairs = list(itertools.combinations(range(k), 2))
        observed = np.mean([[row[a] == row[b] for a, b in pairs] for row in labels])
        p = (labels == "OK").mean()
        by_chance = p**2 + (1 - p) ** 2
        found = agreement_of(table(*labels))
        assert found.pair_disagreement == pytest.approx(1 - observed, abs=1e-12)
        if by_chance < 1:
            expected = (observed - by_chance) / (1 - by_chance)
            assert found.fleiss_kappa == pytest.approx(expected, abs=1e-12)


def test_part_with_fewer_repeats_lacks_a_verdict():
    """It is not complete, whatever its other repeats say."""
    found = agreement_of(table(("OK",), ("OK", "NOK")))
    assert (found.n_images, found.n_complete, found.n_samples, found.flip_rate) == (2, 1, 2, 1.0)


def test_repeats_of_two_methods_in_one_table_are_refused():
    rows = table(("OK", "NOK"))
    with pytest.raises(ValueError, match="occurs twice"):
        agreement_of(pd.concat([rows, rows]))


def test_no_images_are_undefined():
    assert np.isnan(fleiss_kappa(np.zeros((0, 2)))[1:]).all()
    assert np.isnan(cohen_kappa(np.zeros(0), np.zeros(0))[1:]).all()
    assert np.isnan(agreed_share(np.zeros((0, 2)))[3:]).all()


def test_published_example_of_fleiss():
    """Fleiss (1971) gives 0.430; z of Fleiss, Nee and Landis (1979) for it is 17.65 (R's irr)."""
    counts = np.array([[int(digit) for digit in row] for row in DIAGNOSES.split()])
    assert counts.shape == (30, 5) and (counts.sum(axis=1) == 6).all()
    # The shares of all 180 diagnoses that the article prints.
    assert (counts.sum(axis=0) / 180).round(3) == pytest.approx([0.144, 0.144, 0.167, 0.306, 0.239])
    found = fleiss_kappa(counts)
    assert round(found.value, 3) == 0.430
    assert found.value / found.se_null == pytest.approx(17.65183, abs=1e-5)


def test_cohen_by_hand():
    """20, 5, 10 and 15 of 50: p_o = 0.7, p_e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5, kappa = 0.4."""
    first = np.repeat([1.0, 1.0, 0.0, 0.0], [20, 5, 10, 15])
    second = np.repeat([1.0, 0.0, 1.0, 0.0], [20, 5, 10, 15])
    found = cohen_kappa(first, second)
    assert (found.n_parts, found.value) == (50, pytest.approx(0.4, abs=1e-12))


def test_kappas_equal_statsmodels_and_scikit_learn():
    """Random tables of two to four categories, values and standard errors."""
    rng = np.random.default_rng(0)
    for n_categories in (2, 3, 4) * 10:
        first = rng.integers(0, n_categories, int(rng.integers(5, 80)))
        second = np.where(rng.random(len(first)) < 0.6, first, rng.permutation(first))
        if len(set(first) | set(second)) < 2:
            continue
        found = cohen_kappa(first.astype(float), second.astype(float))
        used = np.unique([first, second])
        counts = np.array([[((first == i) & (second == j)).sum() for j in used] for i in used])
        other = inter_rater.cohens_kappa(counts)
        assert found.value == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
        assert found.value == pytest.approx(other.kappa, abs=1e-12)
        assert found.se == pytest.approx(other.std_kappa, abs=1e-7)
        assert found.se_null == pytest.approx(other.std_kappa0, abs=1e-12)

        rated = rng.integers(0, n_categories, (len(first), int(rng.integers(2, 6)))).astype(float)
        rated[:, 1] = rated[:, 0]
        counts = inter_rater.aggregate_raters(rated)[0]
        assert fleiss_kappa(counts).value == inter_rater.fleiss_kappa(counts)
        assert kappa_of_raters(rated) == fleiss_kappa(counts)


def test_standard_error_of_fleiss_is_that_of_leaving_parts_out():
    """The jackknife needs no formula; with 400 parts both are the same but for a few per cent."""
    rng = np.random.default_rng(1)
    truth = rng.random((400, 1)) < 0.3
    rated = (truth ^ (rng.random((400, 3)) < 0.15)).astype(float)
    each = [kappa_of_raters(np.delete(rated, part, axis=0)).value for part in range(400)]
    jackknife = math.sqrt(399 / 400 * ((each - np.mean(each)) ** 2).sum())
    found = kappa_of_raters(rated)
    assert found.se == pytest.approx(jackknife, rel=0.02)
    assert found.se != pytest.approx(found.se_null, rel=0.02)


def test_shares_by_hand():
    """Agrees, differs, lacks one and may agree, lacks one and differs, lacks all."""
    verdicts = np.array(
        [[1, 1, 1], [1, 0, 1], [0, 0, NAN], [0, 1, NAN], [NAN, NAN, NAN], [0, 0, 0]], float
    )
    found = agreed_share(verdicts)
    assert found[:3] == (6, 2, 2) and math.isnan(found.share)
    assert found.low == clopper_pearson(2, 6)[0] and found.high == clopper_pearson(4, 6)[1]
    found = agreed_share(verdicts[[0, 1, 5]], confidence=0.9)
    assert found == (3, 2, 0, 2 / 3, *clopper_pearson(2, 3, confidence=0.9))


def test_one_column_has_nothing_to_agree_with():
    """One repeat, one rater: no number, and no 100 % either."""
    one = np.array([[0.0], [1.0]])
    assert np.isnan(agreed_share(one)[3:]).all()
    assert np.isnan(kappa_of_raters(one)[1:]).all()


def test_one_category_alone_is_undefined_and_two_are_not():
    """Both use one: chance agrees as well. One uses it, the other not: no better than chance."""
    same, mixed = np.zeros(6), np.array([0, 0, 1, 1, 0, 1], float)
    assert np.isnan(cohen_kappa(same, same)[1:]).all()
    assert cohen_kappa(same, mixed).value == 0.0


def test_kappa_is_taken_over_what_both_judged():
    first, second = np.array([0, 1, NAN, 1, 0]), np.array([0, 1, 1, NAN, 1])
    assert cohen_kappa(first, second) == cohen_kappa(first[[0, 1, 4]], second[[0, 1, 4]])
    assert kappa_of_raters(np.stack([first, second], axis=1)).n_parts == 3


@settings(max_examples=60, deadline=None)
@given(verdicts=VERDICTS, data=st.data())
def test_order_of_raters_and_parts_does_not_matter(verdicts, data):
    n_parts, n_raters = verdicts.shape
    rows = data.draw(st.permutations(range(n_parts)))
    columns = data.draw(st.permutations(range(n_raters)))
    other = verdicts[np.array(rows, int)][:, np.array(columns, int)]
    np.testing.assert_equal(agreed_share(other), agreed_share(verdicts))
    np.testing.assert_allclose(kappa_of_raters(other), kappa_of_raters(verdicts), atol=1e-12)
    if n_raters > 1:
        pair = cohen_kappa(verdicts[:, 0], verdicts[:, 1])
        swapped = cohen_kappa(verdicts[::-1, 1], verdicts[::-1, 0])
        np.testing.assert_allclose(swapped, pair, atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(verdicts=VERDICTS)
def test_values_stay_in_their_range(verdicts):
    found = agreed_share(verdicts)
    assert found.n_agree + found.n_open <= found.n_parts
    if found.n_parts and verdicts.shape[1] > 1:
        assert 0 <= found.low <= found.high <= 1
        assert math.isnan(found.share) or found.low <= found.share <= found.high
    kappa = kappa_of_raters(verdicts)
    assert math.isnan(kappa.value) or -1 - 1e-9 <= kappa.value <= 1 + 1e-9
    assert math.isnan(kappa.value) == math.isnan(kappa.se_null)


@settings(max_examples=60, deadline=None)
@given(
    one=arrays(float, st.integers(1, 12), elements=st.sampled_from([0.0, 1.0])),
    n_raters=st.integers(2, 4),
)
def test_perfect_agreement_is_one(one, n_raters):
    verdicts = np.repeat(one[:, None], n_raters, axis=1)
    assert agreed_share(verdicts).share == 1.0
    if len(set(one)) > 1:
        assert kappa_of_raters(verdicts).value == pytest.approx(1.0)
        kappa = cohen_kappa(one, one)
        assert kappa.value == pytest.approx(1.0) and kappa.se == pytest.approx(0.0, abs=1e-6)


def test_matrix_has_a_row_per_part_and_a_column_per_repeat():
    found = verdict_matrix(table(("OK", "NOK"), (None, "OK"))[::-1])
    assert list(found.index) == ["0", "1"] and list(found.columns) == [0, 1]
    np.testing.assert_equal(found.to_numpy(), [[0, 1], [NAN, 0]])
