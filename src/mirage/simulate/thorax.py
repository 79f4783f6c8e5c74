"""The frontal projection of a healthy chest: lungs, heart and mediastinum, diaphragm, bones, vessels.

Lengths are shares of the image's side, x to the image's right (the patient's left) and y down, so that a
chest is the same at every size. Grey values are the displayed logarithm of attenuation, 0 (air) to 1: what
lies on top of one another adds up. Outlines are curves of one coordinate, which makes every edge exact,
free of stairs and cheap; what is smooth is computed small and enlarged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

View = Literal["PA", "AP"]
COARSE = 128
"""Side at which smooth parts are computed, pixels."""
VESSELS = 512
"""Side at which vessels are drawn, pixels."""


@dataclass(frozen=True)
class Thorax:
    """Measures of one chest, shares of the image's side unless said otherwise.

    Attributes:
        view: AP is taken lying: a larger heart, a higher diaphragm, flatter clavicles, more noise.
        middle: x of the spine.
        apex: y of the top of the lungs.
        half_width: from the spine to the outer wall of a lung.
        dome: y of the right dome of the diaphragm; the left one lies ``dome_step`` lower.
        heart: how far the left border of the heart reaches from the spine.
        stout: thickness of the soft tissue, about 1.
        bone: brightness of a rib in the lung field.
        ribs: distance of one rib from the next.
        tilt: how much the ribs fall outward.
        exposure: factor on all grey values.
        wiggles: (4, 2) amplitudes of slow random bends of the walls.
    """

    view: View
    middle: float
    apex: float
    half_width: float
    dome: float
    dome_step: float
    heart: float
    stout: float
    bone: float
    ribs: float
    tilt: float
    exposure: float
    wiggles: np.ndarray


def draw_thorax(rng: np.random.Generator, view: View) -> Thorax:
    """Measures of a random chest."""
    lying = view == "AP"
    apex = rng.uniform(0.09, 0.15)
    dome = rng.uniform(0.70, 0.80) - 0.05 * lying
    return Thorax(
        view=view,
        middle=0.5 + rng.normal(0, 0.012),
        apex=apex,
        half_width=rng.uniform(0.34, 0.40),
        dome=dome,
        dome_step=rng.uniform(0.0, 0.03),
        heart=rng.uniform(0.15, 0.20) + 0.035 * lying,
        stout=rng.uniform(0.85, 1.15),
        bone=rng.uniform(0.05, 0.09),
        ribs=(dome - apex) * rng.uniform(0.105, 0.12),
        tilt=rng.uniform(0.8, 1.2),
        exposure=rng.uniform(0.9, 1.1),
        wiggles=rng.normal(0, 0.006, (4, 2)),
    )


def lung_shares(chest: Thorax, size: int, softness: float = 0.0025) -> np.ndarray:
    """How far each pixel belongs to the right and to the left lung field, float32 (2, size, size) in 0..1.

    Args:
        chest: the measures.
        size: side of the image, pixels.
        softness: half the width of the edges.
    """
    at = _centres(size)
    soft = np.float32(max(softness, 0.5 / size))
    fields = np.empty((2, size, size), np.float32)
    for side, sign in enumerate((-1.0, 1.0)):
        outward = sign * (at - chest.middle)
        inner, outer = _inner_wall(chest, side, at), _outer_wall(chest, side, at)
        floor = _floor(chest, side, outward)
        field = _step((outward[None] - inner[:, None]) / soft)
        field *= _step((outer[:, None] - outward[None]) / soft)
        field *= _step((floor[None] - at[:, None]) / soft)
        fields[side] = field
    return fields


def render(chest: Thorax, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The radiograph without noise.

    Returns:
        Grey values float32 (size, size), about 0 to 0.95, and the lung fields as in ``lung_shares``.
    """
    fields = lung_shares(chest, size)
    lungs = fields.sum(axis=0)
    image = enlarge(_soft_tissue(chest, rng), size)
    image -= lungs * enlarge(_air_depth(chest), size)
    image += lungs * enlarge(_parenchyma(rng), size)
    image += (0.25 + 0.75 * lungs) * enlarge(_vessels(chest, rng), size)
    _add_ribs(image, chest)
    _add_clavicles(image, chest)
    image *= enlarge(_body(chest), size) * np.float32(chest.exposure)
    image += np.float32(0.015)
    return image, fields


