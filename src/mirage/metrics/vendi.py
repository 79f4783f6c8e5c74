"""Vendi score: the effective number of different items in a set."""

from __future__ import annotations

import numpy as np

from mirage.metrics.points import Array, check_points, row_blocks


def vendi(points: Array) -> float:
    """Vendi score (Friedman and Dieng 2023): exp of the entropy of the eigenvalues of K / n.

    K holds the cosine similarities of the points. Points of one direction count as one; points that are
    all orthogonal count as n. Features that share a large offset are all alike to a cosine: centre them on
    the real training mean first. Points of length 0 are alike, and unlike all others.

    Args:
        points: (N, D), float.

    Returns:
        From 1 (all alike) to min(N, D + 1).

    Raises:
        ValueError: no points, or values that are not finite.
    """
    (points,) = check_points(points)
    lengths = np.sqrt(np.einsum("nd,nd->n", points, points, dtype=np.float64))
    nowhere = lengths == 0
    unit = np.where(nowhere, 1.0, lengths)[:, None]
    count, dimension = points.shape
    if count <= dimension:
        rows = points / unit
        gram = rows @ rows.T + np.outer(nowhere, nowhere)
        values = np.linalg.eigvalsh(gram)
    else:
        # X X^T and X^T X have the same eigenvalues but for zeros.
        gram = np.zeros((dimension, dimension))
        for part in row_blocks(count):
            rows = points[part] / unit[part]
            gram += rows.T @ rows
        values = np.append(np.linalg.eigvalsh(gram), np.count_nonzero(nowhere))
    shares = values[values > 0] / count
    return float(np.exp(-(shares * np.log(shares)).sum()))
