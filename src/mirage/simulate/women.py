"""Women with phantom breasts, whose lesions are seen in both views, for the sets of mammograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mirage import seeds
from mirage.config.mammography import Lesion
from mirage.simulate.breast import DENSITIES, View
from mirage.simulate.breast_lesions import DrawnLesion, random_lesion
from mirage.simulate.mammogram import MIX, Mammogram, Side, mammogram

SIDES: tuple[Side, ...] = ("L", "R")
VIEWS: tuple[View, ...] = ("CC", "MLO")
KINDS: tuple[Lesion, ...] = ("mass", "calcification", "mass", "distortion", "calcification", "asymmetry")
"""Kinds of lesions, which women have in turn."""
WIDTH = 0.8
"""Width of an image in heights."""


@dataclass(frozen=True)
class Woman:
    """One woman.

    Attributes:
        seed: of the dataset.
        number: index >= 0. Women do not depend on how many there are.
        kinds: that her lesions can be of.
        healthy: whether every third woman has no lesion.
    """

    seed: int
    number: int
    kinds: Sequence[Lesion] = KINDS
    healthy: bool = True

    @property
    def density(self) -> int:
        """Class of composition, 1 (almost entirely fat) to 4."""
        return 1 + int(self._rng("density").choice(4, p=MIX))

    @property
    def age(self) -> int:
        """Years."""
        return int(self._rng("age").integers(40, 80))

    def lesions(self, side: Side) -> list[Lesion]:
        """Kinds in one breast; women have none, one and two lesions in turn, all in the left or right."""
        turn, part = divmod(self.number, 3)
        count = part if self.healthy or part else 1
        if side != SIDES[turn % 2]:
            return []
        first = turn * 2 + part
        return [self.kinds[(first + more) % len(self.kinds)] for more in range(count)]

    def mammogram(self, side: Side, view: View, size: tuple[int, int], look: str) -> Mammogram:
        """One image of her, (H, W) pixels; the lesions of a breast are the same in both views."""
        at = (SIDES.index(side), VIEWS.index(view))
        rng = self._rng("lesions", at[0])
        shapes = [random_lesion(rng, kind) for kind in self.lesions(side)]
        density = DENSITIES[self.density - 1]
        return mammogram(self._rng("mammogram", *at), size, side, view, shapes, density=density, look=look)

    def _rng(self, what: str, *more: int) -> np.random.Generator:
        return seeds.rng(self.seed, f"simulate-woman-{what}", self.number, *more)


def truth_of(made: Mammogram, lesions: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Entry of ``ground_truth.json``: side, view, class of composition, and each lesion with its box.

    Args:
        made: the phantom.
        lesions: what else is to be said of each lesion.
    """
    more = lesions or [{}] * len(made.lesions)
    return {
        "laterality": made.side,
        "view": made.view,
        "density": made.density,
        "lesions": [
            {
                "kind": lesion.kind,
                "malignant": lesion.malignant,
                **lesion.shape.words,
                "box": lesion.box,
                **also,
            }
            for lesion, also in zip(made.lesions, more, strict=True)
        ],
    }


def outline_of(lesion: DrawnLesion) -> np.ndarray:
    """Pixels along the edge of a lesion's mask, in order, int (N, 2) of x and y."""
    from skimage.measure import find_contours

    padded = np.pad(lesion.mask, 1).astype(np.float32)
    # Just below 1, the contour runs through the middles of the outermost pixels.
    contours = find_contours(padded, 0.999, fully_connected="high")
    longest = np.rint(max(contours, key=len)).astype(int) - 1
    kept = np.ones(len(longest), bool)
    kept[1:] = (longest[1:] != longest[:-1]).any(axis=1)
    return longest[kept][:, ::-1]
