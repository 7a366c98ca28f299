"""The distance of a data set's features to those of everyday images."""

import numpy as np
import pytest

from realitycheck.metrics.domain_gap import (
    frechet_distance,
    make_bank,
    nearest_neighbour_ratio,
)


@pytest.fixture(scope="module")
def bank():
    return make_bank(np.random.default_rng(0).normal(size=(400, 5)), n_directions=4)


def test_same_distribution_lies_at_no_distance(bank):
    """Everyday images are no gap away from themselves."""
    same = np.random.default_rng(1).normal(size=(400, 5))
    assert frechet_distance(bank, same) < 0.2
    assert nearest_neighbour_ratio(bank, same) == pytest.approx(1, abs=0.15)


def test_shift_counts_squared_in_deviations_of_the_bank(bank):
    """The Fréchet distance of a mere shift is its squared length on the bank's scale."""
    own = bank.features @ np.linalg.pinv(bank.directions) + bank.mean
    shift = 3 * np.linalg.pinv(bank.directions)[1]
    assert frechet_distance(bank, own + shift) == pytest.approx(9, rel=1e-6)


def test_frechet_distance_equals_the_one_dimensional_formula():
    """(m₁ - m₂)² + (s₁ - s₂)², with the bank scaled to deviation 1."""
    rng = np.random.default_rng(2)
    values, other = rng.normal(5, 2, (500, 1)), rng.normal(9, 6, (300, 1))
    bank = make_bank(values, n_directions=1)
    scale = values.std(ddof=1)
    expected = ((values.mean() - other.mean()) / scale) ** 2 + (1 - other.std(ddof=1) / scale) ** 2
    assert frechet_distance(bank, other) == pytest.approx(expected)


def test_farther_sets_have_larger_distances(bank):
    """The number must order data sets."""
    same = np.random.default_rng(1).normal(size=(40, 5))
    for measure in (frechet_distance, nearest_neighbour_ratio):
        assert measure(bank, same) < measure(bank, same + 3) < measure(bank, same + 9)


def test_too_few_images_are_refused(bank):
    """A covariance needs two images, and a bank more images than directions."""
    with pytest.raises(ValueError, match="at least 2 images, found 1"):
        frechet_distance(bank, np.zeros((1, 5)))
    with pytest.raises(ValueError, match="expected more than 16, found 3"):
        make_bank(np.zeros((3, 5)))
