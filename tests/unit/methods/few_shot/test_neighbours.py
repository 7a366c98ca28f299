"""The nearest of many remembered patches is found without comparing with each in full."""

import numpy as np
import pytest

from realitycheck.methods.few_shot import neighbours
from realitycheck.methods.few_shot.neighbours import Neighbours, nearest_by_products

rng = np.random.default_rng(5)


def few_axes(n, *, shift=0.0):
    """Points whose spread lies mostly along some axes, as that of a network's features does."""
    spread = 0.8 ** np.arange(40)
    return (shift + (rng.normal(size=(n, 40)) * spread) @ TURN).astype(np.float32)


TURN = np.linalg.qr(rng.normal(size=(40, 40)))[0]
CLUSTERS = few_axes(30)
POINTS = few_axes(900)

CASES = {
    "few axes": (few_axes(700), POINTS),
    "far from the origin": (few_axes(700, shift=100), few_axes(900, shift=100)),
    "spread alike": tuple(rng.normal(size=(n, 40)).astype(np.float32) for n in (700, 900)),
    "clusters": tuple(CLUSTERS[rng.integers(30, size=n)] + few_axes(n) / 9 for n in (700, 900)),
    "remembered themselves": (np.repeat(POINTS[:50], 3, axis=0), np.repeat(POINTS, 2, axis=0)),
    "equally far from all": (np.eye(40, dtype=np.float32) * 3, np.zeros((900, 40), np.float32)),
    "ties": (np.zeros((9, 40), np.float32), np.tile(np.eye(40, dtype=np.float32)[:3], (300, 1))),
    "unlike all": (few_axes(700) + 40 * rng.normal(size=(700, 40)).astype(np.float32), POINTS),
    "one large value": (few_axes(700), np.vstack([POINTS, few_axes(1) * 1000])),
    "one remembered": (few_axes(70), POINTS[:1]),
}


def exhaustive(queries, remembered):
    differences = queries[:, None].astype(np.float64) - remembered[None]
    return np.sqrt((differences**2).sum(axis=2)).min(axis=1)


@pytest.mark.parametrize("block", [neighbours._BLOCK, 100_000])
@pytest.mark.parametrize("case", CASES)
def test_nearest_neighbours_are_those_of_an_exhaustive_search(case, block, monkeypatch):
    """Whatever the points and the blocks, up to what rounding in float32 leaves."""
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    queries, remembered = CASES[case]
    expected = exhaustive(queries, remembered)
    for found in (
        Neighbours(remembered).distances(queries),
        nearest_by_products(queries, remembered),
    ):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("case", "most"), [("few axes", 0.1), ("unlike all", 1)])
def test_few_pairs_are_compared_in_full(case, most, monkeypatch):
    """That is what makes it fast; queries for which too many would be are left to products."""
    pairs, left = [], []
    squares = Neighbours._squares

    def compared(self, queries, rows, columns):
        pairs.append(len(rows))
        return squares(self, queries, rows, columns)

    def by_products(queries, remembered):
        left.append(len(queries))
        return nearest_by_products(queries, remembered)

    monkeypatch.setattr(Neighbours, "_squares", compared)
    monkeypatch.setattr(neighbours, "nearest_by_products", by_products)
    queries, remembered = CASES[case]
    Neighbours(remembered).distances(queries)
    assert sum(pairs) <= len(queries) * (1 + neighbours._MOST_COMPARED * len(remembered))
    assert sum(left) <= most * len(queries)
    assert (sum(left) > 0.3 * len(queries)) == (most == 1)
