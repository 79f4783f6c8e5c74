"""Phantom phase-contrast images of single smooth muscle cells, with the outlines that several experts draw.

A cell is a spindle along a bent axis with thin processes; it has a bright halo, as positive phase contrast
gives, a nucleus, grain, and debris around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mirage import seeds

POINTS = 96
"""Points along each side of an outline."""


@dataclass(frozen=True)
class Outline:
    """What an observer sees of a cell, in shares of the image's height.

    Attributes:
        body: (2 * POINTS, 2) polygon.
        processes: polylines (N, 2) with their widths (N,), thin extensions of the body.
    """

    body: np.ndarray
    processes: list[tuple[np.ndarray, np.ndarray]]


def simulate_cell(seed: int, cell: int, height: int, width: int) -> tuple[np.ndarray, Outline]:
    """One cell.

    Args:
        seed: of the dataset.
        cell: index >= 0. Cells do not depend on how many there are.
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        uint8 (height, width) image and the true outline.
    """
    rng = seeds.rng(seed, "simulate", cell)
    outline = _outline(rng, width / height)
    mask = draw_mask(outline, height, width).astype(np.float32)
    return _render(rng, mask, height, width), outline


def draw_mask(outline: Outline, height: int, width: int) -> np.ndarray:
    """uint8 (height, width), 1 on the cell."""
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    draw.polygon((outline.body * height).ravel().tolist(), fill=1)
    for points, widths in outline.processes:
        pixels = (points * height).tolist()
        for (start, end), thick in zip(pairwise(pixels), widths * height, strict=False):
            draw.line([*start, *end], fill=1, width=max(1, round(thick)))
    return np.asarray(canvas).astype(np.uint8)


def redraw(outline: Outline, rng: np.random.Generator, bias: float, wobble: float, vertices: int) -> Outline:
    """The same cell as an expert draws it.

    Args:
        outline: the true one.
        rng: the expert's hand.
        bias: how far outside the edge this expert draws, share of the image's height.
        wobble: standard deviation of the hand's slow wander, same unit.
        vertices: of the polygon; few make straight edges.
    """
    count = len(outline.body)
    knots = rng.normal(0, wobble, (count // 8, 2))
    at = np.arange(count) * (len(knots) / count)
    wander = np.stack(
        [np.interp(at, np.arange(len(knots)), knots[:, a], period=len(knots)) for a in (0, 1)], 1
    )
    ahead, behind = np.roll(outline.body, -1, axis=0), np.roll(outline.body, 1, axis=0)
    normal = np.stack([ahead[:, 1] - behind[:, 1], behind[:, 0] - ahead[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    body = (outline.body + wander + bias * normal)[:: max(1, count // vertices)]
    seen = [process for process in outline.processes if rng.random() < 0.7]
    return Outline(body, seen)


def _outline(rng: np.random.Generator, aspect: float) -> Outline:
    length = rng.uniform(0.35, 0.8)
    middle = np.array([aspect / 2, 0.5]) + rng.normal(0, 0.05, 2)
    angle = rng.uniform(0, np.pi) if length < 0.6 else rng.normal(0, 0.35)
    s = np.linspace(-1, 1, POINTS)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    bend = rng.normal(0, 0.06) * (1 - s**2) + rng.normal(0, 0.03) * np.sin(np.pi * s)
    axis = middle + np.outer(s * length / 2, along) + np.outer(bend, across)
    half = rng.uniform(0.022, 0.055) * np.clip(1 - np.abs(s) ** rng.uniform(1.2, 2.2), 0, 1) ** rng.uniform(
        0.7, 1.2
    )
    sides = [axis + sign * np.outer(half * _uneven(rng), across) for sign in (1, -1)]
    body = np.concatenate([sides[0], sides[1][::-1]])
    return Outline(body, [_process(rng, axis, along, across) for _ in range(int(rng.integers(2, 5)))])


def _uneven(rng: np.random.Generator) -> np.ndarray:
    knots = rng.uniform(0.65, 1.35, 11)
    return np.interp(np.linspace(0, 10, POINTS), np.arange(11), knots) + 0.02


def _process(
    rng: np.random.Generator, axis: np.ndarray, along: np.ndarray, across: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A tapering extension that leaves near one of the ends."""
    end = rng.random() < 0.5
    start = axis[int(rng.integers(POINTS * 4 // 5, POINTS - 2)) if end else int(rng.integers(2, POINTS // 5))]
    direction = (along if end else -along) + rng.normal(0, 0.45) * across
    reach, count = rng.uniform(0.05, 0.2), 24
    s = np.linspace(0, 1, count)
    points = start + np.outer(s * reach, direction) + np.outer(rng.normal(0, 0.02) * s**2, across)
    return points, np.linspace(rng.uniform(0.008, 0.016), 0.003, count)


def _blur(values: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(Image.fromarray(values).filter(ImageFilter.GaussianBlur(radius)))


def _smooth(rng: np.random.Generator, cells: int, height: int, width: int) -> np.ndarray:
    coarse = rng.standard_normal((cells, round(cells * width / height) + 1), dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def _render(rng: np.random.Generator, mask: np.ndarray, height: int, width: int) -> np.ndarray:
    scale = height / 811
    level, contrast = rng.uniform(60, 115), rng.uniform(0.7, 1.2)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    slope = rng.normal(0, 0.18, 2)
    light = 1 + np.float32(slope[0]) * x + np.float32(slope[1]) * y + 0.06 * _smooth(rng, 4, height, width)
    light -= np.float32(rng.uniform(0, 0.2)) * (x * x + y * y)
    texture = 7 * _smooth(rng, 150, height, width) + 5 * _smooth(rng, 40, height, width)
    byte = (mask * 255).astype(np.uint8)
    near, far = (_blur(byte, radius * scale).astype(np.float32) / 255 for radius in (2.5, 9.0))
    halo = (near * 110 + far * 45) * (1 - mask)
    cell = near * mask * (-26 + 9 * _smooth(rng, 90, height, width))
    image = level * light + contrast * (texture * (1 - 0.5 * mask) + halo + cell)
    image += _nucleus(rng, mask) + _debris(rng, height, width, scale)
    image += rng.normal(0, 2.5, image.shape).astype(np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _nucleus(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    y, x = float(np.median(rows)), float(np.median(columns))
    canvas = Image.new("L", (width, height))
    half = rng.uniform(0.018, 0.03) * height
    ImageDraw.Draw(canvas).ellipse((x - 1.4 * half, y - half, x + 1.4 * half, y + half), fill=255)
    soft = np.asarray(canvas.filter(ImageFilter.GaussianBlur(0.12 * half)), dtype=np.float32) / 255
    return soft * mask * np.float32(rng.uniform(10, 24))


def _debris(rng: np.random.Generator, height: int, width: int, scale: float) -> np.ndarray:
    """Dark specks with bright rims, and a few larger rings, float32 grey levels."""
    dark, bright = (Image.new("L", (width, height)) for _ in range(2))
    on_dark, on_bright = ImageDraw.Draw(dark), ImageDraw.Draw(bright)
    count = int(rng.integers(60, 500))
    for x, y, size in zip(
        rng.uniform(0, width, count),
        rng.uniform(0, height, count),
        rng.gamma(2.0, 1.3, count) * scale,
        strict=True,
    ):
        rim = size + max(1.0, 1.6 * scale)
        on_bright.ellipse((x - rim, y - rim, x + rim, y + rim), fill=int(rng.integers(60, 160)))
        on_dark.ellipse((x - size, y - size, x + size, y + size), fill=255)
    soften = ImageFilter.GaussianBlur(max(0.4, 0.9 * scale))
    shade = np.asarray(dark.filter(soften), dtype=np.float32)
    return 0.22 * np.asarray(bright.filter(soften), dtype=np.float32) - 0.25 * shade
