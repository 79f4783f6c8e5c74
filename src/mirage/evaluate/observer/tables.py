"""Tables of a study as people and their spreadsheets leave them: separators, empty rows, blanks, capitals."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mirage.errors import DataError
from mirage.sources.rows import separator_of


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        cells: one column a heading; all text, without blanks at the ends.
        decimal_comma: whether a comma within a number can only be a decimal one.
    """

    cells: pd.DataFrame
    decimal_comma: bool


def read_table(path: Path | str) -> Table:
    """A CSV in UTF-8 with a header, separated by commas, semicolons or tabs.

    Headings count without case, but for those with a colon, behind which a finding's name stands. Rows
    without any value are passed over, and so are empty cells beyond the last heading.

    Raises:
        DataError: not readable, not in UTF-8, a heading twice, a row that is longer than the header.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        separator = separator_of(text.partition("\n")[0])
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is not in UTF-8 ({error}); save it as `CSV UTF-8`, as spreadsheets call it"
        ) from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: is no readable table ({error})") from error
    header = [_heading(cell) for cell in lines[0]] if lines else []
    named = [name for name in header if name]
    twice = [name for number, name in enumerate(named) if name in named[:number]]
    if twice or not named:
        found = f"two columns {twice[0]!r}" if twice else "no header"
        raise DataError(f"{path}: has {found}; expected a table whose first row names its columns, each once")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        cells = [cell.strip() for cell in line]
        if any(cells[len(header) :]):
            raise DataError(
                f"{path}, row {number}: has {len(cells)} values and the header {len(header)}; put quotes "
                f"around a value that holds a {separator!r}"
            )
        if any(cells):
            rows.append([*cells, *[""] * len(header)][: len(header)])
    table = pd.DataFrame(rows, columns=header, dtype=str)
    return Table(table[named], decimal_comma=separator != ",")


def _heading(cell: str) -> str:
    name = cell.strip()
    return name if ":" in name else name.lower()
