"""How an inpainter errs: the hole of a lesion filled again at healthy places of the same radiograph.

What lies in such a hole is known, so the inpainter's error in holes of this shape, in these lungs and at this
exposure is seen itself. Two numbers describe it: how much of the detail that the inpainter draws is in the
truth at all, and by how much it draws too dark or too bright beside that. Nothing is learnt from the lesion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mirage.preprocess.lesions import UNKNOWN, Bias, Box, Lesion, corrected, details
from mirage.preprocess.membrane import dome

LEAST_PLACES = 4
"""Places below which nothing is learnt."""
TRIMMED = 8
"""One in so many places is left out at either end: a lesion that nobody marked, an electrode."""
IN_LUNG = (0.5, 0.95)
"""Share of a box that lies in the lungs at least: that of the lesion's own box, within these limits."""


@dataclass(frozen=True)
class Filled:
    """A window of a radiograph in which a hole was filled.

    Attributes:
        original: (H, W), stored values, bright bones.
        inpainted: (H, W), the same outside the hole.
        hole: (H, W), non-zero in it.
        box: in pixels of the window; the hole reaches beyond it.
    """

    original: np.ndarray
    inpainted: np.ndarray
    hole: np.ndarray
    box: Box


def healthy_places(
    lungs: np.ndarray,
    lesions: Sequence[Box],
    box: Box,
    ring: int,
    count: int,
    rng: np.random.Generator,
) -> list[Box]:
    """Boxes of the size of a lesion's, moved by whole pixels to lung beside all lesions.

    Their holes lie inside the image and hold nothing of a lesion's box; their own boxes are at least half
    their side from one another.

    Args:
        lungs: (H, W), non-zero inside.
        lesions: all that are marked in this image.
        box: of the lesion, pixels of the image.
        ring: how far the hole reaches beyond the box, whole pixels.
        count: of places, at most.
        rng: draws them evenly.
    """
    height, width = lungs.shape
    own = box.mask((height, width))
    marked = np.zeros((height, width), bool)
    for lesion in lesions:
        marked |= lesion.mask((height, width))
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    size, first = (len(rows), len(columns)), np.array([rows[0], columns[0]])
    if min(height - size[0], width - size[1]) < 2 * ring:
        return []
    inside = slice(ring, -ring) if ring else slice(None)
    in_lung = _sums(lungs > 0, size)[inside, inside] / (size[0] * size[1])
    beside = _sums(marked, (size[0] + 2 * ring, size[1] + 2 * ring)) == 0
    wanted = np.clip((lungs > 0)[own].mean(), *IN_LUNG)
    free = rng.permutation(np.argwhere((in_lung >= wanted) & beside) + ring)
    found: list[Box] = []
    while len(free) and len(found) < count:
        down, across = (int(step) for step in free[0] - first)
        found.append(box.moved(down, across))
        free = free[(np.abs(free - free[0]) >= np.array(size) / 2).any(axis=1)]
    return found


def learn_bias(filled: Sequence[Filled]) -> Bias:
    """The inpainter's bias, by least squares over the boxes of healthy places.

    The truth's details are fitted by those of the inpainter, times a trust between 0 and 1, and a dome over
    the box. An inpainter that sees nothing of ribs under a hole, or draws them elsewhere, is trusted little.

    Args:
        filled: healthy places. Those with the highest and the lowest error are left out.

    Returns:
        ``UNKNOWN`` where there are fewer than ``LEAST_PLACES``.
    """
    if len(filled) < LEAST_PLACES:
        return UNKNOWN
    errors = [_mean_error(place) for place in filled]
    ends = len(filled) // TRIMMED
    kept = [filled[index] for index in np.argsort(errors, kind="stable")[ends : len(filled) - ends]]
    squares, products = np.zeros((2, 2)), np.zeros(2)
    for place in kept:
        inner = place.box.mask(_shape(place))
        drawn = details(place.inpainted, place.box, place.hole)[inner]
        truth = details(place.original, place.box, place.hole)[inner]
        terms = np.stack([drawn, dome(inner)[inner]])
        squares += terms @ terms.T
        products += terms @ truth
    free = np.linalg.lstsq(squares, products, rcond=None)[0]
    trust = float(np.clip(free[0], 0, 1))
    return Bias(trust, float((products[1] - squares[0, 1] * trust) / squares[1, 1]), len(kept))


def beside_healthy(lesion: Lesion, filled: Sequence[Filled], bias: Bias) -> float | None:
    """Contrast of a lesion in standard deviations of what is left on its outline at healthy places.

    Returns:
        None where there are fewer than ``LEAST_PLACES``.
    """
    if len(filled) < LEAST_PLACES:
        return None
    y, x = np.nonzero(lesion.core)
    at_places = []
    for place in filled:
        left = corrected(place.original, place.inpainted, place.box, place.hole, bias)
        down, across = (round(a - b) for a, b in zip(place.box.centre, lesion.box.centre, strict=True))
        inside = (y + down >= 0) & (y + down < len(left)) & (x + across >= 0) & (x + across < left.shape[1])
        at_places.append(left[y[inside] + down, x[inside] + across].mean())
    spread = float(np.std(at_places, ddof=1))
    contrast = float(lesion.residual[lesion.core].mean() - np.mean(at_places))
    return contrast / spread if spread > 0 else None


def _mean_error(place: Filled) -> float:
    left = corrected(place.original, place.inpainted, place.box, place.hole, UNKNOWN)
    return float(left[place.box.mask(_shape(place))].mean())


def _shape(place: Filled) -> tuple[int, int]:
    return place.hole.shape[0], place.hole.shape[1]


def _sums(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels of a mask in each rectangle of a size that fits into it, by its upper left corner."""
    table = np.pad(mask.astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    height, width = size
    found: np.ndarray = (
        table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    )
    return found
