"""Where the brain is in a volume, and what its background is.

Skull-stripped volumes have one value outside the brain. It is 0 as a rule, but a negative constant after
z-scoring, and it may be undershot along the brain's edge by resampling. Volumes with the skull, or of
anything else, have noise around them; their mask is the head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mirage.errors import DataError
from mirage.preprocess.pieces import largest_piece, without_holes

FLAT = 1e-4
"""Values that lie less than this share of a volume's range apart are one: float files hold rounding noise."""
COMMON = 0.5
"""Share of the voxels along a volume's edges that must hold one value for it to be the background."""
STRIDE = 4
"""Every so manieth voxel along each axis is enough to know a volume's range and histogram."""


def background_of(volume: np.ndarray) -> float | None:
    """The constant around a skull-stripped brain.

    Args:
        volume: (D, H, W), any real type.

    Returns:
        The commonest value along the twelve edges of the volume, or None where no value is common there.
    """
    ends = [[0, -1]] * 3
    whole = [range(length) for length in volume.shape]
    lines = (volume[np.ix_(*ends[:axis], whole[axis], *ends[axis + 1 :])].ravel() for axis in range(3))
    edges = np.concatenate([*lines]).astype(np.float64)
    _, first, counts = np.unique(np.rint(edges / _near(volume)), return_index=True, return_counts=True)
    if counts.max() < COMMON * len(edges):
        return None
    return float(edges[first[counts.argmax()]])


def _near(volume: np.ndarray) -> float:
    """Values less than this apart are one."""
    seen = volume[::STRIDE, ::STRIDE, ::STRIDE]
    return FLAT * (float(seen.max()) - float(seen.min())) or FLAT  # whole numbers would overflow


def brain_mask(volumes: np.ndarray, backgrounds: Sequence[float | None]) -> np.ndarray:
    """The brain: what differs from the background in any sequence, the largest piece of it, holes filled.

    Args:
        volumes: (C, D, H, W), any real type.
        backgrounds: of each, from :func:`background_of`.

    Returns:
        uint8 (D, H, W), 1 inside.

    Raises:
        DataError: nothing differs from the background.
    """
    found = np.zeros(volumes.shape[1:], bool)
    for volume, background in zip(volumes, backgrounds, strict=True):
        found |= _foreground(volume, background)
    box = bounding_box(found)
    mask = np.zeros(found.shape, np.uint8)
    mask[box] = without_holes(largest_piece(found[box]))
    return mask


def bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """Smallest box around the non-zero part of a mask (D, H, W).

    Raises:
        DataError: the mask is empty.
    """
    spans = [np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not all(len(span) for span in spans):
        raise DataError("the brain mask is empty: there is nothing but background")
    depth, height, width = (slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    return depth, height, width


def _foreground(volume: np.ndarray, background: float | None) -> np.ndarray:
    if background is None:
        from skimage.filters import threshold_otsu

        return np.asarray(volume > threshold_otsu(volume[::STRIDE, ::STRIDE, ::STRIDE]))
    low, high = background - _near(volume), background + _near(volume)
    if volume.dtype.kind != "f":  # whole numbers are compared as such, several times as fast
        low, high = math.ceil(low), math.floor(high)
    if low == high:
        return np.asarray(volume != low)
    return np.asarray((volume < low) | (volume > high))
