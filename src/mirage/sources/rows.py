"""Rows of the tables that come with public datasets, with the columns that a reader needs."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mirage.errors import DataError


@dataclass(frozen=True)
class Row:
    """One row: where it stands, and its values by column; those that may be missing are then empty."""

    path: Path
    line: int
    values: dict[str, str]
    cells: list[str]
    """All of the row, whether a reader needs it or not."""

    def __getitem__(self, column: str) -> str:
        return self.values.get(column, "")

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.path}, line {self.line}"

    def number(self, column: str) -> float:
        """A finite number; raises DataError."""
        return number_of(self[column], column, self.where)


def number_of(text: str, what: str, where: str) -> float:
    """A finite number of a table's cell.

    Raises:
        DataError: says where, what it is and what was found.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
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


def separator_of(header: str) -> str:
    """What separates the cells of a CSV: comma, semicolon or tab, of which its first line has most."""
    return max(",;\t", key=header.count)


def read_rows(path: Path, columns: Mapping[str, Sequence[str]] | Sequence[str]) -> Iterator[Row]:
    """Rows of a CSV in UTF-8 with a header, one at a time, whether commas, semicolons or tabs separate them.

    Header cells such as ``OriginalImage[Width,Height]``, whether quoted or not, are two columns,
    ``OriginalImage[Width`` and ``Height]``. Empty lines are passed over.

    Args:
        path: file.
        columns: name in the result -> spellings in the header, the first that is there counts, whatever its
            case where no column has it as it is; a name ending in ``?`` may be missing. Or names that are
            those of the header.

    Raises:
        DataError: missing or unreadable, a column is missing, a row ends before the last one that is needed.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            delimiter = separator_of(handle.readline())
            handle.seek(0)
            lines = csv.reader(handle, delimiter=delimiter)
            header = [part for cell in next(lines, []) for part in cell.split(",")]
            yield from _rows_below(path, header, ((lines.line_num, line) for line in lines), columns)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable CSV in UTF-8 ({error})") from error


def _rows_below(
    path: Path,
    header: Sequence[str],
    lines: Iterable[tuple[int, Sequence[str]]],
    columns: Mapping[str, Sequence[str]] | Sequence[str],
) -> Iterator[Row]:
    """Numbered lines as rows; without empty ones."""
    wanted = columns if isinstance(columns, Mapping) else {name: [name] for name in columns}
    found = _found([cell.strip() for cell in header], wanted, path)
    longest = max(found.values(), default=-1)
    for number, line in lines:
        cells = [cell.strip() for cell in line]
        if not any(cells):
            continue
        if len(cells) <= longest:
            raise DataError(
                f"{path}, line {number}: has {len(cells)} values, expected at least "
                f"{longest + 1}; the file may be cut off. Get it again from the archive"
            )
        yield Row(path, number, {name: cells[column] for name, column in found.items()}, cells)


def _found(header: Sequence[str], wanted: Mapping[str, Sequence[str]], path: Path) -> dict[str, int]:
    """Name -> number of its column."""
    found, missing = {}, []
    lower = [cell.lower() for cell in header]
    for name, spellings in wanted.items():
        places = [names.index(word) for names, word in _looked_up(header, lower, spellings) if word in names]
        if places:
            found[name.rstrip("?")] = places[0]
        elif not name.endswith("?"):
            missing.append(" or ".join(spellings))
    if missing:
        raise DataError(
            f"{path}: has no column {', '.join(missing)}; found "
            f"{', '.join(filter(None, header)) or 'an empty file'}. Get the table again from the archive"
        )
    return found


def _looked_up(
    header: Sequence[str], lower: Sequence[str], spellings: Sequence[str]
) -> list[tuple[Sequence[str], str]]:
    """Spellings with the header to look them up in: as they are first, then without regard to case."""
    exact = [(header, word) for word in spellings]
    return [*exact, *((lower, word.lower()) for word in spellings)]
