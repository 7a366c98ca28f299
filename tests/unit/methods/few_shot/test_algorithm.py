"""A memory bank of good patches, and the distance to it."""

import numpy as np
import pytest

from realitycheck.methods.few_shot.algorithm import (
    make_bank,
    map_of_grid,
    patch_features,
    score_grid,
)

SETTINGS = {"position_weight": 0.0, "max_patches": 1000, "seed": 0}
DRAWN = {"image_size_hw": (24, 32), "position_weight": 0.0, "smoothing_sigma_px": 0.0}


def score_map(image, bank, *, position_weight, **drawn):
    """The two steps in one."""
    return map_of_grid(score_grid(image, bank, position_weight=position_weight), **drawn)


def images(n, seed=0):
    return list(np.random.default_rng(seed).normal(size=(n, 3, 8, 8)).astype(np.float32))


def test_remembered_image_scores_nothing_and_a_strange_place_most():
    """The nearest neighbour of a remembered patch is itself."""
    good = images(3)
    bank = make_bank(good, **SETTINGS)
    assert score_map(good[1], bank, **DRAWN).max() < 1e-3
    strange = good[1].copy()
    strange[:, 2, 5] += 20
    found = score_map(strange, bank, **DRAWN)
    assert found.shape == (24, 32) and found.dtype == np.float32
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert (row // 3, column // 4) == (2, 5)
    assert 0.8 < found.max() <= 1


def test_distance_to_one_patch_is_worked_out_by_hand():
    """Root mean square of the scaled differences: (3, 1) deviations give √5, s = √5 / (√5 + 1)."""
    bank = make_bank([np.array([[[0.0, 2.0]], [[0.0, 2.0]]], np.float32)], **SETTINGS)
    image = np.array([[[5.0]], [[3.0]]], np.float32)  # mean 1, spread 1: nearest patch is (2, 2)
    found = score_map(image, bank, **DRAWN | {"image_size_hw": (1, 1)})
    assert found.item() == pytest.approx(5**0.5 / (5**0.5 + 1), abs=1e-4)


def test_place_counts_only_if_it_is_given_weight():
    """A patch that is normal elsewhere is a defect of an aligned part."""
    good = np.zeros((1, 8, 8), np.float32)
    good[0, :, :4] = 1
    moved = good[:, :, ::-1].copy()
    for weight, is_seen in ((0.0, False), (2.0, True)):
        bank = make_bank([good], **SETTINGS | {"position_weight": weight})
        found = score_map(moved, bank, **DRAWN | {"position_weight": weight})
        assert (found.max() > 0.5) == is_seen


def test_bank_is_thinned_by_a_seeded_draw():
    """The memory that a bank takes must not grow with the images."""
    few = SETTINGS | {"max_patches": 50}
    first, again = make_bank(images(4), **few), make_bank(images(4), **few)
    assert len(first.features) == 50
    assert np.array_equal(first.features, again.features)
    other = make_bank(images(4), **few | {"seed": 1})
    assert not np.array_equal(first.features, other.features)


def test_stages_are_averaged_over_neighbours_and_joined_at_the_finest_side():
    """One hot cell of nine gives a ninth; the third stage is left out."""
    fine = np.zeros((2, 9, 9), np.float16)
    fine[0, 4, 4] = 9
    joined = patch_features([fine, np.ones((3, 5, 5), np.float16), np.ones((4, 2, 2), np.float16)])
    assert joined.shape == (5, 9, 9)
    np.testing.assert_allclose(joined[0, 3:6, 3:6], 1, atol=1e-5)
    np.testing.assert_allclose(joined[2:], 1, atol=1e-5)


def test_what_cannot_be_compared_is_refused():
    """A bank of another network would give numbers all the same."""
    with pytest.raises(ValueError, match="expected at least one good image, found none"):
        make_bank([], **SETTINGS)
    with pytest.raises(ValueError, match="expected 3 channels like the memory bank, found 2"):
        score_map(np.zeros((2, 8, 8), np.float32), make_bank(images(1), **SETTINGS), **DRAWN)
