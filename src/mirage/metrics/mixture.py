"""Mixtures of equal isotropic Gaussians around given points: densities, and bandwidths fitted by EM."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import logsumexp

from mirage.metrics.points import Array, Floats, row_blocks

ITERATIONS = 50
SETTLED = 1e-4
"""Gain of the mean log-likelihood per dimension below which the fit has settled."""
FLOOR = 1e-6
"""Least variance of a Gaussian, for a point that is hit exactly; features are z-scored."""
START = 1e-3
ORIGIN = 0.81
"""Share of the squared distance from the mean that the background Gaussian sees."""


def log_mixture(points: Array, centres: Array, variances: Floats | float) -> Floats:
    """Log density (N,), nats, of points (N, D) under equal Gaussians around centres (M, D).

    Args:
        points: (N, D), float.
        centres: (M, D).
        variances: per dimension, of each Gaussian (M,) or of all.
    """
    spread = np.broadcast_to(np.asarray(variances, np.float64), (len(centres),))
    result = np.empty(len(points))
    for rows, squares in _squares(points, centres):
        result[rows] = logsumexp(_log_terms(squares, spread, points.shape[1]), axis=1)
    return result


def fit_variances(points: Array, centres: Array) -> Floats:
    """Variances (M,) of Gaussians around centres (M, D) that make points (N, D) most likely, by EM.

    A background Gaussian around the mean of the points takes those that no centre explains, so that none is
    widened for the sake of an outlier (Jiralerspong 2023). It is no part of the result.
    """
    dimension = points.shape[1]
    mean = points.mean(axis=0, dtype=np.float64)
    nearest = np.full(len(centres), np.inf)
    for _, squares in _squares(points, centres):
        nearest = np.minimum(nearest, squares.min(axis=0))
    variances, background, before = (nearest + START) / dimension, 1.0, -np.inf
    for _ in range(ITERATIONS):
        weight, moment = np.zeros(len(centres)), np.zeros(len(centres))
        rest, rest_moment, likelihood = 0.0, 0.0, 0.0
        for rows, squares in _squares(points, centres):
            far = ORIGIN * np.square(points[rows] - mean).sum(axis=1, dtype=np.float64)
            outside = -0.5 * (far / background + dimension * np.log(2 * np.pi * background))
            terms = _log_terms(squares, variances, dimension)
            total = np.logaddexp(logsumexp(terms, axis=1), outside)
            share = np.exp(terms - total[:, None])
            weight += share.sum(axis=0)
            moment += np.einsum("nm,nm->m", share, squares)
            left = np.exp(outside - total)
            rest, rest_moment = rest + left.sum(), rest_moment + left @ far
            likelihood += total.sum()
        used = weight > 1e-9
        variances[used] = np.maximum(moment[used] / (dimension * weight[used]), FLOOR)
        if rest > 1e-9:
            background = max(rest_moment / (dimension * rest), FLOOR)
        gain, before = (likelihood - before) / (len(points) * dimension), likelihood
        if gain < SETTLED:
            break
    return variances


def _squares(points: Array, centres: Array) -> Iterator[tuple[slice, Floats]]:
    """Squared distances (rows, M) of blocks of points from all centres, float64."""
    middle = centres.mean(axis=0, dtype=np.float64)
    placed = centres - middle
    norms = np.square(placed).sum(axis=1)
    for rows in row_blocks(len(points)):
        block = points[rows] - middle
        squares = np.square(block).sum(axis=1)[:, None] + norms - 2 * (block @ placed.T)
        yield rows, squares.clip(min=0)


def _log_terms(squares: Floats, variances: Floats, dimension: int) -> Floats:
    """Log of each Gaussian's part (rows, M) in the density."""
    constant = 0.5 * dimension * np.log(2 * np.pi * variances) + np.log(len(variances))
    return -0.5 * squares / variances - constant
