"""Volumes: axes put in the stored order, cut, scaled and mapped to stored values.

A stored volume has axes D from inferior to superior, H from anterior to posterior and W from the patient's
right to left: an axial slice shown row by row is the right way up, in the radiological convention. The file's
own directions are kept (the nearest order of them is taken, an oblique volume is not rotated), and the stored
affine says where voxels are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from mirage.config.datasets import VolumeIntensity, VolumePrepareOptions
from mirage.errors import DataError
from mirage.preprocess.geometry import axis_weights
from mirage.preprocess.intensity import to_stored

Shape = tuple[int, int, int]
Region = tuple[slice, slice, slice]
AFFINE = "affine"
"""Attribute of a stored volume: the upper three rows of its affine, twelve numbers, row by row."""
WINDOW = ("window_low", "window_high")
"""Attributes of a volume stored in a window: what 0 and the highest stored value mean in native units."""
SAME = 1e-3
"""Relative difference in spacing that is the header's rounding and needs no resampling."""
PART = 1 << 16
"""Values that are scaled at a time."""
COUNTED = 1 << 20
"""Range of whole numbers up to which they are counted to find their percentiles."""
UNDERSHOOT = 0.02
"""Share of the brain that may lie below the background, as resampling leaves it, and is clipped to it."""


def oriented(volumes: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put the axes of volumes in the stored order, without copying.

    Args:
        volumes: (..., z, y, x), in the file's order of axes.
        affine: (4, 4) of voxel (x, y, z) to RAS mm; it must have an inverse.

    Returns:
        The volumes as a view (..., D, H, W), and the affine of voxel (w, h, d) to RAS mm.
    """
    from nibabel import orientations

    stored = orientations.axcodes2ornt("LPS")
    change = orientations.ornt_transform(orientations.io_orientation(affine), stored)
    turned = orientations.apply_orientation(volumes.transpose(), change).transpose()
    shape = volumes.shape[:-4:-1]
    return turned, affine @ orientations.inv_ornt_aff(change, shape)


def affine_of_spacing(spacing_mm: tuple[float, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Affine of voxel (w, h, d) to RAS mm of a volume (D, H, W) of which only the spacing is known.

    Its axes are in the stored order, and its centre is the origin.
    """
    steps = np.array([-1.0, -1.0, 1.0]) * np.asarray(spacing_mm, dtype=float)[::-1]
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = -steps * (np.asarray(shape[::-1]) - 1) / 2
    return affine


def nifti_affine(attributes: Mapping[str, Any]) -> np.ndarray:
    """Affine to write a stored volume with: ``Nifti1Image(image[c].transpose(), nifti_affine(attributes))``.

    Args:
        attributes: of the volume's manifest row (``Item.attributes``).

    Returns:
        float64 (4, 4) of voxel (w, h, d) to RAS mm.

    Raises:
        DataError: the row does not say where its voxels are.
    """
    rows = attributes.get(AFFINE)
    if rows is None:
        raise DataError(
            f"the item has no attribute `{AFFINE}`, so the place of its voxels is unknown; prepare the "
            "dataset with `kind: volume`, and copy the attribute to what is made of the item"
        )
    return np.vstack([np.reshape(np.asarray(rows, dtype=float), (3, 4)), [0.0, 0.0, 0.0, 1.0]])


def moved(affine: np.ndarray | None, region: Region) -> np.ndarray | None:
    """Affine of the part ``region`` of a volume (D, H, W), from that of the whole; None when unknown."""
    if affine is None:
        return None
    change = np.eye(4)
    change[:3, 3] = [span.start for span in reversed(region)]
    moved_affine: np.ndarray = affine @ change
    return moved_affine


def within(box: Region, region: Region) -> Region:
    """A box (D, H, W) of a volume as a box of its part ``region``."""
    depth, height, width = (
        slice(span.start - part.start, span.stop - part.start) for span, part in zip(box, region, strict=True)
    )
    return depth, height, width


def affine_attribute(affine: np.ndarray) -> list[float]:
    """What is kept of an affine in the manifest; see ``AFFINE``."""
    return [float(value) for value in affine[:3].ravel()]


def label_volumes(
    label: np.ndarray, labels: Mapping[int, str], spacing_mm: Sequence[float] | None
) -> dict[str, float]:
    """Attributes ``volume_<name>_mm3``: how much of each label a stored label map (D, H, W) holds.

    Empty where the spacing is not known; all 0 where there is no tumour.
    """
    if spacing_mm is None:
        return {}
    voxel = float(np.prod(spacing_mm))
    return {
        f"volume_{name}_mm3": round(np.count_nonzero(label == value) * voxel, 3)
        for value, name in labels.items()
    }


@dataclass(frozen=True)
class Axis:
    """Stored voxels along one axis: voxel i covers native start + i * step to start + (i + 1) * step.

    Edges, not centres: native voxel n covers n to n + 1. The range may reach beyond the volume.
    """

    start: float
    step: float
    size: int

    @property
    def whole(self) -> bool:
        """Whether stored voxels are native ones."""
        return self.step == 1 and self.start == round(self.start)

    def nearest(self, native: int) -> tuple[np.ndarray, slice]:
        """Native voxels that hold the centres of stored ones, and which stored ones those are."""
        at = np.floor(self.start + (np.arange(self.size) + 0.5) * self.step + 1e-9).astype(int)
        inside = np.flatnonzero((at >= 0) & (at < native))
        kept = slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)
        return at[kept], kept


