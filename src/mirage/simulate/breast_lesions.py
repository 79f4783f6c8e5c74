"""Lesions of a breast, as attenuation that they add, with outlines that are known exactly.

Words are those of BI-RADS (ACR BI-RADS Atlas, 5th edition): shape and margin of masses, morphology and
distribution of calcifications.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mirage.config.mammography import Lesion
from mirage.simulate.breast import Breast, distance_to_edge, gland_region, muscle_at, skin_at

SHAPES = ("round", "oval", "irregular")
MARGINS = ("circumscribed", "obscured", "indistinct", "spiculated")
MORPHOLOGIES = ("punctate", "coarse", "amorphous", "pleomorphic", "linear")
DISTRIBUTIONS = {"punctate": "grouped", "coarse": "regional", "linear": "linear"}
"""Morphology -> distribution; others are grouped."""
COARSE = 1.5
"""Side of the squares among which a lesion's place is chosen, mm."""
BORDER = 1.5
"""Distance of an outline from what it encloses, mm."""
LEAST = 4.0
"""Least diameter, pixels: in a tiny image a lesion still covers some."""
VERTICES = 48


@dataclass(frozen=True)
class LesionShape:
    """A lesion, in mm of a left breast (see ``mirage.simulate.breast``).

    Attributes:
        kind: mass, calcification, distortion, asymmetry or other (a lymph node with a fatty hilum).
        x, y: centre.
        diameter: of the outline, in the mean.
        contrast: attenuation that it adds.
        malignant: whether it is.
        shape: of a mass: one of ``SHAPES``.
        margin: of a mass: one of ``MARGINS``.
        morphology: of calcifications: one of ``MORPHOLOGIES``.
        seed: of everything else: lobes, spicules, specks.
    """

    kind: Lesion
    x: float
    y: float
    diameter: float
    contrast: float
    malignant: bool = False
    shape: str | None = None
    margin: str | None = None
    morphology: str | None = None
    seed: int = 0

    @property
    def words(self) -> dict[str, str]:
        """What a report would say of it."""
        said = {"shape": self.shape, "margin": self.margin, "morphology": self.morphology}
        if self.morphology:
            said["distribution"] = DISTRIBUTIONS.get(self.morphology, "grouped")
        return {name: word for name, word in said.items() if word}


@dataclass(frozen=True)
class DrawnLesion:
    """A lesion as it lies in an image.

    Attributes:
        shape: what it was made of.
        outline: float64 (N, 2), x and y of the corners of a polygon around it, pixels.
        mask: bool (H, W), pixels whose centre the outline encloses.
        box: x0, y0, x1, y1 of the mask's bounding box, whole pixels, half-open.
        side: of the breast, L or R.
    """

    shape: LesionShape
    outline: np.ndarray
    mask: np.ndarray
    box: tuple[int, int, int, int]
    side: str = "L"

    @property
    def kind(self) -> Lesion:
        """As of its shape."""
        return self.shape.kind

    @property
    def malignant(self) -> bool:
        """As of its shape."""
        return self.shape.malignant


def random_lesion(rng: np.random.Generator, kind: Lesion | None = None) -> LesionShape:
    """A lesion of usual size and words, without a place yet; half of them are malignant."""
    kinds: tuple[Lesion, ...] = ("mass", "calcification", "distortion", "asymmetry", "other")
    if kind is None:
        kind = kinds[int(rng.choice(5, p=(0.45, 0.35, 0.1, 0.06, 0.04)))]
    malignant = bool(rng.random() < 0.5) and kind != "other"
    diameter, contrast = 8 * 3.5 ** rng.random(), rng.uniform(0.18, 0.34)
    shape = margin = morphology = None
    if kind == "mass":
        shape = "irregular" if malignant and rng.random() < 0.7 else SHAPES[int(rng.integers(2))]
        margin = MARGINS[int(rng.integers(2, 4) if malignant else rng.integers(0, 2))]
    elif kind == "calcification":
        morphology = MORPHOLOGIES[int(rng.integers(2, 5) if malignant else rng.integers(0, 2))]
        contrast = rng.uniform(0.3, 0.6)
    elif kind == "other":
        diameter, contrast = rng.uniform(7, 13), 0.16
    elif kind == "asymmetry":
        diameter, contrast = rng.uniform(18, 32), rng.uniform(0.10, 0.16)
    return LesionShape(
        kind,
        0,
        0,
        float(diameter),
        float(contrast),
        malignant,
        shape,
        margin,
        morphology,
        int(rng.integers(1 << 31)),
    )


