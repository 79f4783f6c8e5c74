"""Prepare a volume: turn, cut, scale and map it and its masks to a stored box of voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mirage.config.datasets import VolumePrepareOptions
from mirage.errors import DataError
from mirage.prepare.stored import Prepared, check_channels, check_label, or_absent
from mirage.preprocess import volumes
from mirage.preprocess.brain import background_of, bounding_box, brain_mask
from mirage.preprocess.intensity import stored_type
from mirage.sources.base import RawImage, Source


def stored_channels(source: Source, options: VolumePrepareOptions) -> list[str]:
    """Mask channels in the order they are stored: the source's own, then ``brain`` unless not wanted."""
    own = [name for name in source.mask_channels if name not in ("fov", "brain")]
    return own if options.brain == "none" else [*own, "brain"]


def stored_shape(source: Source, options: VolumePrepareOptions) -> tuple[int, ...]:
    """Shape (C, D, H, W) of all stored volumes."""
    return len(source.channel_names), *options.size


def prepare_volume(raw: RawImage, source: Source, options: VolumePrepareOptions) -> Prepared:
    """Turn, cut, scale and map one volume and its masks.

    What is stored also says how much of each label it holds (``volume_<label>_mm3``), where its voxels are
    (``mirage.preprocess.volumes.nifti_affine``) and, of a window, its ends (``WINDOW`` of that module).

    Raises:
        DataError: a 2D image, another number of channels than the source's, no brain or one that does not
            fit ``size``, values that cannot be mapped as configured, a label mask that is asked for and is
            not there or empty.
    """
    if raw.image.ndim != 4:
        raise DataError(
            f"the image is 2D, of shape {raw.image.shape}; `prepare.kind: volume` stores volumes, use `image`"
        )
    check_channels(raw, source)
    check_label(raw, options.require_mask)
    cut = _cut(raw, options)
    grid = volumes.plan_grid(cut.images.shape[1:], cut.spacing_mm, cut.brain_box, options)
    masks = {name: volumes.resample_labels(mask, grid) for name, mask in cut.masks.items()}
    image = np.zeros(stored_shape(source, options), stored_type(options.bits))
    inside = masks["brain"] > 0 if "brain" in masks else None
    for native, background, out in zip(cut.images, cut.backgrounds, image, strict=True):
        _store(native, background, grid, inside, options, out)
    spacing_mm = None if cut.spacing_mm is None else grid.spacing_after(cut.spacing_mm)
    attributes: dict[str, Any] = {}
    if "label" in masks:
        if options.require_mask and not masks["label"].any():
            raise DataError("the label mask is empty, and `prepare.require_mask` asks for a label")
        attributes |= volumes.label_volumes(masks["label"], source.labels, spacing_mm)
    if cut.affine is not None:
        attributes[volumes.AFFINE] = volumes.affine_attribute(grid.affine_after(cut.affine))
    if options.intensity.kind == "window":
        ends = (options.intensity.low, options.intensity.high)
        attributes |= dict(zip(volumes.WINDOW, ends, strict=True))
    stored = [or_absent(masks.get(name), options.size) for name in stored_channels(source, options)]
    return Prepared(
        image=image,
        masks=np.stack(stored) if stored else None,
        has_label="label" in masks,
        spacing_mm=spacing_mm,
        attributes=attributes,
    )


@dataclass(frozen=True)
class _Cut:
    """What is kept of a volume before it is scaled; views with axes in the stored order.

    ``masks`` has ``brain`` unless it is not wanted, and ``brain_box`` is its bounding box. ``backgrounds``
    are the constants around the brain, one a sequence, None where there is none.
    """

    images: np.ndarray
    masks: dict[str, np.ndarray]
    backgrounds: list[float | None]
    brain_box: volumes.Region | None
    spacing_mm: tuple[float, ...] | None
    affine: np.ndarray | None


def _cut(raw: RawImage, options: VolumePrepareOptions) -> _Cut:
    images, masks, affine, spacing_mm = raw.image, dict(raw.masks), raw.affine, raw.spacing_mm
    if affine is not None:
        masks = {name: volumes.oriented(mask, affine)[0] for name, mask in masks.items()}
        images, affine = volumes.oriented(images, affine)
        spacing_mm = tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0)[::-1])
    _, depth, height, width = images.shape
    region = volumes.slab(options, depth), slice(0, height), slice(0, width)
    images, masks = images[:, *region], {name: mask[region] for name, mask in masks.items()}
    affine, given = volumes.moved(affine, region), [masks.pop(name, None) for name in ("brain", "fov")]
    if options.brain == "none":
        return _Cut(images, masks, [None] * len(images), None, spacing_mm, affine)
    backgrounds = [background_of(image) for image in images]
    brain = next((mask for mask in given if mask is not None and options.brain == "auto"), None)
    brain = brain_mask(images, backgrounds) if brain is None else brain
    if "label" in masks:
        brain = brain | (masks["label"] > 0)  # what is labelled is tissue
    masks["brain"], box = brain, bounding_box(brain)
    if options.crop == "brain":
        region = volumes.widened(box, options.margin, brain.shape)
        images, masks = images[:, *region], {name: mask[region] for name, mask in masks.items()}
        affine, box = volumes.moved(affine, region), volumes.within(box, region)
    return _Cut(images, masks, backgrounds, box, spacing_mm, affine)


def _store(
    native: np.ndarray,
    background: float | None,
    grid: volumes.Grid,
    inside: np.ndarray | None,
    options: VolumePrepareOptions,
    out: np.ndarray,
) -> None:
    """Scale and map one sequence (D, H, W) into ``out``; what lies outside the file's volume stays 0."""
    scaled, where = volumes.resample(native, grid, options.interpolation)
    values = scaled if inside is None else scaled[inside[where]]
    keep = options.outside == "keep"
    low, high = volumes.bounds(scaled, values.ravel(), background, options.intensity, keep=keep)
    if keep or inside is None:
        volumes.store(scaled, low, high, out[where])
    else:
        stored = np.empty(values.shape, out.dtype)
        volumes.store(values, low, high, stored)
        out[where][inside[where]] = stored
