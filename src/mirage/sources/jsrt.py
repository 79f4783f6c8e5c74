"""JSRT: 247 chest radiographs, 154 of them with one nodule each (Shiraishi et al., AJR 174, 2000).

Digitised film of 2048 x 2048 pixels of 0.175 mm: `JPCLN001.IMG` ... with and `JPCNN001.IMG` ... without a
nodule, two bytes a pixel, big-endian, 12 bits, without a header; bright is dark film, so values are inverted
when they are read. Copies converted to PNG, of any size, are read as they are. `CLNDAT_EN.txt` says of every
nodule how subtle and how large it is, where it lies, and what it turned out to be; its fields are separated
by tabs, in some copies by other blanks, and lines may run into one another. `CNNDAT_EN.TXT` has age and sex
of the others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mirage.config.chest import NO_FINDING, JsrtSource
from mirage.errors import DataError, LayoutError
from mirage.sources.base import RawImage
from mirage.sources.chest import ChestRadiographs, ChestRecord
from mirage.sources.layout import namespace_of, require_directories, visible_names
from mirage.sources.rows import age_of, number_of, read_rows

OBTAIN = "http://db.jsrt.or.jp/eng.php (registration)"
SIDE = 2048
SPACING_MM = 0.175
HIGHEST = 4095
NODULES = ("CLNDAT_EN.txt", "CLNDAT_EN.TXT")
HEALTHY = ("CNNDAT_EN.TXT", "CNNDAT_EN.txt")
CSV = "jsrt_metadata.csv"
"""Name under which a table of nodules circulates as CSV."""
PLACES = ("", "Clinical_Information", "clinical")
"""Folders in which the tables may lie."""
NAME = re.compile(r"JPC(?:LN|NN)\d{3}")
IMAGES = (".img", ".png")
SUBTLETY = ("", "extremely subtle", "very subtle", "subtle", "relatively obvious", "obvious")
COLUMNS = {
    "image": ["file", "image", "study_id", "filename", "image_id", "img_name"],
    "subtlety?": ["subtlety"],
    "size": ["size_mm", "size", "diameter_mm"],
    "age?": ["age"],
    "sex?": ["sex", "gender"],
    "x": ["x", "x_coord"],
    "y": ["y", "y_coord"],
    "state?": ["malignancy", "malignant", "state", "type_of"],
    "location?": ["location", "position"],
    "diagnosis?": ["diagnosis"],
}


@dataclass(frozen=True)
class _Listed:
    """What a table says of an image, as text, and where."""

    values: Mapping[str, str]
    where: str


class Jsrt(ChestRadiographs):
    """Reader of the raw files and of converted ones, with either form of the table."""

    title = "JSRT"

    def __init__(self, options: JsrtSource, folder: Path | None = None) -> None:
        super().__init__(options, folder)
        self.inverted, self.table = options.inverted, options.table
        self._namespace = namespace_of("jsrt", folder)

    @property
    def namespace(self) -> str:
        """``jsrt``, or the folder of simulated data."""
        return self._namespace

    def check_layout(self) -> None:
        """Check for the folder and a table of nodules."""
        require_directories(self.root, [], self.title, OBTAIN)
        self._nodule_table()
        self.check_exclusions()

    def records(self) -> Iterator[ChestRecord]:
        """Images by name, nodules first."""
        files = {Path(file).stem.upper(): file for file in _images(self.root)}
        listed = self._listed()
        for name in sorted({*listed, *files}):
            yield self._record(name, files, listed.get(name))

    def read(self, record: ChestRecord) -> RawImage:
        """Positions are counted in the original's pixels."""
        path = self.root / record.file
        raw_file = path.suffix.lower() == ".img"
        raw = RawImage(_read_raw(path)[None], full_range=(0, HIGHEST)) if raw_file else super().read(record)
        height, width = raw.image.shape[1:]
        if self.inverted == "yes" or (raw_file and self.inverted == "auto"):
            if raw.full_range is None:
                raise DataError(
                    f"{path}: cannot be inverted, its highest value is unknown; save it as integers"
                )
            raw.image = (raw.full_range[0] + raw.full_range[1] - raw.image).astype(raw.image.dtype)
        if height != width:
            raise DataError(
                f"{path}: is {width} x {height}, expected a square, a copy of all of the {SIDE} x {SIDE} "
                "pixels; positions of nodules would be wrong otherwise"
            )
        scale = width / SIDE
        raw.boxes = [
            {**box, **{key: box[key] * scale for key in ("x0", "y0", "x1", "y1")}} for box in record.boxes
        ]
        raw.spacing_mm = (SPACING_MM / scale, SPACING_MM / scale)
        return raw

    def _record(self, name: str, files: Mapping[str, str], listed: _Listed | None) -> ChestRecord:
        file, problem, attributes = files.get(name, f"{name}.IMG"), None, {}
        boxes: list[dict[str, Any]] = []
        if listed is not None:
            attributes = _attributes(listed)
            if listed.values.get("x"):
                boxes = [_box(listed)]
        elif name.startswith("JPCLN"):
            problem = f"shows a nodule, but {self._nodule_table().name} does not list it; add its row"
        return ChestRecord(
            name=name,
            file=file,
            item_id=name,
            subject_id=name,
            findings=["Nodule"] if boxes or name.startswith("JPCLN") else [NO_FINDING],
            view="PA",
            boxes=boxes,
            attributes=attributes,
            there=name in files,
            problem=problem,
        )

    def _listed(self) -> dict[str, _Listed]:
        """Image -> what is known of it."""
        path = self._nodule_table()
        listed = _read_csv(path) if path.suffix.lower() == ".csv" else _read_nodules(path)
        if not listed:
            raise DataError(f"{path}: lists no image such as JPCLN001")
        healthy = self._find(HEALTHY)
        if healthy is not None:
            for name, known in _read_healthy(healthy).items():
                listed.setdefault(name, known)
        return listed

    def _nodule_table(self) -> Path:
        if self.table:
            path = self.root / self.table
            if not path.is_file():
                raise LayoutError(f"{self.title}: `source.table` is {path}, which is not there")
            return path
        found = self._find((*NODULES, CSV))
        if found is None:
            raise LayoutError(
                f"{self.title}: {self.root} has no table {' or '.join((*NODULES, CSV))}; expected it there "
                f"or in {' or '.join(PLACES[1:])}. Get it from {OBTAIN}, or name a CSV as `source.table`"
            )
        return found

    def _find(self, names: tuple[str, ...]) -> Path | None:
        paths = (self.root / place / name for place in PLACES for name in names)
        return next((path for path in paths if path.is_file()), None)


