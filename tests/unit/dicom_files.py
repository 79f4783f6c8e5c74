"""Small DICOM files that tests write themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    generate_uid,
)


def dataset(values: np.ndarray, bits: int = 12, **tags: Any) -> FileDataset:
    """A grey image (H, W) or a colour one (H, W, 3) of any integer type, uncompressed."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    header.Modality = "MG"
    header.Rows, header.Columns = values.shape[:2]
    header.SamplesPerPixel = 1 if values.ndim == 2 else 3
    header.BitsAllocated = 8 * values.dtype.itemsize
    header.BitsStored = min(bits, header.BitsAllocated)
    header.HighBit, header.PixelRepresentation = header.BitsStored - 1, int(values.dtype.kind == "i")
    header.PhotometricInterpretation = "MONOCHROME2" if values.ndim == 2 else "RGB"
    if values.ndim == 3:
        header.PlanarConfiguration = 0
    header.PixelData = values.tobytes()
    for name, value in tags.items():
        setattr(header, name, value)
    return header


def write(path: Path, values: np.ndarray, bits: int = 12, **tags: Any) -> Path:
    """Write a file of ``dataset``."""
    dataset(values, bits, **tags).save_as(path, enforce_file_format=True)
    return path


def lut(first: int, entries: np.ndarray, bits: int, vr: str = "OW") -> Dataset:
    """An item of a sequence of look-up tables; its data may be bytes (OW) or numbers (US)."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    words = np.asarray(entries).astype("<u2")
    item.add_new("LUTData", vr, words.tobytes() if vr == "OW" else words.tolist())
    return item
