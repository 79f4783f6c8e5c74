"""OPTIMAM / OMI-DB: full-field digital mammograms of screening, as processed and as raw images.

Marks are taken from the JSON files, or from a table such as the spreadsheets of the studies. Their corners
are in pixels of the image, in any order. Halling-Brown et al., Radiology: Artificial Intelligence 3, 2021.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mirage.config.mammography import OptimamSource
from mirage.errors import DataError, LayoutError
from mirage.sources.base import RawImage, SourceItem
from mirage.sources.boxes import reaches_outside
from mirage.sources.dicom import read_header
from mirage.sources.layout import namespace_of, require_directories
from mirage.sources.mammogram_header import JsonHeader, MammogramHeader, mammogram_header
from mirage.sources.mammograms import DigitalMammogramRecord, DigitalMammograms, lesion_box, side_of, view_of
from mirage.sources.nbss import Nbss, status_of
from mirage.sources.omidb import Client, Listed, read_clients, read_object
from mirage.sources.omidb_marks import Mark, mark_of_json, mark_of_row
from mirage.sources.rows import Row, age_of
from mirage.sources.spreadsheet import read_spreadsheet

logger = logging.getLogger(__name__)
OBTAIN = "medphys.royalsurrey.nhs.uk/omidb (by agreement with the data owner)"
COLUMNS = {
    "image": ["image_id", "image", "SOPInstanceUID", "image_uid", "file"],
    "x1": ["x1", "xmin", "x_min"],
    "y1": ["y1", "ymin", "y_min"],
    "x2": ["x2", "xmax", "x_max"],
    "y2": ["y2", "ymax", "y_max"],
    "client?": ["client_id", "client", "patient_id"],
    "study?": ["study_id", "StudyInstanceUID", "study"],
    "mark?": ["mark_id", "mark"],
    "conspicuity?": ["conspicuity"],
    "pathologies?": ["pathologies", "pathology", "lesion_type", "lesion"],
    "malignancy?": ["malignancy", "lesion_status"],
    "status?": ["status", "client_status"],
    "view?": ["view", "view_position"],
    "laterality?": ["laterality", "side"],
    "age?": ["age"],
    "manufacturer?": ["manufacturer"],
    "implant?": ["implant"],
    "site?": ["site"],
}
"""Columns of a table of marks."""


ENDING = re.compile(r"\.dcm$", re.IGNORECASE)


@dataclass
class _Rows:
    """Rows of a table of marks that are of one image."""

    first: Row
    marks: list[tuple[Row | None, Mark]] = field(default_factory=list)
    problem: str | None = None


@dataclass
class OptimamRecord(DigitalMammogramRecord):
    """What the database says of one image.

    Attributes:
        status: of the client, see ``mirage.sources.nbss``.
        spacing_mm: of rows and columns, by the header in JSON.
    """

    status: str | None = None
    spacing_mm: tuple[float, ...] | None = None


class Optimam(DigitalMammograms[OptimamRecord]):
    """Reader of the database's folder tree."""

    title = "OPTIMAM"
    tables = "JSON files"
    options: OptimamSource

    def __init__(self, options: OptimamSource, folder: Path | None = None) -> None:
        super().__init__(options, folder)
        self._namespace = namespace_of("optimam", folder)
        self._subjects: Callable[[str], bool] | None = None

    @property
    def namespace(self) -> str:
        """``optimam``, or the folder of simulated data."""
        return self._namespace

    def check_layout(self) -> None:
        """Check for the trees, the table and the lists."""
        needed = ["images"] if self.options.table else ["data", "images"]
        require_directories(self.root, needed, self.title, OBTAIN)
        table, swapped = self.options.table, self.options.swapped
        for key, path in (("table", table and self.root / table), ("swapped", swapped and Path(swapped))):
            if path and not path.is_file():
                raise LayoutError(
                    f"{self.title}: `source.{key}` is {path}, which is not there; mend or drop it"
                )
        self.check_exclusions()

    def items_of(self, subjects: Callable[[str], bool]) -> Iterator[SourceItem]:
        """Of other clients no header is read: a shard opens a file for each image of its own, not of all.

        Where a table or list names images, or something is wrong with what there is, all are read.
        """
        options = self.options
        if options.table is None and options.exclude is None and options.swapped is None:
            some = copy(self)
            some._subjects = subjects
            with suppress(DataError, LayoutError):
                return iter(list(some.items()))
        return super().items_of(subjects)

    def records(self) -> Iterator[OptimamRecord]:
        """Images by client, in the order of her studies."""
        tabled = self._tabled()
        named = list(tabled or {})
        seen: dict[str, OptimamRecord] = {}
        notes: Counter[str] = Counter()
        subjects = self._subjects
        for client in read_clients(self.root, subjects):
            nbss = Nbss(client.nbss)
            for listed, also in _once(client.images):
                if subjects and not subjects(client.name):
                    item_id = f"{client.name}/{listed.image}"
                    seen[listed.image] = OptimamRecord(listed.image, listed.file, item_id, client.name)
                    continue
                header, problem = self._header(listed)
                if header.flat_field:
                    notes["calibration images are left out"] += 1
                    continue
                if also:
                    notes["images are in several studies of a client and are taken once"] += 1
                rows = tabled.pop(listed.image, None) if tabled is not None else None
                record = self._record(client, nbss, listed, header, rows, tabled is None, notes)
                record.problem = record.problem or problem
                record.attributes["duplicate_studies"] = "|".join(also) or None
                self._check_one_client(record, seen)
                seen[listed.image] = record
        if tabled and len(tabled) == len(named):
            raise DataError(
                f"{self.title}: the table {self.options.table} names none of the {len(seen)} images in "
                f"{self.root}, such as {next(iter(seen), 'none')}; its first one is {named[0]}. Expected the "
                "SOPInstanceUID, written as text, because as a number it loses digits"
            )
        for image, rows in (tabled or {}).items():
            notes["images of the table are not there"] += 1
            seen[image] = _absent(image, rows)
        for note, count in notes.items():
            logger.warning("%s: %d %s", self.title, count, note)
        asked_for = (record for record in seen.values() if not subjects or subjects(record.subject_id))
        yield from self._unswapped(list(asked_for))

    def read(self, record: OptimamRecord) -> RawImage:
        """As shown or as stored; raises DataError where a lesion only fits with X and Y exchanged."""
        from mirage.sources.images import read_image

        path = self.root / record.file
        raw = read_image(path, "grey", display=self.options.pixels == "display")
        raw.boxes = [dict(box) for box in record.boxes]
        raw.spacing_mm = raw.spacing_mm or record.spacing_mm
        height, width = raw.image.shape[1:]
        for box in raw.boxes:
            if reaches_outside(box, (height, width)) and not reaches_outside(
                _exchanged(box), (height, width)
            ):
                raise DataError(
                    f"{path}: the {box['label']} from ({box['x0']:g}, {box['y0']:g}) to ({box['x1']:g}, "
                    f"{box['y1']:g}) lies outside the image of {width} x {height} (width x height) pixels, "
                    "and inside it with X and Y exchanged; list the image in `source.swapped` if they are"
                )
        return raw

    def wanted(self, record: OptimamRecord) -> bool:
        """The client's status too."""
        statuses = self.options.statuses
        return (statuses is None or record.status in statuses) and super().wanted(record)

    def choice(self) -> tuple[str, ...]:
        """The client's status too."""
        return ("statuses", *super().choice())

    def _header(self, listed: Listed) -> tuple[MammogramHeader, str | None]:
        """Of the JSON file, else of the image; empty, with the reason, where neither can be read."""
        try:
            if listed.header:
                return mammogram_header(JsonHeader(read_object(self.root / listed.header))), None
            if listed.has_pixels:
                return mammogram_header(read_header(self.root / listed.file)), None
        except DataError as error:
            return MammogramHeader(), str(error)
        return MammogramHeader(), None

    def _record(
        self,
        client: Client,
        nbss: Nbss,
        listed: Listed,
        header: MammogramHeader,
        rows: _Rows | None,
        of_json: bool,
        notes: Counter[str],
    ) -> OptimamRecord:
        told = rows.first.values if rows else {}
        side = header.laterality or side_of(told.get("laterality"))
        marks, problem = _marks_of(listed) if of_json else (rows.marks, rows.problem) if rows else ([], None)
        listed.episode = nbss.episode_of(listed.episode, listed.date)
        boxes, unplaced = [], 0
        for row, mark in marks:
            for word in mark.strange:
                notes[f"marks say {word}, which is not known and is kept"] += 1
            if row is not None and row["malignancy"] and not status_of(row["malignancy"]):
                notes[
                    f"marks say malignancy {row['malignancy']!r}, which is not known and counts as none"
                ] += 1
            if mark.corners is None:
                unplaced += 1
                continue
            boxes.append(_box(mark, mark.corners, _malignancy(mark, row, nbss, listed, side)))
        unlisted = listed.marks is None and rows is None
        if unplaced:
            notes["marks have no coordinates and give no box"] += unplaced
        if header.intent is None:
            notes["images do not say their presentation intent; only `intents: null` takes them"] += 1
        status = nbss.status or status_of(told.get("status", ""))
        return OptimamRecord(
            name=listed.image,
            file=listed.file,
            item_id=f"{client.name}/{listed.image}",
            subject_id=client.name,
            view=header.view or view_of(told.get("view"))[0],
            laterality=side,
            boxes=_distinct(boxes),
            # Where nothing lists an image, or a table leaves out its marks, nobody knows its health.
            abnormal=bool(unplaced or problem) or unlisted or (not of_json and bool(listed.marks)),
            unplaced=bool(unplaced) or unlisted,
            manufacturer=header.manufacturer or told.get("manufacturer") or None,
            model=header.model,
            intent=header.intent,
            status=status,
            spacing_mm=header.spacing_mm,
            there=listed.has_pixels,
            problem=problem or _missing(listed, self.root),
            attributes={
                "client": client.name,
                "study": listed.study,
                "client_status": status,
                "age": age_of(told.get("age", "")) if header.age is None else header.age,
                "implant": header.implant,
                "implant_displaced": header.implant_displaced,
                "conspicuity": "|".join(dict.fromkeys(m.conspicuity for _, m in marks if m.conspicuity))
                or None,
                "unplaced_marks": unplaced,
                "site": client.site or told.get("site") or None,
                "thickness_mm": header.thickness_mm,
                "chest_wall": header.chest_wall,
                "native_spacing_mm": header.spacing_mm[0] if header.spacing_mm else None,
            },
        )

    def _tabled(self) -> dict[str, _Rows] | None:
        """Image -> its rows of the table; None without a table."""
        if self.options.table is None:
            return None
        found: dict[str, _Rows] = {}
        for row in read_spreadsheet(self.root / self.options.table, COLUMNS):
            image = ENDING.sub("", Path(row["image"].replace("\\", "/")).name)
            if not image:
                raise DataError(f"{row.where}: names no image; fill in its SOPInstanceUID, or delete the row")
            rows = found.setdefault(image, _Rows(row))
            try:
                mark = mark_of_row(row.values, row.where)
            except DataError as error:
                rows.problem = rows.problem or f"{error}; mend the row, or exclude the image"
                continue
            if mark:
                rows.marks.append((row, mark))
        return found

    def _check_one_client(self, record: OptimamRecord, seen: Mapping[str, OptimamRecord]) -> None:
        """An image of two clients is one failed row."""
        other = seen.get(record.name)
        if other is not None and other.subject_id != record.subject_id:
            record.problem = (
                f"is an image of the clients {other.subject_id} and {record.subject_id}, who may be one "
                "woman in two splits; exclude it, or remove one of the clients"
            )

    def _unswapped(self, records: list[OptimamRecord]) -> list[OptimamRecord]:
        """With the boxes of the images in the user's list turned the right way."""
        if self.options.swapped is None:
            return records
        listed = self.listed_in(Path(self.options.swapped), records)
        for record in records:
            if record.item_id in listed:
                record.boxes = [_exchanged(box) for box in record.boxes]
        return records


