"""What the readers of chest radiographs share: rows of a table, and which of them are taken."""

from __future__ import annotations

import csv
import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mirage.config.chest import ChestSource
from mirage.errors import DataError, LayoutError
from mirage.sources.base import RawImage, Source, SourceItem
from mirage.sources.exclusions import read_exclusions

logger = logging.getLogger(__name__)
SLACK = 2.0
"""Pixels by which a box may reach beyond its image: rounding of whoever drew it."""


@dataclass
class ChestRecord:
    """What an archive's tables say of one image.

    Attributes:
        name: of the image in the table, for lists of exclusions.
        file: path relative to the archive.
        item_id, subject_id: as in ``SourceItem``.
        findings: labels that the image has.
        view: PA, AP ...; None when unknown.
        boxes: as in ``RawImage``, in the pixels that the archive counts in.
        split: the archive's own.
        attributes: age, sex ...
        problem: why the image cannot be read, where the tables tell already.
    """

    name: str
    file: str
    item_id: str
    subject_id: str
    findings: Sequence[str] = ()
    view: str | None = None
    boxes: list[dict[str, Any]] = field(default_factory=list)
    split: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


class ChestRadiographs(Source):
    """Reader of an archive of chest radiographs. A subclass says what its tables hold: ``records``.

    Attributes:
        title: the archive's name, for messages.
        options: how images are chosen.
        root: the archive's folder.
    """

    modality = "chest radiography"
    title: str

    def __init__(self, options: ChestSource, folder: Path | None = None) -> None:
        self.options = options
        self.root = Path(options.path) if folder is None else folder
        self.channel_names = ["grey"]
        self.labels: dict[int, str] = {}
        self.mask_channels: list[str] = []

    @abstractmethod
    def records(self) -> Iterator[ChestRecord]:
        """All images that the tables list, in a fixed order, with all their boxes.

        Raises:
            LayoutError: a table is missing, or lacks a column.
            DataError: a row that cannot be.
        """

    def read(self, record: ChestRecord) -> RawImage:
        """The pixels of an image, with its boxes in them; raises DataError."""
        from mirage.sources.images import read_image

        raw = read_image(self.root / record.file, "grey")
        raw.boxes = [dict(box) for box in record.boxes]
        return raw

    def check_exclusions(self) -> None:
        """Raise LayoutError when the list of exclusions is not there; for ``check_layout``."""
        path = self.options.exclude
        if path is not None and not Path(path).is_file():
            raise LayoutError(
                f"{self.title}: the list of exclusions {path} is missing; expected a CSV with a column "
                "`file`. Write it (`mirage exclusions` proposes one), or drop `source.exclude`"
            )

    def items(self) -> Iterator[SourceItem]:
        """The images that the options ask for, in the tables' order.

        Raises:
            LayoutError: a table is missing or lacks a column.
            DataError: the tables hold no image, or none that the options ask for; a list of exclusions that
                cannot be read, or names an image that is not in the tables.
        """
        records = list(self.records())
        if not records:
            raise DataError(f"{self.title}: the tables in {self.root} list no images")
        excluded = self._excluded(records)
        taken = [record for record in records if record.item_id not in excluded and self._wanted(record)]
        if not taken:
            raise DataError(self._nothing(records))
        logger.info("%s: %d of %d images are asked for", self.title, len(taken), len(records))
        for record in taken:
            yield SourceItem(
                item_id=record.item_id,
                subject_id=record.subject_id,
                split=record.split,
                attributes={
                    "file": record.file,
                    "findings": "|".join(record.findings),
                    "view": record.view,
                    **record.attributes,
                },
                load=partial(self._load, record),
            )

    def _wanted(self, record: ChestRecord) -> bool:
        options = self.options
        return (
            (options.findings is None or not set(options.findings).isdisjoint(record.findings))
            and (options.views is None or record.view in options.views)
            and (not options.boxed_only or bool(self._kept(record)))
        )

    def _kept(self, record: ChestRecord) -> list[dict[str, Any]]:
        return [box for box in record.boxes if box["label"] in self.options.boxes]

    def _excluded(self, records: Sequence[ChestRecord]) -> set[str]:
        """Items that the user's list names by name, file or item id."""
        if self.options.exclude is None:
            return set()
        names = {
            name: record.item_id for record in records for name in (record.item_id, record.file, record.name)
        }
        path = Path(self.options.exclude)
        listed = read_exclusions(path)
        for at, name in enumerate(listed):
            if name not in names:
                raise DataError(
                    f"{path}, entry {at + 1}: {name!r} is not in the tables of {self.title} ({self.root}), "
                    f"whose first image is {records[0].name!r}; mend the name, or delete the row"
                )
        return {names[name] for name in listed}

    def _nothing(self, records: Sequence[ChestRecord]) -> str:
        """The message when the options leave no image."""
        options = self.options
        message = f"{self.title}: none of the {len(records)} images in {self.root} is asked for"
        if options.boxed_only and not any(self._kept(record) for record in records):
            found = Counter(box["label"] for record in records for box in record.boxes)
            held = ", ".join(f"{label} ({number})" for label, number in found.most_common()) or "no boxes"
            return (
                f"{message}: `boxed_only` takes images with boxes of {', '.join(options.boxes)}, and the "
                f"tables hold {held}. Change `source.boxes`, or drop `boxed_only`"
            )
        asked = {key: getattr(options, key) for key in ("findings", "views", "boxed_only", "exclude")}
        held = ", ".join(sorted({finding for record in records for finding in record.findings}))
        return (
            f"{message} by { ({k: v for k, v in asked.items() if v}) }; the tables hold the findings {held}"
        )

    def _load(self, record: ChestRecord) -> RawImage:
        if record.problem:
            raise DataError(f"{self.root / record.file}: {record.problem}")
        raw = self.read(record)
        raw.boxes = [
            _inside(box, raw.image.shape[1:], self.root / record.file)
            for box in raw.boxes
            if box["label"] in self.options.boxes
        ]
        return raw


