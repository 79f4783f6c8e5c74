"""Rows of the CSV tables that come with public datasets, with the columns that a reader needs."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mirage.errors import DataError


@dataclass(frozen=True)
class Row:
    """One row: where it stands, and its values by column."""

    path: Path
    line: int
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values.get(column, "")

    def number(self, column: str) -> float:
        """A finite number.

        Raises:
            DataError: names file, line, column and what was found.
        """
        try:
            value = float(self[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError(f"{self.path}, line {self.line}: {column} is {self[column]!r}, expected a number")
        return value


def read_rows(path: Path, columns: Sequence[str]) -> list[Row]:
    """Read a CSV in UTF-8 with a header.

    Args:
        path: file.
        columns: that must be there; others are kept.

    Raises:
        DataError: missing or unreadable, a column is missing, a row has fewer values than the header.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle)
            header = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, [cell.strip() for cell in line]) for line in reader if any(line)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable CSV in UTF-8 ({error})") from error
    missing = [name for name in columns if name not in header]
    if missing:
        raise DataError(
            f"{path}: has no column {', '.join(missing)}; found {', '.join(header) or 'an empty file'}, "
            f"expected {', '.join(columns)}"
        )
    for line, cells in rows:
        if len(cells) < len(header):
            raise DataError(f"{path}, line {line}: has {len(cells)} values, the header has {len(header)}")
    return [Row(path, line, dict(zip(header, cells, strict=False))) for line, cells in rows]
