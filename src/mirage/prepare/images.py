"""Prepare a 2D image: cut, scale and map it and its masks to a stored square."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from mirage.config.datasets import PrepareOptions
from mirage.config.normalise import ClaheNormalise
from mirage.errors import DataError
from mirage.prepare.stored import Prepared, check_channels, check_label, or_absent
from mirage.preprocess import geometry
from mirage.preprocess.breast import breast_mask
from mirage.preprocess.fov import derive_fov
from mirage.preprocess.intensity import bounds, stored_type, to_stored
from mirage.preprocess.normalise import clahe, curve_of
from mirage.sources.base import RawImage, Source

BREAST = ("nonzero", "digital", "otsu", "triangle", "film")
"""Fields of view that are breasts."""


def stored_channels(source: Source, options: PrepareOptions) -> list[str]:
    """Mask channels in the order they are stored: the source's own, then ``fov`` unless it is not wanted."""
    own = [name for name in source.mask_channels if name != "fov"]
    return own if options.fov == "none" else [*own, "fov"]


def stored_shape(source: Source, options: PrepareOptions) -> tuple[int, ...]:
    """Shape (C, H, W) of all stored images."""
    return len(source.channel_names), options.stored_side, options.stored_side


@dataclass(frozen=True)
class Seen:
    """An image that is cut and scaled, before its grey values are mapped.

    Attributes:
        native: (C, H, W): float32, or the image as it was read where nothing is scaled.
        inside: boolean (H, W), what lies in the image; None: all.
        fov: uint8 (H, W), 1 in the field of view; None without one.
        box, size: what of the image becomes what.
    """

    native: np.ndarray
    inside: np.ndarray | None
    fov: np.ndarray | None
    box: geometry.Box
    size: tuple[int, int]

    @cached_property
    def counted(self) -> np.ndarray:
        """Boolean (H, W): the field of view, where there is one, of what lies in the image."""
        inside = np.ones(self.size, bool) if self.inside is None else self.inside
        return inside if self.fov is None or not self.fov.any() else inside & (self.fov > 0)

    @cached_property
    def values(self) -> np.ndarray:
        """(N,) native values that are counted, of all channels."""
        return np.concatenate([channel[self.counted] for channel in self.native])


def look(raw: RawImage, options: PrepareOptions) -> Seen:
    """Cut and scale an image and find its field of view; see ``prepare_image``."""
    fov = _field_of_view(raw, options)
    return _look(raw, fov, *_frame(raw, fov, options), options)


def ends_of(seen: Seen, raw: RawImage, options: PrepareOptions) -> tuple[float, float] | None:
    """Native values that become the lowest and highest stored one; None where ``normalise`` needs none."""
    if options.normalise is not None and not options.normalise.ranged:
        return None
    return bounds(seen.native, seen.counted, raw.full_range, options.intensity)


def prepare_image(
    raw: RawImage, source: Source, options: PrepareOptions, standard: Sequence[float] | None = None
) -> Prepared:
    """Cut, scale and map one image and its masks.

    Args:
        raw: the image.
        source: of which it is.
        options: what is stored.
        standard: of the normaliser, where ``options.normalise`` is fitted.

    Raises:
        DataError: a volume, another number of channels than the source's, a field of view with nothing in
            it, or grey values that cannot be mapped as configured.
    """
    if raw.image.ndim != 3:
        raise DataError(
            f"the image is a volume of shape {raw.image.shape}; give it slices, or set `prepare.kind: volume`"
        )
    check_channels(raw, source)
    check_label(raw, options.require_mask)
    fov = _field_of_view(raw, options)
    box, size = _frame(raw, fov, options)
    boxes = geometry.boxes_after(raw.boxes, box, size)
    found = partial(
        Prepared,
        boxes=boxes,
        boxes_outside=len(raw.boxes) - len(boxes),
        others=geometry.boxes_after(raw.others, box, size),
        unplaced=raw.unplaced,
    )
    spacing_mm = geometry.spacing_after(raw.spacing_mm, box, size) if raw.spacing_mm else None
    if fov is None and not raw.masks and _is_stored_alike(raw, box, size, options):
        channels = stored_channels(source, options)
        absent = np.stack([or_absent(None, size) for _ in channels]) if channels else None
        return found(raw.image, absent, False, spacing_mm)
    seen = _look(raw, fov, box, size, options)
    image = _mapped(seen, raw, options, standard)
    if seen.inside is not None:
        image[:, ~seen.inside] = 0
    channels = stored_channels(source, options)
    stored = {
        name: seen.fov if name == "fov" else _mask(raw, name, box, size, source, options) for name in channels
    }
    return found(
        image=image,
        masks=np.stack([or_absent(mask, size) for mask in stored.values()]) if stored else None,
        has_label="label" in raw.masks,
        spacing_mm=spacing_mm,
    )


