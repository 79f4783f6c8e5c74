"""Kernel distance: the squared maximum mean discrepancy with the polynomial kernel (x·y / D + 1)^3.

Unbiased, so its expectation is 0 for two samples of one distribution whatever their size, and an estimate may
be negative (Gretton 2012; of Inception features: KID, Binkowski 2018). Sums of many weighted draws (subsets,
subsamples of patients) are read off the same kernel, block by block: made where it is needed, or of few
points held as a whole (:class:`HeldKernel`), of which evaluations draw hundreds of subsets one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mirage.metrics.points import Array, Floats, check_points, row_blocks

DEGREE = 3
BLOCK = 384
"""Rows and columns of the kernel that are held at once, in float64."""

Indices = npt.NDArray[np.int64]


def kernel_distance(first: Array, second: Array, degree: int = DEGREE) -> float:
    """Unbiased squared MMD of two sets of points; may be negative.

    Args:
        first: (N, D), N >= 2. Products of float32 points are taken in float32, all sums in float64.
        second: (M, D), M >= 2.
        degree: of the polynomial.

    Raises:
        ValueError: fewer than 2 points, different dimensions, or values that are not finite.
    """
    whole = np.ones((1, len(first))), np.ones((1, len(second)))
    return float(kernel_draws(first, second, whole[0], whole[1], degree)[0])


def kernel_draws(
    first: Array, second: Array, first_weights: Array, second_weights: Array, degree: int = DEGREE
) -> Floats:
    """Unbiased squared MMD (draws,) of each of many weighted draws from two sets.

    A weight says how often a point was drawn; pairs of a point with itself never count.

    Args:
        first: (N, D), N >= 2.
        second: (M, D), M >= 2.
        first_weights: (draws, N), not negative, two points or more in each draw.
        second_weights: (draws, M).
        degree: of the polynomial.
    """
    first, second = check_points(first, second, least=2)
    sets = (first, first_weights), (second, second_weights)
    within = [_within(points, weights, degree) for points, weights in sets]
    between = _between(first, second, first_weights, second_weights, degree)
    counts, pairs = zip(*(_counted(weights) for _, weights in sets), strict=True)
    return within[0] / pairs[0] + within[1] / pairs[1] - 2 * between / (counts[0] * counts[1])


class Sums(NamedTuple):
    """Sums of the kernel within a set: over pairs of different items, and of items with themselves."""

    different: float
    own: float
    items: int


class HeldKernel:
    """The kernel of few points, all of it: 8 N^2 bytes; distances of sets drawn from them are sums of parts.

    Args:
        points: (N, D). Products are taken in float64.
        degree: of the polynomial.
    """

    def __init__(self, points: Array, degree: int = DEGREE) -> None:
        (checked,) = check_points(points)
        wide = checked.astype(np.float64, copy=False)
        self.values = _kernel(wide, wide, degree)

    def within(self, items: Indices) -> Sums:
        """Of the items with these numbers (n,)."""
        part = self.values[np.ix_(items, items)]
        own = float(np.trace(part))
        return Sums(float(part.sum()) - own, own, len(items))

    def distances(self, first: Indices, second: Indices, own: Sums, other: Sums) -> tuple[float, float]:
        """Squared MMD of two sets: unbiased, as :func:`kernel_distance`, and biased, with items' products
        with themselves. NaN unbiased of single items.

        Args:
            first, second: numbers (n,) and (m,) of their items.
            own, other: of either set, see :meth:`within`.
        """
        across = 2 * float(self.values[np.ix_(first, second)].sum()) / (own.items * other.items)
        unbiased = biased = -across
        for part in (own, other):
            pairs = part.items * (part.items - 1)
            unbiased += part.different / pairs if pairs else float("nan")
            biased += (part.different + part.own) / part.items**2
        return unbiased, biased


def kernel_subsets(
    first: Array, second: Array, rng: np.random.Generator, *, draws: int = 100, size: int = 1000
) -> Floats:
    """Unbiased squared MMD (draws,) of random subsets: KID as it is published is their mean.

    Args:
        first: (N, D).
        second: (M, D).
        rng: draws subsets without replacement.
        draws: number of subsets.
        size: points of each subset of either set; at most that of the smaller set.
    """
    first, second = check_points(first, second, least=2)
    size = min(size, len(first), len(second))
    if draws * (2 * size) ** 2 < (len(first) + len(second)) ** 2:
        picked = [
            [rng.choice(len(own), size, replace=False) for _ in range(draws)] for own in (first, second)
        ]
        pairs = zip(*picked, strict=True)
        return np.array([kernel_distance(first[one], second[other]) for one, other in pairs])
    weights = [np.zeros((draws, len(points)), dtype=bool) for points in (first, second)]
    for chosen in weights:
        for draw in chosen:
            draw[rng.choice(len(draw), size, replace=False)] = True
    return kernel_draws(first, second, weights[0], weights[1])


def _counted(weights: Array) -> tuple[Floats, Floats]:
    """Points (draws,) of each draw, and ordered pairs of different ones: of a point with itself none."""
    counts = weights.sum(axis=1, dtype=np.float64)
    same = np.array([own @ own for own in (draw.astype(np.float64) for draw in weights)])
    return counts, counts**2 - same


def _kernel(rows: Array, columns: Array, degree: int, held: Sequence[Array] | None = None) -> Floats:
    """Kernel of two blocks of points, float64; in arrays of :func:`_blocks`, where given."""
    count = len(rows) * len(columns)
    room = held or _blocks(np.result_type(rows, columns), count)
    product, values, power = (flat[:count].reshape(len(rows), len(columns)) for flat in room)
    np.matmul(rows, columns.T, out=product)
    np.divide(product, rows.shape[1], out=values, dtype=np.float64)
    values += 1.0
    power[:] = values
    for _ in range(degree - 1):
        power *= values
    return power


def _blocks(dtype: np.dtype, count: int = BLOCK**2) -> tuple[Array, Array, Array]:
    """Flat arrays for a product of points and two powers of it; made once, since new ones cost more time
    than what is reckoned in them."""
    return np.empty(count, dtype), np.empty(count), np.empty(count)


def _within(points: Array, weights: Array, degree: int) -> Floats:
    """Sum over i != j of w_i w_j k(x_i, x_j), for every draw; uses the symmetry of k."""
    total, held = np.zeros(len(weights)), _blocks(points.dtype)
    for columns in row_blocks(weights.shape[1], BLOCK):
        right = weights[:, columns].astype(np.float64)
        inner = _kernel(points[columns], points[columns], degree, held)
        np.fill_diagonal(inner, 0.0)
        gathered = right @ inner
        for rows in row_blocks(columns.start, BLOCK):
            left = weights[:, rows].astype(np.float64)
            gathered += 2 * (left @ _kernel(points[rows], points[columns], degree, held))
        total += np.einsum("dj,dj->d", gathered, right)
    return total


def _between(first: Array, second: Array, left: Array, right: Array, degree: int) -> Floats:
    """Sum over i and j of w_i v_j k(x_i, y_j), for every draw."""
    total, held = np.zeros(len(left)), _blocks(np.result_type(first, second))
    for columns in row_blocks(right.shape[1], BLOCK):
        gathered = np.zeros((len(left), columns.stop - columns.start))
        for rows in row_blocks(left.shape[1], BLOCK):
            gathered += left[:, rows].astype(np.float64) @ _kernel(first[rows], second[columns], degree, held)
        total += np.einsum("dj,dj->d", gathered, right[:, columns].astype(np.float64))
    return total
