"""Branching retinal vessels: arteries and veins grown from the optic disc.

Widths obey Murray's law, r0^3 = r1^3 + r2^3, and bifurcation angles his minimum-work formula (Murray, J Gen
Physiol 9:835-841, 1926). Trunks follow the temporal arcades around the macula or run straight to the nasal
side. Lengths are degrees of visual angle (1 degree is about 0.29 mm of retina); the frame is a right eye's,
fovea at (0, 0), x towards the nose, y down, disc at about (15.5, -1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

STEP = 0.75
"""Degrees that every growing vessel advances at once."""
THINNEST = 0.085
"""Diameter at which a vessel ends, degrees: one pixel of the 565 x 584 images of DRIVE."""
AVASCULAR = 1.4
"""Radius around the fovea without visible vessels."""
TERRITORY = 0.7
"""Side of the cells, degrees, that one artery (or one vein) has to itself: like vessels do not cross."""
GRACE = 1.6
"""Length of a new vessel, degrees, within which it may still share its parent's territory."""


@dataclass(frozen=True)
class Vessel:
    """One vessel from its origin to its end.

    Attributes:
        points: float32 (N, 2), x and y in degrees.
        widths: float32 (N,), diameters in degrees.
        artery: an artery, or else a vein.
    """

    points: np.ndarray
    widths: np.ndarray
    artery: bool


@dataclass(frozen=True)
class Anatomy:
    """What the two eyes of a subject share, mirrored.

    Attributes:
        disc: x, y of the optic disc's centre, degrees.
        disc_size: half width and half height of the disc.
        arcade: half height of the ellipse that the temporal arcades follow.
        calibre: factor on vessel widths.
        tortuosity: factor on the bends.
        density: factor on the number of branches.
    """

    disc: tuple[float, float]
    disc_size: tuple[float, float]
    arcade: float
    calibre: float
    tortuosity: float
    density: float


def anatomy(rng: np.random.Generator, calibre: float = 1.0) -> Anatomy:
    """Draw one subject's anatomy; ``calibre`` is the mean of its factor on vessel widths."""
    return Anatomy(
        disc=(rng.normal(15.5, 0.6), rng.normal(-1.2, 0.5)),
        disc_size=(rng.uniform(2.5, 3.0), rng.uniform(2.7, 3.3)),
        arcade=rng.uniform(8.0, 10.5),
        calibre=calibre * rng.uniform(0.9, 1.12),
        tortuosity=rng.uniform(0.7, 1.5),
        density=rng.uniform(0.85, 1.2),
    )


# Direction from the disc in degrees (0 is nasal, 90 up), diameter, and how strongly the arcade bends it.
TRUNKS = (
    (105, 0.50, 1.0),
    (-105, 0.50, 1.0),
    (55, 0.36, 0.0),
    (-55, 0.36, 0.0),
    (15, 0.22, 0.0),
    (-20, 0.20, 0.0),
    (165, 0.16, 0.3),
    (-160, 0.16, 0.3),
)
VEIN_TO_ARTERY = 1.3


class _Tips:
    """All growing ends: one row a field, one column an end."""

    FIELDS = ("vessel", "x", "y", "width", "heading", "curvature", "until", "arcade", "side", "age")
    ROW: ClassVar[dict[str, int]] = {name: row for row, name in enumerate(FIELDS)}
    LOGGED = 4

    def __init__(self, **fields: np.ndarray) -> None:
        self.table = np.stack([np.asarray(fields[name], np.float64) for name in self.FIELDS])

    def __getitem__(self, name: str) -> np.ndarray:
        """A view: writing to it changes the ends."""
        return self.table[self.ROW[name]]

    def __setitem__(self, name: str, values: np.ndarray) -> None:
        self.table[self.ROW[name]] = values

    def __len__(self) -> int:
        return self.table.shape[1]

    def vessels(self) -> np.ndarray:
        """Numbers of the vessels that end here."""
        return self["vessel"].astype(int)


