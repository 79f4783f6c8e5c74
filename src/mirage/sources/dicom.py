"""One 2D DICOM image, as stored or as its header says it is to be shown, with what the header says of it.

From stored to shown values (PS3.3, C.11): modality LUT or rescale, VOI LUT or window, then the photometric
interpretation. For grey images all of it is worked out for each value that can be stored, and looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mirage.errors import DataError
from mirage.sources.base import RawImage

SHOWN = 65535
"""Highest value of an image as it is shown, which keeps all of 16 bits."""
PACKAGES = {
    "JPEG-LS": "pyjpegls",
    "JPEG 2000": "pylibjpeg and pylibjpeg-openjpeg",
    "High-Throughput": "pylibjpeg and pylibjpeg-openjpeg",
    "JPEG": "python-gdcm",
    "RLE": "pylibjpeg and pylibjpeg-rle",
}
"""How the name of a transfer syntax begins -> the packages that decompress it."""


def read_dicom(path: Path, display: bool = False) -> RawImage:
    """Read one image.

    Args:
        path: file.
        display: as the header says it is shown: the modality LUT or rescale, then the first VOI LUT or window
            (LINEAR, LINEAR_EXACT, SIGMOID), or all that the stored bits can hold where there is neither;
            padding becomes 0. Else only the modality LUT or rescale, in native units. Either way
            ``MONOCHROME1`` is inverted, so that high is bright.

    Returns:
        Image (1, H, W), or (3, H, W) of colours, which have neither rescale nor window. ``full_range``:
        0 to 65535 of a shown image (uint16), else of the stored bits after rescale; None where that is
        negative. ``spacing_mm``: in the patient, see ``spacing_of``.

    Raises:
        DataError: several frames, no package to decompress it with, a window or LUT that cannot be.
    """
    import pydicom
    from pydicom.pixels import apply_color_lut

    header = pydicom.dcmread(path)
    if int(header.get("NumberOfFrames", 1) or 1) > 1:
        raise DataError(f"{path}: holds {header.NumberOfFrames} frames; split it into one image a file")
    values = _pixels(header, path)
    if str(header.PhotometricInterpretation) == "PALETTE COLOR":
        values = apply_color_lut(values, header)
    if values.ndim == 3:
        highest = float(np.iinfo(values.dtype).max)
        return RawImage(np.moveaxis(values, -1, 0), full_range=(0.0, highest), spacing_mm=spacing_of(header))
    values, low, high = _of_stored_bits(values, header)
    raw = _shown(values, low, high, header, path) if display else _native(values, low, high, header, path)
    raw.spacing_mm = spacing_of(header)
    return raw


def read_header(path: Path) -> Any:
    """A file's header (a pydicom ``Dataset``) without its pixels.

    Raises:
        DataError: missing, or no DICOM file.
    """
    import pydicom

    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as error:  # damaged files raise anything
        raise DataError(f"{path}: not a readable DICOM file ({type(error).__name__}: {error})") from error


def spacing_of(header: Any) -> tuple[float, ...] | None:
    """Rows', then columns' distance in the patient, mm; None when unknown.

    ``PixelSpacing`` where it is calibrated. Else that of the detector (``ImagerPixelSpacing``, which a
    ``PixelSpacing`` without calibration repeats) divided by the magnification, or that of a film's scanner.
    """
    spacing, detector = _pair(header, "PixelSpacing"), _pair(header, "ImagerPixelSpacing")
    if spacing and spacing != detector:
        return spacing
    if detector:
        factor = _positive(header.get("EstimatedRadiographicMagnificationFactor")) or 1.0
        return tuple(step / factor for step in detector)
    return _pair(header, "NominalScannedPixelSpacing")


def chest_wall_of(orientation: str | None) -> str | None:
    """Side of the image on which the chest wall lies, left or right, after ``PatientOrientation``.

    Args:
        orientation: direction of the rows and of the columns, such as ``P\\L``: to the right, the image
            runs to the patient's back; None of any other direction than to the back or to the front.
    """
    rows = (orientation or "").upper().partition("\\")[0].strip()
    return {"A": "left", "P": "right"}.get(rows[:1])


def _pair(header: Any, keyword: str) -> tuple[float, float] | None:
    values = header.get(keyword)
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) != 2:
        return None
    rows, columns = map(_positive, values)
    return (rows, columns) if rows and columns else None


def _positive(value: Any) -> float | None:
    """A number above 0, which may be written as text; None of anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < np.inf else None


