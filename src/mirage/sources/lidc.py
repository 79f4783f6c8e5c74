"""LIDC-IDRI: chest CT with nodules outlined by up to four readers (Armato et al., Med Phys 38(2), 2011).

Read as TCIA gives it, DICOM series with the readers' XML beside them, or as LUNA16 prepared it (Setio et al.,
Med Image Anal 42, 2017): MetaImage volumes, and a table of the nodules that at least three of four readers
marked, with centre in the scanner's millimetres and diameter. The radiographs of some patients are not read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mirage.config.ct_nodules import LidcSource
from mirage.errors import DataError
from mirage.sources.base import RawImage, SourceItem
from mirage.sources.ct_nodules import CtNodules, absent, cube
from mirage.sources.layout import no_items, require_directories, visible_names
from mirage.sources.lidc_readings import Consensus, Reading, agree, read_reading
from mirage.sources.rows import Row, read_rows

OBTAIN = "cancerimagingarchive.net (LIDC-IDRI, CC BY 3.0) or luna16.grand-challenge.org"
TABLE = "annotations.csv"
COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
LUNGS = "seg-lungs"
"""Begins the name of LUNA16's folder of lung masks, which are no scans."""


@dataclass(frozen=True)
class _Series:
    """A folder of DICOM files and what its first header and its annotation say."""

    folder: str
    files: list[str]
    uid: str
    patient: str
    spacing: tuple[float, float]
    nodules: list[Consensus] | None
    """None where nobody has annotated the scan."""
    problem: str | None = None


@dataclass(frozen=True)
class _Scan:
    """A LUNA16 volume and its rows of the table; no path where the file is not there."""

    uid: str
    path: Path | None
    rows: list[Row] = field(default_factory=list)


