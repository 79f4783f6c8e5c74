"""NIH ChestX-ray8/14: 112,120 frontal radiographs of 30,805 patients (Wang et al., CVPR 2017, pp. 3462-3471).

PNG files of 1024 x 1024 in `images/`, or in `images_001/images/` ... `images_012/images/` as the archives
unpack; `Data_Entry_2017.csv` or `Data_Entry_2017_v2020.csv`; `BBox_List_2017.csv` with 984 boxes, where it is
there; `train_val_list.txt` and `test_list.txt`, the official split by patient, where they are there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mirage.config.chest import NihChestSource
from mirage.errors import DataError, LayoutError
from mirage.sources.base import RawImage
from mirage.sources.chest import ChestRadiographs, ChestRecord
from mirage.sources.layout import namespace_of, require_directories, visible_names
from mirage.sources.rows import Row, age_of, read_rows

OBTAIN = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
BOXES = "BBox_List_2017.csv"
LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
SIDE = 1024
"""Side, in pixels, of the images that the boxes were drawn on."""
SAME_AS = {"Infiltrate": "Infiltration"}
"""Label in the table of boxes -> the same one in the table of images."""
COLUMNS = {
    "image": ["Image Index"],
    "findings": ["Finding Labels"],
    "patient": ["Patient ID"],
    "follow_up?": ["Follow-up #"],
    "age?": ["Patient Age"],
    "sex?": ["Patient Gender", "Patient Sex"],
    "view": ["View Position"],
    "width?": ["OriginalImage[Width"],
    "height?": ["Height]"],
    "spacing_x?": ["OriginalImagePixelSpacing[x"],
    "spacing_y?": ["y]"],
}
BOX_COLUMNS = {
    "image": ["Image Index"],
    "label": ["Finding Label"],
    "x": ["Bbox [x"],
    "y": ["y"],
    "w": ["w"],
    "h": ["h]"],
}


class NihChest(ChestRadiographs):
    """Reader of the archive's native layout."""

    title = "NIH ChestX-ray"

    def __init__(self, options: NihChestSource, folder: Path | None = None) -> None:
        super().__init__(options, folder)
        self._namespace = namespace_of("nih_chest", folder)

    @property
    def namespace(self) -> str:
        """``nih_chest``, or the folder of simulated data."""
        return self._namespace

    def check_layout(self) -> None:
        """Check for the tables and at least one folder of images."""
        require_directories(self.root, [], self.title, OBTAIN)
        self._table()
        if not self._folders():
            raise LayoutError(
                f"{self.title}: {self.root} has no folder images/ or images_001/images/; unpack the archives "
                f"from {OBTAIN} there, or set `source.path` to where they are"
            )
        if self.options.boxed_only and not (self.root / BOXES).is_file():
            raise LayoutError(
                f"{self.title}: {self.root / BOXES} is missing, and `boxed_only` asks for boxes. Get it from "
                f"{OBTAIN}, or drop `boxed_only`"
            )
        self.check_exclusions()

    def records(self) -> Iterator[ChestRecord]:
        """Images in the table's order."""
        files, splits = self._files(), self._splits()
        records: dict[str, ChestRecord] = {}
        table = self._table()
        for row in read_rows(table, COLUMNS):
            record = _record(row, files, splits)
            if record.name in records:
                raise DataError(
                    f"{row.where}: {record.name} is listed twice; get the table again from {OBTAIN}"
                )
            records[record.name] = record
        self._add_boxes(records)
        yield from records.values()

    def read(self, record: ChestRecord) -> RawImage:
        """Boxes are scaled where the image is a smaller copy; spacing is the original's, scaled too."""
        raw = super().read(record)
        height, width = raw.image.shape[1:]
        for box in raw.boxes:
            box["x0"], box["x1"] = box["x0"] * width / SIDE, box["x1"] * width / SIDE
            box["y0"], box["y1"] = box["y0"] * height / SIDE, box["y1"] * height / SIDE
        down, across = record.attributes["height_mm"], record.attributes["width_mm"]
        raw.spacing_mm = (down / height, across / width) if down and across else None
        return raw

    def _table(self) -> Path:
        for name in TABLES:
            if (self.root / name).is_file():
                return self.root / name
        raise LayoutError(
            f"{self.title}: {self.root} has none of the tables {' and '.join(TABLES)}. Get one from {OBTAIN} "
            "and put it there, or set `source.path` to where it is"
        )

    def _folders(self) -> list[str]:
        """Folders of images, relative to the archive's."""
        found = []
        for name in visible_names(self.root):
            if name.startswith("images") and (self.root / name).is_dir():
                inner = f"{name}/images"
                found.append(inner if (self.root / inner).is_dir() else name)
        return found

    def _files(self) -> dict[str, str]:
        """Name of every image that is there -> its path relative to the archive."""
        return {
            entry.name: f"{folder}/{entry.name}"
            for folder in self._folders()
            for entry in os.scandir(self.root / folder)
        }

    def _splits(self) -> dict[str, str]:
        """Image -> ``train`` or ``test`` of the official lists; empty where they are not there."""
        splits: dict[str, str] = {}
        for name, split in LISTS.items():
            if (self.root / name).is_file():
                lines = (self.root / name).read_text(encoding="utf-8").split()
                splits |= dict.fromkeys(lines, split)
        return splits

    def _add_boxes(self, records: dict[str, ChestRecord]) -> None:
        path = self.root / BOXES
        if not path.is_file():
            return
        for row in read_rows(path, BOX_COLUMNS):
            if row["image"] not in records:
                raise DataError(f"{row.where}: {row['image']!r} is not in {self._table().name}")
            x, y, w, h = (row.number(key) for key in "xywh")
            label = SAME_AS.get(row["label"], row["label"])
            box = {"x0": x, "y0": y, "x1": x + w, "y1": y + h, "label": label}
            records[row["image"]].boxes.append(box)


def _record(row: Row, files: dict[str, str], splits: dict[str, str]) -> ChestRecord:
    name = row["image"]
    stem = Path(name).stem
    if not row["patient"]:
        raise DataError(f"{row.where}: {name!r} has no `Patient ID`, so its split is unknown; fill it in")
    return ChestRecord(
        name=name,
        file=files.get(name, f"images/{name}"),
        item_id=stem,
        # File names and table write the same number, padded or not.
        subject_id=row["patient"].zfill(8),
        findings=row["findings"].split("|"),
        view=row["view"] or None,
        split=splits.get(name),
        attributes={
            "follow_up": int(row["follow_up"]) if row["follow_up"].isdecimal() else None,
            "age": age_of(row["age"]),
            "sex": row["sex"] or None,
            **_extent_mm(row),
        },
        there=name in files,
    )


def _extent_mm(row: Row) -> dict[str, Any]:
    """Height and width of the detector's image; None when unknown."""
    extent = {}
    for key, pixels, spacing in (("height_mm", "height", "spacing_y"), ("width_mm", "width", "spacing_x")):
        try:
            extent[key] = round(float(row[pixels]) * float(row[spacing]), 2) or None
        except ValueError:
            extent[key] = None
    return extent
