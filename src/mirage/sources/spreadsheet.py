"""Rows of a spreadsheet: Excel (.xlsx, .xls) or CSV, with headers that people wrote by hand."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mirage.errors import DataError
from mirage.sources.rows import Row, separator_of

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = frozenset({"", "nan", "na", "n/a", "none", "null", "nat", "-"})
"""Words of empty cells."""


def read_spreadsheet(path: Path, columns: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """Rows of the first sheet that has the columns; empty rows are passed over.

    Headers count without case, spaces, dots and underscores. Whole numbers lose the ``.0`` that
    spreadsheets give them, a decimal comma in a CSV that does not separate by commas becomes a point, and
    what says that nothing is known (``nan``, ``NA``, ``-`` ...) is empty.

    Args:
        path: .xlsx, .xlsm or .xls, else a CSV (comma, semicolon or tab).
        columns: name in the result -> spellings of the header; a name ending in ``?`` may be missing.

    Raises:
        DataError: unreadable, or no sheet has the columns.
    """
    sheets = _sheets(path)
    for name, frame in sheets.items():
        found, missing = _found([str(cell) for cell in frame.iloc[0]] if len(frame) else [], columns)
        if missing:
            continue
        for number, cells in enumerate(frame.iloc[1:].itertuples(index=False), start=2):
            words = [_word(cell) for cell in cells]
            if any(words):
                values = {column: words[at] for column, at in found.items()}
                yield Row(path if len(sheets) == 1 else path / name, number, values, words)
        return
    headers = "; ".join(", ".join(map(_word, frame.iloc[0])) for frame in sheets.values() if len(frame))
    needed = [" or ".join(spellings) for key, spellings in columns.items() if not key.endswith("?")]
    raise DataError(
        f"{path}: no sheet has the columns {', '.join(needed)}; found {headers or 'empty sheets'}. Rename "
        "them, or name another table"
    )


def _sheets(path: Path) -> dict[str, pd.DataFrame]:
    """Every sheet as text, its header being the first row."""
    import pandas as pd

    ending = path.suffix.lower()
    try:
        if ending in (".xlsx", ".xlsm"):
            return dict(pd.read_excel(path, sheet_name=None, header=None, dtype=str, engine="openpyxl"))
        if ending == ".xls":
            import xlrd

            pages = xlrd.open_workbook(str(path)).sheets()
            return {
                page.name: pd.DataFrame(
                    [[str(cell) for cell in page.row_values(row)] for row in range(page.nrows)]
                )
                for page in pages
            }
        with open(path, encoding="utf-8-sig", newline="") as handle:
            delimiter = separator_of(handle.readline())
            handle.seek(0)
            lines = list(csv.reader(handle, delimiter=delimiter))
        longest = max(map(len, lines), default=0)
        frame = pd.DataFrame([[*line, *[""] * (longest - len(line))] for line in lines])
        if delimiter != ",":
            frame = frame.replace(r"^\s*([+-]?\d+),(\d+)\s*$", r"\1.\2", regex=True)
        return {path.name: frame}
    except Exception as error:  # parsers of damaged workbooks raise anything
        raise DataError(
            f"{path}: not a readable spreadsheet or CSV in UTF-8 ({type(error).__name__}: {error}); save it "
            "as an Excel workbook or as `CSV UTF-8`"
        ) from error


def _found(header: Sequence[str], columns: Mapping[str, Sequence[str]]) -> tuple[dict[str, int], list[str]]:
    """Name -> number of its column, and the names of those that are missing."""
    plain = [_plain(cell) for cell in header]
    found, missing = {}, []
    for name, spellings in columns.items():
        at = next((plain.index(word) for word in map(_plain, spellings) if word in plain), None)
        if at is not None:
            found[name.rstrip("?")] = at
        elif not name.endswith("?"):
            missing.append(name)
    return found, missing


def _plain(cell: str) -> str:
    return re.sub(r"[^a-z0-9]", "", cell.lower())


def _word(cell: object) -> str:
    text = str(cell).strip()
    return "" if text.lower() in UNKNOWN else re.sub(r"^([+-]?\d+)\.0+$", r"\1", text)
