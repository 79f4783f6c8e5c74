"""Structural similarity of pairs of images or volumes at several scales, as a measure of diversity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

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


@dataclass(frozen=True)
class Pyramid:
    """An image with all that every comparison with another one needs, made once.

    Attributes:
        channels: of each channel its scales, fine to coarse: values, local means and local means of squares,
            float32, the value range as 0 to 1.
    """

    channels: tuple[tuple[tuple[Array, Array, Array], ...], ...]


def pyramid(image: Array, value_range: tuple[float, float]) -> Pyramid:
    """Scales of an image (C, H, W) or volume (C, D, H, W).

    Args:
        image: of any real type.
        value_range: lowest and highest value that is possible (not that occurs).

    Raises:
        ValueError: a side below 11, or an empty range.
    """
    low, high = value_range
    scales = scales_of(image.shape[1:])
    if not scales:
        raise ValueError(f"expected sides of {WINDOW} or more, found {image.shape[1:]}")
    if not low < high:
        raise ValueError(f"value range {value_range}: expected lowest < highest")
    return Pyramid(
        tuple(
            _scales(((channel.astype(np.float64) - low) / (high - low)).astype(np.float32), scales)
            for channel in image
        )
    )


def compare(first: Pyramid, second: Pyramid) -> float:
    """Multi-scale structural similarity (Wang 2003) of two images of one size: 0 to 1; 1 if identical.

    Gaussian window of 11 (sigma 1.5), where it fits entirely; halving by means of 2 x 2 (x 2). An image
    smaller than 176 has fewer than five scales: the weights of those it has are scaled to sum 1, so values
    compare only between images of one size. Terms below 0 count as 0. The mean over channels.
    """
    return float(np.mean([_channel(a, b) for a, b in zip(first.channels, second.channels, strict=True)]))


def _scales(values: Array, count: int) -> tuple[tuple[Array, Array, Array], ...]:
    found = []
    for scale in range(count):
        values = _halved(values) if scale else values
        found.append((values, _smooth(values), _smooth(values * values)))
    return tuple(found)


def _channel(
    first: tuple[tuple[Array, Array, Array], ...], second: tuple[tuple[Array, Array, Array], ...]
) -> float:
    weights = np.array(WEIGHTS[: len(first)]) / sum(WEIGHTS[: len(first)])
    result = 1.0
    for scale, (a, b) in enumerate(zip(first, second, strict=True), start=1):
        luminance, structure = _terms(a, b)
        term = luminance * structure if scale == len(weights) else structure
        result *= max(float(term.mean(dtype=np.float64)), 0.0) ** weights[scale - 1]
    return result


def _terms(a: tuple[Array, Array, Array], b: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    """Luminance, and contrast with structure, wherever the window fits."""
    (one, mean_a, square_a), (other, mean_b, square_b) = a, b
    product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    structure = (2 * (_smooth(one * other) - product) + K2**2) / (square_a + square_b - squares + K2**2)
    return (2 * product + K1**2) / (squares + K1**2), structure


@cache
def _windows(side: int) -> Array:
    """Weights (side - 10, side), float32, of every place of the window along an axis."""
    places = np.zeros((side - WINDOW + 1, side), np.float32)
    for at, row in enumerate(places):
        row[at : at + WINDOW] = KERNEL
    return places


def _smooth(values: Array) -> Array:
    """Gaussian mean wherever the window fits."""
    for _ in range(values.ndim):  # each product takes the first axis and puts it last
        values = np.tensordot(values, _windows(values.shape[0]), axes=(0, 1))
    return values


def _halved(values: Array) -> Array:
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
