"""What the readers of CT nodules share: patients of series, and cubes cut out of scans."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mirage.config.ct_nodules import CtNoduleSource
from mirage.errors import DataError
from mirage.sources.base import RawImage, Source
from mirage.sources.layout import namespace_of
from mirage.sources.rows import read_rows


class CtNodules(Source):
    """CT of LIDC-IDRI in any of its forms: one namespace, so that a patient in two forms is one subject."""

    modality = "chest CT"
    options: Any

    def __init__(self, options: CtNoduleSource, folder: Path | None = None) -> None:
        self.options = options if folder is None else options.simulated()
        self.root = Path(options.path) if folder is None else folder
        self.channel_names = ["grey"]
        self.labels = {1: "Nodule"}
        self.mask_channels = ["label"]
        self._namespace = namespace_of("lidc", folder)

    @property
    def namespace(self) -> str:
        """``lidc``, the same for DICOM, LUNA16 and the patches; or the folder of simulated data."""
        return self._namespace

    def patients(self) -> dict[str, str]:
        """Series UID -> patient, as far as the table ``patients`` says.

        Raises:
            DataError: the table is missing, or lacks a column.
        """
        if not self.options.patients:
            return {}
        rows = read_rows(self.root / self.options.patients, ["Series UID", "Subject ID"])
        return {row["Series UID"]: row["Subject ID"] for row in rows}

    def names(self, subject: str, series: str) -> list[str]:
        """What else a subject is called: its series, where another form may not know the patient."""
        return [f"{self.namespace}/{series}"] if series and series != subject else []


def absent(path: Path, table: Path) -> RawImage:
    """Loads an item whose file is not there.

    Raises:
        DataError: always.
    """
    raise DataError(
        f"{path}: {table.name} lists it, but the file does not exist; add it, or set `source.partial: true`"
    )


def cube(raw: RawImage, centre: np.ndarray, side_mm: float) -> RawImage:
    """Cut a cube out of a volume; what lies outside the scan gets its lowest value.

    Args:
        raw: the scan, with affine.
        centre: x, y, z in voxels of the scan.
        side_mm: of the cube, rounded to whole voxels.
    """
    assert raw.affine is not None
    spacing = np.linalg.norm(raw.affine[:3, :3], axis=0)
    count = np.maximum(1, np.round(side_mm / spacing)).astype(int)
    start = np.round(centre - (count - 1) / 2).astype(int)
    shape = np.array(raw.image.shape[:0:-1])
    before = np.clip(-start, 0, count)
    after = np.clip(start + count - shape, 0, count)
    region = tuple(
        slice(max(0, low), max(0, low + length)) for low, length in zip(start[::-1], count[::-1], strict=True)
    )
    margins = [(int(low), int(high)) for low, high in zip(before[::-1], after[::-1], strict=True)]
    affine = raw.affine.copy()
    affine[:3, 3] = (raw.affine @ [*start, 1.0])[:3]
    lowest = raw.image.min()
    masks: Mapping[str, np.ndarray] = raw.masks
    return RawImage(
        np.pad(raw.image[:, *region], [(0, 0), *margins], constant_values=lowest),
        {name: np.pad(mask[region], margins) for name, mask in masks.items()},
        spacing_mm=raw.spacing_mm,
        affine=affine,
    )
