"""Kernel distance: the squared maximum mean discrepancy with the polynomial kernel (x·y / D + 1)^3.

Unbiased, so its expectation is 0 for two samples of one distribution whatever their size, and an estimate may
be negative (Gretton 2012; of Inception features: KID, Binkowski 2018). Sums of many weighted draws (subsets,
subsamples of patients) are read off the same kernel, which is made once, block by block.
"""

from __future__ import annotations

import numpy as np

from mirage.metrics.points import Array, Floats, check_points, row_blocks

DEGREE = 3
BLOCK = 512
"""Rows and columns of the kernel that are held at once, in float64."""


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
    within = [
        _within(points, weights, degree) / _pairs(weights)
        for points, weights in ((first, first_weights), (second, second_weights))
    ]
    between = _between(first, second, first_weights, second_weights, degree)
    between /= first_weights.sum(axis=1, dtype=np.float64) * second_weights.sum(axis=1, dtype=np.float64)
    return within[0] + within[1] - 2 * between


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
    picked = [
        [rng.choice(len(points), size, replace=False) for _ in range(draws)] for points in (first, second)
    ]
    if draws * (2 * size) ** 2 < (len(first) + len(second)) ** 2:
        pairs = zip(*picked, strict=True)
        return np.array([kernel_distance(first[one], second[other]) for one, other in pairs])
    weights = [np.zeros((draws, len(points)), dtype=bool) for points in (first, second)]
    for chosen, drawn in zip(weights, picked, strict=True):
        np.put_along_axis(chosen, np.array(drawn), True, axis=1)
    return kernel_draws(first, second, weights[0], weights[1])


def _pairs(weights: Array) -> Floats:
    """Ordered pairs (draws,) of different points in each draw."""
    counted = weights.astype(np.float64, copy=False)
    return np.square(counted.sum(axis=1)) - np.square(counted).sum(axis=1)


def _kernel(rows: Array, columns: Array, degree: int) -> Floats:
    """Kernel of two blocks of points, float64."""
    values = (rows @ columns.T).astype(np.float64)
    values /= rows.shape[1]
    values += 1.0
    power = values.copy()
    for _ in range(degree - 1):
        power *= values
    return power


def _within(points: Array, weights: Array, degree: int) -> Floats:
    """Sum over i != j of w_i w_j k(x_i, x_j), for every draw; uses the symmetry of k."""
    total = np.zeros(len(weights))
    for columns in row_blocks(len(points), BLOCK):
        right = weights[:, columns].astype(np.float64)
        inner = _kernel(points[columns], points[columns], degree)
        np.fill_diagonal(inner, 0.0)
        gathered = right @ inner
        for rows in row_blocks(columns.start, BLOCK):
            left = weights[:, rows].astype(np.float64)
            gathered += 2 * (left @ _kernel(points[rows], points[columns], degree))
        total += np.einsum("dj,dj->d", gathered, right)
    return total


def _between(first: Array, second: Array, left: Array, right: Array, degree: int) -> Floats:
    """Sum over i and j of w_i v_j k(x_i, y_j), for every draw."""
    total = np.zeros(len(left))
    for columns in row_blocks(len(second), BLOCK):
        gathered = np.zeros((len(left), columns.stop - columns.start))
        for rows in row_blocks(len(first), BLOCK):
            gathered += left[:, rows].astype(np.float64) @ _kernel(first[rows], second[columns], degree)
        total += np.einsum("dj,dj->d", gathered, right[:, columns].astype(np.float64))
    return total
