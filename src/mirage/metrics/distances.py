"""Distances between two sets of points that compare means and covariances, or projections.

The Fréchet distance grows by about c / n with fewer points, c depending on the encoder: two samples of one
distribution have a distance too. Quote it beside that of real from real at the same n.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.linalg import blas, lapack

from mirage.metrics.points import Array, Floats, check_points, moments

PROJECTIONS = 128
"""Random directions of the sliced Wasserstein distance."""
QUANTILES = 64
"""Places at which sets of unequal size are compared along a direction."""
SVD_SIDE = 512
"""Smaller side of a matrix whose singular values are computed as such; see :func:`_nuclear_norm`."""


def frechet_distance(first: Array, second: Array) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets of points (Heusel 2017, eq. 6).

    Args:
        first: (N, D), float, N >= 2.
        second: (M, D), float, M >= 2.

    Returns:
        |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), not negative; covariances are unbiased.

    Raises:
        ValueError: fewer than 2 points, different dimensions, or values that are not finite.
    """
    first, second = check_points(first, second, least=2)
    one, other = _factor(first), _factor(second)
    gap, spread = one.mean - other.mean, one.trace + other.trace
    if one.triangular and other.triangular:
        # In place: with thousands of features a factor is as large as all that follows.
        cross = blas.dtrmm(1.0, other.root, one.root, side=1, trans_a=1, overwrite_b=1)
    else:
        cross = one.root @ other.root.T
    del one, other
    return max(float(gap @ gap) + spread - 2 * _nuclear_norm(cross), 0.0)


class _Factor(NamedTuple):
    """Mean (D,) of points, F (r, D) with F^T F their covariance, its trace, and whether F is triangular.

    tr((C1 C2)^(1/2)) is the sum of the singular values of F1 F2^T: no root of a matrix that is not
    symmetric, no complex numbers, and with few points n a matrix of n x n only.
    """

    mean: Floats
    root: Floats
    trace: float
    triangular: bool


def _factor(points: Array) -> _Factor:
    """The smaller of points and dimensions is r; by Cholesky, or by eigenvalues where C is singular."""
    if len(points) < points.shape[1]:
        mean = points.mean(axis=0, dtype=np.float64)
        root = (points - mean) / math.sqrt(len(points) - 1)
        return _Factor(mean, root, float(np.vdot(root, root)), triangular=False)
    mean, covariance = moments(points)
    diagonal = covariance.diagonal().copy()
    trace = float(diagonal.sum())
    root, failed = lapack.dpotrf(covariance, lower=0, clean=0, overwrite_a=1)
    if not failed:
        for column in range(len(root) - 1):
            root[column + 1 :, column] = 0.0
        return _Factor(mean, root, trace, triangular=True)
    np.fill_diagonal(root, diagonal)  # what lies below it is still the covariance
    values, vectors = linalg.eigh(root, lower=True, overwrite_a=True)
    kept = values > values[-1] * len(values) * np.finfo(float).eps
    return _Factor(mean, np.sqrt(values[kept])[:, None] * vectors[:, kept].T, trace, triangular=False)


def _nuclear_norm(matrix: Floats) -> float:
    """Sum of the singular values of a matrix (r, s).

    Of a large one they are roots of eigenvalues, four times faster, at the price that one that is 0 may come
    out as 1e-8 of the largest. A small one has them exactly.
    """
    if min(matrix.shape) <= SVD_SIDE:
        return float(linalg.svdvals(matrix).sum())
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    # The transpose of a symmetric matrix is the same one, in the order that needs no copy.
    values = linalg.eigvalsh((wide @ wide.T).T, overwrite_a=True)
    return float(np.sqrt(values.clip(min=0)).sum())


def frechet_infinity(first: Array, second: Array, rng: np.random.Generator, points: int = 15) -> float:
    """Squared Fréchet distance that infinitely many points would have (Chong and Forsyth 2020).

    The distances of random subsets of N points of either set are regressed on 1/N; their intercept is the
    result. It may be slightly negative. Subsets go from half of the points to all, because 1/N is linear
    only for N of about D and more.

    Args:
        first: (N, D).
        second: (M, D).
        rng: draws the subsets.
        points: distances that the line is fitted to.

    Raises:
        ValueError: fewer points than dimensions, where the distance is not linear in 1/N.
    """
    first, second = check_points(first, second, least=2)
    count, dimension = min(len(first), len(second)), first.shape[1]
    if count < dimension:
        raise ValueError(
            f"the limit of infinitely many points needs as many points as dimensions: found {count} points "
            f"of {dimension} dimensions; use the leading principal components, or kernel_distance"
        )
    sizes = np.unique(np.rint(1 / np.linspace(2 / count, 1 / count, points)).astype(int).clip(min=2))
    if len(sizes) < 2:
        raise ValueError(f"{count} points are too few to fit a line through distances of subsets")
    distances = [
        frechet_distance(
            first[rng.choice(len(first), size, replace=False)],
            second[rng.choice(len(second), size, replace=False)],
        )
        for size in sizes
    ]
    return float(np.polynomial.Polynomial.fit(1 / sizes, distances, 1)(0.0))


def random_directions(dimension: int, rng: np.random.Generator, count: int = PROJECTIONS) -> Floats:
    """Directions (dimension, count), uniform on the unit sphere."""
    directions = rng.standard_normal((dimension, count))
    return directions / np.linalg.norm(directions, axis=0)


def quantiles(values: Array) -> Floats:
    """Values (64, K) at even steps through the sorted columns (N, K), so that sets of any N compare."""
    ordered = np.sort(values, axis=0)
    places = (np.arange(QUANTILES) + 0.5) / QUANTILES * len(ordered) - 0.5
    low = np.clip(np.floor(places).astype(int), 0, len(ordered) - 1)
    high, share = np.minimum(low + 1, len(ordered) - 1), np.clip(places - low, 0, 1)[:, None]
    return ordered[low] * (1 - share) + ordered[high] * share


def sliced_wasserstein(first: Floats, second: Floats) -> float:
    """Sliced Wasserstein-2 distance: root mean square over directions (Bonneel 2015).

    Args:
        first: float64 (64, K), :func:`quantiles` of a set of points along :func:`random_directions`.
        second: of the other set, along the same directions.

    Returns:
        The distance in units of the features; 0 for equal sets.
    """
    return float(np.sqrt(np.mean(np.square(first - second))))
