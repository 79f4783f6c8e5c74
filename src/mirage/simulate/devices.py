"""Metal on chest phantoms: pacemakers with their leads, and cables of electrodes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

Device = Literal["pacemaker", "cables"]
FINE = 2
"""Metal is drawn this much larger and reduced, so that its edges are sharp without stairs."""


def add_device(image: np.ndarray, rng: np.random.Generator, device: Device) -> np.ndarray:
    """A copy of a float image (size, size) in 0..1 with something in it that lets few photons through."""
    size = len(image)
    canvas = Image.new("L", (size * FINE, size * FINE))
    draw = ImageDraw.Draw(canvas)
    if device == "pacemaker":
        _pacemaker(draw, rng, size * FINE)
    else:
        _cables(draw, rng, size * FINE)
    metal = np.asarray(canvas.resize((size, size), Image.Resampling.BOX), dtype=np.float32) / 255
    return np.asarray(image + metal * (0.985 - image), dtype=np.float32)


def _pacemaker(draw: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    """A flat can below the left clavicle, and a lead by the upper vein to the right ventricle."""
    x, y = rng.uniform(0.72, 0.8), rng.uniform(0.2, 0.27)
    half = rng.uniform(0.045, 0.06)
    box = [(x - half) * side, (y - half) * side, (x + half) * side, (y + half) * side]
    draw.rounded_rectangle(box, radius=0.6 * half * side, fill=255)
    knots = [(x - half, y), (0.62, 0.19), (0.49, 0.26), (0.46, 0.42), (0.48, 0.6), (0.6, 0.7)]
    _line(draw, knots, 0.006, side)


def _cables(draw: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    """Wires from electrodes across the chest, each ending in a button."""
    for _ in range(3):
        start = rng.uniform([0.2, 0.15], [0.8, 0.5])
        end = np.array([rng.uniform(0.1, 0.9), 1.0])
        bend = (start + end) / 2 + rng.normal(0, 0.08, 2)
        _line(draw, [tuple(start), tuple(bend), tuple(end)], 0.006, side)
        radius = 0.014
        corners = np.concatenate([start - radius, start + radius]) * side
        draw.ellipse(tuple(corners.tolist()), fill=255)


def _line(draw: ImageDraw.ImageDraw, knots: list[tuple[float, float]], width: float, side: int) -> None:
    """A smooth line through the knots, shares of the side."""
    t = np.linspace(0, len(knots) - 1, 60)
    at = np.arange(len(knots))
    kernel = np.array([1, 2, 3, 2, 1]) / 9
    smooth = []
    for axis in range(2):
        values = np.pad(np.interp(t, at, [knot[axis] for knot in knots]), 2, mode="edge")
        smooth.append(np.convolve(values, kernel, mode="valid") * side)
    points = [(float(x), float(y)) for x, y in zip(*smooth, strict=True)]
    draw.line(points, fill=255, width=max(1, round(width * side)), joint="curve")
