"""Smooth random fields over a head: uniform cubic B-splines on control points that are fixed in millimetres.

The control points do not know the voxels, so a head sampled at another voxel size has the same fields.
"""

from __future__ import annotations

import numpy as np

Axes = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Positions of a grid's voxels along x, y and z, mm, each within [START, START + SPAN]."""
START = -8.0
SPAN = 256.0
"""The range of millimetres that control points cover along every axis."""
SPREAD = (151 / 315) ** 1.5
"""Standard deviation, averaged over positions, of a cubic B-spline in 3D with unit normal coefficients."""


def control_count(spacing: float) -> int:
    """Control points along one axis."""
    return int(np.ceil(SPAN / spacing)) + 3


def control_axis(spacing: float) -> np.ndarray:
    """Positions of the control points along one axis, mm."""
    return START + spacing * (np.arange(control_count(spacing)) - 1.0)


def spline(coefficients: np.ndarray, axes: Axes, spacing: float) -> np.ndarray:
    """Evaluate a cubic B-spline.

    Args:
        coefficients: (K, K, K) with K = ``control_count(spacing)``.
        axes: where, mm.
        spacing: of the control points, mm.

    Returns:
        float32 (len(x), len(y), len(z)).
    """
    count = control_count(spacing)
    x, y, z = (_basis(axis, spacing, count) for axis in axes)
    planes = (x @ coefficients.astype(np.float32).reshape(count, -1)).reshape(len(x), count, count)
    return np.asarray((y @ planes) @ z.T)


def noise(rng: np.random.Generator, axes: Axes, spacing: float) -> np.ndarray:
    """Normal noise of zero mean and unit variance whose bumps are about ``spacing`` mm wide, float32."""
    count = control_count(spacing)
    return spline(rng.standard_normal((count,) * 3, dtype=np.float32) / np.float32(SPREAD), axes, spacing)


def _basis(positions: np.ndarray, spacing: float, count: int) -> np.ndarray:
    """Weights of the control points at each position, float32 (N, count)."""
    at = (positions - START) / spacing
    first = np.floor(at).astype(int)
    f = at - first
    weights = ((1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3)
    matrix = np.zeros((len(positions), count), np.float32)
    for offset, weight in enumerate(weights):
        matrix[np.arange(len(positions)), first + offset] = weight / 6
    return matrix
