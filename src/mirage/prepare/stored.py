"""What is stored of one item."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mirage.data.manifest import ABSENT
from mirage.errors import DataError
from mirage.sources.base import RawImage, Source


@dataclass(frozen=True)
class Prepared:
    """What is stored of one image or volume.

    Attributes:
        image: uint8 or uint16, of the dataset's stored shape.
        masks: uint8 (M, ...) of the image's extent, or None when the dataset has no mask channels. A channel
            that this item lacks is filled with 255, ``mirage.data.manifest.ABSENT``.
        has_label: whether channel ``label`` is there.
        spacing_mm: of the stored pixels, (D,) H, W, or None when unknown.
        boxes: in stored pixels, clipped to what is stored; with what else is known of each.
        boxes_outside: how many boxes lay wholly outside what is stored.
        attributes: what the pixels tell, for the manifest.
        others: boxes of findings that were not asked for, as ``boxes``.
        unplaced: whether there is a finding whose place nobody knows.
    """

    image: np.ndarray
    masks: np.ndarray | None
    has_label: bool
    spacing_mm: tuple[float, ...] | None
    boxes: list[dict[str, Any]] = field(default_factory=list)
    boxes_outside: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)
    others: list[dict[str, Any]] = field(default_factory=list)
    unplaced: bool = False


def check_channels(raw: RawImage, source: Source) -> None:
    """Raise DataError when an image has another number of channels than its dataset."""
    if len(raw.image) != len(source.channel_names):
        raise DataError(
            f"the image has {len(raw.image)} channels, the dataset has {', '.join(source.channel_names)}"
        )


def check_label(raw: RawImage, require_mask: bool) -> None:
    """Raise DataError when an image has no label mask and must have one."""
    if require_mask and "label" not in raw.masks:
        raise DataError("there is no label mask, and `prepare.require_mask` asks for one")


def or_absent(mask: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """A mask channel of an item, filled with 255 where the item does not have it."""
    return np.full(shape, ABSENT, np.uint8) if mask is None else mask
