"""What the readers of chest radiographs share: rows of a table, and which of them are taken."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
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
        there: whether the file is; False needs no ``problem``.
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
    there: bool = True
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
        """All images that the tables list, in a fixed order, with all their boxes, absent ones included.

        Raises:
            LayoutError: a table is missing.
            DataError: a table lacks a column, or has a row that cannot be.
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
            LayoutError: a table is missing, or all images.
            DataError: a table lacks a column; the tables hold no image, or none that the options ask for; a
                list of exclusions that cannot be read, or names an image that is not in the tables.
        """
        records = list(self.records())
        if not records:
            raise DataError(f"{self.title}: the tables in {self.root} list no images")
        excluded = self._excluded(records)
        records = self._present(records)
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

    def _present(self, records: list[ChestRecord]) -> list[ChestRecord]:
        """All records; with ``partial`` those whose image is there, the others being counted.

        Raises:
            LayoutError: no image is there.
        """
        absent = [record for record in records if not record.there]
        if len(absent) == len(records):
            raise LayoutError(
                f"{self.title}: {self.root} has none of the {len(records)} images that the tables list, such "
                f"as {absent[0].file}; unpack the images there, or set `source.path` to where they are"
            )
        if not (absent and self.options.partial):
            return records
        logger.warning(
            "%s: %d of %d images in the tables are not in %s and are left out (`partial`)",
            self.title,
            len(absent),
            len(records),
            self.root,
        )
        return [record for record in records if record.there]

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
        path = self.root / record.file
        if not record.there:
            raise DataError(
                f"{path}: the table lists it, but the file is not there; add it, or set `source.partial` "
                "where only a part of the archive is there"
            )
        if record.problem:
            raise DataError(f"{path}: {record.problem}")
        raw = self.read(record)
        kept = [box for box in raw.boxes if box["label"] in self.options.boxes]
        raw.boxes = boxes_inside(kept, raw.image.shape[1:], path)
        return raw


def boxes_inside(boxes: Sequence[dict[str, Any]], shape: tuple[int, ...], path: Path) -> list[dict[str, Any]]:
    """The boxes of an image (H, W), cut by rounding errors at most.

    Raises:
        DataError: one is empty, reaches outside the image, or is there twice.
    """
    for number, box in enumerate(boxes):
        if box in boxes[:number]:
            raise DataError(
                f"{path}: the box {box['label']} ({box['x0']:g}, {box['y0']:g}) to ({box['x1']:g}, "
                f"{box['y1']:g}) is listed twice, so one lesion would count as two; delete one of its rows"
            )
    return [_inside(box, shape, path) for box in boxes]


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


def age_of(text: str) -> int | None:
    """Years, from ``58`` or ``058Y``; months and days (``003M``, ``011D``) are 0 years.

    None when unknown, and above 120: the NIH's table says 414 of some.
    """
    digits, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "Y")
    if not digits.isdecimal() or unit not in "YMD":
        return None
    years = int(digits) if unit == "Y" else 0
    return years if years <= 120 else None
