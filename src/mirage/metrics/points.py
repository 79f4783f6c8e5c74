"""Sets of points: the checks and blocks that all metrics of feature tables share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.linalg import blas

Array = np.ndarray
Floats = npt.NDArray[np.float64]
BLOCK = 1024
"""Rows of a table that are worked on at once; memory beyond the tables is a few blocks."""
POINTS_PER_DIMENSION = 5
"""Points that every dimension of a regularised space rests on."""


def row_blocks(count: int, size: int = BLOCK) -> Iterator[slice]:
    """Slices that cut ``count`` rows in blocks of ``size``."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def check_points(*sets: Array, least: int = 1) -> list[Array]:
    """Sets of points (N, D), (M, D) ... as contiguous float32 (where they were) or float64 arrays.

    Raises:
        ValueError: not (N, D) of one D, fewer than ``least`` points, or values that are not finite.
    """
    shapes = [np.shape(points) for points in sets]
    if any(len(shape) != 2 or shape[1] != shapes[0][1] or shape[1] == 0 for shape in shapes):
        raise ValueError(f"expected arrays (N, D) of one D, found {' and '.join(map(str, shapes))}")
    if (fewest := min(shape[0] for shape in shapes)) < least:
        raise ValueError(f"expected {least} points or more in each set, found {fewest}")
    checked = [
        np.ascontiguousarray(points, np.float32 if np.asarray(points).dtype == np.float32 else np.float64)
        for points in sets
    ]
    for points in checked:
        if not all(np.isfinite(points[rows]).all() for rows in row_blocks(len(points))):
            raise ValueError("points hold values that are not finite")
    return checked


def moments(points: Array) -> tuple[Floats, Floats]:
    """Mean (D,) and unbiased covariance (D, D) of points (N, D), N >= 2, summed in float64 by blocks."""
    mean = points.mean(axis=0, dtype=np.float64)
    total = np.zeros((points.shape[1],) * 2, order="F")
    for rows in row_blocks(len(points), BLOCK // 4):
        centred = points[rows] - mean
        total = blas.dsyrk(1 / (len(points) - 1), centred.T, 1.0, total, overwrite_c=True)
    # Only the upper triangle is filled so far; a transposed copy of it would take as much memory again.
    for row in range(len(total)):
        total[row + 1 :, row] = total[row, row + 1 :]
    return mean, total


def regular_dimension(*counts: int, features: int) -> int:
    """Dimension of a regularised space: a fifth of the smallest set, at most ``features``, at least 1."""
    return max(1, min(min(counts) // POINTS_PER_DIMENSION, features))


class PrincipalAxes:
    """Projection on the first principal components of a reference, which no other set takes part in.

    Attributes:
        mean: float64 (D,) of the reference.
        axes: float64 (D, K), orthonormal, by falling variance.
        variances: float64 (K,) of the reference along them.
    """

    def __init__(self, reference: Array, dimension: int) -> None:
        """Fit.

        Args:
            reference: (N, D), N >= 2.
            dimension: K, at most min(N - 1, D).

        Raises:
            ValueError: no such K.
        """
        (reference,) = check_points(reference, least=2)
        most = min(len(reference) - 1, reference.shape[1])
        if not 1 <= dimension <= most:
            raise ValueError(f"expected 1 to {most} principal components, found {dimension}")
        if len(reference) < reference.shape[1]:
            self.mean = reference.mean(axis=0, dtype=np.float64)
            axes = np.linalg.svd(reference - self.mean, full_matrices=False)
            values, vectors = axes.S**2 / (len(reference) - 1), axes.Vh.T
        else:
            self.mean, covariance = moments(reference)
            rising, turned = np.linalg.eigh(covariance)
            values, vectors = rising[::-1].clip(min=0), turned[:, ::-1]
        self.axes: Floats = np.ascontiguousarray(vectors[:, :dimension])
        self.variances: Floats = values[:dimension]

    def __call__(self, points: Array) -> Floats:
        """Coordinates (N, K), float64, of points (N, D)."""
        (points,) = check_points(points)
        shown = np.empty((len(points), self.axes.shape[1]))
        for rows in row_blocks(len(points)):
            shown[rows] = (points[rows] - self.mean) @ self.axes
        return shown
