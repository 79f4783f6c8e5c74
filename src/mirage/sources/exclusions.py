"""Lists of images to leave out: a CSV that a person writes, or mends after a program proposed it."""

from __future__ import annotations

import csv
from pathlib import Path

from mirage.errors import DataError
from mirage.sources.rows import separator_of

COLUMNS = ("file", "image", "item_id", "Image Index")
"""What the column of images may be called."""


def read_exclusions(path: Path) -> list[str]:
    """The images of a list of exclusions, in its order.

    Every row is an exclusion; other columns (score, reason ...) are for people. An empty list excludes
    nothing.

    Raises:
        DataError: not a CSV, no column of images, a row without one.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            first = handle.readline()
            handle.seek(0)
            lines = [line for line in csv.reader(handle, delimiter=separator_of(first)) if any(line)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable CSV in UTF-8 ({error})") from error
    header = [name.strip() for name in lines[0]] if lines else []
    column = next((header.index(name) for name in COLUMNS if name in header), None)
    if column is None:
        raise DataError(
            f"{path}: a list of exclusions needs a column `file` or `image`; found "
            f"{', '.join(header) or 'an empty file'}"
        )
    listed = []
    for at, line in enumerate(lines[1:]):
        name = line[column].strip() if column < len(line) else ""
        if not name:
            raise DataError(f"{path}, row {at + 2}: names no image; fill in `{header[column]}`, or delete it")
        listed.append(name.replace("\\", "/"))
    return listed
