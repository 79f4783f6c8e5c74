"""Write simulated chest CT in native layouts: LIDC-IDRI's DICOM with XML, LUNA16's, and NODE21's patches."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from mirage import seeds
from mirage.config.datasets import LAYOUTS, SimulateOptions
from mirage.simulate.chest_ct import Axes, ChestCT, Nodule, simulate_chest_ct
from mirage.simulate.native import Truth

FIELD_MM = 360.0
"""Side of the reconstructed field of view."""
HEIGHT_MM = 300.0
STEP = 1.25
"""Distance of the slices, in widths of a pixel: DICOM scans are seldom isotropic."""
NOISE = 12.0
"""Standard deviation, HU."""
OFFSET = 1024
"""Stored value of 0 HU."""
ROOT = "1.3.6.1.4.1.14519.5.2.1.6279.6001"
"""TCIA's root of the unique identifiers of LIDC-IDRI; simulated ones continue it with 9."""
CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
SESSIONS = 4
AGREED = 3
"""Readers who must have seen a nodule for LUNA16 and the patches to hold it."""
PATCH = 50
"""Side of a patch, voxels of 1 mm."""


@dataclass(frozen=True)
class Scan:
    """One scan on its grid.

    Attributes:
        chest: what is scanned.
        axes: positions of the voxels in the chest, mm.
        origin: of the chest's coordinates in the scanner's (LPS), x, y, z mm.
        uid: of the series.
        seen: nodule -> numbers of the readers who mark it.
        noise: seed of its noise.
    """

    chest: ChestCT
    axes: Axes
    origin: np.ndarray
    uid: str
    seen: list[list[int]]
    noise: np.random.SeedSequence

    @cached_property
    def values(self) -> np.ndarray:
        """Hounsfield units, int16 (z, y, x), z upwards."""
        clean = self.chest.hounsfield(self.axes)
        noisy = clean + np.random.default_rng(self.noise).normal(0, NOISE, clean.shape)
        return np.clip(np.round(noisy), -OFFSET, 3071).astype(np.int16)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y and x."""
        z, y, x = (len(axis) for axis in self.axes)
        return z, y, x

    @property
    def first(self) -> np.ndarray:
        """Position x, y, z of the first voxel's middle in the scanner, mm."""
        return self.origin + np.array([axis[0] for axis in reversed(self.axes)])

    @property
    def spacing(self) -> np.ndarray:
        """x, y, z, mm."""
        return np.array([axis[1] - axis[0] for axis in reversed(self.axes)])


def simulate_scan(options: SimulateOptions, subject: int) -> Scan:
    """One subject's scan; ``options.size`` pixels a side."""
    chest = simulate_chest_ct(options.seed, subject)
    rng = seeds.rng(options.seed, "simulate-ct", subject)
    width = FIELD_MM / options.size
    count = int(HEIGHT_MM / (width * STEP))
    across = (np.arange(options.size) + 0.5) * width - FIELD_MM / 2
    up = (np.arange(count) + 0.5) * width * STEP - HEIGHT_MM / 2
    axes = (up, across, across)
    origin = np.round(rng.uniform((-20, -190, -400), (20, -150, -100)), 1)
    seen = [_readers(rng, nodule) for nodule in chest.nodules]
    noise = seeds.sequence(options.seed, "simulate-ct-noise", subject)
    return Scan(chest, axes, origin, f"{ROOT}.9.{options.seed}.{subject + 1}", seen, noise)


def _readers(rng: np.random.Generator, nodule: Nodule) -> list[int]:
    """Who sees a nodule; the obvious ones are seen by all."""
    chance = (0.45, 0.6, 0.8, 0.97, 1.0)[nodule.subtlety - 1]
    return [reader for reader in range(SESSIONS) if rng.random() < chance]


