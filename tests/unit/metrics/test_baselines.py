"""Floors: what no model at all reaches."""

import math

import numpy as np
import pytest
from sklearn.metrics import fbeta_score

from realitycheck.metrics.baselines import (
    VERDICT_FLOORS,
    accept_everything,
    coin_at_prevalence,
    f2_floor,
    floor_label,
    reject_everything,
    verdict_floors,
    whole_image,
)
from realitycheck.metrics.classification import confusion, f_beta, precision, recall


@pytest.mark.parametrize(
    ("n_nok", "n_ok", "expected"), [(32, 231, 0.409), (76, 253, 0.600), (382, 133, 0.935)]
)
def test_rejecting_everything_reaches_the_floors_of_the_known_sets(n_nok, n_ok, expected):
    """The study's 0.37 and 0.31 on 32 and 231 parts lie below the first."""
    assert round(f2_floor(n_nok, n_ok), 3) == expected
    labels = [1] * n_nok + [0] * n_ok
    theirs = fbeta_score(labels, [1] * len(labels), beta=2)
    assert f2_floor(n_nok, n_ok) == pytest.approx(theirs, abs=1e-12)
    assert f_beta(reject_everything(n_nok, n_ok)) == f2_floor(n_nok, n_ok)


@pytest.mark.parametrize("floor", ["reject_everything", "accept_everything"])
def test_floor_labels_give_the_floor_counts(floor):
    """As labels, image by image, and as counts a floor is the same thing."""
    labels = ["NOK"] * 3 + ["OK"] * 5
    assert confusion(labels, [floor_label(floor)] * 8) == verdict_floors(3, 5)[floor]


def test_accepting_everything_finds_nothing():
    """Recall and F2 are 0, not missing: the defective parts are there."""
    counts = accept_everything(4, 6)
    assert (recall(counts), f_beta(counts)) == (0.0, 0.0)


def test_coin_has_the_prevalence_as_precision_recall_and_f2():
    """One of four parts is defective: expected counts by hand."""
    counts = coin_at_prevalence(25, 75)
    assert (counts.tp, counts.fp, counts.fn, counts.tn) == (6.25, 18.75, 18.75, 56.25)
    assert precision(counts) == recall(counts) == 0.25
    assert f_beta(counts) == pytest.approx(0.25, abs=1e-15)


def test_coin_counts_are_what_many_coins_average_to():
    """4,000 throws of the set: the mean of tp within four standard errors (0.1)."""
    rng = np.random.default_rng(0)
    thrown = (rng.random((4000, 30)) < 0.3).sum(axis=1).mean()
    assert coin_at_prevalence(30, 70).tp == pytest.approx(thrown, abs=0.16)


def test_floor_without_defective_parts_is_undefined():
    """There is nothing to find, so no score for finding it."""
    assert math.isnan(f2_floor(0, 10))
    assert f2_floor(10, 0) == 1.0


def test_whole_image_marks_each_pixel():
    """Its IoU is the share of the image that is defective."""
    mask = whole_image(3, 5)
    assert mask.shape == (3, 5) and mask.dtype == bool and mask.all()


def test_every_verdict_floor_is_listed():
    """Tables take the floors from this list."""
    assert tuple(verdict_floors(1, 1)) == VERDICT_FLOORS


def test_refusals_name_what_was_found():
    """Impossible sets, and a floor that has no label for the single part."""
    with pytest.raises(ValueError, match="cannot be negative, but got -1 and 2"):
        f2_floor(-1, 2)
    with pytest.raises(ValueError, match="at least one part"):
        coin_at_prevalence(0, 0)
    with pytest.raises(ValueError, match="coin_at_prevalence"):
        floor_label("coin_at_prevalence")
    with pytest.raises(ValueError, match="got 0 by 5"):
        whole_image(0, 5)
