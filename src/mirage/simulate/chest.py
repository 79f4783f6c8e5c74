"""Phantom chest radiographs with nodules that are known exactly.

A nodule adds its own attenuation to the logarithm of the attenuation that is displayed, as in a real
radiograph: the image with nodules is the healthy image plus their contributions, which are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mirage.simulate.thorax import View, draw_thorax, lung_shares, render

FIELD_MM = 350.0
"""Side of the image in the plane of the detector."""
PLACING = 256
"""Side of the lung mask in which nodules are placed, so that they lie the same at every size."""


@dataclass(frozen=True)
class NoduleShape:
    """A nodule, in shares of the image's side.

    Attributes:
        x, y: centre.
        diameter: mean diameter of the outline.
        contrast: grey value, 0..1, that it adds at its centre.
        hardness: exponent of its profile ``(1 - (r / R) ** 2) ** hardness``: 0.5 is a ball, 2 is ill-defined.
        lobes: amplitude and phase of the outline's second to fifth harmonic, ((a, phase), ...).
    """

    x: float
    y: float
    diameter: float
    contrast: float
    hardness: float = 1.0
    lobes: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Nodule:
    """A nodule as it lies in an image.

    Attributes:
        shape: what it was made of.
        box: x0, y0, x1, y1 of the mask's bounding box, whole pixels, half-open.
        mask: uint8 (size, size), 1 where it adds anything.
        contribution: float32 (size, size), what it adds to the image; its sum is the nodule's mass.
    """

    shape: NoduleShape
    box: tuple[int, int, int, int]
    mask: np.ndarray
    contribution: np.ndarray


@dataclass(frozen=True)
class Radiograph:
    """A phantom and its truth.

    Attributes:
        image: float32 (size, size) in 0..1, bright where much is attenuated (bone bright, air black).
        healthy: the same without the nodules; ``image`` is ``healthy`` plus all contributions, cut at 1,
            which nodules that are placed in the lungs never reach.
        lungs: uint8 (2, size, size), 1 in the right (at the left of the image) and in the left lung field,
            without what lies behind heart and diaphragm.
        nodules: in the order they were given or placed.
        view: PA, taken standing, or AP, lying.
    """

    image: np.ndarray
    healthy: np.ndarray
    lungs: np.ndarray
    nodules: list[Nodule]
    view: View


def radiograph(
    rng: np.random.Generator,
    size: int,
    nodules: int | Sequence[NoduleShape] = 0,
    view: View = "PA",
) -> Radiograph:
    """One phantom.

    The same generator state gives the same chest at every size and with any nodules.

    Args:
        rng: decides anatomy, texture, nodules and noise.
        size: side of the image, pixels.
        nodules: how many are placed at random inside the lungs, or which.
        view: PA or AP.
    """
    for_shape, for_texture, for_nodules, for_noise = rng.spawn(4)
    chest = draw_thorax(for_shape, view)
    clean, fields = render(chest, for_texture, size)
    lying = view == "AP"
    healthy = clean + _noise(for_noise, clean, 0.009 if lying else 0.006)
    healthy = np.clip(healthy, 0, 0.97)
    shapes = nodules
    if isinstance(shapes, int):
        shapes = place_nodules(for_nodules, lung_shares(chest, PLACING).sum(axis=0) > 0.5, shapes)
        # In a tiny image a nodule still covers a pixel.
        shapes = [replace(shape, diameter=max(shape.diameter, 2 / size)) for shape in shapes]
    placed = [draw_nodule(shape, size) for shape in shapes]
    image = healthy.copy()
    for nodule in placed:
        image += nodule.contribution
    return Radiograph(
        image=np.minimum(image, 1),
        healthy=healthy,
        lungs=(fields > 0.5).astype(np.uint8),
        nodules=placed,
        view=view,
    )


def place_nodules(rng: np.random.Generator, lungs: np.ndarray, count: int) -> list[NoduleShape]:
    """Random nodules inside a lung mask that do not touch one another; fewer when there is no room.

    Diameters are log-uniform from 0.03 to 0.09 of the side (about 10 to 30 mm), contrasts uniform from 0.06
    to 0.2 of the range.

    Args:
        rng: decides everything about them.
        lungs: bool (N, N).
        count: how many.
    """
    from scipy.ndimage import distance_transform_edt

    side = len(lungs)
    room = distance_transform_edt(np.pad(lungs, 1))[1:-1, 1:-1] / side
    y, x = (np.indices(lungs.shape) + 0.5) / side
    shapes: list[NoduleShape] = []
    for _ in range(count):
        diameter = 0.03 * 3 ** rng.random()
        contrast, hardness, where = rng.uniform(0.06, 0.2), rng.uniform(0.7, 1.6), rng.random()
        lobes = tuple((float(a), float(rng.uniform(0, 2 * np.pi))) for a in rng.uniform(0, 0.05, 4))
        free = np.flatnonzero(room > 0.5 * diameter)
        if len(free):
            at = free[int(where * len(free))]
            shape = NoduleShape(float(x.flat[at]), float(y.flat[at]), diameter, contrast, hardness, lobes)
            shapes.append(shape)
            room = np.minimum(room, np.hypot(x - shape.x, y - shape.y) - 0.6 * diameter)
    return shapes


def draw_nodule(shape: NoduleShape, size: int) -> Nodule:
    """What a nodule adds to an image of ``size`` pixels a side; zero outside its outline.

    Raises:
        ValueError: it covers no pixel's centre.
    """
    centres = (np.arange(size) + 0.5) / size
    radius = 0.5 * shape.diameter * (1 + sum(amplitude for amplitude, _ in shape.lobes))
    columns = np.flatnonzero(np.abs(centres - shape.x) < radius)
    rows = np.flatnonzero(np.abs(centres - shape.y) < radius)
    across, down = np.meshgrid(centres[columns] - shape.x, centres[rows] - shape.y)
    angle = np.arctan2(down, across)
    outline = np.ones_like(angle)
    for harmonic, (amplitude, phase) in enumerate(shape.lobes, start=2):
        outline += amplitude * np.cos(harmonic * angle + phase)
    inside = 1 - (across**2 + down**2) / (0.5 * shape.diameter * outline) ** 2
    contribution = np.zeros((size, size), np.float32)
    if inside.size:
        block = shape.contrast * np.clip(inside, 0, None) ** shape.hardness
        contribution[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = block
    mask = (contribution > 0).astype(np.uint8)
    if not mask.any():
        raise ValueError(f"a nodule of diameter {shape.diameter:g} covers no pixel of a side of {size}")
    return Nodule(shape, _bounding_box(mask), mask, contribution)


def _bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _noise(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """Quantum noise, float32: least in the lungs, more where few photons arrive; slightly correlated."""
    size = len(image)
    fine = rng.standard_normal((size, size), dtype=np.float32)
    fine[:, 1:] += 0.5 * fine[:, :-1]
    fine[1:] += 0.5 * fine[:-1]
    # A large detector element collects more photons than a small one.
    fine *= np.float32(level * (size / 1024) ** 0.5 / 1.25)
    return np.asarray(fine * (0.5 + image), dtype=np.float32)
