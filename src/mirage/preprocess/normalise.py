"""Grey values of one image made comparable with those of others: landmarks, reference, percentiles, CLAHE.

All but CLAHE are one ascending curve an image, from its native values to 0..1, by the values inside a mask.
Nyul and Udupa, IEEE TMI 19:143 (2000): percentiles of every training image, moved and scaled so that its
first and last are 0 and 1, are averaged; these are the standard scale. Of any image, the same percentiles go
to that scale, and the curve between them is straight. Matching to a reference does the same with the whole
quantile function; the mean of the training images' is their barycentre (optimal transport on a line).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mirage.config.normalise import (
    ClaheNormalise,
    NormaliseEntry,
    NyulNormalise,
    PercentileNormalise,
)
from mirage.errors import DataError
from mirage.preprocess.intensity import stored_type

SCALE = (0.05, 0.95)
"""Ends of Nyul's standard scale; room for what lies beyond the first and the last landmark."""
LEVELS = 257
"""Points of a quantile function, minimum and maximum among them."""
BAND = 1 << 20
"""Values that are counted at a time."""


@dataclass(frozen=True)
class Curve:
    """An ascending curve through points, straight between them and on at its ends, cut at 0 and 1.

    Attributes:
        native: strictly ascending, at least two.
        standard: ascending, of 0..1.
    """

    native: np.ndarray
    standard: np.ndarray

    @classmethod
    def through(cls, native: np.ndarray, standard: np.ndarray) -> Curve:
        """The curve through points of which several may share a native value; theirs are averaged.

        Raises:
            DataError: all share one.
        """
        values, at = np.unique(np.asarray(native, float), return_inverse=True)
        if len(values) < 2:
            raise DataError(
                f"the grey values inside the field of view are all {values[0]:g}, so they cannot be "
                "normalised"
            )
        means = np.bincount(at, np.asarray(standard, float)) / np.bincount(at)
        slopes = np.diff(means) / np.diff(values)
        if slopes[0] > 0 and means[0] > 0:
            values = np.r_[values[0] - means[0] / slopes[0], values]
            means = np.r_[0.0, means]
        if slopes[-1] > 0 and means[-1] < 1:
            values = np.r_[values, values[-1] + (1 - means[-1]) / slopes[-1]]
            means = np.r_[means, 1.0]
        return cls(values, np.clip(means, 0, 1))

    def stored(self, image: np.ndarray, bits: int) -> np.ndarray:
        """An image (any shape) mapped to 0 .. 2**bits - 1, rounded; by a table where it is integer."""
        dtype = stored_type(bits)
        highest = np.iinfo(dtype).max
        if image.dtype in (np.uint8, np.uint16):
            known = np.arange(int(image.max()) + 1)
            table = np.rint(np.interp(known, self.native, self.standard) * highest).astype(dtype)
            return np.asarray(table.take(image))
        return np.rint(np.interp(image, self.native, self.standard) * highest).astype(dtype)


def percentiles(values: np.ndarray, at: Sequence[float] | np.ndarray) -> np.ndarray:
    """Percentiles, as ``np.percentile`` gives them; of 8- and 16-bit values by counting, not by sorting.

    Args:
        values: (N,), any real type, at least one.
        at: 0 to 100.

    Raises:
        DataError: no values.
    """
    if not values.size:
        raise DataError("the field of view is empty, so there are no grey values to normalise by")
    if values.dtype not in (np.uint8, np.uint16):
        return np.asarray(np.percentile(values, at), float)
    counts = np.zeros(np.iinfo(values.dtype).max + 1, np.int64)
    for start in range(0, values.size, BAND):
        counts += np.bincount(values[start : start + BAND], minlength=len(counts))
    below = np.cumsum(counts)
    ranks = np.asarray(at, float) / 100 * (values.size - 1)
    lower = np.searchsorted(below, np.floor(ranks), side="right")
    upper = np.searchsorted(below, np.ceil(ranks), side="right")
    return lower + (ranks - np.floor(ranks)) * (upper - lower)


def signature(values: np.ndarray, options: NormaliseEntry, ends: tuple[float, float] | None) -> np.ndarray:
    """What of an image is averaged over training images, 0..1.

    Args:
        values: (N,) native values inside the mask.
        options: ``nyul`` or ``match``.
        ends: native values that are 0 and 1; of ``match``.

    Raises:
        DataError: no values, or all the same.
    """
    if isinstance(options, NyulNormalise):
        found = percentiles(values, options.percents)
        ends = float(found[0]), float(found[-1])
    else:
        found = _quantiles(values)
    low, high = _proper(ends)
    return np.clip((found - low) / (high - low), 0, 1)


def curve_of(
    values: np.ndarray,
    options: NormaliseEntry,
    standard: Sequence[float] | None,
    ends: tuple[float, float] | None,
) -> Curve:
    """The curve of one image.

    Args:
        values: (N,) native values inside the mask.
        options: any method but ``clahe``.
        standard: mean of the training images' :func:`signature`, where the method is fitted.
        ends: as there.

    Raises:
        DataError: no values, or all the same.
    """
    if isinstance(options, PercentileNormalise):
        return Curve.through(percentiles(values, [options.low, options.high]), np.array([0.0, 1.0]))
    assert standard is not None  # a method is fitted, or one of the above
    if isinstance(options, NyulNormalise):
        scale = SCALE[0] + (SCALE[1] - SCALE[0]) * np.asarray(standard, float)
        return Curve.through(percentiles(values, options.percents), scale)
    low, high = _proper(ends)
    native, reference = _quantiles(values), np.asarray(standard, float)
    # Beyond the mask's own values, such as the background's, the curve goes on to the ends of the range.
    if low < native[0]:
        native, reference = np.r_[low, native], np.r_[0.0, reference]
    if high > native[-1]:
        native, reference = np.r_[native, high], np.r_[reference, 1.0]
    return Curve.through(native, reference)


def clahe(scaled: np.ndarray, options: ClaheNormalise) -> np.ndarray:
    """Equalise an image (C, H, W) of 0..1, each channel by itself; scikit-image's, of 14 bits."""
    from skimage.exposure import equalize_adapthist

    tile = [max(1, round(side / options.tiles)) for side in scaled.shape[1:]]
    return np.stack(
        [
            equalize_adapthist(channel, kernel_size=tile, clip_limit=options.clip_limit)
            if channel.min() < channel.max()
            else channel
            for channel in np.clip(scaled, 0, 1)
        ]
    )


def _quantiles(values: np.ndarray) -> np.ndarray:
    return percentiles(values, np.linspace(0, 100, LEVELS))


def _proper(ends: tuple[float, float] | None) -> tuple[float, float]:
    assert ends is not None  # given where the method is ranged
    low, high = ends
    if not low < high:
        raise DataError(
            f"the grey values inside the field of view range from {low:g} to {high:g}, so they cannot be "
            "normalised"
        )
    return low, high
