"""A volume from the slices of a DICOM series: ordered, spaced and placed by their positions.

Follows DICOM PS3.3 C.7.6.2 (image plane): file names, instance numbers and the tag SliceThickness say nothing
reliable about where a slice lies; ImagePositionPatient and ImageOrientationPatient do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mirage.errors import DataError
from mirage.sources.base import RawImage

REGULAR = 0.1
"""How far, in slice steps, a slice may lie from its place in a regular stack."""
PARALLEL = 1e-3
"""How much direction cosines of slices of one volume may differ."""
NEEDED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SOPInstanceUID")


def read_header(path: Path) -> Any:
    """Header of a DICOM file, without its pixels.

    Raises:
        DataError: missing, damaged or no DICOM.
    """
    import pydicom

    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as error:  # damaged files raise anything
        raise DataError(f"{path}: not a readable DICOM file ({type(error).__name__}: {error})") from error


def read_series(paths: Sequence[Path]) -> tuple[RawImage, list[str]]:
    """Read the slices of one series as a volume.

    Slices are ordered along the normal of their plane. Rescale slope and intercept are each slice's own.

    Args:
        paths: one file a slice, in any order.

    Returns:
        The volume, image (1, D, H, W) with z upwards along the normal, int16 where the rescaled values are
        whole and fit and float32 otherwise; and the SOP instance UIDs of its slices.

    Raises:
        DataError: fewer than two slices, a damaged one, slices of several series, sizes or orientations, one
            missing or there twice, no positions, or an image type whose values are no numbers.
    """
    slices = [_Slice(path) for path in paths]
    if len(slices) < 2:
        raise DataError(f"{paths[0].parent if paths else 'series'}: a volume needs at least two slices")
    folder, first = slices[0].path.parent, slices[0]
    for other in slices[1:]:
        _check_alike(first, other)
    slices.sort(key=lambda one: float(one.position @ first.normal))
    step = _step(slices, folder)
    image = np.stack([one.values() for one in slices])[None]
    affine = np.eye(4)
    affine[:3, 0] = first.across * first.spacing[1]
    affine[:3, 1] = first.down * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = slices[0].position
    affine[:2] *= -1  # DICOM's coordinates are LPS
    raw = RawImage(
        _whole(image),
        spacing_mm=(float(np.linalg.norm(step)), *first.spacing),
        affine=affine,
        full_range=None,
    )
    return raw, [one.uid for one in slices]


class _Slice:
    """One file: where it lies; its pixels are decoded when they are asked for."""

    def __init__(self, path: Path) -> None:
        import pydicom

        self.path = path
        try:
            self.header = pydicom.dcmread(path)
        except Exception as error:  # damaged files raise anything
            raise DataError(f"{path}: not a readable DICOM file ({type(error).__name__}: {error})") from error
        missing = [tag for tag in NEEDED if not self.header.get(tag)]
        if missing:
            raise DataError(f"{path}: has no {', '.join(missing)}, so its place in the volume is unknown")
        self.uid = str(self.header.SOPInstanceUID)
        self.series = str(self.header.get("SeriesInstanceUID", ""))
        self.position = np.array(self.header.ImagePositionPatient, dtype=float)
        cosines = np.array(self.header.ImageOrientationPatient, dtype=float)
        self.across, self.down = cosines[:3], cosines[3:]
        self.normal = np.cross(self.across, self.down)
        self.spacing = (float(self.header.PixelSpacing[0]), float(self.header.PixelSpacing[1]))
        self.size = (int(self.header.Rows), int(self.header.Columns))

    def values(self) -> np.ndarray:
        """Rescaled values, float64 (H, W)."""
        try:
            stored = self.header.pixel_array
        except Exception as error:  # decoders of damaged pixel data raise anything
            raise DataError(
                f"{self.path}: its pixels cannot be decoded, the file may be cut off "
                f"({type(error).__name__}: {error})"
            ) from error
        if stored.ndim != 2:
            raise DataError(f"{self.path}: is no grey slice, its pixels have the shape {stored.shape}")
        slope = float(self.header.get("RescaleSlope") or 1)
        return np.asarray(stored * slope + float(self.header.get("RescaleIntercept") or 0))


def _check_alike(first: _Slice, other: _Slice) -> None:
    if other.series != first.series:
        raise DataError(
            f"{other.path}: belongs to the series {other.series}, {first.path.name} to {first.series}; "
            "keep one series a folder"
        )
    if other.size != first.size or not np.allclose(other.spacing, first.spacing, rtol=1e-3):
        raise DataError(
            f"{other.path}: has {other.size} pixels of {other.spacing} mm, {first.path.name} has "
            f"{first.size} of {first.spacing} mm; they are no slices of one volume"
        )
    if max(abs(other.across - first.across).max(), abs(other.down - first.down).max()) > PARALLEL:
        raise DataError(
            f"{other.path}: is not parallel to {first.path.name}; slices of several directions (such as a "
            "localiser) are in one series"
        )


def _step(slices: Sequence[_Slice], folder: Path) -> np.ndarray:
    """From one slice to the next, mm (3,), after a check that the stack is regular."""
    positions = np.stack([one.position for one in slices])
    along = positions @ slices[0].normal
    steps = np.diff(along)
    usual = float(np.median(steps))
    if usual <= 0 or (steps < REGULAR * usual).any():
        at = int(np.argmin(steps))
        raise DataError(
            f"{folder}: {slices[at].path.name} and {slices[at + 1].path.name} lie at the same place "
            f"({along[at]:.2f} mm); remove the one that is a copy"
        )
    if (abs(steps - usual) > REGULAR * usual).any():
        at = int(np.argmax(abs(steps - usual)))
        raise DataError(
            f"{folder}: {steps[at]:.2f} mm lie between {slices[at].path.name} and "
            f"{slices[at + 1].path.name}, {usual:.2f} mm between most slices; slices are missing"
        )
    return np.asarray((positions[-1] - positions[0]) / (len(slices) - 1))


def _whole(image: np.ndarray) -> np.ndarray:
    """As int16 where that loses nothing, else float32."""
    if (image % 1 == 0).all() and image.min() >= -(1 << 15) and image.max() < 1 << 15:
        return image.astype(np.int16)
    return image.astype(np.float32)