@dataclass(frozen=True)
class Grid:
    """Where the stored voxels of a volume (D, H, W) lie in its native ones."""

    axes: tuple[Axis, Axis, Axis]

    @property
    def shape(self) -> Shape:
        """(D, H, W) of what is stored."""
        depth, height, width = (axis.size for axis in self.axes)
        return depth, height, width

    def spacing_after(self, spacing_mm: tuple[float, ...]) -> tuple[float, ...]:
        """Spacing of the stored voxels in mm, D, H, W, from the native one."""
        return tuple(step * axis.step for step, axis in zip(spacing_mm, self.axes, strict=True))

    def affine_after(self, affine: np.ndarray) -> np.ndarray:
        """Affine of stored voxel (w, h, d) to RAS mm, from the native one."""
        change = np.eye(4)
        for at, axis in enumerate(reversed(self.axes)):
            change[at, at], change[at, 3] = axis.step, axis.start + (axis.step - 1) / 2
        return np.asarray(affine) @ change


def slab(options: VolumePrepareOptions, depth: int) -> slice:
    """The axial slices that ``drop_slices`` leaves of ``depth``.

    Raises:
        DataError: it leaves none.
    """
    low, high = options.drop_slices
    if low + high >= depth:
        raise DataError(
            f"`drop_slices` cuts {low} and {high} slices off, the volume has {depth}; nothing would be left"
        )
    return slice(low, depth - high)


def widened(box: Region, margin: int, shape: Shape) -> Region:
    """A box (D, H, W) with ``margin`` voxels more on all sides, as far as the volume reaches."""
    depth, height, width = (
        slice(max(0, span.start - margin), min(n, span.stop + margin))
        for span, n in zip(box, shape, strict=True)
    )
    return depth, height, width


def plan_grid(
    shape: Shape, spacing_mm: tuple[float, ...] | None, brain: Region | None, options: VolumePrepareOptions
) -> Grid:
    """Where to store what is kept of a volume.

    Args:
        shape: (D, H, W) of what is kept.
        spacing_mm: of its voxels, D, H, W, or None when unknown.
        brain: bounding box of the brain in it, or None without a mask. It is centred with ``crop: brain``.
        options: as configured.

    Raises:
        DataError: the brain does not fit ``size``; ``spacing_mm`` of a volume without a known spacing.
    """
    if options.spacing_mm is not None and spacing_mm is None:
        raise DataError("the file does not tell the spacing of its voxels, and `prepare.spacing_mm` needs it")
    centred = brain if brain is not None and options.crop == "brain" else [slice(0, n) for n in shape]
    depth, height, width = (
        _axis(native, span, size, spacing, options)
        for native, span, size, spacing in zip(
            shape, centred, options.size, spacing_mm or (1.0, 1.0, 1.0), strict=True
        )
    )
    grid = Grid((depth, height, width))
    if brain is not None:
        _check_fit(brain, grid)
    return grid