def place(
    rng: np.random.Generator, shapes: Sequence[LesionShape], breast: Breast, height: float, width: float
) -> list[LesionShape]:
    """The same lesions at random places of the breast, apart from one another; those with room only.

    Args:
        rng: decides where.
        shapes: the lesions.
        breast: its measures.
        height, width: of the image, mm.
    """
    y, x = (np.arange(0.5, side / COARSE) * COARSE for side in (height, width))
    inside = x[None] < skin_at(breast, y)[:, None]
    # Not on the muscle, and whole in the image.
    room = distance_to_edge(inside & (x[None] > muscle_at(breast, y)[:, None]), COARSE) - 4
    room = np.minimum(room, np.minimum(x[None], np.minimum(y, height - y)[:, None]) - 1)
    # In the gland or at its border rather than in fat alone.
    likely = 0.1 + np.clip(gland_region(breast, x, y) + 0.2, 0, 1)
    placed: list[LesionShape] = []
    for shape in shapes:
        radius, where = 0.5 * shape.diameter, rng.random()
        weight = np.cumsum(np.where(room > radius, likely, 0))
        if weight[-1] > 0:
            row, column = np.unravel_index(np.searchsorted(weight, where * weight[-1]), room.shape)
            found = replace(shape, x=float(x[column]), y=float(y[row]))
            placed.append(found)
            room = np.minimum(room, np.hypot(x[None] - found.x, y[:, None] - found.y) - radius - 3)
    return placed


def draw_lesion(shape: LesionShape, size: tuple[int, int], spacing: float) -> tuple[np.ndarray, DrawnLesion]:
    """What a lesion adds to the attenuation, float32 (H, W), and the lesion in pixels of a left breast.

    Raises:
        ValueError: it lies outside the image.
    """
    rng = np.random.default_rng(shape.seed)
    radius = 0.5 * max(shape.diameter, LEAST * spacing)
    window, across, down = _window(shape, size, spacing, 2.6 * radius + 2)
    drawn = _PARTS[shape.kind](shape, rng, radius, across, down, spacing)
    added = np.zeros(size, np.float32)
    added[window] = drawn.added
    outline = (drawn.outline + np.array([shape.x, shape.y])) / spacing
    mask = polygon_mask(outline, size)
    if not mask.any():
        raise ValueError(f"a {shape.kind} at {shape.x:g}, {shape.y:g} mm lies outside the image")
    return added, DrawnLesion(shape, outline, mask, bounding_box(mask))


