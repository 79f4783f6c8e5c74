"""Structural similarity of pairs of images or volumes at several scales, as a measure of diversity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate1d

from mirage.metrics.points import Array, Floats

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
OFFSETS = np.arange(WINDOW) - WINDOW // 2
KERNEL: Floats = np.exp(-(OFFSETS**2) / (2 * SIGMA**2)) / np.exp(-(OFFSETS**2) / (2 * SIGMA**2)).sum()


def scales_of(shape: tuple[int, ...]) -> int:
    """Scales (at most 5) at which the window fits in an image (H, W) or volume (D, H, W); 0: in none."""
    side, scales = min(shape), 0
    while side >= WINDOW and scales < len(WEIGHTS):
        side, scales = side // 2, scales + 1
    return scales


def ms_ssim(first: Array, second: Array, value_range: tuple[float, float]) -> float:
    """Multi-scale structural similarity of two images or volumes (Wang 2003), in float64.

    Gaussian window of 11 (sigma 1.5), where it fits entirely; halving by means of 2 x 2 (x 2). An image
    smaller than 176 has fewer than five scales: the weights of those it has are scaled to sum 1, so values
    compare only between images of one size. Terms below 0 count as 0. The mean over channels.

    Args:
        first: (C, H, W) or (C, D, H, W).
        second: of the same shape.
        value_range: lowest and highest value that is possible (not that occurs).

    Returns:
        0 to 1; 1 for identical images.

    Raises:
        ValueError: different shapes, a side below 11, or an empty range.
    """
    low, high = value_range
    if first.shape != second.shape or first.ndim not in (3, 4):
        raise ValueError(
            f"expected two arrays (C, H, W) or (C, D, H, W), found {first.shape}, {second.shape}"
        )
    scales = scales_of(first.shape[1:])
    if not scales:
        raise ValueError(f"expected sides of {WINDOW} or more, found {first.shape[1:]}")
    if not low < high:
        raise ValueError(f"value range {value_range}: expected lowest < highest")
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    return float(
        np.mean(
            [
                _channel(a.astype(np.float64) - low, b.astype(np.float64) - low, high - low, weights)
                for a, b in zip(first, second, strict=True)
            ]
        )
    )


def _channel(a: Floats, b: Floats, span: float, weights: Floats) -> float:
    result = 1.0
    for scale, weight in enumerate(weights, start=1):
        luminance, structure = _terms(a, b, span)
        last = scale == len(weights)
        term = (luminance * structure).mean() if last else structure.mean()
        result *= max(float(term), 0.0) ** weight
        a, b = (a, b) if last else (_halved(a), _halved(b))
    return result


def _terms(a: Floats, b: Floats, span: float) -> tuple[Floats, Floats]:
    """Luminance, and contrast with structure, wherever the window fits."""
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    mean_a, mean_b = _smooth(a), _smooth(b)
    product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    structure = (2 * (_smooth(a * b) - product) + c2) / (_smooth(a * a + b * b) - squares + c2)
    return (2 * product + c1) / (squares + c1), structure


def _smooth(values: Floats) -> Floats:
    """Gaussian mean wherever the window fits."""
    edge = WINDOW // 2
    for axis in range(values.ndim):
        values = correlate1d(values, KERNEL, axis=axis)
        values = values[(slice(None),) * axis + (slice(edge, -edge),)]
    return values


def _halved(values: Floats) -> Floats:
    """Means of 2 x 2 (x 2); an odd last row is left out."""
    for axis in range(values.ndim):
        even = np.moveaxis(values, axis, 0)[: values.shape[axis] // 2 * 2]
        values = np.moveaxis((even[::2] + even[1::2]) / 2, 0, axis)
    return values


def random_pairs(
    subjects: npt.NDArray[np.int64], count: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Different pairs of items of different subjects, drawn at random.

    Two views of one patient are alike because they are of one patient, which says nothing of diversity.

    Args:
        subjects: (N,), subject of each item.
        count: pairs wanted; all there are if fewer.
        rng: draws.

    Returns:
        int64 (pairs, 2), the smaller index first.
    """
    n = len(subjects)
    total = n * (n - 1) // 2
    if total <= 4 * count:
        every = np.stack(np.triu_indices(n, 1), axis=1)
        fit = every[subjects[every[:, 0]] != subjects[every[:, 1]]]
        return fit[np.sort(rng.permutation(len(fit))[:count])]
    found: dict[tuple[int, int], None] = {}
    for _ in range(64):
        drawn = np.sort(rng.integers(0, n, (2 * count, 2)), axis=1)
        fit = drawn[subjects[drawn[:, 0]] != subjects[drawn[:, 1]]]
        found.update(dict.fromkeys(map(tuple, fit.tolist())))
        if len(found) >= count:
            break
    return np.array(list(found)[:count], np.int64).reshape(-1, 2)
