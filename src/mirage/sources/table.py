"""A CSV of what is known of each file."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mirage.errors import DataError
from mirage.sources.rows import separator_of

TEXT = frozenset({"file", "subject_id", "split", "donors"})
UNKNOWN = frozenset({"", "na", "n/a", "nan", "null", "none"})
INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
IDENTIFIER = re.compile(r"[+-]?0\d+")
"""A number with leading zeros is a name: 007 must not become 7."""


@dataclass
class Table:
    """Columns of typed values, looked up by file.

    Attributes:
        path: the CSV, for messages.
        columns: name -> values, None when unknown; ``file`` is not among them.
        index: file, relative to the table's folder with ``/`` -> row.
    """

    path: Path
    columns: dict[str, list[Any]]
    index: dict[str, int]

    def row(self, file: str) -> dict[str, Any]:
        """Values of a file; all None when the table does not list it."""
        at = self.index.get(file)
        return {name: None if at is None else values[at] for name, values in self.columns.items()}

    def check_files(self, files: Sequence[str]) -> None:
        """Raise DataError when a row's file is not among ``files``."""
        known = set(files)
        for file, at in self.index.items():
            if file not in known:
                raise DataError(
                    f"{self.path}, row {at + 2}: the file {file!r} is not among the images. Paths are "
                    f"relative to {self.path.parent}; mend the row, or `images` and `exclude`"
                )


def read_table(path: Path) -> Table:
    """Read a CSV (comma, semicolon or tab) with a column ``file``.

    A column becomes int or float when all its known values are numbers without leading zeros, text
    otherwise; ``subject_id``, ``split`` and ``donors`` are always text.

    Raises:
        DataError: no column ``file``, a column or a file twice, a column named like one of the manifest's
            own, a row of another length, a split that is none of train, val and test.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            first = handle.readline()
            handle.seek(0)
            delimiter = separator_of(first)
            lines = [line for line in csv.reader(handle, delimiter=delimiter) if any(line)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable CSV in UTF-8 ({error})") from error
    names = [name.strip() for name in lines[0]] if lines else []
    _check_names(path, names)
    for at, line in enumerate(lines[1:]):
        if len(line) != len(names):
            raise DataError(f"{path}, row {at + 2}: has {len(line)} values, the header has {len(names)}")
    columns = {
        name: _typed([line[at].strip() for line in lines[1:]], text=name in TEXT)
        for at, name in enumerate(names)
    }
    _check_splits(path, columns.get("split", []))
    return Table(path, columns, _index(path, columns.pop("file")))


def _check_names(path: Path, names: list[str]) -> None:
    if "file" not in names:
        raise DataError(f"{path}: has no column `file`; found {names or 'an empty table'}")
    from mirage.data.manifest import CORE

    reserved = set(CORE.names) - {"subject_id", "split"}
    for name in names:
        if not name or names.count(name) > 1 or name in reserved:
            raise DataError(
                f"{path}: the column {name!r} is empty, there twice, or one of Mirage's own; rename it"
            )


def _check_splits(path: Path, splits: list[str | None]) -> None:
    from mirage.data.manifest import SPLITS

    for at, split in enumerate(splits):
        if split is not None and split not in SPLITS:
            raise DataError(f"{path}, row {at + 2}: split is {split!r}, expected one of {', '.join(SPLITS)}")


def _index(path: Path, files: list[str | None]) -> dict[str, int]:
    index: dict[str, int] = {}
    for at, file in enumerate(files):
        if file is None:
            raise DataError(f"{path}, row {at + 2}: names no file")
        name = PurePosixPath(file.replace("\\", "/")).as_posix()
        if name in index:
            raise DataError(f"{path}, row {at + 2}: {file!r} is in row {index[name] + 2} already")
        index[name] = at
    return index


def _typed(values: list[str], *, text: bool) -> list[Any]:
    known = [value for value in values if value.lower() not in UNKNOWN]
    kind: type = str
    if not text and known and not any(IDENTIFIER.fullmatch(value) for value in known):
        if all(INTEGER.fullmatch(value) for value in known):
            kind = int
        elif all(NUMBER.fullmatch(value) for value in known):
            kind = float
    return [None if value.lower() in UNKNOWN else kind(value) for value in values]
