"""NODE21: 4,882 frontal radiographs with the boxes of 1,476 nodules (Sogancioglu et al., IEEE TMI 2024).

`images/n0001.mha` ... with and `c0001.mha` ... without nodules, and `metadata.csv` with a row a box, or one
row with the label 0 for an image without. They come from JSRT, PadChest, ChestX-ray14 and Open-I; tables
`*filenames_orig_and_new.csv` say from which, and tell the patients of ChestX-ray14 apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
NIH = re.compile(r"(\d{8})_\d{3}")
"""An image of ChestX-ray14 and its patient."""
COLUMNS = {
    "image": ["img_name"],
    "x": ["x"],
    "y": ["y"],
    "width": ["width"],
    "height": ["height"],
    "label": ["label"],
}


class Node21(ChestRadiographs):
    """Reader of the public training set."""

    title = "NODE21"

    def __init__(self, options: Node21Source, folder: Path | None = None) -> None:
        super().__init__(options, folder)
        self._namespace = namespace_of("node21", folder)

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
        records: dict[str, ChestRecord] = {}
        for row in read_rows(table, COLUMNS):
            name, box = row["image"], _box(row)
            if name not in records:
                file = (Path(place) / "images" / name).as_posix()
                records[name] = _record(name, file, originals.get(Path(name).stem, ("", "")))
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

    def _originals(self, place: str) -> dict[str, tuple[str, str]]:
        """Image -> the dataset it comes from, and its patient where the names tell."""
        found = {}
        folders = (self.root / place, self.root / place / ".." / "original_data")
        for path in sorted(path for folder in folders for path in folder.glob(ORIGINALS)):
            for row in read_rows(path, {"image": ["node21_img_id"], "dataset": ["orig_dataset"]}):
                # The column of the original's name is called differently in the copies of this table.
                patient = NIH.search(",".join(row.cells)) if row["dataset"] == "chestxray14" else None
                found[Path(row["image"]).stem] = (row["dataset"], patient[1] if patient else "")
        return found


def _record(name: str, file: str, original: tuple[str, str]) -> ChestRecord:
    stem = Path(name).stem
    dataset, patient = original
    return ChestRecord(
        name=name,
        file=file,
        item_id=stem,
        subject_id=f"chestxray14_{patient}" if patient else stem,
        attributes={"original_dataset": dataset or None},
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
