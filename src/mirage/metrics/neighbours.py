"""Nearest neighbours of images, volumes, masks and features over their symmetries, and duplicates.

Images and masks (C, H, W) are compared over the eight flips and rotations of the square, volumes (C, D, H, W)
over the eight flips of the box, features (D,) as they are. Two distances, both 0 for identical items and
both computed by blocked matrix products, so that memory is bounded by one block however many items there are:

- ``rms``: root mean square difference of all values, channels alike.
- ``dice``: |a - b|^2 / (|a|^2 + |b|^2), which for binary masks is 1 - Dice; 0 for two empty masks, 1 where
  only one is empty. Masks shrunk by area keep fractions, and the same formula holds (Milletari et al. 2016).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mirage.data.shards import content_hash
from mirage.errors import DataError

Floats = npt.NDArray[np.float32]
Kind = Literal["rms", "dice"]
ORIENTATIONS = 8
BLOCK = 32
ROUNDING = 2e-3
"""By how much a distance from a float32 product may be wrong."""


@dataclass(frozen=True)
class Neighbours:
    """Nearest and second nearest reference of every query.

    Attributes:
        distance, second_distance: float64 (Q,); the second is that of the nearest reference of another group,
            NaN when there is none.
        index: int64 (Q,), the nearest reference in the order given.
        orientation: int64 (Q,), which of the :func:`views` of the reference lies nearest.
    """

    distance: npt.NDArray[np.float64]
    index: npt.NDArray[np.int64]
    orientation: npt.NDArray[np.int64]
    second_distance: npt.NDArray[np.float64]


def orient(array: np.ndarray, orientation: int) -> np.ndarray:
    """One of the eight flips and rotations of the last two axes: ``orientation % 4`` quarter turns, then,
    from 4 on, a left-right flip. Orientation 0 changes nothing."""
    turned = np.rot90(array, orientation % 4, axes=(-2, -1))
    return turned[..., ::-1] if orientation >= 4 else turned


def flip(array: np.ndarray, orientation: int) -> np.ndarray:
    """One of the eight flips of the last three axes, bit 0 of ``orientation`` for the last one."""
    return np.flip(array, tuple(axis for bit, axis in enumerate((-1, -2, -3)) if orientation >> bit & 1))


def views(item: np.ndarray) -> list[np.ndarray]:
    """An item (D,), (C, H, W) or (C, D, H, W) in all orientations in which it counts as the same one.

    Quarter turns exchange the sides of an image that is not square.
    """
    if item.ndim == 1:
        return [item]
    turn = flip if item.ndim == 4 else orient
    return [turn(item, orientation) for orientation in range(ORIENTATIONS)]


def area_weights(size: int, target: int) -> npt.NDArray[np.float64]:
    """Matrix (target, size) that averages ``size`` pixels over ``target`` equal areas; rows sum to 1."""
    borders = np.arange(target + 1) * (size / target)
    pixels = np.arange(size)
    overlap = np.minimum(borders[1:, None], pixels + 1) - np.maximum(borders[:-1, None], pixels)
    return np.clip(overlap, 0, None) * (target / size)


def shrink(array: np.ndarray, side: int) -> Floats:
    """Array (C, H, W) or (C, D, H, W) averaged by area to at most ``side`` pixels an axis, float32.

    Shrinking and turning commute.
    """
    extent = array.shape[1:]
    target = [min(side, length) for length in extent]
    if all(length % wanted == 0 for length, wanted in zip(extent, target, strict=True)):
        tiles = [
            part for length, wanted in zip(extent, target, strict=True) for part in (wanted, length // wanted)
        ]
        within = tuple(range(2, 2 * len(extent) + 1, 2))
        return array.reshape(len(array), *tiles).mean(axis=within, dtype=np.float64).astype(np.float32)
    small = array.astype(np.float64)
    for axis, (length, wanted) in enumerate(zip(extent, target, strict=True), start=1):
        small = np.moveaxis(np.tensordot(small, area_weights(length, wanted), axes=(axis, 1)), -1, axis)
    return small.astype(np.float32)


def image_vector(image: np.ndarray, value_range: tuple[float, float], side: int) -> Floats:
    """Image (C, ...) shrunk and scaled so that the value range is [0, 1]."""
    low, high = value_range
    return (shrink(image, side) - np.float32(low)) / np.float32(high - low)


def mask_vector(mask: np.ndarray, labels: Iterable[int], side: int) -> Floats:
    """Label mask (H, W) or (D, H, W) as one area-shrunk plane a label value (L, ...), each in [0, 1]."""
    return shrink(np.stack([mask == value for value in labels]), side)


def _distances(a: np.ndarray, b: np.ndarray, kind: Kind) -> npt.NDArray[np.float64]:
    """Distance between rows of ``a`` and the same rows of ``b``, summed in float64, without cancellation."""
    gap = np.square(a - b).sum(axis=1, dtype=np.float64)
    if kind == "rms":
        return np.sqrt(gap / a.shape[1])
    total = np.square(a).sum(axis=1, dtype=np.float64) + np.square(b).sum(axis=1, dtype=np.float64)
    return np.divide(gap, total, out=np.zeros_like(gap), where=total > 0)


def _products(queries: Floats, block: Floats, kind: Kind) -> Floats:
    """Distances (Q, B) by one matrix product; near zero only as exact as float32 allows."""
    squares_q, squares_b = (queries**2).sum(axis=1), (block**2).sum(axis=1)
    total = squares_q[:, None] + squares_b[None]
    gap = np.maximum(total - 2 * (queries @ block.T), 0)
    if kind == "rms":
        return np.sqrt(gap / np.float32(queries.shape[1]))
    return np.divide(gap, total, out=np.zeros_like(gap), where=total > 0)


def _blocks(items: Iterable[Floats]) -> Iterator[Floats]:
    """Blocks (b, V, F): items in all their views, flattened."""
    held: list[Floats] = []
    for item in items:
        if item.ndim == 3 and item.shape[-1] != item.shape[-2]:
            raise DataError(
                f"neighbours are sought among square items; found {item.shape}; shrink them first"
            )
        held.append(np.stack([view.reshape(-1) for view in views(item)]))
        if len(held) == BLOCK:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)


def pairwise(queries: Floats, references: Iterable[Floats], kind: Kind) -> Floats:
    """Distances (Q, R) over the views of the references, float32; near zero only as exact as that allows.

    Args:
        queries: float32 (Q, ...), held in memory.
        references: items in order, read once, 32 at a time.
        kind: the distance.
    """
    flat = np.ascontiguousarray(queries.reshape(len(queries), -1))
    found = [
        _products(flat, block.reshape(-1, block.shape[2]), kind)
        .reshape(len(flat), *block.shape[:2])
        .min(axis=2)
        for block in _blocks(references)
    ]
    return np.concatenate(found, axis=1) if found else np.empty((len(flat), 0), np.float32)


def nearest(
    queries: Floats,
    references: Iterable[Floats],
    kind: Kind,
    exclude: np.ndarray | None = None,
    groups: npt.NDArray[np.int64] | None = None,
) -> Neighbours:
    """Nearest reference of every query over its views, and the nearest one of another group.

    Args:
        queries: float32 (Q, ...) such as :func:`image_vector` and :func:`mask_vector` give, held in memory.
        references: items of the same shape in order, read once, 32 at a time.
        kind: the distance.
        exclude: bool (Q, R), references that a query must not match (itself, its own subject); or None.
        groups: numbers (R,), such as subjects; None: every reference is a group of its own.

    Raises:
        DataError: there is no reference, or items are not square.
    """
    flat = np.ascontiguousarray(queries.reshape(len(queries), -1))
    found = _Best(len(flat))
    everyone = np.arange(len(flat))
    start = 0
    for block in _blocks(references):
        items, turns, size = block.shape
        products = _products(flat, block.reshape(items * turns, size), kind).reshape(-1, items, turns)
        turned, near = products.argmin(axis=2), products.min(axis=2)
        if exclude is not None:
            near[exclude[:, start : start + items]] = np.inf
        number = np.arange(start, start + items)
        group = number if groups is None else groups[number]
        for _ in range(2):  # of the two nearest groups
            place = near.argmin(axis=1)
            # Float32 products lose digits near zero, so what may be among the two best is measured again.
            approximate = near[everyone, place]
            open_ = np.flatnonzero(np.isfinite(approximate) & (approximate < found.second + ROUNDING))
            chosen = place[open_]
            exact = _distances(flat[open_], block[chosen, turned[open_, chosen]], kind)
            found.offer(open_, exact, number[chosen], group[chosen], turned[open_, chosen])
            near[group[None] == group[place][:, None]] = np.inf
        start += items
    if start == 0:
        raise DataError("no reference to find neighbours in; the training split is empty")
    return found.neighbours()


class _Best:
    """The nearest reference of every query so far, and the distance of the nearest of another group."""

    def __init__(self, queries: int) -> None:
        self.first, self.second = np.full(queries, np.inf), np.full(queries, np.inf)
        self.index, self.group = np.full(queries, -1), np.full(queries, -1)
        self.turned = np.zeros(queries, np.int64)

    def offer(
        self, rows: np.ndarray, distance: np.ndarray, index: np.ndarray, group: np.ndarray, turned: np.ndarray
    ) -> None:
        """Take a reference for some of the queries into account."""
        better, other = distance < self.first[rows], group != self.group[rows]
        runner_up = np.where(better, self.first[rows], distance)
        self.second[rows] = np.where(other, np.minimum(self.second[rows], runner_up), self.second[rows])
        won = rows[better]
        self.first[won], self.index[won] = distance[better], index[better]
        self.group[won], self.turned[won] = group[better], turned[better]

    def neighbours(self) -> Neighbours:
        """What was found; NaN for none."""
        first, second = (
            np.where(np.isfinite(values), values, np.nan) for values in (self.first, self.second)
        )
        return Neighbours(first, self.index.astype(np.int64), self.turned, second)


def canonical_hash(array: np.ndarray) -> str:
    """Digest that all orientations of an image (C, H, W) or volume (C, D, H, W) share: the smallest of
    theirs.

    A mask is given one axis more: ``mask[None]``.
    """
    return min(content_hash(view) for view in views(array))


def exact_groups(hashes: Iterable[Hashable]) -> npt.NDArray[np.int64]:
    """For every item the index of the first one with the same digest (its own where it is the first)."""
    first: dict[Hashable, int] = {}
    return np.array([first.setdefault(key, position) for position, key in enumerate(hashes)], np.int64)


def nearest_earlier(items: Floats, kind: Kind) -> Neighbours:
    """For every item of one set (N, ...) the nearest among those before it, over all views.

    The first item has none: index -1, distance NaN. An item closer than some bound to an earlier one is a
    near duplicate; the others are the distinct items.
    """
    return nearest(items, iter(items), kind, exclude=np.triu(np.ones((len(items), len(items)), bool)))
