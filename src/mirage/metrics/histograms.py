"""Distances between distributions of grey values, in two named profiles that are never mixed.

Both start from counts of grey levels pooled over pixels. They differ in everything that decides the size
of a Kullback-Leibler divergence:

============ =============================================== ===========================================
             ``kl_published``                                ``kl_robust`` (headline)
============ =============================================== ===========================================
pixels       whole image                                     inside the field of view
channel      8-bit luma (ITU-R 601) of RGB, else each        luma and each channel
bins         256 over the full value range                   64 of equal width between the 0.1 and 99.9
                                                             percentiles of the real training pixels;
                                                             values beyond count in the outermost bins
smoothing    1e-8 added to every probability, renormalised   1/2 added to every count (Jeffreys)
logarithm    natural                                         natural
============ =============================================== ===========================================

The published profile reconstructs what a paper calls "KL divergence of pixel intensities" without naming
bins, smoothing or direction. Its value is set by empty bins: quote its order of magnitude only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mirage.errors import DataError

Array = np.ndarray
Floats = npt.NDArray[np.float64]

PUBLISHED_BINS = 256
PUBLISHED_EPSILON = 1e-8
ROBUST_BINS = 64
ROBUST_PERCENTILES = (0.1, 99.9)
MANY_LEVELS = 4096


class Levels:
    """The grid of grey levels that counts are taken on.

    Images of type uint8 with range 0..255 have one level a value, so counts are exact. Any other range
    is cut into 4096 levels of equal width (16 values each for uint16).

    Attributes:
        values: float64 (L,), the grey value that stands for each level.
        edges: float64 (L + 1,), borders of the levels; level k holds edges[k] <= value < edges[k + 1],
            the last one also its upper border.
    """

    def __init__(self, value_range: tuple[float, float], dtype: str | np.dtype) -> None:
        low, high = float(value_range[0]), float(value_range[1])
        if not low < high:
            raise DataError(f"value range {value_range}: expected lowest < highest")
        if np.dtype(dtype) == np.uint8 and (low, high) == (0.0, 255.0):
            self.edges: Floats = np.arange(257.0)
            self.values: Floats = np.arange(256.0)
        else:
            self.edges = np.linspace(low, high, MANY_LEVELS + 1)
            self.values = (self.edges[:-1] + self.edges[1:]) / 2

    def __len__(self) -> int:
        return len(self.values)

    def count(self, values: Array) -> npt.NDArray[np.int64]:
        """Counts (L,) of an array of any shape.

        Raises:
            DataError: a value lies outside the range, or is NaN.
        """
        flat = values.ravel()
        if flat.dtype == np.uint8 and len(self) == 256:
            return np.bincount(flat, minlength=256)
        low, high = self.edges[0], self.edges[-1]
        scaled = (flat.astype(np.float64) - low) * (len(self) / (high - low))
        if flat.size and not (scaled.min() >= 0 and scaled.max() <= len(self)):
            raise DataError(f"grey values {flat.min()}..{flat.max()} outside the range {low}..{high}")
        return np.bincount(np.minimum(scaled.astype(np.int64), len(self) - 1), minlength=len(self))


def luma(image: Array) -> Array:
    """Luma (ITU-R 601) of an RGB image (3, ...), in its own type.

    uint8 images give the values of Pillow's ``convert("L")``.
    """
    red, green, blue = image
    if image.dtype == np.uint8:
        mixed = (
            red.astype(np.uint32) * 19595 + green.astype(np.uint32) * 38470 + blue.astype(np.uint32) * 7471
        )
        return ((mixed + 0x8000) >> 16).astype(np.uint8)
    value = 0.299 * red.astype(np.float64) + 0.587 * green + 0.114 * blue
    return np.rint(value).astype(image.dtype) if image.dtype.kind in "iu" else value.astype(image.dtype)


def percentiles(counts: Array, values: Floats, q: tuple[float, ...]) -> list[float]:
    """Percentiles of the pixels behind counts (L,): the smallest level value that reaches each share."""
    cumulative = np.cumsum(counts, dtype=np.float64)
    if not cumulative[-1]:
        raise DataError("no pixel to take percentiles of: the field of view is empty everywhere")
    index = np.searchsorted(cumulative, np.asarray(q) / 100 * cumulative[-1], side="left")
    return [float(values[min(i, len(values) - 1)]) for i in index]


def robust_edges(counts: Array, levels: Levels) -> Floats:
    """Borders (65,) of the bins of ``kl_robust``, from counts (L,) of the real training pixels."""
    low, high = percentiles(counts, levels.values, ROBUST_PERCENTILES)
    if low == high:
        step = levels.values[1] - levels.values[0]
        low, high = low - step / 2, high + step / 2
    return np.linspace(low, high, ROBUST_BINS + 1)


def published_edges(levels: Levels) -> Floats:
    """Borders (257,) of the bins of ``kl_published``: equal widths over the full range."""
    return np.linspace(levels.edges[0], levels.edges[-1], PUBLISHED_BINS + 1)


def rebin(counts: Array, values: Floats, edges: Floats) -> Floats:
    """Counts (..., L) of levels gathered in bins (..., len(edges) - 1); the outermost bins are open."""
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    borders = np.searchsorted(place, np.arange(len(edges)))
    below = np.zeros((*counts.shape[:-1], len(values) + 1))
    np.cumsum(counts, axis=-1, out=below[..., 1:])
    return np.diff(below[..., borders], axis=-1)


def normalise(counts: Array) -> Floats:
    """Counts (..., K) as probabilities.

    Raises:
        DataError: a row of counts is empty.
    """
    total = counts.sum(axis=-1, keepdims=True, dtype=np.float64)
    if not total.all():
        raise DataError("a histogram holds no pixel: the field of view or the set of images is empty")
    return counts / total


def kl_divergence(p: Floats, q: Floats) -> Floats:
    """Kullback-Leibler divergence sum p ln(p / q) over the last axis, nats.

    0 ln 0 is 0; infinite where q is 0 and p is not.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p / q), 0.0)
    return np.maximum(terms.sum(axis=-1), 0.0)


