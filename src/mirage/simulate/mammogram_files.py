"""Write simulated mammograms as DICOM files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"
"""Digital mammography X-ray image storage, for presentation and for processing."""
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


def write_dicom(
    path: Path,
    values: np.ndarray,
    *,
    uid: str,
    bits: int = 16,
    spacing_mm: float | None = None,
    storage: str = FOR_PRESENTATION,
    compression: str | None = None,
    **tags: Any,
) -> None:
    """Write an image of one channel.

    Args:
        path: file; its folders are made.
        values: uint8 or uint16 (H, W), at most ``2 ** bits - 1``.
        uid: of the instance; series and study follow from it where ``tags`` do not give them.
        bits: that are stored.
        spacing_mm: side of a pixel.
        storage: class of the object.
        compression: transfer syntax without loss; None: not compressed.
        tags: keywords of further attributes.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(storage), UID(uid)
    meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    header: Any = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = storage, uid
    header.SeriesInstanceUID, header.StudyInstanceUID = f"{uid}.1", f"{uid}.0"
    header.Modality = "MG"
    if storage == FOR_PRESENTATION:
        header.PresentationIntentType = "FOR PRESENTATION"
    if spacing_mm is not None:
        header.ImagerPixelSpacing = [f"{spacing_mm:.8g}"] * 2
    header.Rows, header.Columns = values.shape
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = 8 * values.dtype.itemsize
    header.BitsStored, header.HighBit, header.PixelRepresentation = bits, bits - 1, 0
    for keyword, value in tags.items():
        setattr(header, keyword, value)
    header.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    if compression is not None:
        header.compress(UID(compression), generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
