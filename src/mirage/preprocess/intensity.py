"""From native to stored grey values."""

from __future__ import annotations

import numpy as np

from mirage.config.datasets import Intensity
from mirage.errors import DataError


def stored_type(bits: int) -> np.dtype:
    """uint8 or uint16."""
    return np.dtype(np.uint8 if bits == 8 else np.uint16)


def bounds(
    image: np.ndarray, inside: np.ndarray, full_range: tuple[float, float] | None, intensity: Intensity
) -> tuple[float, float]:
    """Native values that become the lowest and the highest stored value.

    Args:
        image: (C, H, W) native values; percentiles are of all channels together.
        inside: boolean (H, W), pixels that percentiles are taken of.
        full_range: what the file's type or header allows, or None.
        intensity: the configured mapping.

    Raises:
        DataError: ``dtype_range`` of a file that has none; percentiles of a constant image.
    """
    if intensity.kind == "dtype_range":
        if full_range is None:
            raise DataError(
                "signed or float values have no range of their own; set `prepare.intensity` to kind: window "
                "with low and high in native units, or to kind: percentile"
            )
        return full_range
    assert intensity.low is not None  # by the config model
    assert intensity.high is not None
    if intensity.kind == "window":
        return intensity.low, intensity.high
    low, high = np.percentile(image[:, inside], [intensity.low, intensity.high])
    if not low < high:
        raise DataError(f"percentiles {intensity.low:g} and {intensity.high:g} of the image are both {low:g}")
    return float(low), float(high)


def to_stored(image: np.ndarray, low: float, high: float, bits: int) -> np.ndarray:
    """Map low..high linearly to 0..2**bits - 1, rounded to nearest; values beyond are clipped.

    Args:
        image: float32, any shape; overwritten.
        low: native value that becomes 0.
        high: native value that becomes the highest.
        bits: 8 or 16.
    """
    dtype = stored_type(bits)
    highest = np.float32(np.iinfo(dtype).max)
    if (low, high) != (0.0, float(highest)):
        image -= np.float32(low)
        image *= np.float32(float(highest) / (high - low))
    np.rint(image, out=image)
    np.clip(image, 0, highest, out=image)
    return image.astype(dtype)
