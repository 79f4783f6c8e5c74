"""Chests in CT with nodules that are known exactly: body, ribs, spine, heart, lungs and their vessels.

A chest is a function of position in millimetres, so that it can be sampled on any grid: scans, and patches
of 1 mm around a nodule, show the same person. Positions are DICOM's: x to the patient's left, y to the back,
z to the head; (0, 0, 0) is the middle of the chest. Values are Hounsfield units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirage import seeds

Axes = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Positions of a grid's voxels along z, y and x, mm, increasing."""

AIR, FAT, SOFT, BLOOD, BONE, LUNG = -1000.0, -90.0, 45.0, 40.0, 350.0, -860.0
BODY = (165.0, 108.0)
"""Half axes of the body across and from front to back."""
LUNGS = ((78.0, -4.0, 5.0), (60.0, 84.0, 128.0))
"""Centre of the left lung's ellipsoid and its half axes along x, y, z; the right one mirrors it."""
HEART = ((22.0, -38.0, -38.0), (58.0, 46.0, 58.0))
LIVER = ((75.0, 0.0, -172.0), 92.0)
"""Centre of the sphere under each side of the diaphragm, and its radius."""
KINDS = (("solid", 0.7), ("ground glass", 0.2), ("calcified", 0.1))
DENSITY = {"solid": 30.0, "ground glass": -480.0, "calcified": 220.0}
COUNTS = (0.15, 0.4, 0.3, 0.15)
"""Shares of chests with 0, 1, 2 and 3 nodules."""
DIAMETERS = (6.0, 28.0)
"""Range of the nodules' diameters, mm."""
FAINT = 5
"""A vessel whose radius is such a part of a voxel is not drawn."""
LOBES = 4
ORDERS = 4
"""How often a vessel divides."""


@dataclass(frozen=True)
class Nodule:
    """A star-shaped solid around its centre.

    Attributes:
        centre: x, y, z, mm.
        radius: mean radius, mm, before the lobes.
        lobes: (LOBES, 3) unit vectors towards them.
        heights: (LOBES,) how far each sticks out, share of the radius.
        kind: key of ``DENSITY``.
        malignancy: 1 (highly unlikely) to 5 (highly suspicious).
        subtlety: 1 (extremely subtle) to 5 (obvious).
    """

    centre: np.ndarray
    radius: float
    lobes: np.ndarray
    heights: np.ndarray
    kind: str
    malignancy: int
    subtlety: int

    @property
    def reach(self) -> float:
        """Radius of a ball around the centre that holds the nodule, mm."""
        return self.radius * float(1 + self.heights.sum())

    def surface(self, directions: np.ndarray) -> np.ndarray:
        """Radius along unit vectors (..., 3), mm."""
        towards = np.exp(6.0 * (directions @ self.lobes.T - 1))
        return np.asarray(self.radius * (1 + towards @ self.heights))

    def inside(self, axes: Axes, grow: float = 0.0) -> np.ndarray:
        """Signed depth (z, y, x) of each position below the surface, mm; positive inside.

        Args:
            axes: positions.
            grow: moves the surface outwards, mm.
        """
        z, y, x = np.meshgrid(*axes, indexing="ij")
        offset = np.stack([x, y, z], axis=-1) - self.centre
        distance = np.linalg.norm(offset, axis=-1)
        directions = offset / np.maximum(distance, 1e-6)[..., None]
        return np.asarray(self.surface(directions) + grow - distance)

    def volume(self) -> float:
        """Volume, mm3, by summing over directions."""
        count = 4000
        at = np.arange(count) + 0.5
        polar, turn = np.arccos(1 - 2 * at / count), np.pi * (1 + 5**0.5) * at
        around = np.stack(
            [np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], axis=-1
        )
        return float(4 * np.pi / 3 * (self.surface(around) ** 3).mean())

    @property
    def diameter(self) -> float:
        """Diameter of the ball of the same volume, mm."""
        return float((6 * self.volume() / np.pi) ** (1 / 3))


@dataclass(frozen=True)
class Vessel:
    """A tapering tube between two points (x, y, z), mm."""

    start: np.ndarray
    end: np.ndarray
    radius: float