def _axis(native: int, centred: slice, size: int, spacing: float, options: VolumePrepareOptions) -> Axis:
    if options.fit == "stretch":
        return Axis(0.0, native / size, size)
    step = 1.0 if options.spacing_mm is None else options.spacing_mm / spacing
    if abs(step - 1) < SAME:
        return Axis(float((centred.start + centred.stop - size) // 2), 1.0, size)
    return Axis((centred.start + centred.stop - size * step) / 2, step, size)


def _check_fit(brain: Region, grid: Grid) -> None:
    pairs = list(zip(brain, grid.axes, strict=True))
    if all(
        span.start >= axis.start - 1e-6 and span.stop <= axis.start + axis.size * axis.step + 1e-6
        for span, axis in pairs
    ):
        return
    needed = [int(np.ceil((span.stop - span.start) / axis.step - 1e-6)) for span, axis in pairs]
    raise DataError(
        f"the brain does not fit: it takes {' x '.join(map(str, needed))} voxels (D x H x W), `prepare.size` "
        f"is {' x '.join(map(str, grid.shape))}; raise `size`, use `crop: brain`, or a coarser `spacing_mm`"
    )


def resample(volume: np.ndarray, grid: Grid, interpolation: str) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Scale one volume.

    Args:
        volume: (D, H, W), any real type.
        grid: what to store of it.
        interpolation: ``nearest``, or ``linear``, which averages over area where voxels grow.

    Returns:
        What lies in the volume: native type where voxels stay as they are or are picked, else float32; and
        where it goes in the stored volume.
    """
    places = [axis.nearest(n) for axis, n in zip(grid.axes, volume.shape, strict=True)]
    where = tuple(kept for _, kept in places)
    for at, (axis, (taps, kept)) in enumerate(zip(grid.axes, places, strict=True)):
        if axis.whole:
            volume = volume[
                (slice(None),) * at + (slice(taps[0], taps[-1] + 1) if len(taps) else slice(0, 0),)
            ]
        elif interpolation == "nearest":
            volume = np.take(volume, taps, axis=at)
        else:
            volume = _weighted(volume, axis, at, kept)
    return volume, where


def _weighted(volume: np.ndarray, axis: Axis, at: int, kept: slice) -> np.ndarray:
    weights, _ = axis_weights(volume.shape[at], axis.start, axis.step * axis.size, axis.size)
    rows: sparse.csr_array = weights[kept]
    lines = np.moveaxis(volume, at, 0)
    flat = np.ascontiguousarray(lines, dtype=np.float32).reshape(len(lines), -1)
    return np.moveaxis((rows @ flat).reshape(rows.shape[0], *lines.shape[1:]), 0, at)


def resample_labels(mask: np.ndarray, grid: Grid) -> np.ndarray:
    """Scale a label or brain mask (D, H, W): uint8, the native value at each stored voxel's centre."""
    stored = np.zeros(grid.shape, np.uint8)
    values, where = resample(mask, grid, "nearest")
    stored[where] = values
    return stored


def bounds(
    volume: np.ndarray,
    inside: np.ndarray,
    background: float | None,
    intensity: VolumeIntensity,
    *,
    keep: bool,
) -> tuple[float, float]:
    """Native values that become the lowest and the highest stored value of one sequence.

    The lowest is never below a background that the brain undershoots, so that background becomes 0.

    Args:
        volume: (D, H, W) native values that are stored.
        inside: those of them inside the brain, or all.
        background: the constant around the brain, or None without one.
        intensity: the configured mapping.
        keep: whether values outside the brain are kept, so that the background must be the lowest.

    Raises:
        DataError: a constant volume; no brain left; a background amidst the brain's values that is kept.
    """
    if not inside.size:
        raise DataError(f"no voxel of the brain is left in {volume.shape} stored voxels; store more of them")
    first, last = intensity.low, intensity.high
    if intensity.kind == "window" and first is not None and last is not None:
        return first, last
    if first is None or last is None:  # min_max
        low, high = float(volume.min()), float(volume.max())
    else:
        low, high = percentiles(inside, (first, last))
    if background is not None and background > low:
        if np.count_nonzero(inside < background) <= UNDERSHOOT * inside.size:
            low = background
        elif keep:
            raise DataError(
                f"the background is {background:g}, amidst the brain's values ({low:g} to {high:g}), and "
                "would not be stored as 0; set `prepare.outside: zero`"
            )
    if not low < high:
        raise DataError(f"the volume is constant inside the brain: {intensity.kind} is {low:g} to {high:g}")
    return low, high


def percentiles(values: np.ndarray, shares: Sequence[float]) -> list[float]:
    """``numpy.percentile`` of values (N,); of whole numbers by counting them, in a third of the time."""
    lowest, highest = values.min(), values.max()
    if values.dtype.kind == "f" or int(highest) - int(lowest) > COUNTED:
        return [float(value) for value in np.percentile(values, shares)]
    below = np.cumsum(np.bincount(np.subtract(values, lowest, dtype=np.int64)))
    at = np.asarray(shares, dtype=float) / 100 * (len(values) - 1)
    low, high = (np.searchsorted(below, side(at), side="right") for side in (np.floor, np.ceil))
    return [float(value) for value in int(lowest) + low + (high - low) * (at - np.floor(at))]


def store(volume: np.ndarray, low: float, high: float, out: np.ndarray) -> None:
    """Map low..high linearly to the whole range of ``out``, a part at a time: floats stay in the cache.

    Args:
        volume: native values, any shape.
        low: native value that becomes 0.
        high: native value that becomes the highest.
        out: uint8 or uint16 of the same shape; written.
    """
    step = max(1, PART * len(volume) // volume.size)
    for at in range(0, len(volume), step):
        part = volume[at : at + step].astype(np.float32)
        out[at : at + step] = to_stored(part, low, high, 8 * out.dtype.itemsize)
