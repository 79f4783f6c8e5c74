"""Distances between sets of points."""

from __future__ import annotations

import numpy as np
from scipy import linalg


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets of points (Heusel 2017, eq. 6).

    Args:
        first: (N, D), float, N >= 2.
        second: (M, D), float, M >= 2.

    Returns:
        |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), not negative; covariances are unbiased.

    Raises:
        ValueError: fewer than 2 points, different dimensions, or values that are not finite.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(f"expected two arrays (N, D) of one D, found {first.shape} and {second.shape}")
    if min(len(first), len(second)) < 2:
        raise ValueError(f"a covariance needs 2 points or more, found {len(first)} and {len(second)}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("points hold values that are not finite")
    gap = first.mean(axis=0) - second.mean(axis=0)
    return gaussian_distance(gap, np.atleast_2d(np.cov(first.T)), np.atleast_2d(np.cov(second.T)))


def gaussian_distance(gap: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Squared Fréchet distance of two Gaussians.

    Uses tr((C1 C2)^(1/2)) = tr((R C2 R)^(1/2)) with R = C1^(1/2), whose argument is symmetric, so that
    singular covariances give no complex numbers.

    Args:
        gap: (D,) difference of the means.
        first: (D, D) covariance.
        second: (D, D) covariance.
    """
    values, vectors = linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = linalg.eigvalsh(root @ second @ root)
    trace = np.trace(first) + np.trace(second) - 2 * np.sqrt(cross.clip(min=0)).sum()
    return float(max(gap @ gap + trace, 0.0))
