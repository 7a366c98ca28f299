"""Agreement of repeats, by hand and against an independent computation."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from realitycheck.metrics.agreement import agreement_of, fleiss_kappa


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


def test_unequal_numbers_of_repeats_are_refused():
    with pytest.raises(ValueError, match="same number of repeats, got 1 to 2"):
        agreement_of(table(("OK",), ("OK", "NOK")))


def test_repeats_of_two_methods_in_one_table_are_refused():
    rows = table(("OK", "NOK"))
    with pytest.raises(ValueError, match="occurs twice"):
        agreement_of(pd.concat([rows, rows]))


def test_no_images_are_undefined():
    assert math.isnan(fleiss_kappa(np.zeros((0, 2))))
