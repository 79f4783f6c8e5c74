"""Where the windows of a multi-resolution network lie in a volume, one axis at a time.

A network of eight valid 3x3x3 convolutions sees 17 voxels an axis for each voxel it labels. A pathway that
sees the volume subsampled takes every ``factor``-th voxel as it is, without smoothing; its first voxel lies
such that its output, every voxel repeated ``factor`` times and cut from the start, falls on the voxels that
are labelled (DeepMedic, Kamnitsas et al. 2017, as its public program 0.8.4 places them).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

FIELD = 17
"""Receptive field of a pathway, voxels of its own resolution."""
MARGIN = FIELD // 2
"""Voxels that a pathway loses on each side, by which the volume is mirrored outwards."""


def positions(start: int, size: int, factor: int = 1, context: int = 0) -> np.ndarray:
    """Coordinates along one axis of the voxels that a pathway sees.

    Args:
        start: first voxel labelled.
        size: voxels labelled.
        factor: subsampling of the pathway.
        context: voxels further out on each side, 0 or 1.

    Returns:
        int64 (size + 16 + 2 context) for factor 1; else ceil(size / factor) + 16 of them, with context
        one more in front and as many behind as it needs.
    """
    if factor == 1:
        return np.arange(start - MARGIN - context, start + size + MARGIN + context)
    first = start - MARGIN + factor // 2 - (factor - 1) // 2 * FIELD
    before = 1 if context else 0
    count = before - (-(size + context) // factor) + FIELD - 1
    return first + factor * np.arange(-before, count - before)


def mirrored(places: np.ndarray, extent: int) -> np.ndarray:
    """Coordinates beyond the volume to those of its mirror image; the outermost voxel is not repeated.

    Args:
        places: coordinates along one axis, any integers.
        extent: voxels of the volume along that axis.

    Returns:
        int64 in [0, extent).
    """
    period = max(2 * (extent - 1), 1)
    folded = np.abs(places) % period
    return np.minimum(folded, period - folded)


def beyond(places: np.ndarray, extent: int) -> np.ndarray:
    """Which coordinates lie further out than the volume is mirrored, 8 voxels on each side."""
    return (places < -MARGIN) | (places >= extent + MARGIN)


def crop(array: np.ndarray, axes: Sequence[np.ndarray]) -> np.ndarray:
    """Values (..., d, h, w) of an array (..., D, H, W) at the given coordinates of its last three axes."""
    depth, height, width = np.ix_(*axes)
    cut: np.ndarray = array[..., depth, height, width]
    return cut


def tile_starts(extent: int, size: int) -> list[int]:
    """First voxels of tiles of one size that cover an axis; the last one ends where the axis ends."""
    if size >= extent:
        return [0]
    return [*range(0, extent - size, size), extent - size]


def anchored_tiles(
    low: Sequence[int], high: Sequence[int], step: int, budget: int
) -> list[tuple[tuple[int, int], ...]]:
    """Cut a box into as few tiles as a budget of voxels allows, all starting at multiples of ``step``.

    Args:
        low, high: the box, half-open, one number an axis.
        step: least common multiple of the subsampling factors.
        budget: most voxels of one tile; a tile of ``step`` voxels an axis is made in any case.

    Returns:
        (start, size) of each axis of each tile.
    """
    first = [start // step * step for start in low]
    pieces = [1] * len(first)
    while True:
        sizes = [
            -(-(end - start) // (count * step)) * step
            for start, end, count in zip(first, high, pieces, strict=True)
        ]
        widest = max(range(len(sizes)), key=lambda axis: min(sizes[axis], high[axis] - first[axis]))
        held = np.prod([min(size, end - start) for size, start, end in zip(sizes, first, high, strict=True)])
        if held <= budget or sizes[widest] <= step:
            break
        pieces[widest] += 1
    axes = [
        [(start, min(size, end - start)) for start in range(begin, end, size)]
        for begin, end, size in zip(first, high, sizes, strict=True)
    ]
    return list(product(*axes))
