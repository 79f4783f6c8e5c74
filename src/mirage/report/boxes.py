"""Pictures with boxes: lesions, and the marks of a detector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from mirage.report.images import Key, fit

TRUTH, HIT, FALSE, LUNG = "#ffb000", "#2aa7ff", "#ff5c8a", "#ffe27a"
LEGEND: list[Key] = [("lesion", TRUTH), ("mark that hits", HIT), ("false positive", FALSE)]
SIDE = 384
MARGIN, WIDER = 1.5, 4.5
"""Pixels between a box and its outline, so that a small lesion and a mark on its very box can be seen."""

Corners = Sequence[float]


def with_boxes(rgb: np.ndarray, boxes: Sequence[tuple[Corners, str]], *, side: int = SIDE) -> np.ndarray:
    """A picture of a longer side of ``side``, with the outlines of boxes on it.

    Args:
        rgb: uint8 (H, W, 3).
        boxes: x0, y0, x1, y1 in pixels of ``rgb``, and the colour; later ones lie above.
        side: pixels of the picture that is drawn on.
    """
    picture: Image.Image = fit(rgb, side)
    scale = side / max(rgb.shape[:2])
    pen = ImageDraw.Draw(picture)
    for (x0, y0, x1, y1), colour in boxes:
        margin = WIDER if colour == TRUTH else MARGIN
        ends = (x0 * scale - margin, y0 * scale - margin, x1 * scale + margin, y1 * scale + margin)
        pen.rectangle(ends, outline=colour, width=2)
    return np.asarray(picture)
