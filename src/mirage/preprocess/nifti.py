"""NIfTI files of stored volumes."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from mirage.data import Items
from mirage.files import atomic_path
from mirage.preprocess.volumes import AFFINE, affine_of_spacing, nifti_affine

SCANNER = 1
"""NIfTI's code for coordinates of a scanner."""
UNIT_MM = (1.0, 1.0, 1.0)
ORIGINS = {"real": "real image", "synthetic": "synthetic, not a patient"}
"""Origin of an item -> how the header of its file says it; others are said as they are."""


def volume_affine(items: Items, index: int) -> np.ndarray:
    """Affine (4, 4) of voxel (w, h, d) to RAS mm: the item's own, else from the dataset's spacing."""
    attributes = items.item(index).attributes
    if attributes.get(AFFINE) is not None:
        return nifti_affine(attributes)
    return affine_of_spacing(items.spacing_mm(index) or UNIT_MM, items.info.image_shape[1:])


def describe(items: Items, index: int) -> str:
    """Header field ``descrip`` of an item's file: where its image comes from, and its id."""
    item = items.items.iloc[index]
    return f"{ORIGINS.get(item['origin'], item['origin'])}: {item['item_id']}"


def write_nifti(path: Path, volume: np.ndarray, affine: np.ndarray, description: str) -> None:
    """Write one volume as ``.nii.gz``, atomically; the same volume gives the same bytes.

    Args:
        path: ends in ``.nii.gz``.
        volume: (D, H, W), a type that NIfTI has.
        affine: (4, 4) of voxel (w, h, d) to RAS mm.
        description: header field ``descrip``, at most 79 characters.
    """
    import nibabel

    image = nibabel.Nifti1Image(np.ascontiguousarray(volume).transpose(), affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, SCANNER)
    image.set_sform(affine, SCANNER)
    image.header["descrip"] = description.encode()[:79]
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
