"""Euclidean distances between the rows of feature tables, exact and by blocks.

A float32 matrix product gives every distance nearly; whatever that leaves undecided (the nearest few, and
pairs on the edge of a ball) is measured again in float64 as a sum of squared differences, the same way each
time. Equal distances are therefore equal to the last bit, and strict comparisons mean what they say. Memory
beyond the two tables is one block, however many rows they have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mirage.metrics.points import Array, Floats, check_points, row_blocks

QUERIES = 512
REFERENCES = 2048
SPARE = 4
"""Neighbours measured exactly beyond those asked for."""
EXACT_VALUES = 1 << 22
"""Differences held at once while distances are measured exactly."""


@dataclass(frozen=True)
class Nearest:
    """The nearest references of every query, the nearest first.

    Attributes:
        distance: float64 (Q, k); infinite where there are fewer than k that count.
        index: int64 (Q, k) of the reference; -1 where there is none.
    """

    distance: Floats
    index: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Near:
    """Nearly the squared distances of a block of queries from a block of references.

    Attributes:
        rows, columns: the block.
        squares: float32, in units of ``scale`` squared.
        error: float32 (rows, 1) and (columns,), whose sum no entry is off by more.
    """

    rows: slice
    columns: slice
    squares: npt.NDArray[np.float32]
    error: tuple[Array, Array]


class Pairs:
    """Two sets of points (Q, D) and (R, D) and the distances between them."""

    def __init__(self, queries: Array, references: Array) -> None:
        """Copies both as float32, centred and scaled so that products neither cancel nor overflow."""
        self.queries, self.references = check_points(queries, references)
        centre = self.references.mean(axis=0, dtype=np.float64)
        widest = max(
            float(np.abs(points[rows] - centre).max())
            for points in (self.queries, self.references)
            for rows in row_blocks(len(points))
        )
        # A power of two, so that scaling rounds nothing.
        self.scale = 2.0 ** math.frexp(widest)[1] if widest > 0 else 1.0
        self._near = [self._centred(points, centre) for points in (self.queries, self.references)]
        self._norms = [np.einsum("nd,nd->n", near, near) for near in self._near]
        # Products of D terms, two sums, and points that were rounded to float32.
        self.tolerance = np.float32((self.queries.shape[1] + 16) * 2.0**-24)

    def _centred(self, points: Array, centre: Floats) -> npt.NDArray[np.float32]:
        near = np.empty(points.shape, np.float32)
        for rows in row_blocks(len(points)):
            near[rows] = (points[rows] - centre) / self.scale
        return near

    def blocks(self) -> Iterator[_Near]:
        """All blocks; those of one block of queries follow one another."""
        for rows in row_blocks(len(self.queries), QUERIES):
            doubled = -2 * self._near[0][rows]
            for columns in row_blocks(len(self.references), REFERENCES):
                squares = doubled @ self._near[1][columns].T
                squares += self._norms[0][rows, None]
                squares += self._norms[1][columns]
                error = self.tolerance * self._norms[0][rows, None], self.tolerance * self._norms[1][columns]
                yield _Near(rows, columns, squares, error)

    def exact(self, query: Array, reference: Array) -> Floats:
        """Squared distances (P,) of pairs, given as indices (P,) on either side."""
        result = np.empty(len(query))
        for part in row_blocks(len(query), max(1, EXACT_VALUES // self.queries.shape[1])):
            gap = self.queries[query[part]].astype(np.float64)
            gap -= self.references[reference[part]]
            result[part] = np.square(gap, out=gap).sum(axis=1)
        return result

    def below(self, block: _Near, limits: Floats) -> npt.NDArray[np.bool_]:
        """Which pairs of a block are strictly nearer than their limit, decided exactly.

        Args:
            block: of :meth:`blocks`.
            limits: squared distances that broadcast to the block: (rows, 1) or (columns,).
        """
        # One rounding of the limit to float32 is within the tolerance's spare terms only when it is added.
        scaled = limits / self.scale**2
        slack = block.error[0] + block.error[1]
        edge = (scaled * (1 + 2.0**-23)).astype(np.float32)
        inner = (scaled * (1 - 2.0**-23)).astype(np.float32)
        inside = block.squares + slack < inner
        open_ = np.argwhere(~inside & (block.squares - slack <= edge))
        if len(open_):
            query, reference = open_[:, 0] + block.rows.start, open_[:, 1] + block.columns.start
            limit = np.broadcast_to(limits, block.squares.shape)[open_[:, 0], open_[:, 1]]
            inside[open_[:, 0], open_[:, 1]] = self.exact(query, reference) < limit
        return inside


def nearest_points(
    queries: Array,
    references: Array,
    k: int = 1,
    *,
    groups: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None,
) -> Nearest:
    """The k nearest references of every query.

    Args:
        queries: (Q, D), float.
        references: (R, D).
        k: neighbours asked for, at most R.
        groups: numbers (Q,) and (R,), such as subjects; references of a query's own group do not count.

    Raises:
        ValueError: k is not in 1 ... R, different dimensions, or values that are not finite.
    """
    squares, index = squared_neighbours(Pairs(queries, references), k, groups)
    return Nearest(np.sqrt(squares), index)


def squared_neighbours(
    pairs: Pairs, k: int, groups: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Squared distances (Q, k) and indices of the k nearest; see :func:`nearest_points`."""
    count, available = len(pairs.queries), len(pairs.references)
    if not 1 <= k <= available:
        raise ValueError(f"expected 1 to {available} neighbours among {available} points, found {k}")
    kept = min(k + SPARE, available)
    near = np.full((count, kept), np.inf, np.float32)
    index = np.full((count, kept), -1)
    for block in pairs.blocks():
        squares = block.squares
        if groups is not None:
            own, other = groups[0][block.rows, None], groups[1][block.columns]
            squares[own == other] = np.inf
        _merge(near[block.rows], index[block.rows], squares, block.columns.start)
    exact = np.full((count, kept), np.inf)
    for place in range(kept):
        known = np.flatnonzero(np.isfinite(near[:, place]))
        index[np.isinf(near[:, place]), place] = -1
        exact[known, place] = pairs.exact(known, index[known, place])
    order = np.lexsort((index, exact), axis=1)[:, :k]
    exact, index = np.take_along_axis(exact, order, axis=1), np.take_along_axis(index, order, axis=1)
    if kept < available:
        for query in _doubtful(pairs, near.max(axis=1), exact[:, -1]):
            exact[query], index[query] = _by_hand(pairs, query, k, groups)
    return exact, index


