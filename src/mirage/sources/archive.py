"""What the readers of archives of radiographs share: images that tables list, and which of them are taken."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from mirage.config.archive import ArchiveSource
from mirage.errors import DataError, LayoutError
from mirage.sources.base import RawImage, Source, SourceItem
from mirage.sources.boxes import boxes_inside
from mirage.sources.exclusions import read_exclusions

logger = logging.getLogger(__name__)


@dataclass
class Record:
    """What an archive's tables say of one image.

    Attributes:
        name: of the image in the table, for lists of exclusions.
        file: path relative to the archive.
        item_id, subject_id, also_known_as: as in ``SourceItem``.
        view: PA, AP, CC ...; None when unknown.
        boxes: as in ``RawImage``, in the pixels that the archive counts in.
        split: the archive's own.
        attributes: age, sex ...
        there: whether the file is; False needs no ``problem``.
        problem: why the image cannot be read, where the tables tell already; more than one that is absent
            can say of itself.
    """

    name: str
    file: str
    item_id: str
    subject_id: str
    view: str | None = None
    boxes: list[dict[str, Any]] = field(default_factory=list)
    split: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    there: bool = True
    problem: str | None = None
    also_known_as: Sequence[str] = ()


AnyRecord = TypeVar("AnyRecord", bound=Record)


class Archive(Source, Generic[AnyRecord]):
    """Reader of an archive of radiographs. A subclass says what its tables hold: ``records``.

    Attributes:
        title: the archive's name, for messages.
        tables: what lists its images, for messages.
        proposed: how a list of exclusions can be had, for messages.
        options: how images are chosen.
        root: the archive's folder.
    """

    title: str
    tables = "tables"
    proposed = ""
    options: ArchiveSource

    def __init__(self, options: ArchiveSource, folder: Path | None = None) -> None:
        self.options = options
        self.root = Path(options.path) if folder is None else folder
        self.channel_names = ["grey"]
        self.labels: dict[int, str] = {}
        self.mask_channels: list[str] = []

    @abstractmethod
    def records(self) -> Iterator[AnyRecord]:
        """All images that the tables list, in a fixed order, with all their boxes, absent ones included.

        Raises:
            LayoutError: a table is missing.
            DataError: a table lacks a column, or has a row that cannot be.
        """

    def read(self, record: AnyRecord) -> RawImage:
        """The pixels of an image, with its boxes in them; raises DataError."""
        from mirage.sources.images import read_image

        raw = read_image(self.root / record.file, "grey")
        raw.boxes = [dict(box) for box in record.boxes]
        return raw

    def wanted(self, record: AnyRecord) -> bool:
        """Whether the options ask for an image, by what the tables say of it."""
        options = self.options
        return (options.views is None or record.view in options.views) and (
            not options.boxed_only or self.boxed(record)
        )

    def boxed(self, record: AnyRecord) -> bool:
        """Whether ``boxed_only`` takes an image."""
        return bool(self.kept(record))

    def described(self, record: AnyRecord) -> dict[str, Any]:
        """Attributes of an image, beside its ``file``."""
        return {"view": record.view, **record.attributes}

    def choice(self) -> tuple[str, ...]:
        """Keys of the options that choose images, for messages."""
        return ("views", "boxed_only", "exclude")

    def held(self, records: Sequence[AnyRecord]) -> str:
        """What there is to choose from, for messages."""
        return f"the views {', '.join(sorted({str(record.view) for record in records}))}"

    def kept(self, record: AnyRecord) -> list[dict[str, Any]]:
        """Those of a record's boxes that the options ask for."""
        return [box for box in record.boxes if box["label"] in self.options.box_labels]

    def check_exclusions(self) -> None:
        """Raise LayoutError when the list of exclusions is not there; for ``check_layout``."""
        path = self.options.exclude
        if path is not None and not Path(path).is_file():
            raise LayoutError(
                f"{self.title}: the list of exclusions {path} is missing; expected a CSV with a column "
                f"`file`. Write it{self.proposed}, or drop `source.exclude`"
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
            raise DataError(f"{self.title}: the {self.tables} in {self.root} list no images")
        excluded = self._excluded(records)
        records = self._present(records)
        taken = [record for record in records if record.item_id not in excluded and self.wanted(record)]
        if not taken:
            raise DataError(self._nothing(records))
        logger.info("%s: %d of %d images are asked for", self.title, len(taken), len(records))
        for record in taken:
            yield SourceItem(
                item_id=record.item_id,
                subject_id=record.subject_id,
                split=record.split,
                attributes={"file": record.file, **self.described(record)},
                load=partial(self._load, record),
                also_known_as=record.also_known_as,
            )

    def _present(self, records: list[AnyRecord]) -> list[AnyRecord]:
        """All records; with ``partial`` those whose image is there, the others being counted.

        Raises:
            LayoutError: no image is there.
        """
        absent = [record for record in records if not record.there]
        if len(absent) == len(records):
            raise LayoutError(
                f"{self.title}: {self.root} has none of the {len(records)} images that the {self.tables} "
                f"list, such as {absent[0].file}; unpack the images there, or set `source.path` to where "
                "they are"
            )
        if not (absent and self.options.partial):
            return records
        logger.warning(
            "%s: %d of %d images in the %s are not in %s and are left out (`partial`)",
            self.title,
            len(absent),
            len(records),
            self.tables,
            self.root,
        )
        return [record for record in records if record.there]

    def _excluded(self, records: Sequence[AnyRecord]) -> set[str]:
        """Items that the user's list names by name, file or item id."""
        if self.options.exclude is None:
            return set()
        return self.listed_in(Path(self.options.exclude), records)

    def listed_in(self, path: Path, records: Sequence[AnyRecord]) -> set[str]:
        """Ids of the items that a user's list of images names by name, file or item id.

        Raises:
            DataError: a list that cannot be read, or names an image that is not in the tables.
        """
        names = {
            name: record.item_id for record in records for name in (record.item_id, record.file, record.name)
        }
        listed = read_exclusions(path)
        for at, name in enumerate(listed):
            if name not in names:
                raise DataError(
                    f"{path}, entry {at + 1}: {name!r} is not in the {self.tables} of {self.title} "
                    f"({self.root}), whose first image is {records[0].name!r}; mend the name, or delete the "
                    "row"
                )
        return {names[name] for name in listed}

    def _nothing(self, records: Sequence[AnyRecord]) -> str:
        """The message when the options leave no image."""
        options = self.options
        message = f"{self.title}: none of the {len(records)} images in {self.root} is asked for"
        if options.boxed_only and not any(self.kept(record) for record in records):
            found = Counter(box["label"] for record in records for box in record.boxes)
            held = ", ".join(f"{label} ({number})" for label, number in found.most_common()) or "no boxes"
            return (
                f"{message}: `boxed_only` takes images with boxes of {', '.join(options.box_labels)}, and "
                f"the {self.tables} hold {held}. Change `source.{options.box_key}`, or drop `boxed_only`"
            )
        asked = {key: getattr(options, key) for key in self.choice()}
        return (
            f"{message} by { ({k: v for k, v in asked.items() if v}) }; the {self.tables} hold "
            f"{self.held(records)}"
        )

    def _load(self, record: AnyRecord) -> RawImage:
        path = self.root / record.file
        if record.problem:
            raise DataError(f"{path}: {record.problem}")
        if not record.there:
            raise DataError(
                f"{path}: the table lists it, but the file is not there; add it, or set `source.partial` "
                "where only a part of the archive is there"
            )
        raw = self.read(record)
        kept = [box for box in raw.boxes if box["label"] in self.options.box_labels]
        raw.others = [box for box in raw.boxes if box["label"] not in self.options.box_labels]
        raw.boxes = boxes_inside(kept, raw.image.shape[1:], path)
        return raw
