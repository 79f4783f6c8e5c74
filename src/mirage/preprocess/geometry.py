"""Cutting and scaling: a box of the native image, in native pixels, becomes a stored square.

Scaling down averages over the exact area of each stored pixel, also where that is no whole number of native
pixels, so nothing aliases and a mask's average is the share of the area it covers. Scaling up interpolates
linearly. Both are separable and linear, so each axis is one sparse matrix.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import sparse

BAND = 1 << 20
"""Native values converted to float at a time; a few MB stay in the processor's cache."""
COLUMNS = 16
"""Columns that are turned into rows at a time; a line of the cache holds so many floats."""


@dataclass(frozen=True)
class Box:
    """A rectangle in native pixels, half-open; it may reach beyond the image, where there is nothing."""

    top: int
    left: int
    height: int
    width: int


def whole(shape: tuple[int, int]) -> Box:
    """The image itself, (H, W)."""
    return Box(0, 0, *shape)


def padded_square(shape: tuple[int, int]) -> Box:
    """Smallest square around an image (H, W), centred."""
    return _square_at(shape[0] / 2, shape[1] / 2, max(shape))


def centre_square(shape: tuple[int, int]) -> Box:
    """Largest square inside an image (H, W), centred."""
    return _square_at(shape[0] / 2, shape[1] / 2, min(shape))


def bounding_square(mask: np.ndarray) -> Box:
    """Smallest square around the non-zero part of a mask (H, W), centred on its bounding box.

    Raises:
        ValueError: the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ValueError("the field-of-view mask is empty, there is nothing to crop to")
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = int(max(bottom - top, right - left))
    return _square_at((top + bottom) / 2, (left + right) / 2, side)


def _square_at(y: float, x: float, side: int) -> Box:
    return Box(int(np.floor(y - side / 2)), int(np.floor(x - side / 2)), side, side)


@lru_cache(maxsize=64)
def axis_weights(native: int, start: float, length: float, size: int) -> tuple[sparse.csr_array, np.ndarray]:
    """Weights (size, native) along an axis, and the share of each stored pixel that lies in the image.

    Stored pixel i covers native start + i * length / size to start + (i + 1) * length / size. Weights of a
    pixel that lies partly outside sum to 1 over the part inside; one wholly outside has none.
    """
    edges = start + np.arange(size + 1) * (length / size)
    if length >= size:
        first, last = np.floor(edges[:-1] + 1e-9).astype(int), np.ceil(edges[1:] - 1e-9).astype(int)
        taps = first[:, None] + np.arange((last - first).max())
        weights = np.clip(np.minimum(taps + 1, edges[1:, None]) - np.maximum(taps, edges[:-1, None]), 0, 1)
    else:
        centres = (edges[:-1] + edges[1:]) / 2 - 0.5
        first = np.floor(centres).astype(int)
        taps = np.stack([first, first + 1], axis=1)
        weights = np.stack([1 - (centres - first), centres - first], axis=1)
        inside = (centres > -0.5) & (centres < native - 0.5)
        taps = np.where(inside[:, None], np.clip(taps, 0, native - 1), taps)
    valid = (taps >= 0) & (taps < native) & (weights > 0)
    total = np.where(valid, weights, 0).sum(axis=1)
    share = total / weights.sum(axis=1)
    rows = np.broadcast_to(np.arange(size)[:, None], taps.shape)[valid]
    values = (weights / np.maximum(total, 1e-12)[:, None])[valid].astype(np.float32)
    return sparse.csr_array((values, (rows, taps[valid])), shape=(size, native)), share


def resize(image: np.ndarray, box: Box, size: tuple[int, int]) -> np.ndarray:
    """Scale a box of an image to ``size``.

    Args:
        image: (C, H, W), any real type. Values to 2**24 (all 8 and 16 bit images) are averaged with a
            relative error below 1e-6.
        box: in native pixels.
        size: stored height and width.

    Returns:
        float32 (C, *size); averages of what lies inside the image, 0 where nothing does.
    """
    top, bottom = _looked_at(box.top, box.height, image.shape[1])
    left, right = _looked_at(box.left, box.width, image.shape[2])
    image = image[:, top:bottom, left:right]
    channels, height, width = image.shape
    rows, _ = axis_weights(height, box.top - top, box.height, size[0])
    columns, _ = axis_weights(width, box.left - left, box.width, size[1])
    lines = _resize_rows(np.moveaxis(image, 0, -1), rows).reshape(size[0], width, channels)
    pixels = columns @ np.ascontiguousarray(lines.transpose(1, 0, 2)).reshape(width, -1)
    return _channel_first(pixels.reshape(size[1], size[0], channels))


def _channel_first(pixels: np.ndarray) -> np.ndarray:
    """(W, H, C) as contiguous (C, H, W), a few columns at a time: NumPy's own copy misses the cache."""
    turned = np.empty(pixels.shape[::-1], pixels.dtype)
    for start in range(0, len(pixels), COLUMNS):
        turned[:, :, start : start + COLUMNS] = pixels[start : start + COLUMNS].transpose(2, 1, 0)
    return turned


