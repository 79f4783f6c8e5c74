"""A CSV of image paths and boxes, as detectors' training lists are usually kept.

A row a box; an image with several boxes has several rows, and one without any a row whose box is empty.
It is what `mirage benchmark` reads; in a study the readers of the datasets are used.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from mirage.errors import DataError, LayoutError
from mirage.sources.base import RawImage, Source, SourceItem
from mirage.sources.boxes import boxes_inside
from mirage.sources.images import read_image

IMAGE = ("image", "path", "file", "image_path", "filename")
SUBJECT = ("subject_id", "subject", "patient", "patient_id")
EDGES = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))
"""Names of a box's edges, in pixels of the image file, half-open."""
SIZES = (("x", "y", "w", "h"), ("x", "y", "width", "height"))
"""Names of a box's corner and size."""


@dataclass
class _Listed:
    """One image of the list."""

    name: str
    path: Path
    subject: str
    boxes: list[dict[str, Any]] = field(default_factory=list)
    donors: list[str] = field(default_factory=list)


class BoxList(Source):
    """Images and boxes of one CSV.

    Columns: the image's path, relative to the CSV or absolute (``image``, ``path``, ``file``, ``image_path``
    or ``filename``); the box (``x0, y0, x1, y1``, ``xmin ... ymax``, ``x1, y1, x2, y2``, or ``x, y, w, h``),
    in pixels of the file; ``label`` (default ``lesion``), ``subject_id`` (default: every image is a subject
    of its own) and ``donor_group``, the subject from whom a pasted lesion is. Other columns are left alone.

    Args:
        path: the CSV.
        split: of all items.
    """

    modality = "radiograph"

    def __init__(self, path: Path, split: str) -> None:
        self.path, self.split = path, split
        self.channel_names, self.mask_channels = ["grey"], []
        self.labels = {}

    @property
    def namespace(self) -> str:
        """One for all lists: the same image or subject in two of them is the same."""
        return "box-list"

    def check_layout(self) -> None:
        if not self.path.is_file():
            raise LayoutError(f"{self.path}: no such file; name a CSV of image paths and boxes")

    def items(self) -> Iterator[SourceItem]:
        for number, listed in enumerate(self._images.values()):
            donors = [f"{self.namespace}/{donor}" for donor in dict.fromkeys(listed.donors)]
            attributes: dict[str, Any] = {"file": listed.name} | ({"donor_group": donors} if donors else {})
            yield SourceItem(
                item_id=f"{number:06d}",
                subject_id=listed.subject,
                load=partial(_load, listed),
                split=self.split,
                attributes=attributes,
            )

    @cached_property
    def _images(self) -> dict[str, _Listed]:
        self.check_layout()
        with open(self.path, newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle, skipinitialspace=True)
            names = {name.strip().lower(): name for name in reader.fieldnames or () if name}
            found: dict[str, _Listed] = {}
            columns = _columns(names, self.path)
            for row in reader:
                self._add(row, names, columns, reader.line_num, found)
        if not found:
            raise LayoutError(f"{self.path}: lists no image; give it a row an image")
        return found

    def _add(
        self,
        row: dict[str, str],
        names: dict[str, str],
        columns: tuple[str, tuple[str, ...]],
        line: int,
        found: dict[str, _Listed],
    ) -> None:
        def cell(name: str) -> str:
            return (row.get(names.get(name, "")) or "").strip()

        image, box = columns
        key = cell(image)
        if not key:
            raise DataError(f"{self.path}, line {line}: column `{image}` is empty; name the image's path")
        path = (self.path.parent / key).resolve()
        subject = next((cell(name) for name in SUBJECT if cell(name)), str(path))
        listed = found.setdefault(str(path), _Listed(key, path, subject))
        if listed.subject != subject:
            raise DataError(
                f"{self.path}, line {line}: {key} is of {subject!r}, in a row above of {listed.subject!r}; "
                "an image has one subject"
            )
        listed.donors += [donor] if (donor := cell("donor_group")) else []
        values = [cell(name) for name in box]
        if not any(values):
            return
        try:
            a, b, c, d = map(float, values)
            if not all(map(math.isfinite, (a, b, c, d))):
                raise ValueError
        except ValueError:
            raise DataError(
                f"{self.path}, line {line}: box {dict(zip(box, values, strict=True))}; give four numbers, or "
                "leave all four empty for an image without a box"
            ) from None
        x1, y1 = (a + c, b + d) if box in SIZES else (c, d)
        if not (x1 > a and y1 > b):
            raise DataError(
                f"{self.path}, line {line}: the box from ({a:g}, {b:g}) to ({x1:g}, {y1:g}) is empty; give "
                "pixels of the image, left before right and upper before lower"
            )
        listed.boxes.append({"x0": a, "y0": b, "x1": x1, "y1": y1, "label": cell("label") or "lesion"})


def _columns(names: dict[str, str], path: Path) -> tuple[str, tuple[str, ...]]:
    """Names of the columns of the image and of the box."""
    image = next((name for name in IMAGE if name in names), None)
    box = next((four for four in (*EDGES, *SIZES) if all(name in names for name in four)), None)
    if image is None or box is None:
        missing = "of the image's path" if image is None else "of the box"
        raise LayoutError(
            f"{path}: no column {missing}; found {', '.join(names) or 'nothing'}, expected one of "
            f"{', '.join(IMAGE)} and x0, y0, x1, y1 or x, y, w, h in the first line"
        )
    return image, box


def _load(listed: _Listed) -> RawImage:
    raw = read_image(listed.path, "grey")
    raw.boxes = boxes_inside(listed.boxes, raw.image.shape[1:], listed.path)
    return raw