def _inside(box: dict[str, Any], shape: tuple[int, ...], path: Path) -> dict[str, Any]:
    """The box, cut by rounding errors at most.

    Raises:
        DataError: it is empty, or reaches outside the image.
    """
    height, width = shape
    x0, y0, x1, y1 = (float(box[key]) for key in ("x0", "y0", "x1", "y1"))
    outside = min(x0, y0) < -SLACK or x1 > width + SLACK or y1 > height + SLACK
    if outside or not (x1 > x0 and y1 > y0):
        what = "reaches outside the image" if outside else "has no extent"
        raise DataError(
            f"{path}: the box {box['label']} ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}) {what} of "
            f"{width} x {height} (width x height) pixels; mend its row in the table of boxes, or exclude "
            "the image"
        )
    clipped = {"x0": max(x0, 0.0), "y0": max(y0, 0.0), "x1": min(x1, width), "y1": min(y1, height)}
    return {**box, **clipped}


def read_rows(path: Path, columns: Mapping[str, Sequence[str]], title: str) -> Iterator[dict[str, str]]:
    """Rows of a native table, only the columns that are asked for.

    Cells such as ``OriginalImage[Width,Height]``, whether quoted or not, are two columns,
    ``OriginalImage[Width`` and ``Height]``. Empty columns at the end are ignored.

    Args:
        path: a CSV in UTF-8.
        columns: name in the result -> spellings in the header, the first that is there counts; a name
            ending in ``?`` may be missing and is then left out.
        title: the archive, for messages.

    Raises:
        LayoutError: the table lacks a column.
        DataError: the table cannot be read, or a row is too short.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            lines = csv.reader(handle)
            names = [part.strip() for cell in next(lines, []) for part in cell.split(",")]
            found = {}
            for name, spellings in columns.items():
                at = next((names.index(spelling) for spelling in spellings if spelling in names), None)
                if at is not None:
                    found[name.rstrip("?")] = at
                elif not name.endswith("?"):
                    raise LayoutError(
                        f"{title}: {path} has no column {spellings[0]!r}; its columns are "
                        f"{', '.join(filter(None, names)) or 'none'}. Get the table again from the archive"
                    )
            longest = max(found.values())
            for at, line in enumerate(lines):
                if not any(line):
                    continue
                if len(line) <= longest:
                    raise DataError(
                        f"{path}, row {at + 2}: has {len(line)} values, expected at least {longest + 1}; the "
                        "file may be cut off. Get it again from the archive"
                    )
                yield {name: line[column].strip() for name, column in found.items()}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable CSV in UTF-8 ({error})") from error


def number_of(text: str, what: str, where: str) -> float:
    """A finite number of a table's cell; raises DataError."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value - value != 0:
        raise DataError(f"{where}: {what} is {text!r}, expected a number")
    return value


def age_of(text: str) -> int | None:
    """Years, from ``58`` or ``058Y``; months and days (``003M``, ``011D``) are 0 years.

    None when unknown, and above 120: the NIH's table says 414 of some.
    """
    digits, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "Y")
    if not digits.isdecimal() or unit not in "YMD":
        return None
    years = int(digits) if unit == "Y" else 0
    return years if years <= 120 else None


def leave_out_absent(
    records: Collection[ChestRecord], root: Path, title: str, *, partial: bool
) -> Iterator[ChestRecord]:
    """Records with a ``problem`` where there is no image; with ``partial`` they are left out, and counted."""
    missing = [record for record in records if record.problem]
    if missing and len(missing) == len(records):
        raise LayoutError(
            f"{title}: {root} has none of the {len(records)} images that the tables list, such as "
            f"{missing[0].file}; unpack the images there, or set `source.path` to where they are"
        )
    if missing and partial:
        logger.warning(
            "%s: %d of %d images in the tables are not in %s and are left out (`partial`)",
            title,
            len(missing),
            len(records),
            root,
        )
    return (record for record in records if not (partial and record.problem))
