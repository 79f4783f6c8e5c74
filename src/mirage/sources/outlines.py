"""Outlines of lesions, as radiologists draw them: their boxes, and the pixels inside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mirage.config.mammography import LESIONS
from mirage.errors import DataError


def box_of(points: np.ndarray) -> tuple[float, float, float, float]:
    """The box around the pixels that an outline touches, one pixel at least: x0, y0, x1, y1, half-open.

    Args:
        points: (N, 2) of x and y in pixels of the image, from its upper left corner; pixel ``i`` reaches from
            ``i`` to ``i + 1``.
    """
    low, high = np.floor(points.min(axis=0)), np.floor(points.max(axis=0)) + 1
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def inside(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels of an outline and within it, bool (H, W); what lies outside the image is left off.

    Args:
        points: as for ``box_of``; the last is joined to the first. One or two points are their pixels and
            the line between them.
        shape: H, W of the image.
    """
    from skimage.draw import polygon, polygon_perimeter

    pixels = np.floor(points).astype(int)
    filled = np.zeros(shape, bool)
    if len(pixels) > 1:
        for draw in (polygon, polygon_perimeter):
            rows, columns = draw(pixels[:, 1], pixels[:, 0])
            within = (rows >= 0) & (columns >= 0) & (rows < shape[0]) & (columns < shape[1])
            filled[rows[within], columns[within]] = True
    kept = ((pixels >= 0) & (pixels < [shape[1], shape[0]])).all(axis=1)
    filled[pixels[kept, 1], pixels[kept, 0]] = True
    return filled


def label_mask(lesions: Iterable[tuple[str, np.ndarray]], shape: tuple[int, ...]) -> np.ndarray:
    """Lesions in one mask, uint8 (H, W): the number of a kind in ``LESIONS``, from 1; 0 is none.

    Larger ones are drawn first, so that a lesion inside another is seen.

    Args:
        lesions: kinds, each with its pixels, bool (H, W).
        shape: H, W of the image.
    """
    mask = np.zeros(shape, np.uint8)
    for kind, pixels in sorted(lesions, key=lambda lesion: -int(lesion[1].sum())):
        mask[pixels] = LESIONS.index(kind) + 1
    return mask


def points_of(across: Sequence[str], down: Sequence[str], what: str, where: str) -> np.ndarray:
    """Points (N, 2) of lists of x and y.

    Raises:
        DataError: none, or lists of different lengths, or one holds what is no finite number.
    """
    if not across or len(across) != len(down):
        raise DataError(
            f"{where}: {what} has {len(across)} values of x and {len(down)} of y, expected as many, and one "
            "at least; mend the outline, or exclude the image"
        )
    try:
        points = np.array([across, down], dtype=float).T
    except ValueError as error:
        raise DataError(
            f"{where}: {what} holds what is no number ({error}); mend the outline, or exclude the image"
        ) from error
    if not np.isfinite(points).all():
        raise DataError(
            f"{where}: {what} holds what is no finite number; mend the outline, or exclude the image"
        )
    return points


def without_outline(boxes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Copies of boxes without what only the drawing of their masks needs."""
    return [{key: value for key, value in box.items() if key != "points"} for box in boxes]