def enlarge(values: np.ndarray, size: int) -> np.ndarray:
    """Smoothly scale a square float32 array to another side; averages where it gets smaller."""
    if len(values) == size:
        return values.copy()
    return np.array(Image.fromarray(values).resize((size, size), Image.Resampling.BICUBIC))


def smooth_noise(rng: np.random.Generator, cells: int, side: int) -> np.ndarray:
    """Noise of about unit variance whose bumps are ``side / cells`` pixels wide, float32 (side, side)."""
    coarse = rng.standard_normal((cells + 2, cells + 2), dtype=np.float32)
    return np.array(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)) * np.float32(1.2)


def _centres(size: int) -> np.ndarray:
    return (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)


def _step(distance: np.ndarray) -> np.ndarray:
    """0 below -1, 1 above 1, smooth between."""
    t = np.clip(distance, -1, 1, dtype=np.float32)
    return np.asarray(0.5 + t * (0.75 - 0.25 * t * t), dtype=np.float32)


def _bump(at: np.ndarray, centre: float, width: float) -> np.ndarray:
    return np.exp(-(((at - centre) / width) ** 2))


def _along(chest: Thorax, y: np.ndarray) -> np.ndarray:
    """0 at the apex of the lungs, 1 at the dome of the diaphragm."""
    return (y - chest.apex) / (chest.dome - chest.apex)


def _outer_wall(chest: Thorax, side: int, y: np.ndarray) -> np.ndarray:
    """Distance of the chest wall from the spine."""
    t = _along(chest, y)
    rise = (1 - np.clip(1 - t, 0, 1) ** 2.6) ** 0.6
    wander = chest.wiggles[side] @ np.stack([np.sin(5 * t), np.sin(9 * t + 1)])
    wall = 0.12 + (chest.half_width - 0.12) * rise + wander * np.clip(t, 0, 1)
    return np.where(t > 0, wall, -1.0)


def _inner_wall(chest: Thorax, side: int, y: np.ndarray) -> np.ndarray:
    """Distance of the border of mediastinum and heart from the spine."""
    t = _along(chest, y)
    dome = 0.045 + 0.085 * np.clip(1 - t / 0.22, 0, 1) ** 2.2
    wander = chest.wiggles[2 + side] @ np.stack([np.sin(6 * t), np.sin(11 * t + 1)])
    if side == 0:
        return dome + 0.045 * _bump(t, 0.85, 0.28) + wander
    heart = (chest.heart - 0.045) * _bump(t, 0.98, 0.30)
    return dome + 0.028 * _bump(t, 0.30, 0.07) + 0.02 * _bump(t, 0.47, 0.09) + heart + wander


def _floor(chest: Thorax, side: int, outward: np.ndarray) -> np.ndarray:
    """y of the diaphragm over the distance from the spine; lowest in the angle at the chest wall."""
    centre, half = 0.45 * chest.half_width, 0.6 * chest.half_width
    dome = chest.dome + side * chest.dome_step
    fall = np.abs((outward - centre) / half)
    return dome + np.where(outward > centre, 0.13, 0.05) * fall**2.4


def _grid() -> tuple[np.ndarray, np.ndarray]:
    at = _centres(COARSE)
    return at[:, None], at[None]


def _body(chest: Thorax) -> np.ndarray:
    """1 in the body, 0 in the air beside neck and shoulders, float32 (COARSE, COARSE)."""
    y, x = _grid()
    away = np.abs(x - chest.middle)
    shoulder = 0.015 + 0.62 * np.clip(away - 0.10, 0, None) ** 1.5 * (1.4 if chest.view == "AP" else 1.0)
    side = chest.half_width + 0.055 + 0.03 * chest.stout + 0.12 * np.exp(-(((y - 0.16) / 0.16) ** 2))
    return _step((y - shoulder) / 0.025 + 0.5) * _step((side - away) / 0.02)


