"""Folds: stratified, whole groups, the same for the same seed."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from realitycheck.metrics.folds import assign_folds


def deal(labels, groups=None, *, n_folds=5, seed=0):
    groups = [f"p{i}" for i in range(len(labels))] if groups is None else groups
    return assign_folds(labels, groups, n_folds=n_folds, seed=seed)


def test_every_fold_has_its_share_of_both_labels():
    """The study's own set: 231 OK and 32 NOK make 46 or 47 and 6 or 7 a fold."""
    labels = np.array(["OK"] * 231 + ["NOK"] * 32)
    folds = deal(labels)
    assert folds.dtype == np.int64
    for label, shares in (("OK", {46, 47}), ("NOK", {6, 7})):
        assert set(np.bincount(folds[labels == label], minlength=5)) <= shares


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(2, 4), st.integers(2, 4))
def test_a_group_is_never_cut(seed, n_folds, n_views):
    """Views of one part look alike: one of them in training gives the others away."""
    labels = np.repeat(["OK"] * 9 + ["NOK"] * 5, n_views)
    groups = np.repeat([f"part {i}" for i in range(14)], n_views)
    order = np.random.default_rng(seed).permutation(len(labels))
    folds = deal(labels[order], groups[order], n_folds=n_folds, seed=seed)
    assert set(folds) == set(range(n_folds))
    for part in set(groups):
        assert len(set(folds[groups[order] == part])) == 1


def test_a_group_may_hold_both_labels():
    """One side of a part can be good and the other not; they still stay together."""
    labels = ["OK", "NOK"] * 6
    groups = [f"part {i // 2}" for i in range(12)]
    folds = deal(labels, groups, n_folds=3)
    assert all(a == b for (a, b), i in zip(pairwise(folds), range(11), strict=True) if i % 2 == 0)


def test_the_deal_depends_on_the_seed_alone():
    """A table must come out the same on the next run; another seed is another deal."""
    labels = ["OK"] * 40 + ["NOK"] * 10
    assert (deal(labels, seed=3) == deal(labels, seed=3)).all()
    assert (deal(labels, seed=3) != deal(labels, seed=4)).any()


def test_too_few_parts_are_refused_with_what_to_do():
    """Twelve pictures of two bad parts are two parts."""
    labels = ["OK"] * 10 + ["NOK"] * 12
    groups = [f"good {i}" for i in range(10)] + ["bad 1"] * 6 + ["bad 2"] * 6
    with pytest.raises(ValueError, match="at least 5 independent NOK parts, found 2.*n_folds"):
        deal(labels, groups)


@pytest.mark.parametrize("seed", range(8))
def test_deal_is_that_of_scikit_learn(seed):
    """Its import takes longer than most jobs that deal folds."""
    rng = np.random.default_rng(seed)
    n_folds, n_groups = int(rng.integers(2, 6)), int(rng.integers(20, 60))
    groups = rng.integers(0, n_groups, 3 * n_groups).astype(str)
    of_group = {group: rng.random() < 0.4 for group in groups}
    labels = np.array(["NOK" if of_group[g] or rng.random() < 0.1 else "OK" for g in groups])
    splitter = StratifiedGroupKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    folds = assign_folds(labels, groups, n_folds=n_folds, seed=seed)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        np.testing.assert_array_equal(np.flatnonzero(folds == fold), held_out)