class Lidc(CtNodules):
    """Reader of both layouts; an item is a scan, or a cube around a nodule."""

    def __init__(self, options: LidcSource, folder: Path | None = None) -> None:
        super().__init__(options, folder)
        self._latest: tuple[str, RawImage] | None = None

    def check_layout(self) -> None:
        """Check for the folder, and for LUNA16's table where that layout is named."""
        require_directories(self.root, [], "LIDC-IDRI", OBTAIN)
        if self.options.layout == "luna16":
            self._table()

    def items(self) -> Iterator[SourceItem]:
        """Scans by patient and series, or their nodules from the lowest to the highest.

        Raises:
            LayoutError: there are none.
            DataError: a table that cannot be read.
        """
        luna16 = self.options.layout == "luna16" or (
            self.options.layout == "auto" and self._find_table() is not None
        )
        found = False
        for item in self._luna16() if luna16 else self._dicom():
            found = True
            yield item
        if not found:
            wanted = "subset0/<series UID>.mhd" if luna16 else "LIDC-IDRI-0001/<study>/<series>/1-001.dcm"
            nodules = " with a nodule that enough readers agree on" if self.options.items == "nodules" else ""
            raise no_items("LIDC-IDRI", self.root, wanted + nodules)

    # --- DICOM with the readers' XML ----------------------------------------------------------------

    def _dicom(self) -> Iterator[SourceItem]:
        patients = self.patients()
        for folder, files in _dicom_folders(self.root):
            series = self._series(folder, files)
            if series is not None:
                subject = patients.get(series.uid, series.patient)
                scan = f"{series.patient}/{series.uid}" if series.uid else folder
                yield from self._items_of(series, subject, _safe(scan))

    def _items_of(self, series: _Series, subject: str, scan: str) -> Iterator[SourceItem]:
        known: dict[str, Any] = {"file": series.folder, "series": series.uid}
        names = self.names(subject, series.uid)
        if self.options.items == "scans" or series.problem:
            nodules = series.nodules
            if nodules is not None:
                known |= _largest([nodule.diameter(series.spacing) for nodule in nodules])
                malignancy = [nodule.ratings.get("malignancy", 0.0) for nodule in nodules]
                known["malignancy"] = max(malignancy, default=0.0) or None
            yield SourceItem(
                scan, subject, partial(self._load_series, series), attributes=known, also_known_as=names
            )
            return
        for number, nodule in enumerate(series.nodules or ()):
            ratings = {_snake(name): value for name, value in nodule.ratings.items()}
            own = {
                "nodule": number,
                "diameter_mm": nodule.diameter(series.spacing),
                "readers": nodule.readers,
            }
            yield SourceItem(
                f"{scan}/n{number}",
                subject,
                partial(self._load_nodule, series, number),
                attributes={**known, **own, **ratings},
                also_known_as=names,
            )

    def _series(self, folder: str, files: list[str]) -> _Series | None:
        """What is known of a folder without pixels; None if it is no CT."""
        from mirage.sources.dicom_series import read_header

        place = self.root / folder
        try:
            header = read_header(place / files[0])
        except DataError as error:
            patient = folder.split("/")[0]
            return _Series(folder, files, "", patient, (1.0, 1.0), None, str(error))
        if str(header.get("Modality", "CT")) != "CT":
            return None
        uid = str(header.get("SeriesInstanceUID", ""))
        spacing = header.get("PixelSpacing") or (1.0, 1.0)
        known = (folder, files, uid, str(header.get("PatientID") or folder.split("/")[0]))
        steps = (float(spacing[0]), float(spacing[1]))
        try:
            reading = _reading(place, uid)
        except DataError as error:
            return _Series(*known, steps, None, str(error))
        if reading is None:
            return _Series(*known, steps, None)
        rule = self.options.agreement
        return _Series(*known, steps, agree(reading.marks, rule.readers, rule.share))

    def _load_series(self, series: _Series) -> RawImage:
        """The scan with its label mask; the last one read is kept, for its other nodules."""
        from mirage.sources.dicom_series import read_series

        if series.problem:
            raise DataError(series.problem)
        if self._latest is None or self._latest[0] != series.folder:
            raw, uids = read_series([self.root / series.folder / name for name in series.files])
            if series.nodules is not None:
                raw.masks["label"] = _drawn(series, uids, raw.image.shape[1:])
            self._latest = (series.folder, raw)
        raw = self._latest[1]
        return RawImage(raw.image, dict(raw.masks), spacing_mm=raw.spacing_mm, affine=raw.affine)

    def _load_nodule(self, series: _Series, number: int) -> RawImage:
        raw = self._load_series(series)
        assert raw.affine is not None
        assert series.nodules is not None
        z, y, x = series.nodules[number].centre()
        # Heights of the annotation are the scanner's; a voxel's is linear in its slice.
        rise = raw.affine[2]
        slice_number = (z - rise[3] - rise[0] * x - rise[1] * y) / rise[2]
        return cube(raw, np.array([x, y, slice_number]), self.options.crop_mm)

    # --- LUNA16 -------------------------------------------------------------------------------------

    def _luna16(self) -> Iterator[SourceItem]:
        patients, table = self.patients(), self._table()
        for scan in self._scans(table):
            subject = patients.get(scan.uid, scan.uid)
            names = self.names(subject, scan.uid)
            if scan.path is None:
                if not self.options.partial:
                    missing = self.root / f"{scan.uid}.mhd"
                    yield SourceItem(scan.uid, subject, partial(absent, missing, table))
                continue
            known: dict[str, Any] = {"file": scan.path.relative_to(self.root).as_posix(), "series": scan.uid}
            diameters = [_diameter(row) for row in scan.rows]
            if self.options.items == "scans":
                known |= _largest(diameters)
                load = partial(self._load_mhd, scan)
                yield SourceItem(scan.uid, subject, load, attributes=known, also_known_as=names)
                continue
            for number, diameter in enumerate(diameters):
                own = {"nodule": number, "diameter_mm": diameter}
                cut = partial(self._load_mhd_nodule, scan, number)
                item = f"{scan.uid}/n{number}"
                yield SourceItem(item, subject, cut, attributes={**known, **own}, also_known_as=names)

    def _find_table(self) -> Path | None:
        places = (self.root, self.root / "CSVFILES")
        return next((place / TABLE for place in places if (place / TABLE).is_file()), None)

    def _table(self) -> Path:
        table = self._find_table()
        if table is None:
            raise no_items(
                "LUNA16", self.root, f"{TABLE} (also looked for in CSVFILES), with {', '.join(COLUMNS)}"
            )
        return table

    def _scans(self, table: Path) -> list[_Scan]:
        """Scans by series, those whose file is not there included."""
        paths = {
            path.stem: path for path in sorted(self.root.rglob("*.mhd")) if LUNGS not in str(path.parent)
        }
        rows: dict[str, list[Row]] = {}
        for row in read_rows(table, COLUMNS):
            rows.setdefault(row["seriesuid"], []).append(row)
        return [_Scan(uid, paths.get(uid), rows.get(uid, [])) for uid in sorted({*paths, *rows})]

    def _load_mhd(self, scan: _Scan) -> RawImage:
        from mirage.sources.images import read_volume

        assert scan.path is not None
        if self._latest is None or self._latest[0] != scan.uid:
            raw = read_volume(scan.path)
            raw.full_range = None  # unsigned files are Hounsfield units as well
            raw.masks["label"] = _balls(scan.rows, raw, scan.path)
            self._latest = (scan.uid, raw)
        raw = self._latest[1]
        return RawImage(raw.image, dict(raw.masks), spacing_mm=raw.spacing_mm, affine=raw.affine)

    def _load_mhd_nodule(self, scan: _Scan, number: int) -> RawImage:
        raw = self._load_mhd(scan)
        return cube(raw, _voxel(scan.rows[number], raw), self.options.crop_mm)