def write_lidc(options: SimulateOptions, folder: Path) -> Truth:
    """LIDC-IDRI, as DICOM with XML or, with ``layout: luna16``, as LUNA16 holds it."""
    luna16 = (options.layout or LAYOUTS["lidc"][0]) == "luna16"
    scans = (simulate_scan(options, subject) for subject in range(options.subjects))
    return _write_luna16(scans, folder) if luna16 else _write_dicom(scans, options.seed, folder)


# --- DICOM and XML ---------------------------------------------------------------------------------------


def _write_dicom(scans: Any, seed: int, folder: Path) -> Truth:
    truth: Truth = {}
    for subject, scan in enumerate(scans):
        rng = seeds.rng(seed, "simulate-readers", subject)
        patient = f"LIDC-IDRI-{subject + 1:04d}"
        series = folder / patient / f"01-01-2000-NA-NA-{30000 + subject}" / "3000566.000000-NA-03192"
        series.mkdir(parents=True)
        # File names and instance numbers do not follow the positions, as in some series of the original.
        order = rng.permutation(scan.shape[0])
        for number, at in enumerate(order):
            _write_slice(scan, int(at), number + 1, patient, series / f"1-{number + 1:03d}.dcm")
        _write_readings(scan, rng, series / f"{subject + 1:03d}.xml")
        truth[f"{patient}/{scan.uid}"] = _truth(scan)
    return truth


def _sop(scan: Scan, at: int) -> str:
    return f"{scan.uid}.{at + 1}"


