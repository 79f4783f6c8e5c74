"""Prepare a 2D image: cut, scale and map it and its masks to a stored square."""

from __future__ import annotations

import numpy as np

from mirage.config.datasets import PrepareOptions
from mirage.errors import DataError
from mirage.prepare.stored import Prepared, check_channels, check_label, or_absent
from mirage.preprocess import geometry
from mirage.preprocess.fov import derive_fov
from mirage.preprocess.intensity import bounds, stored_type, to_stored
from mirage.sources.base import RawImage, Source


def stored_channels(source: Source, options: PrepareOptions) -> list[str]:
    """Mask channels in the order they are stored: the source's own, then ``fov`` unless it is not wanted."""
    own = [name for name in source.mask_channels if name != "fov"]
    return own if options.fov == "none" else [*own, "fov"]


def stored_shape(source: Source, options: PrepareOptions) -> tuple[int, ...]:
    """Shape (C, H, W) of all stored images."""
    return len(source.channel_names), options.stored_side, options.stored_side


def prepare_image(raw: RawImage, source: Source, options: PrepareOptions) -> Prepared:
    """Cut, scale and map one image and its masks.

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
    box, size = _box(raw, fov, options), (options.size, options.size)
    boxes = geometry.boxes_after(raw.boxes, box, size)
    shape = raw.image.shape[1:]
    if fov is None and not raw.masks and _is_stored_alike(raw, box, size, options):
        spacing_mm = geometry.spacing_after(raw.spacing_mm, box, size) if raw.spacing_mm else None
        channels = stored_channels(source, options)
        absent = np.stack([or_absent(None, size) for _ in channels]) if channels else None
        return Prepared(raw.image, absent, False, spacing_mm, boxes, len(raw.boxes) - len(boxes))
    inside = geometry.inside(shape, box, size)
    native = geometry.resize(raw.image, box, size)
    stored_fov = None if fov is None else geometry.resize_binary(fov, box, size, 0.5)
    counted = inside if stored_fov is None or not stored_fov.any() else inside & (stored_fov > 0)
    low, high = bounds(native, counted, raw.full_range, options.intensity)
    image = to_stored(native, low, high, options.bits)
    image[:, ~inside] = 0
    channels = stored_channels(source, options)
    stored = {
        name: stored_fov if name == "fov" else _mask(raw, name, box, source, options) for name in channels
    }
    return Prepared(
        image=image,
        masks=np.stack([or_absent(mask, size) for mask in stored.values()]) if stored else None,
        has_label="label" in raw.masks,
        spacing_mm=geometry.spacing_after(raw.spacing_mm, box, size) if raw.spacing_mm else None,
        boxes=boxes,
        boxes_outside=len(raw.boxes) - len(boxes),
    )


def _is_stored_alike(
    raw: RawImage, box: geometry.Box, size: tuple[int, int], options: PrepareOptions
) -> bool:
    """Whether the file holds the very values that are stored: scaling and mapping would change nothing."""
    stored = stored_type(options.bits)
    return (
        raw.image.dtype == stored
        and raw.image.shape[1:] == size
        and box == geometry.whole(size)
        and options.intensity.kind == "dtype_range"
        and raw.full_range == (0, np.iinfo(stored).max)
    )


def _field_of_view(raw: RawImage, options: PrepareOptions) -> np.ndarray | None:
    if options.fov == "none" and options.crop != "fov":
        return None
    if options.fov == "auto" and "fov" in raw.masks:
        return raw.masks["fov"]
    return derive_fov(raw.image)


def _box(raw: RawImage, fov: np.ndarray | None, options: PrepareOptions) -> geometry.Box:
    shape = raw.image.shape[1:]
    if options.crop == "fov" and fov is not None:
        return geometry.bounding_square(fov)
    if options.crop == "centre":
        return geometry.centre_square(shape)
    return geometry.padded_square(shape) if options.fit == "pad" else geometry.whole(shape)


def _mask(
    raw: RawImage, name: str, box: geometry.Box, source: Source, options: PrepareOptions
) -> np.ndarray | None:
    mask, size = raw.masks.get(name), (options.size, options.size)
    if mask is None:
        return None
    if len(source.labels) > 1 and name != "fov":
        return geometry.resize_labels(mask, box, size)
    value = np.uint8(mask.max())
    return geometry.resize_binary(mask > 0, box, size, options.mask_threshold) * value
