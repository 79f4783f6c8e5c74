"""NODE21: 4,882 frontal radiographs with the boxes of 1,476 nodules (Sogancioglu et al., IEEE TMI 2024).

`images/n0001.mha` ... with and `c0001.mha` ... without nodules, and `metadata.csv` with a row a box, or one
row with the label 0 for an image without. They come from JSRT, PadChest, ChestX-ray14 and Open-I; tables
`*filenames_orig_and_new.csv` say from which, and tell the patients of ChestX-ray14 and JSRT, who are the same
in the readers of these. An image that no table lists may be of any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mirage.config.base import SOMEBODY
from mirage.config.chest import NO_FINDING, Node21Source
from mirage.errors import DataError, LayoutError
from mirage.sources.chest import ChestRadiographs, ChestRecord
from mirage.sources.layout import namespace_of, require_directories, visible_names
from mirage.sources.rows import Row, read_rows

OBTAIN = "zenodo.org, NODE21 (CC BY-NC-ND 4.0)"
PLACES = ("", "cxr_images/proccessed_data", "proccessed_data")
"""Where images and table lie below the folder; the misspelling is the archive's."""
TABLE = "metadata.csv"
ORIGINALS = "*filenames_orig_and_new.csv"
KNOWN = {
    "chestxray14": ("nih_chest", re.compile(r"(\d{8})_\d{3}")),
    "jsrt": ("jsrt", re.compile(r"(JPC[LN]N\d{3})", re.IGNORECASE)),
}
"""Original dataset -> namespace of its reader, and its subject in the name of an image."""
UNKNOWN = [f"{namespace}/{SOMEBODY}" for namespace, _ in KNOWN.values()]
COLUMNS = {
    "image": ["img_name"],
    "x": ["x"],
    "y": ["y"],
    "width": ["width"],
    "height": ["height"],
    "label": ["label"],
}


@dataclass(frozen=True)
class _Original:
    """The dataset that an image comes from, its patient where several images may be of one, and its names."""

    dataset: str = ""
    patient: str = ""
    also_known_as: Sequence[str] = ()


class Node21(ChestRadiographs):
    """Reader of the public training set."""

    title = "NODE21"

    def __init__(self, options: Node21Source, folder: Path | None = None) -> None:
        super().__init__(options, folder)
        self._namespace = namespace_of("node21", folder)
        self._simulated = folder is not None

    @property
    def namespace(self) -> str:
        """``node21``, or the folder of simulated data."""
        return self._namespace

    def check_layout(self) -> None:
        """Check for the images and their table."""
        require_directories(self.root, [], self.title, OBTAIN)
        require_directories(self.root / self._place(), ["images"], self.title, OBTAIN)
        self.check_exclusions()

    def records(self) -> Iterator[ChestRecord]:
        """Images in the order of the table."""
        place = self._place()
        table, images = self.root / place / TABLE, self.root / place / "images"
        there, originals = set(visible_names(images)), self._originals(place)
        unknown = _Original(also_known_as=[] if self._simulated else UNKNOWN)
        records: dict[str, ChestRecord] = {}
        for row in read_rows(table, COLUMNS):
            name, box = row["image"], _box(row)
            if name not in records:
                file = (Path(place) / "images" / name).as_posix()
                records[name] = _record(name, file, originals.get(Path(name).stem, unknown))
                records[name].there = name in there
            elif box is None or not records[name].boxes:
                raise DataError(
                    f"{row.where}: {name} has rows with and without a nodule, or two without; keep "
                    "one row a nodule, or one with the label 0"
                )
            if box is not None:
                records[name].boxes.append(box)
        for record in records.values():
            record.findings = ["Nodule"] if record.boxes else [NO_FINDING]
            yield record

    def _place(self) -> str:
        for place in PLACES:
            if (self.root / place / TABLE).is_file():
                return place
        raise LayoutError(
            f"{self.title}: {self.root} has no {TABLE}, nor has {' or '.join(PLACES[1:])} below it; expected "
            f"it beside images/. Get it from {OBTAIN}, or set `source.path` to where it is"
        )

    def _originals(self, place: str) -> dict[str, _Original]:
        """Image -> what the tables say of where it comes from."""
        found = {}
        folders = (self.root / place, self.root / place / ".." / "original_data")
        for path in sorted(path for folder in folders for path in folder.glob(ORIGINALS)):
            for row in read_rows(path, {"image": ["node21_img_id"], "dataset": ["orig_dataset"]}):
                found[Path(row["image"]).stem] = self._original(row)
        return found

    def _original(self, row: Row) -> _Original:
        dataset = row["dataset"]
        if dataset not in KNOWN:
            return _Original(dataset)
        namespace, pattern = KNOWN[dataset]
        # The column of the original's name is called differently in the copies of this table.
        named = pattern.search(",".join(row.cells))
        subject = named[1].upper() if named else SOMEBODY
        return _Original(
            dataset,
            subject if named and dataset == "chestxray14" else "",
            [] if self._simulated else [f"{namespace}/{subject}"],
        )


def _record(name: str, file: str, original: _Original) -> ChestRecord:
    stem = Path(name).stem
    return ChestRecord(
        name=name,
        file=file,
        item_id=stem,
        subject_id=f"chestxray14_{original.patient}" if original.patient else stem,
        attributes={"original_dataset": original.dataset or None},
        also_known_as=original.also_known_as,
    )


def _box(row: Row) -> dict[str, Any] | None:
    """None for an image without a nodule."""
    label = row.number("label")
    if label not in (0, 1):
        raise DataError(f"{row.where}: label is {row['label']!r}, expected 0 or 1")
    if not label:
        return None
    x, y, width, height = (row.number(key) for key in ("x", "y", "width", "height"))
    if width <= 0 or height <= 0:
        raise DataError(f"{row.where}: the box is {width:g} x {height:g}, expected more than 0")
    return {"x0": x, "y0": y, "x1": x + width, "y1": y + height, "label": "Nodule"}
