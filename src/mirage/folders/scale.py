"""One preparation for several folders of images: the same size, the same depth, one scale of grey values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mirage.data.grey_range import LEAST, integer_window
from mirage.errors import DataError
from mirage.folders.look import Look

LARGEST = {False: 256, True: 64}
SMALLEST = {False: 16, True: 8}
"""Stored sides in pixels, and in voxels of volumes (True)."""
NATURAL = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
"""Ranges that float images are commonly scaled to."""
UNLIKE = 4.0
"""Factor between the ranges of two folders from which on they are hardly on one scale."""


def prepare_options(
    looks: Mapping[str, Look], size: int | None, window: tuple[float, float] | None
) -> tuple[dict[str, Any], list[str]]:
    """How all images are prepared: keys of ``prepare``, and remarks on what may be wrong with them.

    Args:
        looks: what the folders hold, by dataset; ``training`` sets the scale of float images.
        size: stored side in pixels or voxels, or None: the largest power of two that the smallest image
            holds, at most 256 (of volumes 64, for each axis).
        window: native values that become the lowest and highest stored ones, or None.

    Raises:
        DataError: volumes and 2D images, integers and floats; images too small, or all of one value.
    """
    _refuse_unlike_kinds(looks)
    training = looks["training"]
    options: dict[str, Any] = {"size": _size(looks, training.volumes, size)}
    if training.volumes:
        options = {"kind": "volume", **options, "fit": "stretch", "brain": "none", "outside": "keep"}
    else:
        options["fov"] = "none"
        if not training.whole_numbers or training.bits == 16:
            options["bits"] = 16
    if window is not None or training.volumes or not training.whole_numbers or _unfilled(looks):
        low, high = window or _window(training)
        options["intensity"] = {"kind": "window", "low": low, "high": high}
    return options, [] if window is not None else _remarks(looks)


def _refuse_unlike_kinds(looks: Mapping[str, Look]) -> None:
    first, *others = looks.values()
    for other in others:
        if other.volumes != first.volumes:
            kinds = {True: "volumes", False: "2D images"}
            raise DataError(
                f"{other.folder} holds {kinds[other.volumes]}, {first.folder} {kinds[first.volumes]}; they "
                "cannot be compared"
            )
        if other.whole_numbers != first.whole_numbers:
            kinds = {True: "unsigned integers", False: "signed or float values"}
            raise DataError(
                f"{other.folder} holds {kinds[other.whole_numbers]} ({_range(other)}), {first.folder} "
                f"{kinds[first.whole_numbers]} ({_range(first)}); save both as the same type, on one scale"
            )


def _size(looks: Mapping[str, Look], volumes: bool, size: int | None) -> int | list[int]:
    shapes = [shape for found in looks.values() for shape in found.shapes]
    if size is not None:
        return [size] * 3 if volumes else size
    sides = [min(axis) for axis in zip(*shapes, strict=True)]
    stored = [min(LARGEST[volumes], 2 ** int(math.log2(side))) for side in sides]
    if min(stored) < SMALLEST[volumes]:
        extent = " x ".join(map(str, min(shapes)))
        raise DataError(
            f"the smallest image is {extent}; images of at least {SMALLEST[volumes]} in each direction are "
            "needed. Give --size to scale all of them up"
        )
    return stored if volumes else min(stored)


def _unfilled(looks: Mapping[str, Look]) -> bool:
    """Whether the range of the type would make images nearly black: 12 bits in files of 16.

    Raises:
        DataError: beside folders of 8 bits, with which they may have no window in common.
    """
    narrow = [found for found in looks.values() if found.bits == 16 and found.used < LEAST]
    flat = [found for found in looks.values() if found.bits == 8]
    if narrow and flat:
        raise DataError(
            f"{narrow[0].folder} holds values of {_range(narrow[0])}, so little of their type's range that "
            f"they would be nearly black beside {flat[0].folder} ({_range(flat[0])}); save both as the same "
            "type, on one scale, or give --window LOW HIGH if their values mean the same"
        )
    return bool(narrow)


def _window(training: Look) -> tuple[float, float]:
    low, high = training.low, training.high
    if training.whole_numbers and not training.volumes:
        return integer_window(low, high)
    if not low < high:
        raise DataError(
            f"{training.folder}: the images hold the value {low:g} alone; nothing can be compared"
        )
    for natural in NATURAL:
        if natural[0] <= low and high <= natural[1] and (high - low) > (natural[1] - natural[0]) / 2:
            return natural
    return float(f"{low:.4g}"), float(f"{high:.4g}")


def _remarks(looks: Mapping[str, Look]) -> list[str]:
    """Folders whose grey values or proportions are so unlike the training images' that it may be an error."""
    training, remarks = looks["training"], []
    for found in [other for name, other in looks.items() if name != "training"]:
        own, other = _extent(training), _extent(found)
        if not own / UNLIKE <= other <= own * UNLIKE:
            remarks.append(
                f"The values of {found.folder} ({_range(found)}) and {training.folder} ({_range(training)}) "
                "may not be on one scale; if so, bring them to one, or give --window LOW HIGH."
            )
        if _proportions(found) != _proportions(training):
            remarks.append(
                f"The images of {found.folder} and {training.folder} differ in their proportions, so their "
                "margins do too after they were brought to one size."
            )
    return remarks


def _extent(found: Look) -> float:
    """How much of its range a folder uses: of its type's, else in native units."""
    return found.used if found.whole_numbers and not found.volumes else found.high - found.low


def _range(found: Look) -> str:
    return f"{found.low:g} to {found.high:g}" + (f", {found.bits} bit" if found.whole_numbers else "")


def _proportions(found: Look) -> set[float]:
    return {round(shape[-1] / shape[-2], 1) for shape in found.shapes}