def _frame(
    raw: RawImage, fov: np.ndarray | None, options: PrepareOptions
) -> tuple[geometry.Box, tuple[int, int]]:
    """What of the image is kept, and its stored (H, W)."""
    box = _box(raw, fov, options)
    return box, (box.height, box.width) if options.size is None else (options.size, options.size)


def _look(
    raw: RawImage,
    fov: np.ndarray | None,
    box: geometry.Box,
    size: tuple[int, int],
    options: PrepareOptions,
) -> Seen:
    if options.size is None:
        return Seen(raw.image, None, fov, box, size)
    inside = geometry.inside(raw.image.shape[1:], box, size)
    native = geometry.resize(raw.image, box, size)
    stored_fov = None if fov is None else geometry.resize_binary(fov, box, size, 0.5)
    return Seen(native, inside, stored_fov, box, size)


def _mapped(
    seen: Seen, raw: RawImage, options: PrepareOptions, standard: Sequence[float] | None
) -> np.ndarray:
    """Stored values (C, H, W)."""
    ends, normalise = ends_of(seen, raw, options), options.normalise
    if normalise is not None and not isinstance(normalise, ClaheNormalise):
        return curve_of(seen.values, normalise, standard, ends).stored(seen.native, options.bits)
    assert ends is not None  # of CLAHE and of no method
    low, high = ends
    native = seen.native.astype(np.float32) if seen.native is raw.image else seen.native
    if normalise is None:
        return to_stored(native, low, high, options.bits)
    return to_stored(clahe((native - low) / (high - low), normalise).astype(np.float32), 0, 1, options.bits)


def _is_stored_alike(
    raw: RawImage, box: geometry.Box, size: tuple[int, int], options: PrepareOptions
) -> bool:
    """Whether the file holds the very values that are stored: scaling and mapping would change nothing."""
    stored = stored_type(options.bits)
    return (
        options.normalise is None
        and options.scaled_by_type
        and raw.image.dtype == stored
        and raw.image.shape[1:] == size
        and box == geometry.whole(size)
        and raw.full_range == (0, np.iinfo(stored).max)
    )


def _field_of_view(raw: RawImage, options: PrepareOptions) -> np.ndarray | None:
    if options.fov == "none" and options.crop != "fov":
        return None
    if options.fov == "auto" and "fov" in raw.masks:
        return raw.masks["fov"]
    if options.fov in BREAST:
        return breast_mask(raw.image, options.fov)
    return derive_fov(raw.image)


def _box(raw: RawImage, fov: np.ndarray | None, options: PrepareOptions) -> geometry.Box:
    shape = raw.image.shape[1:]
    if options.crop == "fov" and fov is not None:
        return geometry.bounding_square(fov)
    if options.crop == "centre":
        return geometry.centre_square(shape)
    if options.fit == "pad" and options.size is not None:
        return geometry.padded_square(shape)
    return geometry.whole(shape)


def _mask(
    raw: RawImage,
    name: str,
    box: geometry.Box,
    size: tuple[int, int],
    source: Source,
    options: PrepareOptions,
) -> np.ndarray | None:
    mask = raw.masks.get(name)
    if mask is None or options.size is None:
        return mask
    if len(source.labels) > 1 and name != "fov":
        return geometry.resize_labels(mask, box, size)
    value = np.uint8(mask.max())
    return geometry.resize_binary(mask > 0, box, size, options.mask_threshold) * value