def _once(images: Iterable[Listed]) -> Iterator[tuple[Listed, list[str]]]:
    """Each image of a client once, marks of all its studies together, with the other studies.

    Of several copies that which has pixels counts.
    """
    groups: dict[str, list[Listed]] = defaultdict(list)
    for listed in images:
        groups[listed.image].append(listed)
    for group in groups.values():
        first = max(group, key=lambda listed: (listed.has_pixels, bool(listed.header), bool(listed.marks)))
        others = [listed for listed in group if listed is not first]
        for other in others:
            if other.marks is not None:
                first.marks = {**other.marks, **(first.marks or {})}
        yield first, [other.study for other in others]


def _marks_of(listed: Listed) -> tuple[list[tuple[Row | None, Mark]], str | None]:
    """Marks of a JSON file, which have no row, and why they cannot be had."""
    marks: list[tuple[Row | None, Mark]] = []
    for key, fields in (listed.marks or {}).items():
        if not isinstance(fields, Mapping):
            continue  # an attribute of the image
        try:
            marks.append((None, mark_of_json(key, fields)))
        except DataError as error:
            name = f"imagedb_{listed.client}.json"
            return [], f"{error}; mend {name}, or exclude the image"
    return marks, None


def _malignancy(mark: Mark, row: Row | None, nbss: Nbss, listed: Listed, side: str | None) -> str | None:
    """Of the table, else of the lesion's pathology, else what was thought of the breast."""
    if row is not None and row["malignancy"]:
        status = status_of(row["malignancy"])
        return {"Benign": "benign", "Malignant": "malignant", "Interval": "malignant"}.get(status or "")
    linked = [nbss.finding(listed.episode, side, number).malignancy for number in mark.lesions]
    known = [word for word in linked if word]
    if known:
        return "malignant" if "malignant" in known else "benign"
    return nbss.opinion(listed.episode, side)