def grow(shape: Anatomy, rng: np.random.Generator, centre: tuple[float, float], reach: float) -> list[Vessel]:
    """Grow one eye's vessels.

    Args:
        shape: the subject's anatomy.
        rng: the eye's own randomness.
        centre: x, y of the camera's axis, degrees.
        reach: vessels end at this distance from the axis, degrees.
    """
    tips, artery = _trunks(shape, rng)
    log: list[np.ndarray] = []
    owners = np.full((2, *2 * [int(2 * reach / TERRITORY) + 2]), -1)
    for step in range(round(2.6 * reach / STEP)):
        log.append(tips.table[: _Tips.LOGGED].copy())
        _advance(tips, shape, rng)
        away = np.hypot(tips["x"] - centre[0], tips["y"] - centre[1])
        alive = (tips["width"] >= THINNEST) & (away < reach)
        alive &= np.hypot(tips["x"], tips["y"]) > AVASCULAR
        alive &= _own_territory(tips, artery, owners, centre, reach)
        tips.table = tips.table[:, alive]
        if step % 2:
            artery = _bifurcate(tips, artery, shape, rng)
        if not len(tips):
            break
    return _vessels(log, artery)


def _own_territory(
    tips: _Tips, artery: np.ndarray, owners: np.ndarray, centre: tuple[float, float], reach: float
) -> np.ndarray:
    """Which ends are not in another like vessel's territory; free cells become theirs."""
    last = owners.shape[1] - 1
    row = np.clip((tips["y"] - centre[1] + reach) / TERRITORY, 0, last).astype(int)
    column = np.clip((tips["x"] - centre[0] + reach) / TERRITORY, 0, last).astype(int)
    vessel = tips.vessels()
    kind = artery[vessel].astype(int)
    owner = owners[kind, row, column]
    free = owner < 0
    owners[kind[free], row[free], column[free]] = vessel[free]
    strong = (tips["arcade"] > 0.5) | (tips["age"] < GRACE) | (tips["width"] > 0.2)
    return np.asarray(strong | free | (owner == vessel))


def _trunks(shape: Anatomy, rng: np.random.Generator) -> tuple[_Tips, np.ndarray]:
    kinds = np.array([*TRUNKS, *TRUNKS], dtype=np.float64)
    count = len(kinds)
    artery = np.arange(count) < len(TRUNKS)
    angle = np.deg2rad(kinds[:, 0] + rng.normal(0, 9, count) + np.where(artery, 5, -5))
    width = kinds[:, 1] * shape.calibre * np.where(artery, 1, VEIN_TO_ARTERY) * rng.uniform(0.85, 1.15, count)
    start = rng.normal(0, 0.3, (2, count)) + 0.35 * np.stack([np.cos(angle), -np.sin(angle)])
    tips = _Tips(
        vessel=np.arange(count),
        x=shape.disc[0] + start[0],
        y=shape.disc[1] + start[1],
        heading=np.arctan2(-np.sin(angle), np.cos(angle)),
        curvature=np.zeros(count),
        width=width,
        until=rng.uniform(2.0, 6.0, count) / shape.density,
        arcade=kinds[:, 2] * rng.uniform(0.8, 1.2, count),
        side=np.sign(kinds[:, 0]),
        age=np.full(count, -3.0),
    )
    return tips, artery