def _merge(near: Array, index: Array, squares: Array, start: int) -> None:
    """Put the smallest of a block (B, C) among those kept so far, in place."""
    kept = near.shape[1]
    if squares.shape[1] > kept:
        places = np.argpartition(squares, kept - 1, axis=1)[:, :kept]
        squares = np.take_along_axis(squares, places, axis=1)
    else:
        places = np.broadcast_to(np.arange(squares.shape[1]), squares.shape)
    joined = np.concatenate([near, squares], axis=1)
    numbers = np.concatenate([index, places + start], axis=1)
    best = np.argpartition(joined, kept - 1, axis=1)[:, :kept]
    near[:], index[:] = np.take_along_axis(joined, best, axis=1), np.take_along_axis(numbers, best, axis=1)


def _doubtful(pairs: Pairs, last: Array, found: Floats) -> npt.NDArray[np.int64]:
    """Queries for which a point that was not measured exactly may be nearer than the k-th found.

    What was left out is nearly ``last`` away or more. The error of a pair is ``t (q^2 + r^2)``, with
    ``r^2 <= 2 q^2 + 2 d^2``, hence its true square is at least ``(last - 3 t q^2) / (1 + 2 t)``.
    """
    t = float(pairs.tolerance)
    least = (last.astype(np.float64) - 3 * t * pairs._norms[0]) / (1 + 2 * t)
    return np.flatnonzero((found > least.clip(min=0) * pairs.scale**2) & np.isfinite(last))


def _by_hand(
    pairs: Pairs, query: int, k: int, groups: tuple[Array, Array] | None
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The k nearest of one query, every distance measured exactly."""
    everything = np.arange(len(pairs.references))
    exact = pairs.exact(np.full(len(everything), query), everything)
    if groups is not None:
        exact[groups[1] == groups[0][query]] = np.inf
    order = np.argsort(exact, kind="stable")[:k]
    return exact[order], np.where(np.isfinite(exact[order]), order, -1)