@dataclass(frozen=True)
class ChestCT:
    """One person's chest.

    Attributes:
        size: factor on all lengths of the chest, not of nodules and vessels' radii.
        vessels: of both lungs.
        nodules: as they are, without any reader's error.
    """

    size: float
    vessels: list[Vessel]
    nodules: list[Nodule]

    def hounsfield(self, axes: Axes) -> np.ndarray:
        """Hounsfield units, float32 (z, y, x), without noise; edges are as soft as the grid is coarse."""
        edge = float(np.mean([np.diff(axis).mean() for axis in axes]))
        z, y, x = (
            axis.astype(np.float32).reshape(shape) / np.float32(self.size)
            for axis, shape in zip(axes, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True)
        )
        soft = edge / self.size
        shape = np.broadcast_shapes(z.shape, y.shape, x.shape)
        values = np.full(shape, AIR, np.float32)
        body = np.hypot(x / BODY[0], y / BODY[1])
        _paint(values, _share((1 - body) * BODY[1], soft), FAT)
        _paint(values, _share((0.93 - body) * BODY[1], soft), SOFT)
        ribs = np.minimum(4.5 - abs((z + 0.45 * y) % 27.0 - 13.5), (0.035 - abs(body - 0.87)) * BODY[1])
        _paint(values, _share(ribs, soft), BONE)
        _paint(values, _share(17.0 - np.hypot(x, y - 74.0), soft), BONE * 0.7)
        lung = self.lung_depth(x, y, z)
        in_lung = _share(lung, soft)
        _paint(values, in_lung, LUNG + 0.35 * y)
        trachea = np.minimum(8.0 - np.hypot(x, y - 12.0), z - 15.0)
        _paint(values, _share(trachea, soft), AIR)
        for vessel in (vessel for vessel in self.vessels if vessel.radius > edge / FAINT):
            self._draw_vessel(values, axes, in_lung, vessel, edge)
        for nodule in self.nodules:
            region = _around(axes, nodule.centre - nodule.reach - edge, nodule.centre + nodule.reach + edge)
            if values[region].size:
                depth = nodule.inside(_part(axes, region))
                _paint(values[region], _share(depth, edge), DENSITY[nodule.kind])
        return values

    @staticmethod
    def lung_depth(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """About how deep below the pleura a position of a chest of size 1 lies, mm; negative outside."""
        centre, half = LUNGS
        across = abs(x) - centre[0]
        lung = _ellipsoid(across, y - centre[1], z - centre[2], half)
        heart = _ellipsoid(x - HEART[0][0], y - HEART[0][1], z - HEART[0][2], HEART[1])
        liver = LIVER[1] - np.sqrt((abs(x) - LIVER[0][0]) ** 2 + y**2 + (z - LIVER[0][2]) ** 2)
        return np.minimum(np.minimum(lung, -heart), -liver)

    @staticmethod
    def _draw_vessel(
        values: np.ndarray, axes: Axes, in_lung: np.ndarray, vessel: Vessel, edge: float
    ) -> None:
        low, high = np.minimum(vessel.start, vessel.end), np.maximum(vessel.start, vessel.end)
        region = _around(axes, low - vessel.radius - edge, high + vessel.radius + edge)
        if not values[region].size:
            return
        z, y, x = np.meshgrid(*_part(axes, region), indexing="ij")
        offset, along = np.stack([x, y, z], axis=-1) - vessel.start, vessel.end - vessel.start
        at = np.clip(offset @ along / max(float(along @ along), 1e-6), 0, 1)
        distance = np.linalg.norm(offset - at[..., None] * along, axis=-1)
        # A vessel narrower than a voxel fills only its share of it.
        share = _share(vessel.radius * (1 - 0.3 * at) - distance, edge) * min(1.0, 2 * vessel.radius / edge)
        _paint(values[region], share * in_lung[region], BLOOD)


def simulate_chest_ct(seed: int, subject: int) -> ChestCT:
    """One person.

    Args:
        seed: of the dataset.
        subject: index >= 0. Subjects do not depend on how many there are.
    """
    rng = seeds.rng(seed, "simulate-chest-ct", subject)
    size = float(np.clip(rng.normal(0.95, 0.05), 0.82, 1.05))
    vessels = _vessels(seeds.rng(seed, "simulate-lung-vessels", subject), size)
    nodules: list[Nodule] = []
    for _ in range(int(rng.choice(len(COUNTS), p=COUNTS))):
        nodules.append(_nodule(rng, size, nodules))
    return ChestCT(size, vessels, nodules)


def _nodule(rng: np.random.Generator, size: float, others: list[Nodule]) -> Nodule:
    """A nodule that lies wholly in a lung, apart from the others."""
    kind = str(rng.choice([name for name, _ in KINDS], p=[share for _, share in KINDS]))
    diameter = float(np.clip(np.exp(rng.normal(np.log(12.0), 0.45)), *DIAMETERS))
    lobes = rng.normal(size=(LOBES, 3))
    lobes /= np.linalg.norm(lobes, axis=1, keepdims=True)
    heights = rng.uniform(0.0, 0.25, LOBES)
    malignancy = int(np.clip(round(1 + diameter / 8 + 4 * heights.mean() + rng.normal(0, 0.7)), 1, 5))
    subtlety = int(np.clip(round(2 + diameter / 6 - 2 * (kind == "ground glass")), 1, 5))
    shape = Nodule(np.zeros(3), 1.0, lobes, heights, kind, malignancy, subtlety)
    radius = diameter / shape.diameter
    reach = radius * shape.reach
    middle, half = np.array(LUNGS[0]), np.array(LUNGS[1])
    while True:
        at = middle + half * rng.uniform(-1, 1, 3)
        at[0] *= rng.choice([-1, 1])
        if ChestCT.lung_depth(*at) * size < reach + 1.0:
            continue
        centre = at * size
        if all(np.linalg.norm(centre - other.centre) > reach + other.reach + 6 for other in others):
            return Nodule(centre, radius, lobes, heights, kind, malignancy, subtlety)


def _vessels(rng: np.random.Generator, size: float) -> list[Vessel]:
    """A tree in each lung, from the hilum outwards."""
    found: list[Vessel] = []

    def grow(start: np.ndarray, direction: np.ndarray, length: float, radius: float, order: int) -> None:
        end = start + direction * length
        found.append(Vessel(start * size, end * size, radius))
        if order:
            for _ in range(3 if order == ORDERS else 2):
                turned = direction + rng.normal(0, 0.55, 3)
                turned /= np.linalg.norm(turned)
                grow(end, turned, length * rng.uniform(0.7, 0.9), radius * 0.74, order - 1)

    for side in (-1.0, 1.0):
        for up in (0.9, 0.1, -0.7):
            direction = np.array([side, rng.normal(0, 0.3), up])
            hilum = np.array([side * 30.0, 5.0, 8.0 * up])
            grow(hilum, direction / np.linalg.norm(direction), 26.0, 4.6, ORDERS)
    return found


def _ellipsoid(x: np.ndarray, y: np.ndarray, z: np.ndarray, half: tuple[float, float, float]) -> np.ndarray:
    """About how deep a position relative to the centre lies in an ellipsoid, mm."""
    length = np.sqrt((x / half[0]) ** 2 + (y / half[1]) ** 2 + (z / half[2]) ** 2)
    return np.asarray((1 - length) * min(half))


def _share(depth: np.ndarray, edge: float) -> np.ndarray:
    """Share of a voxel that lies inside, from the depth of its middle below the surface, mm."""
    return np.clip(depth / np.float32(edge) + np.float32(0.5), 0, 1)


def _paint(values: np.ndarray, share: np.ndarray, value: float | np.ndarray) -> None:
    values += share.astype(np.float32) * (np.float32(value) - values)


def _around(axes: Axes, low: np.ndarray, high: np.ndarray) -> tuple[slice, slice, slice]:
    """Region (z, y, x) of a grid that holds the box from ``low`` to ``high`` (x, y, z)."""
    z, y, x = (
        slice(int(np.searchsorted(axis, first)), int(np.searchsorted(axis, last, side="right")))
        for axis, first, last in zip(axes, low[::-1], high[::-1], strict=True)
    )
    return z, y, x


def _part(axes: Axes, region: tuple[slice, slice, slice]) -> Axes:
    z, y, x = (axis[span] for axis, span in zip(axes, region, strict=True))
    return z, y, x