def polygon_mask(outline: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre a polygon (N, 2) of x, y in pixels encloses, bool (H, W)."""
    from skimage.draw import polygon

    mask = np.zeros(size, bool)
    rows, columns = polygon(outline[:, 1] - 0.5, outline[:, 0] - 0.5, size)
    mask[rows, columns] = True
    return mask


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of what is set, half-open."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@dataclass
class _Drawn:
    """``added``: float32, of the window; ``outline``: (N, 2), mm from the centre."""

    added: np.ndarray
    outline: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))


def _window(
    shape: LesionShape, size: tuple[int, int], spacing: float, reach: float
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """The part of the image around a lesion, and x and y in it, mm from the centre."""
    spans = []
    for middle, side in ((shape.y, size[0]), (shape.x, size[1])):
        first = int(np.clip(np.floor((middle - reach) / spacing), 0, side - 1))
        last = int(np.clip(np.ceil((middle + reach) / spacing), first + 1, side))
        spans.append(slice(first, last))
    down, across = (
        (np.arange(span.start, span.stop, dtype=np.float32) + 0.5) * spacing - middle
        for span, middle in zip(spans, (shape.y, shape.x), strict=True)
    )
    return (spans[0], spans[1]), np.broadcast_to(across, (len(down), len(across))), down[:, None]


def _lobed(rng: np.random.Generator, radius: float, shape: str | None) -> tuple[np.ndarray, ...]:
    """Amplitudes and phases of an outline's harmonics, elongation and direction."""
    rough = {"irregular": 0.085, "oval": 0.012}.get(shape or "", 0.015)
    amplitudes = rng.normal(0, rough, 6) / np.sqrt(np.arange(1, 7))
    stretch = rng.uniform(1.25, 1.6) if shape == "oval" else rng.uniform(1.0, 1.1)
    return amplitudes, rng.uniform(0, 2 * np.pi, 6), np.array([stretch, rng.uniform(0, np.pi), radius])


def _radius_at(lobes: tuple[np.ndarray, ...], angle: np.ndarray) -> np.ndarray:
    """Distance of the outline from the centre in each direction, mm."""
    amplitudes, phases, (stretch, turn, radius) = lobes
    waves = np.cos(np.arange(2, 8) * np.asarray(angle)[..., None] + phases) @ amplitudes
    a, b = np.sqrt(stretch), 1 / np.sqrt(stretch)
    ellipse = 1 / np.sqrt((np.cos(angle - turn) / a) ** 2 + (np.sin(angle - turn) / b) ** 2)
    return np.asarray(radius * ellipse * (1 + waves))


def _ring(lobes: tuple[np.ndarray, ...], border: float) -> np.ndarray:
    """The outline as a polygon, mm from the centre."""
    angle = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False)
    far = _radius_at(lobes, angle) + border
    return np.stack([far * np.cos(angle), far * np.sin(angle)], axis=1)


def _mass(
    shape: LesionShape, rng: np.random.Generator, radius: float, x: np.ndarray, y: np.ndarray, spacing: float
) -> _Drawn:
    spiculated = shape.margin == "spiculated"
    lobes = _lobed(rng, (0.66 if spiculated else 1.0) * radius, shape.shape)
    away, angle = np.hypot(x, y), np.arctan2(y, x)
    depth = 1 - away / _radius_at(lobes, angle)
    soft = {"circumscribed": 0.12, "obscured": 0.3}.get(shape.margin or "", 0.5)
    soft = max(soft, spacing / radius)
    edge = np.clip(depth / soft + 0.5, 0, 1)
    dome = 0.55 + 0.45 * np.sqrt(np.clip(depth, 0, 1))
    added = shape.contrast * edge * edge * (3 - 2 * edge) * dome
    if shape.margin == "obscured":  # gland lies over a part of it
        added = added * (
            0.65 + 0.35 * np.tanh(2 * (x * np.cos(shape.seed) + y * np.sin(shape.seed)) / radius)
        )
    if spiculated:
        added = np.maximum(added, 0.75 * shape.contrast * _spicules(rng, radius, x, y, spacing, 0.4))
        return _Drawn(added.astype(np.float32), _ring(lobes, 0.34 * radius))
    return _Drawn(added.astype(np.float32), _ring(lobes, 0.0))


def _spicules(
    rng: np.random.Generator, radius: float, x: np.ndarray, y: np.ndarray, spacing: float, inner: float
) -> np.ndarray:
    """Lines that run out from the centre and taper, 0..1, float32 of the window."""
    added = np.zeros(x.shape, np.float32)
    for turn in np.linspace(0, 2 * np.pi, int(rng.integers(12, 22)), endpoint=False):
        turn = turn + rng.normal(0, 0.12)
        length, bend, width = radius * rng.uniform(1.0, 1.9), rng.normal(0, 0.16), rng.uniform(0.5, 1.0)
        along = x * np.cos(turn) + y * np.sin(turn)
        across = y * np.cos(turn) - x * np.sin(turn) - bend * along**2 / length
        taper = np.clip((length - along) / (length - inner * radius), 0, 1) * (along > 0)
        line = np.exp(-((across / max(width * 0.6, 0.6 * spacing)) ** 2)) * taper
        added = np.maximum(added, line)
    return np.asarray(added, np.float32)