def js_divergence(p: Floats, q: Floats) -> Floats:
    """Jensen-Shannon divergence over the last axis, nats: in [0, ln 2]."""
    middle = (p + q) / 2
    return np.minimum((kl_divergence(p, middle) + kl_divergence(q, middle)) / 2, np.log(2))


def wasserstein1(p: Floats, q: Floats, values: Floats) -> Floats:
    """Wasserstein-1 distance over the last axis, in the units of ``values`` (K,), the places of the mass."""
    gap = np.abs(np.cumsum(p - q, axis=-1))[..., :-1]
    return gap @ np.diff(values)


def smooth_published(counts: Array) -> Floats:
    """Probabilities (..., K) + 1e-8, renormalised."""
    smoothed = normalise(counts) + PUBLISHED_EPSILON
    return smoothed / smoothed.sum(axis=-1, keepdims=True)


def smooth_robust(counts: Array) -> Floats:
    """(counts (..., K) + 1/2) / (total + K / 2)."""
    normalise(counts)
    smoothed = counts + 0.5
    return smoothed / smoothed.sum(axis=-1, keepdims=True)


def kl_published(p_counts: Array, q_counts: Array) -> Floats:
    """KL(p || q) of counts (..., 256), smoothed as the published profile says, nats."""
    return kl_divergence(smooth_published(p_counts), smooth_published(q_counts))


def kl_robust(p_counts: Array, q_counts: Array) -> Floats:
    """KL(p || q) of counts (..., 64), smoothed as the robust profile says, nats."""
    return kl_divergence(smooth_robust(p_counts), smooth_robust(q_counts))


def js_robust(p_counts: Array, q_counts: Array) -> Floats:
    """Jensen-Shannon divergence of counts (..., 64), smoothed as the robust profile says, nats."""
    return js_divergence(smooth_robust(p_counts), smooth_robust(q_counts))
