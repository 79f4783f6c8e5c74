"""Slices of volumes on three planes, for encoders of 2D images: their features are averaged ("2.5D")."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mirage.evaluate.features.encoder import Floats
from mirage.evaluate.features.pixels import resized

SHARE = 0.6
"""Slices lie in this middle part of each axis: the ends often show nothing."""


def positions(extent: int, count: int) -> list[int]:
    """Places of at most ``count`` slices, evenly spread over the middle of an axis."""
    first, last = (1 - SHARE) / 2 * (extent - 1), (1 + SHARE) / 2 * (extent - 1)
    return sorted({round(place) for place in np.linspace(first, last, min(count, extent))})


def slices_of(volume: Floats, axis: int, count: int, side: int) -> Floats:
    """Slices (count, C, side, side) of a volume (C, D, H, W) across one of its axes 0, 1, 2."""
    across = np.moveaxis(volume, axis + 1, 0)
    return np.stack([resized(across[place], (side, side)) for place in positions(len(across), count)])


def encode_squares(
    images: Sequence[Floats], side: int, slices: int, encode: Callable[[Floats], Floats]
) -> Floats:
    """Features (N, D) of images, or of volumes as the mean over the means of their three planes.

    Args:
        images: (C, H, W) or (C, D, H, W) each.
        side: of the squares that are encoded.
        slices: of a volume, on each plane.
        encode: squares (M, C, side, side) to features (M, D).
    """
    if images[0].ndim == 3:
        return encode(np.stack([resized(image, (side, side)) for image in images]))
    planes = [
        [encode(slices_of(volume, axis, slices, side)).mean(axis=0) for axis in range(3)] for volume in images
    ]
    return np.mean(planes, axis=1, dtype=np.float32)