def _soft_tissue(chest: Thorax, rng: np.random.Generator) -> np.ndarray:
    """Muscle, fat, heart, spine, trachea and abdomen, float32 (COARSE, COARSE)."""
    y, x = _grid()
    t = _along(chest, y)
    outward = x - chest.middle
    away = np.abs(outward)
    wall = chest.half_width + 0.05
    thick = np.sqrt(np.clip(1 - (away / (wall + 0.06)) ** 2, 0.05, 1))
    tissue = (0.36 + 0.29 * thick) * (0.85 + 0.15 * chest.stout)
    tissue = tissue + 0.12 * _step((y - chest.dome) / 0.10)
    discs = 0.012 * np.cos(2 * np.pi * (y - chest.apex) / chest.ribs)
    tissue = tissue + (0.07 + discs) * _step((0.04 - away) / 0.02)
    tissue = tissue + 0.10 * np.exp(-(((outward - 0.045) / 0.11) ** 2) - ((t - 0.82) / 0.32) ** 2)
    trachea = _step((0.016 - np.abs(outward + 0.004)) / 0.012) * _step((0.36 - t) / 0.05)
    tissue = tissue - 0.10 * trachea
    stomach = np.exp(-(((outward - 0.17) / 0.05) ** 2) - ((y - chest.dome - 0.09) / 0.03) ** 2)
    tissue = tissue - rng.uniform(0.0, 0.25) * stomach
    return np.asarray(tissue + 0.012 * smooth_noise(rng, 6, COARSE), dtype=np.float32)


def _air_depth(chest: Thorax) -> np.ndarray:
    """How much darker the lungs make each place, float32 (COARSE, COARSE)."""
    from scipy.ndimage import gaussian_filter

    fields = lung_shares(chest, COARSE).sum(axis=0)
    y, _ = _grid()
    inside = gaussian_filter(fields, COARSE * 0.035)
    # The bases hold more blood and lie behind breast and liver.
    lower = 0.05 * np.clip(_along(chest, y), 0, 1.2)
    return np.asarray(0.11 + 0.28 * inside - lower, dtype=np.float32)


def _parenchyma(rng: np.random.Generator) -> np.ndarray:
    """Texture of the lung tissue, float32 (256, 256)."""
    texture = 0.006 * smooth_noise(rng, 12, 256) + 0.006 * smooth_noise(rng, 40, 256)
    return np.asarray(texture + 0.005 * smooth_noise(rng, 110, 256), dtype=np.float32)


def _vessels(chest: Thorax, rng: np.random.Generator) -> np.ndarray:
    """Branching vessels around both hila, some seen end on, float32 (VESSELS, VESSELS)."""
    from scipy.ndimage import gaussian_filter

    canvas = Image.new("F", (VESSELS, VESSELS))
    draw = ImageDraw.Draw(canvas)
    reach = chest.dome - chest.apex
    hilum = np.zeros((COARSE, COARSE), np.float32)
    y, x = _grid()
    for side, sign in enumerate((-1.0, 1.0)):
        start = np.array([chest.middle + sign * 0.085, chest.apex + (0.50 - 0.03 * side) * reach])
        hilum += np.exp(-(((x - start[0]) / 0.035) ** 2) - ((y - start[1]) / 0.07) ** 2).astype(np.float32)
        for angle in np.linspace(-1.35, 1.35, 9) + rng.normal(0, 0.08, 9):
            _branch(draw, rng, start, sign, angle, rng.uniform(0.006, 0.011), 0)
    drawn = gaussian_filter(np.asarray(canvas), 1.2)
    return np.asarray(drawn + 0.05 * enlarge(hilum, VESSELS), dtype=np.float32)


def _branch(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    start: np.ndarray,
    sign: float,
    angle: float,
    width: float,
    depth: int,
) -> None:
    """A vessel that bends, thins and forks; ``angle`` is from the horizontal, downward."""
    at = start
    for _ in range(5):
        angle += rng.normal(0, 0.22)
        ahead = at + rng.uniform(0.018, 0.032) * np.array([sign * np.cos(angle), np.sin(angle)])
        thick = width * VESSELS
        ends = tuple((np.concatenate([at, ahead]) * VESSELS).tolist())
        draw.line(ends, fill=0.075 * min(1.0, thick / 3), width=max(1, round(thick)))
        at, width = ahead, width * 0.9
    if rng.random() < 0.25:
        radius = 0.6 * width
        box = tuple((np.concatenate([at - radius, at + radius]) * VESSELS).tolist())
        draw.ellipse(box, fill=0.11)
    if depth < 2:
        for turn in (-0.4, 0.4):
            _branch(draw, rng, at, sign, angle + turn + rng.normal(0, 0.1), width * 0.8, depth + 1)


