"""Cut squares out of a prepared image: at random places, around lesions, or of normal tissue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from mirage import seeds
from mirage.config.patches import BothPatches, FieldPatches, LesionPatches, NormalPatches, Patches
from mirage.data.manifest import ABSENT, IMAGE_HASH
from mirage.data.shards import content_hash
from mirage.errors import DataError
from mirage.prepare.stored import Prepared, or_absent
from mirage.preprocess.geometry import Box, boxes_after, resize, resize_labels, spacing_after

AnyOptions = Patches | LesionPatches | NormalPatches | BothPatches
TRIES = 300
"""Places in a row that hold no normal patch, after which there is no room for another."""
OWN = {"x0", "y0", "x1", "y1", "label", "malignancy"}
"""What of a lesion is said by other columns than ``lesion_<word>``."""


@dataclass(frozen=True)
class _Patch:
    """What of a prepared image an item shows, and what is known of it."""

    name: str
    box: Box
    attributes: dict[str, Any]


def names(options: AnyOptions | None, item_id: str) -> list[str]:
    """Item ids of an image that cannot be read: its own, or ``<item>/p00``, ``<item>/p01`` ... of patches.

    Such an image stands for as many rows as a readable one has, so that shares of failed rows are those of
    images; of lesions, whose number nobody knows then, it is taken to have one.
    """
    if options is None:
        return [item_id]
    if isinstance(options, BothPatches):
        return [*names(options.lesions, item_id), *names(options.normal, item_id)]
    name = {"random": _random_name, "lesions": _lesion_name(0), "normal": _normal_name}[options.kind]
    return [name(item_id, number) for number in range(options.count)]


def _random_name(item_id: str, number: int) -> str:
    return f"{item_id}/p{number:02d}"


def _lesion_name(lesion: int) -> Callable[[str, int], str]:
    return lambda item_id, number: f"{item_id}/l{lesion:02d}-{number:02d}"


def _normal_name(item_id: str, number: int) -> str:
    return f"{item_id}/n{number:03d}"


def places(options: Patches, size: int | tuple[int, int], item_id: str) -> list[tuple[int, int]]:
    """Top and left edge of each random patch, pixels of an image of side ``size``, or of (H, W).

    They depend on the seed, the item's id and the number of the patch alone: not on the dataset's name, the
    shard, or how many patches are cut.
    """
    left, top, right, bottom = options.within
    low = np.ceil(np.array([top, left]) * size - 1e-6)
    high = np.floor(np.array([bottom, right]) * size + 1e-6) - options.side
    if (high < low).any():
        raise DataError(
            f"the image, of {size} pixels, has no room for patches of {options.side}; make `patches.side` "
            "smaller, or exclude it"
        )
    drawn = seeds.rng(options.seed, f"patches/{item_id}").random((options.count, 2))
    edges = np.floor(low + drawn * (high - low + 1)).astype(int)
    return [(int(row), int(column)) for row, column in np.minimum(edges, high.astype(int))]


def cut(prepared: Prepared, options: AnyOptions | None, item_id: str) -> list[tuple[str, Prepared]]:
    """The patches of a prepared image, with their names; the image itself without options.

    Boxes are moved and clipped; a patch has those that it holds a part of. Attributes ``patch_x`` and
    ``patch_y`` are its left and top edge in the prepared image, ``image_hash`` the digest of that. Patches
    around lesions and of normal tissue also have ``patch_extent`` (side of what is shown, in pixels of the
    prepared image), ``label`` (positive, negative), ``lesion_type`` and ``malignancy`` (of the lesion, None
    of normal tissue), and ``lesion_<word>`` of all else that the archive says of the lesion.

    Raises:
        DataError: there is no room for random patches; an extent in mm of an image of unknown spacing; all
            of an image's lesions lie outside what is stored.
    """
    if options is None:
        return [(item_id, prepared)]
    patches = list(_found(prepared, options, item_id))
    common = {**prepared.attributes, IMAGE_HASH: content_hash(prepared.image)} if patches else {}
    return [(patch.name, _shown(prepared, patch, options.side, common)) for patch in patches]


def _found(prepared: Prepared, options: AnyOptions, item_id: str) -> Iterator[_Patch]:
    if isinstance(options, Patches):
        return _random(prepared, options, item_id)
    if isinstance(options, LesionPatches):
        return _around_lesions(prepared, options, item_id)
    if isinstance(options, NormalPatches):
        return _normal(prepared, options, item_id)
    parts: tuple[AnyOptions, ...] = (options.lesions, options.normal)
    return chain.from_iterable(_found(prepared, part, item_id) for part in parts)


def _shown(prepared: Prepared, patch: _Patch, side: int, common: dict[str, Any]) -> Prepared:
    """One patch: a view of the image, scaled where it shows another extent than its side."""
    box, size, masks = patch.box, (side, side), prepared.masks
    height, width = prepared.image.shape[1:]
    inside = 0 <= box.top <= height - box.height and 0 <= box.left <= width - box.width
    if (box.height, box.width) == size and inside:
        window = np.s_[:, box.top : box.top + side, box.left : box.left + side]
        image, masks = prepared.image[window], None if masks is None else masks[window]
    else:
        image = np.rint(resize(prepared.image, box, size)).astype(prepared.image.dtype)
        masks = None if masks is None else np.stack([_scaled(mask, box, size, inside) for mask in masks])
    spacing_mm = prepared.spacing_mm
    return replace(
        prepared,
        image=image,
        masks=masks,
        spacing_mm=spacing_after(spacing_mm, box, size) if spacing_mm else None,
        boxes=boxes_after(prepared.boxes, box, size),
        attributes={**common, "patch_x": box.left, "patch_y": box.top, **patch.attributes},
    )


def _scaled(mask: np.ndarray, box: Box, size: tuple[int, int], inside: bool) -> np.ndarray:
    """A mask channel of a patch; one that the image lacks is absent also where a patch reaches beyond it."""
    if not inside and (mask == ABSENT).all():
        return or_absent(None, size)
    return resize_labels(mask, box, size)


def _random(prepared: Prepared, options: Patches, item_id: str) -> Iterator[_Patch]:
    height, width = prepared.image.shape[1:]
    for number, (top, left) in enumerate(places(options, (height, width), item_id)):
        yield _Patch(_random_name(item_id, number), Box(top, left, options.side, options.side), {})


def _around_lesions(prepared: Prepared, options: LesionPatches, item_id: str) -> Iterator[_Patch]:
    if prepared.boxes_outside and not prepared.boxes:
        raise DataError(
            f"all {prepared.boxes_outside} lesions lie outside what is stored of the image; use `crop: none`"
        )
    for lesion, found in enumerate(prepared.boxes):
        field = _field_of(found, prepared, options)
        middle = (found["y0"] + found["y1"]) / 2, (found["x0"] + found["x1"]) / 2
        moved = (seeds.rng(options.seed, f"patches/{item_id}", lesion).random((options.count, 2)) - 0.5) * 2
        moved[0] = 0
        said = {
            "label": "positive",
            "lesion": lesion,
            "lesion_type": found["label"],
            "malignancy": found.get("malignancy"),
            **{
                f"lesion_{word}": value
                for word, value in found.items()
                if word not in OWN and isinstance(value, str | int | float | None)
            },
        }
        for number, shift in enumerate(moved * options.jitter):
            box = _placed(middle, shift, field, prepared.image.shape[1:])
            name = _lesion_name(lesion)(item_id, number)
            yield _Patch(name, box, {**said, "patch_extent": box.width})


def _normal(prepared: Prepared, options: NormalPatches, item_id: str) -> Iterator[_Patch]:
    """Places are drawn one after the other, so that fewer patches are the first of more."""
    if prepared.unplaced:  # tissue of which nobody knows whether it is healthy
        return
    lesions = [*prepared.boxes, *prepared.others]
    tissue, rng = _tissue(prepared), seeds.rng(options.seed, f"patches/{item_id}")
    taken: list[np.ndarray] = []
    last = -1  # place that was taken last, among those drawn together
    while last >= -TRIES:
        places = _places(rng.random((TRIES, 3)), tissue.shape, prepared, options)
        free = _keep_away(places, lesions, options.away) & (places[:, 2:] <= tissue.shape).all(axis=1)
        for other in taken:
            free &= _keep_off(places, other, options.overlap)
        for at in np.flatnonzero(free):
            if at - last > TRIES:
                return
            top, left, rows, columns = map(int, places[at])
            window = tissue[top : top + rows, left : left + columns]
            if not free[at] or np.count_nonzero(window) < options.tissue * window.size:
                continue
            said = {"label": "negative", "lesion_type": None, "malignancy": None, "patch_extent": columns}
            yield _Patch(_normal_name(item_id, len(taken)), Box(top, left, rows, columns), said)
            taken.append(places[at])
            if len(taken) == options.count:
                return
            free &= _keep_off(places, places[at], options.overlap)
            last = int(at)
        last -= TRIES


def _places(
    drawn: np.ndarray, shape: tuple[int, ...], prepared: Prepared, options: NormalPatches
) -> np.ndarray:
    """Top, left, rows and columns (N, 4) of patches, which may be larger than the image (H, W) ``shape``.

    Args:
        drawn: (N, 3) of 0..1, where down and across the image, and how large.
    """
    low, high = _extents(options)
    extents = low * (high / low) ** drawn[:, 2]
    sizes = [np.maximum(1, np.rint(extents / step)) for step in _steps(prepared, options)]
    edges = [
        place * (length - size + 1) for place, length, size in zip(drawn.T[:2], shape, sizes, strict=True)
    ]
    return np.stack([*edges, *sizes], axis=1).astype(int)


def _tissue(prepared: Prepared) -> np.ndarray:
    """The field of view, boolean (H, W): the last mask channel, which is stored where there is one."""
    assert prepared.masks is not None  # by the config model, which wants a field of view
    return np.asarray(prepared.masks[-1] != 0)


def _keep_away(places: np.ndarray, lesions: list[dict[str, Any]], away: float) -> np.ndarray:
    """Which patches (N, 4) keep a share of their side away from all lesions, boolean (N,)."""
    top, left, rows, columns = places.T
    free = np.ones(len(places), bool)
    for found in lesions:
        clear_x = (found["x1"] + away * columns <= left) | (found["x0"] - away * columns >= left + columns)
        clear_y = (found["y1"] + away * rows <= top) | (found["y0"] - away * rows >= top + rows)
        free &= clear_x | clear_y
    return free


def _keep_off(places: np.ndarray, other: np.ndarray, overlap: float) -> np.ndarray:
    """Which patches (N, 4) share no more than a share of their area with another one, boolean (N,)."""
    first = np.maximum(places[:, :2], other[:2])
    shared = np.minimum(places[:, :2] + places[:, 2:], other[:2] + other[2:]) - first
    allowed = overlap * places[:, 2] * places[:, 3]
    return np.asarray(np.clip(shared, 0, None).prod(axis=1) <= allowed)


def _extents(options: LesionPatches | NormalPatches) -> tuple[float, float]:
    """Least and greatest extent, in the unit of ``field``."""
    low = float(options.extent or options.side)
    return low, getattr(options, "extent_to", None) or low


def _steps(prepared: Prepared, options: FieldPatches) -> tuple[float, ...]:
    """What a row and a column of the prepared image are, in the unit of ``field``."""
    if options.field == "pixels":
        return 1.0, 1.0
    if prepared.spacing_mm is None:
        raise DataError(
            "the image's spacing is unknown, so what is `extent` mm of it is too; use `field: pixels`, or "
            "exclude it"
        )
    return prepared.spacing_mm[-2:]


def _field_of(found: dict[str, Any], prepared: Prepared, options: LesionPatches) -> tuple[int, int]:
    """Rows and columns of the prepared image that patches of a lesion show."""
    height, width = found["y1"] - found["y0"], found["x1"] - found["x0"]
    wanted = 1 + 2 * options.context
    if options.field == "lesion":
        side = max(1, round(max(height, width) * wanted))
        return side, side
    extent = _extents(options)[0]
    rows, columns = (max(1, round(extent / step)) for step in _steps(prepared, options))
    filled = max(height / rows, width / columns)
    if options.large == "fit" and filled > 1:
        rows, columns = (max(1, round(side * filled * wanted)) for side in (rows, columns))
    return rows, columns


def _placed(
    middle: tuple[float, float], shift: np.ndarray, field: tuple[int, int], shape: tuple[int, ...]
) -> Box:
    """A patch around a place, moved into the image where it reaches beyond; 0 lies around a smaller image."""
    edges = []
    for centre, moved, length, whole in zip(middle, shift, field, shape, strict=True):
        start = round(centre + moved * length - length / 2)
        edges.append(min(max(start, 0), whole - length) if length <= whole else -((length - whole) // 2))
    return Box(edges[0], edges[1], *field)