def _pixels(header: Any, path: Path) -> np.ndarray:
    """Stored values (H, W) or (H, W, 3), decompressed."""
    from pydicom.pixels import get_decoder, pixel_array
    from pydicom.uid import JPEGExtended12Bit

    syntax = header.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not syntax.is_deflated:
        try:
            available = get_decoder(syntax).is_available
        except NotImplementedError:  # what pydicom raises for a syntax that it has no decoder for at all
            raise DataError(
                f"{path}: its pixels are compressed as {syntax.name}, which cannot be read; decompress it, "
                "for example by gdcmconv --raw"
            ) from None
        if not available:
            package = next(names for start, names in PACKAGES.items() if syntax.name.startswith(start))
            raise DataError(
                f"{path}: its pixels are compressed as {syntax.name}, and what decompresses it is not "
                f"installed; pip install -c constraints.txt {package.replace(' and ', ' ')}"
            )
    try:
        # Unused bits are seen to here, because pydicom takes the stored ones to be the lowest.
        return np.asarray(pixel_array(header, correct_unused_bits=False))
    except RuntimeError as error:
        if syntax == JPEGExtended12Bit and header.BitsStored > 8:
            raise DataError(
                f"{path}: its pixels are compressed as {syntax.name} with {header.BitsStored} bits, which "
                "none of Mirage's own packages reads; pip install pylibjpeg-libjpeg (GPL), or decompress it"
            ) from error
        raise
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what the decoder of RLE, in Rust, ends with
            raise
        raise DataError(f"{path}: its compressed pixels are damaged or cut off ({error})") from error


def _of_stored_bits(values: np.ndarray, header: Any) -> tuple[np.ndarray, int, int]:
    """Values without what else is in the bits that are allocated, and the lowest and highest possible."""
    bits, signed = int(header.BitsStored), bool(header.PixelRepresentation)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if values.min() < low or values.max() > high:
        above = int(header.get("HighBit", bits - 1)) + 1 - bits
        if above > 0 and not header.file_meta.TransferSyntaxUID.is_compressed:
            values = values >> above  # stored in the upper bits of each word
        # Old files keep overlays in the bits above, or a sign that is not carried on into them.
        unused = 8 * values.dtype.itemsize - bits
        values = np.left_shift(values, unused) >> unused
    return values, low, high


def _native(values: np.ndarray, low: int, high: int, header: Any, path: Path) -> RawImage:
    """In the units of the modality, of integer type where that loses nothing."""
    if header.get("ModalityLUTSequence"):
        lut = _lut_of(header.ModalityLUTSequence[0], header, path)
        found = lut.of(values)
        image = lut.highest - found if _is_inverted(header) else found
        return RawImage(image.astype(np.uint16)[None], full_range=(0.0, float(lut.highest)))
    if _is_inverted(header):
        values = (low + high - values.astype(np.int32)).astype(values.dtype)
    slope, intercept = _rescale(header)
    if (slope, intercept) != (1.0, 0.0):
        values = values.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    bounds = sorted((low * slope + intercept, high * slope + intercept))
    return RawImage(values[None], full_range=None if bounds[0] < 0 else (bounds[0], bounds[1]))


def _shown(values: np.ndarray, low: int, high: int, header: Any, path: Path) -> RawImage:
    """As it is shown, uint16 (1, H, W)."""
    few = high - low <= SHOWN
    stored = np.arange(low, high + 1) if few else values.astype(np.int64)
    levels = np.rint(_levels(stored, low, high, header, path) * SHOWN).astype(np.uint16)
    padding = header.get("PixelPaddingValue")
    if isinstance(padding, int):
        limit = header.get("PixelPaddingRangeLimit")
        # Some write it with the bits above those stored, of which the values have been rid.
        first, last = sorted(
            (end - low) % (high - low + 1) + low
            for end in (padding, limit if isinstance(limit, int) else padding)
        )
        levels[(stored >= first) & (stored <= last)] = 0
    image = levels.take(values if low == 0 else values.astype(np.int32) - low) if few else levels
    return RawImage(image[None], full_range=(0.0, float(SHOWN)))