def _advance(tips: _Tips, shape: Anatomy, rng: np.random.Generator) -> None:
    """One step: bends that persist for a while, pulled towards the arcade and away from the fovea."""
    x, y, heading, arcade = tips["x"], tips["y"], tips["heading"], tips["arcade"]
    roughness = (0.058 * shape.tortuosity) * np.sqrt(0.22 / np.maximum(tips["width"], 0.1))
    tips["curvature"] = 0.75 * tips["curvature"] + roughness * rng.standard_normal(len(x))
    cosine, sine = np.cos(heading), np.sin(heading)

    def turn_to(along_x: np.ndarray, along_y: np.ndarray) -> np.ndarray:
        """Sine of the angle from the heading to a direction."""
        return (along_y * cosine - along_x * sine) / np.sqrt(along_x**2 + along_y**2 + 1e-9)

    height = shape.arcade * np.where(tips["vessel"] % 2, 1.06, 0.94)
    # Stretching makes the arcade's ellipse a circle around the fovea.
    stretch = tips["side"] * (shape.disc[0] / height)
    flare = np.where(x < 2.0, 0.28, 0.0)
    pull = 0.29 * arcade * turn_to(stretch * y + flare * x, flare * y - x / np.where(stretch, stretch, 1))
    square = x * x + y * y
    flee = 0.19 * np.exp(-square / (AVASCULAR + 1.6) ** 2) * turn_to(x, y)
    outward = 0.023 * (1 - arcade) * turn_to(x - 4.0, y)
    heading = heading + tips["curvature"] + pull + flee + outward
    tips["heading"] = heading
    tips["x"], tips["y"] = x + STEP * np.cos(heading), y + STEP * np.sin(heading)
    tips["width"] = tips["width"] * (1 - np.where(tips["arcade"] > 0.5, 0.008, 0.022) * STEP)
    tips["until"] = tips["until"] - STEP
    tips["age"] = tips["age"] + STEP


def _bifurcate(tips: _Tips, artery: np.ndarray, shape: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """Split the ends whose time has come; the wider daughter continues the vessel."""
    due = np.flatnonzero(tips["until"] <= 0)
    if not len(due):
        return artery
    count, parent = len(due), tips["width"][due]
    trunk = tips["arcade"][due] > 0.5
    ratio = np.where(trunk, rng.uniform(0.4, 0.75, count), rng.uniform(0.5, 0.95, count))
    main = parent / np.cbrt(1 + ratio**3)
    side = ratio * main
    turn = np.where(rng.random(count) < 0.5, 1.0, -1.0)
    parents = tips.vessels()[due]
    daughter = dict(zip(_Tips.FIELDS, tips.table[:, due], strict=True))
    daughter["vessel"] = len(artery) + np.arange(count)
    daughter["width"] = side
    daughter["heading"] = tips["heading"][due] + turn * _murray_angle(parent, side, main)
    daughter["curvature"] = np.zeros(count)
    daughter["arcade"] = np.zeros(count)
    daughter["until"] = rng.uniform(2.0, 6.0, count) / shape.density
    daughter["age"] = np.zeros(count)
    tips["heading"][due] -= turn * _murray_angle(parent, main, side) * np.where(trunk, 0.4, 1.0)
    tips["width"][due] = main
    tips["until"][due] = (
        np.where(trunk, rng.uniform(1.8, 4.5, count), rng.uniform(2.2, 6.5, count)) / shape.density
    )
    tips.table = np.concatenate([tips.table, np.stack(list(daughter.values()))], axis=1)
    return np.concatenate([artery, artery[parents]])


def _murray_angle(parent: np.ndarray, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angle between the parent and one daughter that costs least work, from the three diameters."""
    cosine = (parent**4 + own**4 - other**4) / (2 * parent**2 * own**2)
    return np.asarray(np.arccos(np.clip(cosine, -1, 1)))


def _vessels(log: list[np.ndarray], artery: np.ndarray) -> list[Vessel]:
    """Sort the log by vessel, and let every vessel thin out towards its end."""
    ids, x, y, widths = np.concatenate(log, axis=1)
    order = np.argsort(ids, kind="stable")
    points = np.stack([x, y], axis=1)[order].astype(np.float32)
    numbers, starts = np.unique(ids[order], return_index=True)
    ends = np.append(starts[1:], len(order))
    left = (np.repeat(ends, ends - starts) - np.arange(len(order))) * STEP
    tapered = (widths[order] * np.minimum(1.0, 0.3 + 0.35 * left)).astype(np.float32)
    pieces = zip(numbers, np.split(points, starts[1:]), np.split(tapered, starts[1:]), strict=True)
    return [Vessel(way, width, bool(artery[int(number)])) for number, way, width in pieces if len(way) > 2]