def _images(root: Path) -> Iterator[str]:
    """Files named like the database's, relative to the root; raw ones win over converted ones."""
    found: dict[str, str] = {}
    for place, folders, _ in os.walk(root, followlinks=True):
        folders.sort()
        for name in visible_names(Path(place)):
            stem, ending = os.path.splitext(name)
            if NAME.fullmatch(stem.upper()) and ending.lower() in IMAGES:
                file = (Path(place) / name).relative_to(root).as_posix()
                if stem.upper() not in found or ending.lower() == ".img":
                    found[stem.upper()] = file
    yield from found.values()


def _read_raw(path: Path) -> np.ndarray:
    """Values of a raw file, uint16 (2048, 2048).

    Raises:
        DataError: missing, another number of bytes, or values beyond 12 bits.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if len(data) != 2 * SIDE * SIDE:
        raise DataError(
            f"{path}: has {len(data):,} bytes, expected {2 * SIDE * SIDE:,}: {SIDE} x {SIDE} pixels of two "
            "bytes; it is cut off, or no file of the database"
        )
    values = np.frombuffer(data, ">u2").reshape(SIDE, SIDE).astype(np.uint16)
    if values.max() > HIGHEST:
        raise DataError(
            f"{path}: holds {values.max()}, expected at most {HIGHEST} (12 bits, high byte first); the bytes "
            "of its pixels are swapped"
        )
    return values


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _entries(path: Path, name: str) -> Iterator[tuple[str, str]]:
    """(image, rest) of a text table whose lines may run into one another."""
    parts = re.split(rf"({name}\d{{3}})(?:\.IMG)?", _text(path), flags=re.IGNORECASE)
    for stem, rest in zip(parts[1::2], parts[2::2], strict=True):
        yield stem.upper(), rest.strip()


def _read_nodules(path: Path) -> dict[str, _Listed]:
    """Nodules of ``CLNDAT_EN.txt``."""
    names = ("subtlety", "size", "age", "sex", "x", "y", "state")
    listed = {}
    for stem, rest in _entries(path, "JPCLN"):
        where = f"{path}, {stem}"
        fields = re.split(r"[,\s]+", rest.lstrip(", \t"), maxsplit=len(names))
        if len(fields) < len(names) or stem in listed:
            wrong = "is listed twice" if stem in listed else f"has the fields {' '.join(fields)!r}"
            raise DataError(
                f"{where}: {wrong}; expected once, with {', '.join(names)}, location and diagnosis"
            )
        words = (
            re.split(r"\t|,\s*| {2,}", fields[len(names)].strip(), maxsplit=1) if fields[len(names) :] else []
        )
        known = dict(zip(names, fields, strict=False)) | dict(
            zip(("location", "diagnosis"), words, strict=False)
        )
        listed[stem] = _Listed(known, where)
    return listed


def _read_healthy(path: Path) -> dict[str, _Listed]:
    """Age and sex of those without a nodule."""
    listed = {}
    for stem, rest in _entries(path, "JPCNN"):
        fields = dict(zip(("age", "sex"), re.split(r"[,\s]+", rest.lstrip(", \t")), strict=False))
        listed[stem] = _Listed(fields, f"{path}, {stem}")
    return listed


def _read_csv(path: Path) -> dict[str, _Listed]:
    """Either kind of image of a CSV; rows without a position are healthy."""
    listed = {}
    for row in read_rows(path, COLUMNS):
        stem = Path(row["image"]).stem.upper()
        if not NAME.fullmatch(stem) or stem in listed:
            wrong = "is listed twice" if stem in listed else "is no name such as JPCLN001.png"
            raise DataError(f"{row.where}: {row['image']!r} {wrong}")
        known = {
            key: "" if value.lower() in ("nan", "na", "?") else value for key, value in row.values.items()
        }
        listed[stem] = _Listed(known, row.where)
    return listed


def _box(listed: _Listed) -> dict[str, Any]:
    """The square around a nodule of the given size, in the original's pixels."""
    x, y, size = (number_of(listed.values.get(key, ""), key, listed.where) for key in ("x", "y", "size"))
    if size <= 0:
        raise DataError(f"{listed.where}: size is {size:g} mm, expected more than 0")
    half = size / SPACING_MM / 2
    return {"x0": x - half, "y0": y - half, "x1": x + half, "y1": y + half, "label": "Nodule"}


def _attributes(listed: _Listed) -> dict[str, Any]:
    values = listed.values
    subtlety = values.get("subtlety", "")
    size = values.get("size", "") if values.get("x") else ""
    return {
        "age": age_of(values.get("age", "").split(".")[0]),
        "sex": {"m": "M", "f": "F"}.get(values.get("sex", "")[:1].lower()),
        "subtlety": int(subtlety) if subtlety.isdecimal() else _subtlety(subtlety),
        "size_mm": number_of(size, "size", listed.where) if size else None,
        "malignancy": values.get("state", "").lower() or None,
        "location": values.get("location") or None,
        "diagnosis": values.get("diagnosis") or None,
    }


def _subtlety(word: str) -> int | None:
    """1 to 5 of the words that some tables use."""
    word = word.strip().lower()
    return SUBTLETY.index(word) if word in SUBTLETY[1:] else None