def _levels(stored: np.ndarray, low: int, high: int, header: Any, path: Path) -> np.ndarray:
    """Brightness, 0 to 1, of stored values."""
    if header.get("ModalityLUTSequence"):
        lut = _lut_of(header.ModalityLUTSequence[0], header, path)
        units, ends = lut.of(stored).astype(np.float64), (0.0, float(lut.highest))
    else:
        slope, intercept = _rescale(header)
        units = stored * slope + intercept
        ends = (low * slope + intercept, high * slope + intercept)
    if header.get("VOILUTSequence"):
        lut = _lut_of(header.VOILUTSequence[0], header, path)
        levels = lut.of(np.rint(units).astype(np.int64)) / lut.highest
    elif header.get("WindowWidth") is not None and header.get("WindowCenter") is not None:
        function = str(header.get("VOILUTFunction") or "LINEAR").upper()
        levels = window(units, _first(header.WindowCenter), _first(header.WindowWidth), function, str(path))
    else:
        levels = (units - min(ends)) / (max(ends) - min(ends))
    levels = np.clip(levels, 0, 1)
    return 1 - levels if _is_inverted(header) else levels


def window(values: np.ndarray, centre: float, width: float, function: str, where: str) -> np.ndarray:
    """Brightness, 0 to 1, of values in a window (PS3.3, C.11.2.1.2 and C.11.2.1.3).

    Args:
        values: in the units of the modality.
        centre, width: of the window.
        function: LINEAR, LINEAR_EXACT or SIGMOID.
        where: the file, for messages.

    Raises:
        DataError: another function, or a width that is too small for it.
    """
    least = 1.0 if function == "LINEAR" else 0.0
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise DataError(f"{where}: VOILUTFunction is {function!r}, expected LINEAR, LINEAR_EXACT or SIGMOID")
    if width < least or width <= 0:
        raise DataError(
            f"{where}: WindowWidth is {width:g}, expected {'at least 1' if least else 'more than 0'} for "
            f"{function}; mend the header, or read the image as it is stored"
        )
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if width == 1:
        return np.asarray(values > centre - 0.5, dtype=np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


@dataclass(frozen=True)
class _Lut:
    """A look-up table: ``entries`` for values from ``first`` on, of at most ``highest``."""

    entries: np.ndarray
    first: int
    highest: int

    def of(self, values: np.ndarray) -> np.ndarray:
        """Entries of whole numbers; those outside get the first or the last."""
        at = np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return np.asarray(np.minimum(self.entries[at], self.highest))


def _lut_of(item: Any, header: Any, path: Path) -> _Lut:
    """One item of a sequence of look-up tables; raises DataError when it is cut off."""
    count, first, bits = (int(value) for value in item.LUTDescriptor)
    count = count or 1 << 16
    if header.PixelRepresentation and first >= 1 << 15:
        first -= 1 << 16
    data = item.LUTData
    if isinstance(data, bytes):
        small = bits <= 8 and len(data) < 2 * count
        data = np.frombuffer(data, "u1" if small else "<u2" if header.original_encoding[1] else ">u2")
    entries = np.atleast_1d(np.asarray(data, dtype=np.int64))[:count]
    if len(entries) < count:
        raise DataError(f"{path}: a look-up table has {len(entries)} entries, its descriptor says {count}")
    return _Lut(entries, first, (1 << bits) - 1)


def _rescale(header: Any) -> tuple[float, float]:
    """Slope and intercept; the tags may be there and empty."""
    return float(header.get("RescaleSlope") or 1), float(header.get("RescaleIntercept") or 0)


def _is_inverted(header: Any) -> bool:
    return str(header.PhotometricInterpretation) == "MONOCHROME1"


def _first(value: Any) -> float:
    """Of several windows the first."""
    return float(value[0] if isinstance(value, (list, tuple)) or hasattr(value, "__iter__") else value)