def _looked_at(start: int, length: int, native: int) -> tuple[int, int]:
    """Native pixels along an axis that a box is made of: its own, and a neighbour on each side.

    Boxes of one length share their weights, wherever they lie.
    """
    first, last = max(0, start - 1), min(native, start + length + 1)
    return (first, last) if first < last else (0, native)


def _resize_rows(image: np.ndarray, rows: sparse.csr_array) -> np.ndarray:
    """(H, W, C) to float32 (stored rows, W * C), a band at a time: a whole float copy would be large."""
    if image.size <= BAND:
        return rows @ np.ascontiguousarray(image, dtype=np.float32).reshape(len(image), -1)
    count = max(1, BAND * rows.shape[0] // image.size)
    bands = []
    for start in range(0, rows.shape[0], count):
        band = rows[start : start + count]
        if not band.nnz:
            bands.append(np.zeros((band.shape[0], image.size // len(image)), np.float32))
            continue
        first, last = band.indices.min(), band.indices.max() + 1
        native = np.ascontiguousarray(image[first:last], dtype=np.float32).reshape(last - first, -1)
        bands.append(band[:, first:last] @ native)
    return np.concatenate(bands)


def inside(shape: tuple[int, int], box: Box, size: tuple[int, int]) -> np.ndarray:
    """Stored pixels, boolean (H, W), with at least half of their area in the image of (H, W) ``shape``."""
    _, rows = axis_weights(shape[0], box.top, box.height, size[0])
    _, columns = axis_weights(shape[1], box.left, box.width, size[1])
    return np.outer(rows, columns) >= 0.5 - 1e-6


def resize_binary(mask: np.ndarray, box: Box, size: tuple[int, int], threshold: float) -> np.ndarray:
    """Scale a mask (H, W) of 0 and 1: uint8 1 where at least ``threshold`` of a stored pixel's area is 1."""
    share = resize(mask[None], box, size)[0] * inside(mask.shape, box, size)
    return (share >= threshold - 1e-5).astype(np.uint8)


def resize_labels(mask: np.ndarray, box: Box, size: tuple[int, int]) -> np.ndarray:
    """Scale a mask (H, W) of several labels: the native value at each stored pixel's centre, 0 outside."""
    rows, beyond_rows = _centres(box.top, box.height, size[0], mask.shape[0])
    columns, beyond_columns = _centres(box.left, box.width, size[1], mask.shape[1])
    values = mask.take(rows, axis=0).take(columns, axis=1).astype(np.uint8, copy=False)
    values[beyond_rows] = 0
    values[:, beyond_columns] = 0
    return values


def _centres(start: int, length: int, size: int, native: int) -> tuple[np.ndarray, np.ndarray]:
    """Native pixel at the centre of each stored one along an axis, and which centres lie beyond the image."""
    found = np.floor(start + (np.arange(size) + 0.5) * (length / size)).astype(int)
    return found.clip(0, native - 1), (found < 0) | (found >= native)


def spacing_after(spacing: tuple[float, ...], box: Box, size: tuple[int, int]) -> tuple[float, float]:
    """Spacing in mm of the stored pixels, (H, W), from the native one."""
    return spacing[0] * box.height / size[0], spacing[1] * box.width / size[1]


def boxes_after(boxes: Iterable[dict[str, Any]], box: Box, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Boxes around findings, from native to stored pixels.

    Args:
        boxes: dicts of x0, y0, x1, y1 (native pixels, half-open; x across, y down), label, and any others.
        box: what of the image is stored.
        size: stored height and width.

    Returns:
        The boxes clipped to what is stored, in stored pixels; those wholly outside are dropped.
    """
    down, across = size[0] / box.height, size[1] / box.width
    kept = []
    for found in boxes:
        x0, x1 = (min(max((found[key] - box.left) * across, 0.0), float(size[1])) for key in ("x0", "x1"))
        y0, y1 = (min(max((found[key] - box.top) * down, 0.0), float(size[0])) for key in ("y0", "y1"))
        if x0 < x1 and y0 < y1:
            kept.append({**found, "x0": x0, "y0": y0, "x1": x1, "y1": y1})
    return kept