def _write_slice(scan: Scan, at: int, number: int, patient: str, path: Path) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(CT_STORAGE), UID(_sop(scan, at))
    meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    header: Any = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    position, spacing = scan.first + np.array([0, 0, at]) * scan.spacing, scan.spacing
    header.SOPClassUID, header.SOPInstanceUID = CT_STORAGE, _sop(scan, at)
    header.SeriesInstanceUID, header.StudyInstanceUID = scan.uid, f"{scan.uid}.0"
    header.Modality, header.PatientID, header.InstanceNumber = "CT", patient, number
    header.ImagePositionPatient = [f"{value:.6g}" for value in position]
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.PixelSpacing = [f"{spacing[1]:.8g}", f"{spacing[0]:.8g}"]
    header.SliceThickness = f"{2 * spacing[2]:.6g}"  # thicker than their distance: slices overlap
    header.Rows, header.Columns = scan.shape[1:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 12, 11, 0
    header.RescaleSlope, header.RescaleIntercept = 1, -OFFSET
    header.PixelData = (scan.values[at].astype(np.int32) + OFFSET).astype("<u2").tobytes()
    header.save_as(path, enforce_file_format=True)


def _write_readings(scan: Scan, rng: np.random.Generator, path: Path) -> None:
    """Four sessions; every reader draws a little inside or outside the nodule's edge."""
    root = ElementTree.Element("LidcReadMessage", xmlns="http://www.nih.gov", uid=f"{scan.uid}.99")
    head = ElementTree.SubElement(root, "ResponseHeader")
    for name, text in (
        ("Version", "1.8.1"),
        ("TaskDescription", "Second unblinded read"),
        ("SeriesInstanceUid", scan.uid),
        ("StudyInstanceUID", f"{scan.uid}.0"),
    ):
        ElementTree.SubElement(head, name).text = text
    for reader in range(SESSIONS):
        session = ElementTree.SubElement(root, "readingSession")
        ElementTree.SubElement(session, "annotationVersion").text = "3.12"
        ElementTree.SubElement(session, "servicingRadiologistID").text = f"reader-{reader}"
        for number, (nodule, seen) in enumerate(zip(scan.chest.nodules, scan.seen, strict=True)):
            if reader in seen:
                _write_mark(scan, nodule, f"{reader}{number:03d}", rng, session)
        _write_small_nodule(scan, rng, session)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _write_mark(
    scan: Scan, nodule: Nodule, name: str, rng: np.random.Generator, session: ElementTree.Element
) -> None:
    mask = nodule_mask(scan, nodule, grow=float(rng.normal(0, 0.15 * scan.spacing[0])))
    element = ElementTree.SubElement(session, "unblindedReadNodule")
    ElementTree.SubElement(element, "noduleID").text = name
    traits = ElementTree.SubElement(element, "characteristics")
    texture = {"solid": 5, "ground glass": 1, "calcified": 5}[nodule.kind]
    ratings = {
        "subtlety": int(np.clip(nodule.subtlety + rng.integers(-1, 2), 1, 5)),
        "internalStructure": 1,
        "calcification": 3 if nodule.kind == "calcified" else 6,
        "sphericity": 4,
        "margin": 4,
        "lobulation": int(np.clip(1 + 12 * nodule.heights.mean(), 1, 5)),
        "spiculation": 1,
        "texture": texture,
        "malignancy": int(np.clip(nodule.malignancy + rng.integers(-1, 2), 1, 5)),
    }
    for trait, value in ratings.items():
        ElementTree.SubElement(traits, trait).text = str(value)
    for at in np.flatnonzero(mask.any(axis=(1, 2))):
        _write_outline(scan, int(at), outline(mask[at]), element)


def _write_small_nodule(scan: Scan, rng: np.random.Generator, session: ElementTree.Element) -> None:
    """A nodule below 3 mm, which LIDC's readers only pointed at."""
    element = ElementTree.SubElement(session, "unblindedReadNodule")
    ElementTree.SubElement(element, "noduleID").text = "small"
    at, y, x = (int(rng.integers(side)) for side in scan.shape)
    _write_outline(scan, at, np.array([[y, x]]), element)


def _write_outline(scan: Scan, at: int, points: np.ndarray, element: ElementTree.Element) -> None:
    roi = ElementTree.SubElement(element, "roi")
    ElementTree.SubElement(roi, "imageZposition").text = f"{(scan.first + at * scan.spacing)[2]:.6g}"
    ElementTree.SubElement(roi, "imageSOP_UID").text = _sop(scan, at)
    ElementTree.SubElement(roi, "inclusion").text = "TRUE"
    for y, x in points:
        edge = ElementTree.SubElement(roi, "edgeMap")
        ElementTree.SubElement(edge, "xCoord").text = str(x)
        ElementTree.SubElement(edge, "yCoord").text = str(y)


def outline(mask: np.ndarray) -> np.ndarray:
    """The first pixels outside a star-shaped region of a slice, in the order of their angle.

    Args:
        mask: bool (H, W), one region that does not touch the border.

    Returns:
        (N, 2) y, x; the first point is repeated at the end, as LIDC's outlines do.
    """
    from scipy import ndimage

    ring = np.argwhere(ndimage.binary_dilation(mask, np.ones((3, 3))) & ~mask)
    y, x = (ring - np.argwhere(mask).mean(axis=0)).T
    ordered = ring[np.argsort(np.arctan2(y, x), kind="stable")]
    return np.concatenate([ordered, ordered[:1]])


def nodule_mask(scan: Scan, nodule: Nodule, grow: float = 0.0) -> np.ndarray:
    """Voxels whose middle lies in a nodule, and the one its centre lies in, bool (z, y, x).

    Args:
        scan: the grid.
        nodule: one of its chest's.
        grow: moves the surface outwards, mm.
    """
    mask = np.zeros(scan.shape, bool)
    reach = nodule.reach + abs(grow)
    spans = [
        slice(*np.searchsorted(axis, [middle - reach, middle + reach]))
        for axis, middle in zip(scan.axes, nodule.centre[::-1], strict=True)
    ]
    z, y, x = (axis[span] for axis, span in zip(scan.axes, spans, strict=True))
    mask[tuple(spans)] = nodule.inside((z, y, x), grow) > 0
    middle = [int(abs(axis - at).argmin()) for axis, at in zip(scan.axes, nodule.centre[::-1], strict=True)]
    mask[tuple(middle)] = True
    return mask


# --- LUNA16 and NODE21 -----------------------------------------------------------------------------------


def _write_luna16(scans: Any, folder: Path) -> Truth:
    truth: Truth = {}
    rows: list[list[Any]] = []
    for subject, scan in enumerate(scans):
        _write_mhd(scan, folder / f"subset{subject % 10}" / f"{scan.uid}.mhd")
        for nodule, seen in zip(scan.chest.nodules, scan.seen, strict=True):
            if len(seen) >= AGREED:
                centre = nodule.centre + scan.origin
                rows.append([scan.uid, *(f"{value:.6f}" for value in centre), f"{nodule.diameter:.6f}"])
        truth[scan.uid] = _truth(scan)
    _write_csv(folder / "annotations.csv", ["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"], rows)
    return truth


def _write_mhd(scan: Scan, path: Path) -> None:
    """MetaImage with the voxels in a file of their own; offsets and coordinates are LPS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": _numbers(scan.first),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": _numbers(scan.spacing),
        "DimSize": " ".join(str(side) for side in scan.shape[::-1]),
        "ElementType": "MET_SHORT",
        "ElementDataFile": path.with_suffix(".raw").name,
    }
    path.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()), encoding="ascii")
    path.with_suffix(".raw").write_bytes(scan.values.astype("<i2").tobytes())


def write_node21_ct_nodules(options: SimulateOptions, folder: Path) -> Truth:
    """NODE21's baseline: a cube of 1 mm voxels around every nodule that enough readers agree on.

    ``options.size`` does not matter; a subject without such a nodule has no patch.
    """
    truth: Truth = {}
    rows: list[list[Any]] = []
    (folder / "nodule_patches").mkdir()
    for subject in range(options.subjects):
        scan = simulate_scan(options, subject)
        agreed = [
            nodule for nodule, seen in zip(scan.chest.nodules, scan.seen, strict=True) if len(seen) >= AGREED
        ]
        for number, nodule in enumerate(agreed):
            name = f"{scan.uid}_dcm_{number}.mha"
            _write_patch(scan, nodule, options.seed, (subject, number), folder / "nodule_patches" / name)
            rows.append([len(rows), name, round(nodule.diameter)])
            truth[name] = _nodule_truth(scan, nodule, AGREED)
    _write_csv(folder / "ct_nodules.csv", ["", "img_name", "diameter"], rows)
    return truth


def _write_patch(scan: Scan, nodule: Nodule, seed: int, index: tuple[int, int], path: Path) -> None:
    import SimpleITK

    rng = seeds.rng(seed, "simulate-ct-patch", *index)
    offsets = np.arange(PATCH) - PATCH / 2
    z, y, x = (np.round(middle) + offsets for middle in nodule.centre[::-1])
    values = scan.chest.hounsfield((z, y, x)) + rng.normal(0, NOISE, (PATCH,) * 3)
    mask = nodule.inside((z, y, x)) > 0
    pairs = ((np.round(values).astype(np.int16), path), (mask.astype(np.uint8), _seg(path)))
    for array, place in pairs:
        image = SimpleITK.GetImageFromArray(array)
        image.SetOrigin([float(value) for value in np.array([x[0], y[0], z[0]]) + scan.origin])
        SimpleITK.WriteImage(image, str(place), useCompression=True)


def _seg(path: Path) -> Path:
    return path.with_name(path.name.replace("_dcm_", "_seg_"))


def _truth(scan: Scan) -> dict[str, Any]:
    pairs = zip(scan.chest.nodules, scan.seen, strict=True)
    return {"nodules": [_nodule_truth(scan, nodule, len(seen)) for nodule, seen in pairs]}


def _nodule_truth(scan: Scan, nodule: Nodule, readers: int) -> dict[str, Any]:
    return {
        "centre_mm": [round(float(value), 3) for value in nodule.centre + scan.origin],
        "diameter_mm": round(nodule.diameter, 3),
        "volume_mm3": round(nodule.volume(), 1),
        "kind": nodule.kind,
        "malignancy": nodule.malignancy,
        "subtlety": nodule.subtlety,
        "readers": readers,
    }


def _numbers(values: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{value:.8g}" for value in values)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows([header, *rows])
