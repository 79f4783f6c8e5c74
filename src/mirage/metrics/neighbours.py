"""Nearest neighbours of images and masks over the eight flips and rotations of the square, and duplicates.

Two distances, both 0 for identical items and both computed by blocked matrix products, so that memory is
bounded by one block however many items there are:

- ``rms``: root mean square difference of pixels scaled to [0, 1] by the value range, channels alike.
- ``dice``: |a - b|^2 / (|a|^2 + |b|^2), which for binary masks is 1 - Dice; 0 for two empty masks, 1 where
  only one is empty. Masks shrunk by area keep fractions, and the same formula holds (Milletari et al. 2016).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
        distance, second_distance: float64 (Q,); the second is that of another reference item, NaN when
            there is only one.
        index: int64 (Q,), the nearest reference in the order given.
        orientation: int64 (Q,), 0 ... 7, the :func:`orient` of the reference that lies nearest.
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


def area_weights(size: int, target: int) -> npt.NDArray[np.float64]:
    """Matrix (target, size) that averages ``size`` pixels over ``target`` equal areas; rows sum to 1."""
    borders = np.arange(target + 1) * (size / target)
    pixels = np.arange(size)
    overlap = np.minimum(borders[1:, None], pixels + 1) - np.maximum(borders[:-1, None], pixels)
    return np.clip(overlap, 0, None) * (target / size)


def shrink(array: np.ndarray, side: int) -> Floats:
    """Array (C, H, W) averaged by area to (C, side, side) float32, of a square at least that large.

    Shrinking and :func:`orient` commute.
    """
    height, width = array.shape[-2:]
    if height % side == 0 and width % side == 0:
        tiles = array.reshape(len(array), side, height // side, side, width // side)
        return tiles.mean(axis=(2, 4), dtype=np.float64).astype(np.float32)
    rows, columns = area_weights(height, side), area_weights(width, side)
    return np.einsum("sh,chw,tw->cst", rows, array, columns, optimize=True).astype(np.float32)


def image_vector(image: np.ndarray, value_range: tuple[float, float], side: int) -> Floats:
    """Image (C, H, W) shrunk to (C, side, side) and scaled so that the value range is [0, 1]."""
    low, high = value_range
    return (shrink(image, side) - np.float32(low)) / np.float32(high - low)


def mask_vector(mask: np.ndarray, labels: Iterable[int], side: int) -> Floats:
    """Label mask (H, W) as one area-shrunk plane a label value (L, side, side), each in [0, 1]."""
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
    """Blocks (b, 8, F): items in their eight orientations, flattened."""
    held: list[Floats] = []
    for item in items:
        if item.shape[-1] != item.shape[-2]:
            raise DataError(f"neighbours are sought among square items; found {item.shape}")
        held.append(np.stack([orient(item, o).reshape(-1) for o in range(ORIENTATIONS)]))
        if len(held) == BLOCK:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)


def nearest(
    queries: Floats, references: Iterable[Floats], kind: Kind, exclude: np.ndarray | None = None
) -> Neighbours:
    """Nearest and second nearest reference of every query, over the eight orientations of the reference.

    Args:
        queries: float32 (Q, C, s, s), from :func:`image_vector` or :func:`mask_vector`, held in memory.
        references: items (C, s, s) in order, read once, 32 at a time.
        kind: the distance.
        exclude: bool (Q, R), references that a query must not match (itself, its own subject); or None.

    Raises:
        DataError: there is no reference, or items are not square.
    """
    flat = np.ascontiguousarray(queries.reshape(len(queries), -1))
    count = len(flat)
    best, second = np.full(count, np.inf), np.full(count, np.inf)
    index, orientation = np.full(count, -1), np.zeros(count, np.int64)
    start = 0
    for block in _blocks(references):
        items = len(block)
        products = _products(flat, block.reshape(items * ORIENTATIONS, -1), kind)
        by_item = products.reshape(count, items, ORIENTATIONS)
        turned = by_item.argmin(axis=2)
        nearest_turned = by_item.min(axis=2)
        if exclude is not None:
            nearest_turned[exclude[:, start : start + items]] = np.inf
        # Float32 products lose digits near zero, so what may be among the two best is measured again.
        for place in np.argsort(nearest_turned, axis=1, kind="stable")[:, :2].T:
            approximate = nearest_turned[np.arange(count), place]
            open_ = np.flatnonzero(np.isfinite(approximate) & (approximate < second + ROUNDING))
            chosen = place[open_]
            exact = _distances(flat[open_], block[chosen, turned[open_, chosen]], kind)
            better = exact < best[open_]
            second[open_] = np.where(better, best[open_], np.minimum(second[open_], exact))
            best[open_] = np.where(better, exact, best[open_])
            index[open_] = np.where(better, start + chosen, index[open_])
            orientation[open_] = np.where(better, turned[open_, chosen], orientation[open_])
        start += items
    if start == 0:
        raise DataError("no reference to find neighbours in; the training split is empty")
    nan = float("nan")
    return Neighbours(
        np.where(np.isfinite(best), best, nan),
        index.astype(np.int64),
        orientation,
        np.where(np.isfinite(second), second, nan),
    )


def canonical_hash(array: np.ndarray) -> str:
    """Digest that the eight orientations of an array (..., H, W) share: the smallest of theirs."""
    return min(content_hash(orient(array, o)) for o in range(ORIENTATIONS))


def exact_groups(hashes: Iterable[str]) -> npt.NDArray[np.int64]:
    """For every item the index of the first one with the same digest (its own where it is the first)."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(key, position) for position, key in enumerate(hashes)], np.int64)


def nearest_earlier(items: Floats, kind: Kind) -> Neighbours:
    """For every item of one set (N, C, s, s) the nearest among those before it, over the eight orientations.

    The first item has none: index -1, distance NaN. An item closer than some bound to an earlier one is a
    near duplicate; the others are the distinct items.
    """
    return nearest(items, iter(items), kind, exclude=np.triu(np.ones((len(items), len(items)), bool)))
