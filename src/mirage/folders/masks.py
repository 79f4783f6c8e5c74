"""Label masks of a folder's images: the pattern of their names, and what their values mean."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mirage.errors import DataError
from mirage.sources.folder import mask_of, stem_of
from mirage.sources.images import read_mask
from mirage.sources.layout import visible_names

MASKS_READ = 24
MOST_LABELS = 20
"""More values than these are shades, not labels: the mask is binary and was smoothed or compressed."""


def pattern_in(masks: str, folder: str, images: Sequence[str]) -> str:
    """Pattern, relative to the images' folder, by which their masks are found in a folder of masks.

    Args:
        masks: folder of masks whose names begin with those of their images: ``a.png``, ``a_mask.png`` ...
        folder: of the images.
        images: relative to it.

    Raises:
        DataError: no name in ``masks`` begins with that of an image.
    """
    try:
        names = visible_names(Path(masks))
    except OSError as error:
        raise DataError(f"{masks}: is no folder of masks ({error.strerror})") from error
    stems = {stem_of(file) for file in images}
    endings = Counter(
        name[len(stem) :] for name in names for stem in _beginnings(name) if stem in stems
    ).most_common(1)
    if not endings:
        raise DataError(
            f"{masks}: no mask of {images[0]}; expected a name that begins with {stem_of(images[0])!r}, such "
            f"as {stem_of(images[0])}.png, or give --masks a pattern such as 'labels/{{stem}}_seg.png'"
        )
    relative = os.path.relpath(os.path.realpath(masks), os.path.realpath(folder)).replace(os.sep, "/")
    start = "" if relative == "." else f"{relative}/"
    return f"{start}{{stem}}{endings[0][0]}"


def _beginnings(name: str) -> list[str]:
    """What of a mask's name can be that of its image: up to a dot, or to a dash or underscore."""
    return [name[: found.start()] for found in re.finditer(r"[._-]", name) if found.start()]


def label_values(pattern: str, folder: str, images: Sequence[str]) -> set[int] | None:
    """Labels in the masks of a folder, told by some of them; None where they are binary.

    Raises:
        DataError: there are none, or one cannot be read.
    """
    there = [path for image in images if (path := Path(folder, mask_of(pattern, image))).exists()]
    if not there:
        raise DataError(
            f"{folder}: no mask of {images[0]}; by the pattern {pattern!r} it would be "
            f"{Path(folder, mask_of(pattern, images[0]))}"
        )
    values = _values(there[:: max(1, len(there) // MASKS_READ)])
    return None if values is None or values <= {1} or len(values) > MOST_LABELS else values


def source_options(values: Sequence[set[int] | None]) -> dict[str, Any]:
    """How the masks of several folders are read alike: keys of their ``source``, without defaults."""
    labels = set().union(*(found for found in values if found is not None))
    if not labels:
        return {}
    named = {value: f"label {value}" for value in sorted(labels | {1} if None in values else labels)}
    return {"mask_polarity": "labels", "labels": named}


def _values(paths: Sequence[Path]) -> set[int] | None:
    """Values above zero in masks that hold labels; None where one holds other values, such as 255."""
    found: set[int] = set()
    for path in paths:
        try:
            found |= set(np.unique(read_mask(path, "labels")).tolist()) - {0}
        except DataError:
            read_mask(path, "bright")  # raises where it is no mask at all
            return None
    return found