def _box(mark: Mark, corners: tuple[float, float, float, float], malignancy: str | None) -> dict[str, Any]:
    also = "|".join(mark.kinds[1:]) or None
    return lesion_box(
        mark.kinds[0], corners, malignancy, also=also, conspicuity=mark.conspicuity, **mark.words
    )


def _distinct(boxes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each box once: several readers' marks, or those of a repeated study, may be the same."""
    return [box for number, box in enumerate(boxes) if box not in boxes[:number]]


def _exchanged(box: dict[str, Any]) -> dict[str, Any]:
    return {**box, "x0": box["y0"], "y0": box["x0"], "x1": box["y1"], "y1": box["x1"]}


def _missing(listed: Listed, root: Path) -> str | None:
    if listed.has_pixels:
        return None
    by = listed.header if listed.marks is None else f"imagedb_{listed.client}.json"
    return (
        f"{by} lists it, but the file is not there; add it, or set `source.partial` where only a part of "
        f"the archive is in {root}"
    )


def _absent(image: str, rows: _Rows) -> OptimamRecord:
    """The record of an image that only the table knows."""
    row = rows.first
    client = row["client"] or image
    return OptimamRecord(
        name=image,
        file=f"images/{client}/{row['study']}/{image}.dcm",
        item_id=f"{client}/{image}",
        subject_id=client,
        abnormal=bool(rows.marks),
        view=view_of(row["view"])[0],
        laterality=side_of(row["laterality"]),
        manufacturer=row["manufacturer"] or None,
        there=False,
        status=status_of(row["status"]),
        attributes={"client": client, "study": row["study"], "client_status": status_of(row["status"])},
    )
