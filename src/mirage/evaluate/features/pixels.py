"""From a stored image to what encoders look at: one range and one way of resizing for whatever is compared.

The range is that of the dataset, never of the single image: an image that is darker than all others is to
stay so. Shrinking averages over the exact area of each new pixel, so nothing aliases; enlarging interpolates
linearly; nothing is rounded in between.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mirage.preprocess.geometry import axis_weights

RESIZE = "area average where it shrinks, linear where it enlarges, float32"
RANGE = "value range of the dataset to 0 ... 1"


def fitting_size(shape: tuple[int, ...], side: int) -> tuple[int, ...]:
    """Size (H, W) or (D, H, W) in the same proportions with sides of at most ``side``; never larger."""
    factor = min(1.0, side / max(shape))
    return tuple(max(1, round(extent * factor)) for extent in shape)


def scaled(image: np.ndarray, value_range: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Stored image of any shape as float32, its dataset's value range as 0 ... 1."""
    low, high = value_range
    return (image.astype(np.float32) - np.float32(low)) / np.float32(high - low)


def resized(values: npt.NDArray[np.float32], size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Image (C, H, W) or volume (C, D, H, W) at another size, axis by axis."""
    for axis, (native, wanted) in enumerate(zip(values.shape[1:], size, strict=True), start=1):
        if native != wanted:
            weights, _ = axis_weights(native, 0.0, float(native), wanted)
            lines = np.ascontiguousarray(np.moveaxis(values, axis, 0))
            done = (weights @ lines.reshape(native, -1)).reshape(wanted, *lines.shape[1:])
            values = np.moveaxis(done, 0, axis)
    return np.ascontiguousarray(values)
