"""Holes that inpainters learn to fill."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mirage.config.generators import Holes

Mask = npt.NDArray[np.uint8]
VERTICES = (4, 12)
"""Corners of a brush stroke, the upper end excluded."""


@dataclass(frozen=True)
class Hole:
    """A hole, and the box it was drawn for.

    Attributes:
        mask: (side, side), uint8, 1 in the hole; never empty.
        top, left: of the box, whose side is ``Holes.box_side``.
    """

    mask: Mask
    top: int
    left: int


def draw_hole(side: int, options: Holes, rng: np.random.Generator) -> Hole:
    """Draw a hole for an image of a side.

    The same number of draws places the box whatever its shape, so holes of other shapes lie where boxes do.
    """
    box = options.box_side(side)
    top, left = (int(rng.integers(0, side - box + 1)) for _ in range(2))
    if options.place == "centre":
        top = left = (side - box) // 2
    most = int(options.shrink * box)
    vertical, horizontal = (int(shrunk) for shrunk in rng.integers(0, most + 1, 2))
    mask: Mask = np.zeros((side, side), np.uint8)
    if options.shape != "strokes":
        mask[top + vertical : top + box - vertical, left + horizontal : left + box - horizontal] = 1
    if options.shape != "box":
        strokes = _strokes(side, (top, left, box), options, rng)
        if options.shape == "strokes":
            inside = np.zeros_like(mask)
            inside[top : top + box, left : left + box] = 1
            strokes *= inside
        mask |= strokes
    return Hole(mask, top, left)


def _strokes(side: int, box: tuple[int, int, int], options: Holes, rng: np.random.Generator) -> Mask:
    """Brush strokes as in free-form inpainting (Yu 2019): bent round-ended lines, begun in the box."""
    top, left, extent = box
    sheet = Image.new("L", (side, side))
    draw = ImageDraw.Draw(sheet)
    reach = math.hypot(extent, extent) / 4
    for _ in range(int(rng.integers(1, options.strokes + 1))):
        width = max(1, round(rng.uniform(*options.stroke_width) * side))
        x, y = left + rng.uniform(0, extent - 1), top + rng.uniform(0, extent - 1)
        heading = rng.uniform(0, 2 * math.pi)
        _dot(draw, x, y, width)
        for vertex in range(int(rng.integers(*VERTICES))):
            # To and fro, so that a stroke stays near where it began.
            angle = heading + (vertex % 2) * math.pi + rng.uniform(-1, 1) * math.pi / 4
            length = min(max(rng.normal(reach, reach / 2), 0), 2 * reach)
            end_x = min(max(x + length * math.cos(angle), 0), side - 1)
            end_y = min(max(y + length * math.sin(angle), 0), side - 1)
            draw.line((x, y, end_x, end_y), fill=1, width=width)
            _dot(draw, end_x, end_y, width)
            x, y = end_x, end_y
    return np.array(sheet)


def _dot(draw: ImageDraw.ImageDraw, x: float, y: float, width: int) -> None:
    radius = width / 2
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    draw.point((round(x), round(y)), fill=1)
