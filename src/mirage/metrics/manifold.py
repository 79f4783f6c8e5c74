"""Precision, recall, density and coverage: whether points lie in balls around points of the other set.

The ball of a point reaches to its k-th nearest neighbour in its own set. A point lies in it if it is strictly
nearer. A continuous set against itself thus gives 1 for all four. Identical points make balls of radius 0,
which hold nothing, themselves included: a constant set scores 0 against itself, and duplicates lower every
score. Remove exact duplicates first, and mind what a share of them says (see the copies of a synthetic set).
Density is not bounded by 1. All four depend on n and k: compare at equal numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from mirage.metrics.pairwise import Pairs, squared_neighbours
from mirage.metrics.points import Array, Floats

NEIGHBOURS = 5
Indices = npt.NDArray[np.int64]
Compared = tuple[slice, slice, Callable[[Floats], npt.NDArray[np.bool_]]]
"""Rows and columns of a block of pairs, and which of them are strictly nearer than squared limits that
broadcast to it."""


@dataclass(frozen=True)
class Manifolds:
    """How two sets of points lie in one another's balls.

    Attributes:
        neighbours: k.
        balls: int64 (M,), real balls that each synthetic point lies in. 0: far from everything real.
        covered: bool (N,), real points whose ball holds a synthetic point.
        recalled: bool (N,), real points that lie in a synthetic ball.
    """

    neighbours: int
    balls: npt.NDArray[np.int64]
    covered: npt.NDArray[np.bool_]
    recalled: npt.NDArray[np.bool_]

    @property
    def precision(self) -> float:
        """Share of synthetic points in a real ball (Kynkäänniemi 2019): fidelity."""
        return float(np.mean(self.balls > 0))

    @property
    def recall(self) -> float:
        """Share of real points in a synthetic ball (Kynkäänniemi 2019): diversity."""
        return float(self.recalled.mean())

    @property
    def density(self) -> float:
        """Real balls that a synthetic point lies in, over k (Naeem 2020): fidelity, robust to outliers."""
        return float(self.balls.mean() / self.neighbours)

    @property
    def coverage(self) -> float:
        """Share of real balls that hold a synthetic point (Naeem 2020): diversity, robust to outliers."""
        return float(self.covered.mean())


def prdc(real: Array, synthetic: Array, k: int = NEIGHBOURS) -> Manifolds:
    """Precision, recall, density and coverage.

    Args:
        real: (N, D), float, N > k.
        synthetic: (M, D), M > k.
        k: neighbours of the balls; 5 here, 3 in many published tables of precision and recall.

    Raises:
        ValueError: k points or fewer, different dimensions, or values that are not finite.
    """
    radii = _radii(real, k, "real"), _radii(synthetic, k, "synthetic")
    pairs = Pairs(real, synthetic)
    blocks = ((block.rows, block.columns, partial(pairs.below, block)) for block in pairs.blocks())
    return _counted(blocks, *radii, k)


class HeldDistances:
    """Squared distances between few points, all of them: 8 N^2 bytes, from which sets are drawn.

    They are sums of squared differences, so that equal distances are equal to the last bit.

    Args:
        points: (N, D).
    """

    def __init__(self, points: Array) -> None:
        self.squares = cdist(points, points, "sqeuclidean")

    def radii(self, items: Indices, k: int) -> Floats:
        """Squared distance (n,) of the items with these numbers to their k-th nearest other one, n > k."""
        return np.partition(self.squares[np.ix_(items, items)], k, axis=1)[:, k]

    def prdc(self, real: Indices, synthetic: Indices, radii: tuple[Floats, Floats], k: int) -> Manifolds:
        """As :func:`prdc`, of the items with these numbers and :meth:`radii`."""
        across = self.squares[np.ix_(real, synthetic)]
        whole = slice(0, len(real)), slice(0, len(synthetic))
        return _counted([(*whole, lambda limits: across < limits)], *radii, k)


def _counted(blocks: Iterable[Compared], real: Floats, synthetic: Floats, k: int) -> Manifolds:
    """Which points lie in which balls.

    Args:
        blocks: of all pairs of a real and a synthetic point.
        real, synthetic: squared radii (N,) and (M,).
        k: neighbours of the balls.
    """
    balls = np.zeros(len(synthetic), np.int64)
    covered, recalled = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for rows, columns, below in blocks:
        inside = below(real[rows, None])
        balls[columns] += np.count_nonzero(inside, axis=0)
        covered[rows] |= inside.any(axis=1)
        recalled[rows] |= below(synthetic[columns]).any(axis=1)
    return Manifolds(k, balls, covered, recalled)


def _radii(points: Array, k: int, side: str) -> Floats:
    """Squared distance (N,) of every point to its k-th nearest other one."""
    if not 1 <= k < len(points):
        raise ValueError(f"{len(points)} {side} points are too few for balls of {k} neighbours")
    own = np.arange(len(points))
    return squared_neighbours(Pairs(points, points), k, (own, own))[0][:, -1]
