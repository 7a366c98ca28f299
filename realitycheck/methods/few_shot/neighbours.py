"""How far the nearest of many remembered patches is, exactly, without comparing with each in full.

Patches are turned to the principal axes of what is remembered. With k coordinates and, as one more,
the length of what they leave out, no distance grows:

    |q - r|² ≥ |Pq - Pr|² + (|q - Pq| - |r - Pr|)²

since the difference of two vectors is at least as long as the difference of their lengths. So a
few coordinates, which take a fraction of the products, say which of the remembered cannot be the
nearest; only the others are compared in full.
"""

from __future__ import annotations

import numpy as np

#: Share of the spread that the coordinates of the bound hold: more cost products, fewer let more
#: of the remembered through.
_KEPT_SPREAD = 0.98
#: Where so large a share of the remembered is let through, products with all are faster.
_MOST_COMPARED = 1 / 64
#: Numbers of a block of products, 16 MB; larger blocks leave the cache and take longer.
_BLOCK = 1 << 22


class Neighbours:
    """Remembered patches, prepared for the search.

    Args:
        remembered: float32, (M, D), at least one.
    """

    def __init__(self, remembered: np.ndarray):
        self._remembered = remembered
        self._centre = remembered.mean(axis=0, dtype=np.float64)
        self._axes = _few_axes(remembered - self._centre.astype(np.float32))
        if self._axes is None:
            return
        n = self._axes.shape[1]
        # Rounding of a product of n + 2 terms stays below this share of both squared lengths, so
        # that the bound is one in float32 as well.
        self._whole = np.float32(1 - 2 * (n + 4) * np.finfo(np.float32).eps)
        found = self._shortened(remembered)
        found[:, -1] = np.einsum("md,md->m", found[:, :-1], found[:, :-1]) * (-self._whole / 2)
        self._table = np.ascontiguousarray(found.T)

    def distances(self, queries: np.ndarray) -> np.ndarray:
        """Distance of each query to the nearest of the remembered.

        Args:
            queries: float32, (N, D).

        Returns:
            float32, (N,).
        """
        if self._axes is None:
            return nearest_by_products(queries, self._remembered)
        squares = np.zeros(len(queries), np.float32)
        is_open = np.zeros(len(queries), bool)
        step = max(1, _BLOCK // len(self._remembered))
        room = np.empty((min(step, len(queries)), len(self._remembered)), np.float32)
        for start in range(0, len(queries), step):
            block = slice(start, start + step)
            own = queries[block]
            squares[block], is_open[block] = self._nearest(own, room[: len(own)])
            if 2 * np.count_nonzero(is_open[block]) > len(own):
                is_open[start + step :] = True  # this part is like nothing that is remembered
                break
        distances = np.sqrt(squares)
        if is_open.any():
            distances[is_open] = nearest_by_products(queries[is_open], self._remembered)
        return distances

    def _nearest(self, queries: np.ndarray, closeness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances of a block, and which were left open, as too many come into question.

        Args:
            queries: float32, (N, D).
            closeness: Room for the products, float32, (N, M).
        """
        short = self._shortened(queries)
        np.matmul(short, self._table, out=closeness)
        squares = self._squares(queries, np.arange(len(queries)), closeness.argmax(axis=1))
        lengths = np.einsum("nd,nd->n", short[:, :-1], short[:, :-1]) * self._whole
        # bound = lengths - 2 closeness; what it must not exceed has rounding of its own.
        is_near = closeness >= ((lengths - squares * np.float32(1 + 1e-5)) / 2)[:, None]
        n_near = np.count_nonzero(is_near, axis=1)
        is_open = (n_near > _MOST_COMPARED * closeness.shape[1]) & (squares > 0)
        is_near[is_open | (squares == 0) | (n_near < 2)] = False
        rows, columns = np.divmod(np.flatnonzero(is_near), closeness.shape[1])
        if len(rows):
            starts = np.flatnonzero(np.diff(rows, prepend=-1))
            least = np.minimum.reduceat(self._squares(queries, rows, columns), starts)
            squares[rows[starts]] = np.minimum(squares[rows[starts]], least)
        return squares, is_open

    def _squares(self, queries: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Squared distances of pairs from the differences, with no rounding of large squares."""
        difference = queries[rows] - self._remembered[columns]
        return np.einsum("nd,nd->n", difference, difference)

    def _shortened(self, patches: np.ndarray) -> np.ndarray:
        """A few coordinates, the length of the rest, and 1, float32, (N, k + 2)."""
        centred = patches - self._centre
        kept = centred @ self._axes
        rest = np.einsum("nd,nd->n", centred, centred) - np.einsum("nk,nk->n", kept, kept)
        ones = np.ones(len(patches))
        return np.column_stack([kept, np.sqrt(np.maximum(rest, 0)), ones]).astype(np.float32)


def nearest_by_products(queries: np.ndarray, remembered: np.ndarray) -> np.ndarray:
    """Distance of each query to the nearest of the remembered, by products with all of them.

    |q - r|² = |q|² - 2 q·r + |r|² says which is nearest; its distance is then taken from the
    difference itself, which has no rounding of large squares in it.

    Args:
        queries: float32, (N, D).
        remembered: float32, (M, D), at least one.

    Returns:
        float32, (N,).
    """
    centre = remembered.mean(axis=0)
    centred = remembered - centre
    half_squares = np.einsum("md,md->m", centred, centred) / 2
    table = np.vstack([centred.T, -half_squares])
    nearest = np.empty(len(queries), np.intp)
    step = max(1, _BLOCK // len(remembered))
    room = np.empty((min(step, len(queries)), len(remembered)), np.float32)
    for start in range(0, len(queries), step):
        block = queries[start : start + step] - centre
        ones = np.ones((len(block), 1), np.float32)
        closeness = np.matmul(np.hstack([block, ones]), table, out=room[: len(block)])
        nearest[start : start + step] = closeness.argmax(axis=1)
    difference = queries - remembered[nearest]
    return np.sqrt(np.einsum("nd,nd->n", difference, difference))


def _few_axes(centred: np.ndarray) -> np.ndarray | None:
    """Principal axes that hold nearly all of the spread, float64, (D, k).

    None if there are so many that the bound would save little.
    """
    spread, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    held = np.cumsum(spread[::-1])
    n = 1 + int(np.searchsorted(held, _KEPT_SPREAD * held[-1]))
    return axes[:, ::-1][:, :n] if 2 * n <= len(spread) else None