def _calcifications(
    shape: LesionShape, rng: np.random.Generator, radius: float, x: np.ndarray, y: np.ndarray, spacing: float
) -> _Drawn:
    morphology = shape.morphology or "punctate"
    count = int(rng.integers(3, 7) if morphology == "coarse" else rng.integers(8, 36))
    linear = morphology == "linear"
    along, across = rng.uniform(-1, 1, count), rng.normal(0, 0.14, count)
    spread, turn = np.sqrt(rng.random(count)), rng.uniform(0, 2 * np.pi, count)
    places = np.stack([along, across] if linear else [spread * np.cos(turn), spread * np.sin(turn)], axis=1)
    tilt = rng.uniform(0, np.pi)
    places = 0.8 * radius * places @ np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    low, high = {"coarse": (0.8, 1.8), "punctate": (0.25, 0.45), "amorphous": (0.2, 0.3)}.get(
        morphology, (0.2, 0.6)
    )
    added = np.zeros(x.shape, np.float32)
    for dx, dy in places:
        size, bright = rng.uniform(low, high), rng.uniform(0.6, 1.0)
        stretch = (
            rng.uniform(1.6, 3.0) if linear else rng.uniform(1, 1.8) if morphology == "pleomorphic" else 1
        )
        angle = tilt + rng.normal(0, 0.3) if linear else rng.uniform(0, np.pi)
        u = (x - dx) * np.cos(angle) + (y - dy) * np.sin(angle)
        v = (y - dy) * np.cos(angle) - (x - dx) * np.sin(angle)
        # A speck smaller than a pixel is spread over it, and gets fainter, but stays visible.
        wide, thin = max(size * stretch, 0.62 * spacing), max(size, 0.62 * spacing)
        faint = max((size * stretch / wide) * (size / thin), 0.35)
        added = np.maximum(added, bright * faint * np.exp(-(((u / wide) ** 2 + (v / thin) ** 2) ** 1.5)))
    contrast = shape.contrast * (0.5 if morphology == "amorphous" else 1.0)
    return _Drawn((contrast * added).astype(np.float32), _hull(places, high + max(BORDER, spacing)))


def _hull(places: np.ndarray, border: float) -> np.ndarray:
    """A convex polygon that keeps ``border`` mm from points (N, 2)."""
    from scipy.spatial import ConvexHull

    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    around = np.stack([np.cos(turn), np.sin(turn)], axis=1) * border
    points = (places[:, None] + around[None]).reshape(-1, 2)
    return np.asarray(points[ConvexHull(points).vertices])


def _distortion(
    shape: LesionShape, rng: np.random.Generator, radius: float, x: np.ndarray, y: np.ndarray, spacing: float
) -> _Drawn:
    lines = _spicules(rng, 0.75 * radius, x, y, spacing, 0.1)
    away = np.hypot(x, y) / radius
    # Lines that meet at a point without a mass; what lies between them is drawn in, and darker.
    added = 0.55 * shape.contrast * lines - 0.2 * shape.contrast * np.exp(-((away - 0.6) ** 2) / 0.12)
    return _Drawn(added.astype(np.float32), _ring(_lobed(rng, radius, "irregular"), 0.0))


def _asymmetry(
    shape: LesionShape, rng: np.random.Generator, radius: float, x: np.ndarray, y: np.ndarray, spacing: float
) -> _Drawn:
    lobes = _lobed(rng, radius, "irregular")
    away = np.hypot(x, y) / _radius_at(lobes, np.arctan2(y, x))
    return _Drawn((shape.contrast * np.exp(-1.6 * away**2)).astype(np.float32), _ring(lobes, 0.0))


def _node(
    shape: LesionShape, rng: np.random.Generator, radius: float, x: np.ndarray, y: np.ndarray, spacing: float
) -> _Drawn:
    lobes = _lobed(rng, radius, "oval")
    depth = 1 - np.hypot(x, y) / _radius_at(lobes, np.arctan2(y, x))
    edge = np.clip(depth / max(0.15, spacing / radius) + 0.5, 0, 1)
    hilum = np.exp(-(((x - 0.3 * radius) ** 2 + y**2) / (0.4 * radius) ** 2))
    return _Drawn((shape.contrast * edge * (1 - 1.1 * hilum)).astype(np.float32), _ring(lobes, 0.0))


_PARTS = {
    "mass": _mass,
    "calcification": _calcifications,
    "distortion": _distortion,
    "asymmetry": _asymmetry,
    "other": _node,
}