def _dicom_folders(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Folders that hold .dcm files, relative to the root, with the sorted names of these."""
    for place, folders, _ in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = [name for name in visible_names(Path(place)) if name.lower().endswith(".dcm")]
        if files:
            yield Path(place).relative_to(root).as_posix(), files


def _reading(folder: Path, uid: str) -> Reading | None:
    """The annotation of a series among the XML files of its folder."""
    names = [name for name in visible_names(folder) if name.lower().endswith(".xml")]
    readings = [(name, read_reading(folder / name)) for name in names]
    of_ct = [(name, reading) for name, reading in readings if reading is not None]
    own = [reading for _, reading in of_ct if reading.series == uid]
    if of_ct and len(own) != 1:
        said = ", ".join(f"{name} ({reading.series})" for name, reading in of_ct)
        raise DataError(
            f"{folder}: {len(own)} annotations are about its series {uid}, expected one; found {said}"
        )
    return own[0] if own else None


def _drawn(series: _Series, uids: Sequence[str], shape: tuple[int, ...]) -> np.ndarray:
    """Label mask (D, H, W) of the agreed nodules."""
    mask, at = np.zeros(shape, np.uint8), {uid: number for number, uid in enumerate(uids)}
    for nodule in series.nodules or ():
        for uid, pixels in nodule.pixels.items():
            if uid not in at:
                raise DataError(
                    f"{series.folder}: the annotation marks the slice {uid}, which is not among its "
                    f"{len(uids)} files; the series is incomplete"
                )
            if pixels.min() < 0 or (pixels >= shape[1:]).any():
                high = pixels.max(axis=0)
                raise DataError(
                    f"{series.folder}: a nodule's outline reaches the pixel x = {high[1]}, y = {high[0]}, "
                    f"outside its slice of {shape[2]} x {shape[1]}; the annotation belongs to another series"
                )
            mask[at[uid], pixels[:, 0], pixels[:, 1]] = 1
    return mask


def _balls(rows: Sequence[Row], raw: RawImage, path: Path) -> np.ndarray:
    """Label mask (D, H, W) of LUNA16's nodules: balls of their diameter."""
    mask = np.zeros(raw.image.shape[1:], np.uint8)
    assert raw.affine is not None
    spacing = np.linalg.norm(raw.affine[:3, :3], axis=0)
    for row in rows:
        centre, radius = _voxel(row, raw), _diameter(row) / 2
        if (centre < -0.5).any() or (centre > np.array(mask.shape[::-1]) - 0.5).any():
            raise DataError(
                f"{row.path}, line {row.line}: the nodule at ({row['coordX']}, {row['coordY']}, "
                f"{row['coordZ']}) mm lies outside the scan {path.name}; coordinates are millimetres of the "
                "scanner (LPS)"
            )
        reach = np.ceil(radius / spacing).astype(int) + 1
        low = np.maximum(0, np.floor(centre).astype(int) - reach)
        high = np.minimum(mask.shape[::-1], np.floor(centre).astype(int) + reach + 1)
        x, y, z = np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij")
        offset = (np.stack([x, y, z], axis=-1) - centre) * spacing
        inside = (offset**2).sum(axis=-1) <= radius**2
        mask[z[inside], y[inside], x[inside]] = 1
        nearest = np.clip(np.round(centre).astype(int), 0, np.array(mask.shape[::-1]) - 1)
        mask[tuple(nearest[::-1])] = 1  # smaller than a voxel
    return mask


def _voxel(row: Row, raw: RawImage) -> np.ndarray:
    """x, y, z in voxels of a row's centre, which the table gives in LPS mm."""
    x, y, z = (row.number(column) for column in COLUMNS[1:4])
    assert raw.affine is not None
    return np.asarray(np.linalg.solve(raw.affine, np.array([-x, -y, z, 1.0]))[:3])


def _diameter(row: Row) -> float:
    diameter = row.number("diameter_mm")
    if diameter <= 0:
        raise DataError(f"{row.path}, line {row.line}: diameter_mm is {diameter:g}, expected more than 0")
    return diameter


def _largest(diameters: Sequence[float]) -> dict[str, Any]:
    return {"nodules": len(diameters), "diameter_mm": max(diameters, default=None)}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _safe(text: str) -> str:
    """``text`` in the letters an item id may have."""
    return "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "_./-") else "_" for letter in text
    )
