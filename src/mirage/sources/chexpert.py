"""CheXpert: 224,316 chest radiographs of 65,240 patients (Irvin et al., AAAI 2019).

`train.csv` and `valid.csv` list JPEG files by paths such as
`CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg`; the first folder is the archive's name and
may be missing. Labels are 1, 0, -1 (uncertain) or blank (not mentioned). `valid.csv`, which radiologists
labelled, is the test set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mirage.config.chest import CHEXPERT_FINDINGS, NO_FINDING, ChexpertSource
from mirage.errors import DataError, LayoutError
from mirage.sources.chest import ChestRadiographs, ChestRecord
from mirage.sources.layout import namespace_of, require_directories
from mirage.sources.rows import Row, age_of, read_rows

OBTAIN = "https://stanfordmlgroup.github.io/competitions/chexpert (registration)"
TABLES = {"train.csv": "train", "valid.csv": "test"}
COLUMNS = {
    "path": ["Path"],
    "sex?": ["Sex"],
    "age?": ["Age"],
    "frontal": ["Frontal/Lateral"],
    "view": ["AP/PA"],
    **{finding: [finding] for finding in CHEXPERT_FINDINGS},
}
VALUES = {"": None, "1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1}


class Chexpert(ChestRadiographs):
    """Reader of the archive's native layout."""

    title = "CheXpert"

    def __init__(self, options: ChexpertSource, folder: Path | None = None) -> None:
        super().__init__(options, folder)
        self.partial, self.uncertain = options.partial, options.uncertain
        self._namespace = namespace_of("chexpert", folder)

    @property
    def namespace(self) -> str:
        """``chexpert``, or the folder of simulated data."""
        return self._namespace

    def check_layout(self) -> None:
        """Check for at least one of the tables."""
        require_directories(self.root, [], self.title, OBTAIN)
        if not any((self.root / table).is_file() for table in TABLES):
            raise LayoutError(
                f"{self.title}: {self.root} has none of the tables {' and '.join(TABLES)}. Get the archive "
                f"from {OBTAIN}, or set `source.path` to where it is"
            )
        self.check_exclusions()

    def records(self) -> Iterator[ChestRecord]:
        """Images of `train.csv`, then those of `valid.csv`."""
        records: dict[str, ChestRecord] = {}
        for table, split in TABLES.items():
            path = self.root / table
            if not path.is_file():
                continue
            for row in read_rows(path, COLUMNS):
                record = self._record(row, split)
                if record.file in records:
                    raise DataError(f"{row.where}: {record.file} is listed twice")
                records[record.file] = record
        yield from records.values()

    def _record(self, row: Row, split: str) -> ChestRecord:
        parts = PurePosixPath(row["path"]).parts
        patient = next((at for at, part in enumerate(parts) if part.startswith("patient")), None)
        if patient is None or len(parts) < patient + 2:
            raise DataError(
                f"{row.where}: the path {row['path']!r} names no patient; expected "
                "train/patient00001/study1/view1_frontal.jpg"
            )
        file = PurePosixPath(*parts[max(patient - 1, 0) :]).as_posix()
        findings, uncertain = self._labels(row)
        frontal = row["frontal"] == "Frontal"
        return ChestRecord(
            name=row["path"],
            file=file,
            item_id=file.rsplit(".", 1)[0],
            subject_id=parts[patient],
            findings=findings,
            view=row["view"] or (None if frontal else "Lateral"),
            split=split,
            attributes={
                "age": age_of(row["age"]),
                "sex": {"Male": "M", "Female": "F"}.get(row["sex"]),
                "frontal": frontal,
                "uncertain": "|".join(uncertain),
            },
            # Looking for each of 224,316 files takes seconds; one that is absent fails when it is read.
            there=not self.partial or os.path.isfile(self.root / file),
        )

    def _labels(self, row: Row) -> tuple[list[str], list[str]]:
        """Findings by the policy for uncertain labels, and the uncertain ones.

        A healthy image has no uncertain finding, unless these count as negative.
        """
        values: dict[str, int | None] = {}
        for finding in CHEXPERT_FINDINGS:
            if row[finding] not in VALUES:
                raise DataError(f"{row.where}: {finding} is {row[finding]!r}, expected 1, 0, -1 or nothing")
            values[finding] = VALUES[row[finding]]
        uncertain = [finding for finding, value in values.items() if value == -1]
        positive = [
            finding
            for finding, value in values.items()
            if value == 1 or (value == -1 and self.uncertain == "positive")
        ]
        if uncertain and self.uncertain != "negative":
            positive = [finding for finding in positive if finding != NO_FINDING]
        return positive, uncertain
