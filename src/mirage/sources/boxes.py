"""Boxes around findings, as archives give them: checked against the image that they are in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mirage.errors import DataError

SLACK = 2.0
"""Pixels by which a box may reach beyond its image: rounding of whoever drew it."""


def boxes_inside(boxes: Sequence[dict[str, Any]], shape: tuple[int, ...], path: Path) -> list[dict[str, Any]]:
    """The boxes of an image (H, W), cut by rounding errors at most.

    Raises:
        DataError: one is empty, reaches outside the image, or is there twice.
    """
    for number, box in enumerate(boxes):
        if box in boxes[:number]:
            raise DataError(
                f"{path}: the box {box['label']} ({box['x0']:g}, {box['y0']:g}) to ({box['x1']:g}, "
                f"{box['y1']:g}) is listed twice, so one lesion would count as two; delete one of its rows"
            )
    return [_inside(box, shape, path) for box in boxes]


def reaches_outside(box: dict[str, Any], shape: tuple[int, ...]) -> bool:
    """Whether a box reaches farther beyond its image (H, W) than rounding explains."""
    height, width = shape
    return bool(min(box["x0"], box["y0"]) < -SLACK or box["x1"] > width + SLACK or box["y1"] > height + SLACK)


def _inside(box: dict[str, Any], shape: tuple[int, ...], path: Path) -> dict[str, Any]:
    """The box, cut by rounding errors at most.

    Raises:
        DataError: it is empty, or reaches outside the image.
    """
    height, width = shape
    x0, y0, x1, y1 = (float(box[key]) for key in ("x0", "y0", "x1", "y1"))
    outside = reaches_outside(box, shape)
    if outside or not (x1 > x0 and y1 > y0):
        what = "reaches outside the image" if outside else "has no extent"
        raise DataError(
            f"{path}: the box {box['label']} ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}) {what} of "
            f"{width} x {height} (width x height) pixels; mend its row in the table of boxes, or exclude "
            "the image"
        )
    clipped = {"x0": max(x0, 0.0), "y0": max(y0, 0.0), "x1": min(x1, width), "y1": min(y1, height)}
    return {**box, **clipped}