def _add_ribs(image: np.ndarray, chest: Thorax) -> None:
    """Posterior ribs fall gently outward; anterior ones rise to the side, wider and fainter."""
    size = len(image)
    at = _centres(size)
    below = _step((chest.dome + 0.16 - at) / 0.05)[:, None]
    for sign in (-1.0, 1.0):
        outward = sign * (at - chest.middle)
        s = np.clip(outward / chest.half_width, 0, 1.3)
        here = np.flatnonzero((outward > 0.02) & (s < 1.16))
        s = s[here]
        for number in range(10):
            first = chest.apex + 0.015 + chest.ribs * (number - 0.2)
            reach = min(1.0, 0.62 + 0.11 * number)
            line = first - 0.03 * np.sin(np.pi * np.clip(s / reach, 0, 1.2)) * chest.tilt
            line = line + 0.10 * chest.tilt * np.clip(s / reach, 0, 1.15) ** 4
            strength = chest.bone * _step((reach + 0.07 - s) / 0.06) * (0.3 + 0.7 * _step((s - 0.2) / 0.1))
            _add_band(image, line, strength, 0.0125, here, below)
        for number in range(2, 8):
            first = chest.apex + 0.02 + chest.ribs * (number + 0.2)
            line = first + 0.14 * chest.tilt * (1 - s) - 0.02 * s**3
            strength = 0.55 * chest.bone * _step((s - 0.42) / 0.12) * _step((1.04 - s) / 0.06)
            _add_band(image, line, strength, 0.015, here, below)


def _add_band(
    image: np.ndarray,
    line: np.ndarray,
    strength: np.ndarray,
    half: float,
    columns: np.ndarray,
    below: np.ndarray,
) -> None:
    """Add a bone along ``y = line`` in these adjacent columns: bright edges around a paler marrow."""
    size = len(image)
    live = np.flatnonzero(strength > 1e-4)
    if not len(live):
        return
    live = np.arange(live[0], live[-1] + 1)
    columns, line, strength = columns[live], line[live], strength[live]
    top = int(np.clip(np.floor((line.min() - half) * size - 2), 0, size))
    bottom = int(np.clip(np.ceil((line.max() + half) * size + 2), 0, size))
    if bottom <= top:
        return
    at = _centres(size)[top:bottom, None]
    slope = np.gradient(line) * size if len(line) > 1 else np.zeros(1)
    # A slanted band is as thick as a level one.
    t = np.abs(at - line[None]) / (half * np.sqrt(1 + slope**2))[None]
    edge = np.float32(max(0.12, 0.5 / (half * size)))
    profile = _step((1 - t) / edge) * (0.7 + 0.5 * np.clip(t, 0, 1) ** 4)
    region = image[top:bottom, columns[0] : columns[-1] + 1]
    region += (profile * strength[None] * below[top:bottom]).astype(np.float32)


def _add_clavicles(image: np.ndarray, chest: Thorax) -> None:
    """From beside the sternum outward and up to the shoulder."""
    size = len(image)
    at = _centres(size)
    rise = 0.06 if chest.view == "PA" else 0.02
    for sign in (-1.0, 1.0):
        outward = sign * (at - chest.middle)
        here = np.flatnonzero((outward > 0.02) & (outward < 0.46))
        s = (outward[here] - 0.03) / 0.38
        line = chest.apex + 0.085 - rise * s + 0.018 * np.sin(2 * np.pi * np.clip(s, 0, 1))
        strength = 1.3 * chest.bone * _step(s / 0.03) * _step((1.02 - s) / 0.04)
        _add_band(image, line, strength, 0.015, here, np.ones((size, 1), np.float32))
