"""Widths of the columns of a printed table, from what stands in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

LETTER = 0.5
"""Width of a letter for the size of the font."""
PADDING = 8.0
"""Points beside the text of a cell."""
SIZES = (9.0, 8.5, 8.0, 7.5, 7.0)
UNBROKEN, RUN = 16, 24
"""Letters of a word up to which it is not broken, and of a run without punctuation; as in the template."""


def place_table(exhibit: Mapping[str, Any], width: float) -> dict[str, Any]:
    """Columns of a table: their shares of the width, their alignment, and the size of the letters.

    A share is 0 where a column takes what it needs. The letters are as large as lets every column hold its
    longest word.

    Args:
        exhibit: its ``head`` and ``rows``.
        width: of the text, points.
    """
    columns = list(
        zip(*([[{"text": t, "note": ""} for t in exhibit["head"]], *exhibit["rows"]]), strict=True)
    )
    numbers = [any(cell.get("number") for cell in column[1:]) for column in columns]
    whole = [max(map(_longest_line, column)) for column in columns]
    least = [max(map(_longest_word, column)) for column in columns]
    for size in SIZES:
        letter = LETTER * size
        needed = [n * letter + PADDING for n in whole]
        if sum(needed) <= width:
            return {"numbers": numbers, "size": size, "widths": [0.0] * len(columns)}
        if sum(n * letter + PADDING for n in least) <= width:
            break
    return {
        "numbers": numbers,
        "size": size,
        "widths": _shares(needed, [n * letter + PADDING for n in least], width),
    }


def _shares(needed: Sequence[float], least: Sequence[float], width: float) -> list[float]:
    """Every column gets its longest word, and of what is left a share by what it still wants."""
    free = max(0.0, width - sum(least))
    wanted = [max(n - low, 0.0) ** 0.7 for n, low in zip(needed, least, strict=True)]
    total = sum(wanted) or 1.0
    return [low + free * want / total for low, want in zip(least, wanted, strict=True)]


def _texts(cell: Mapping[str, Any]) -> list[str]:
    return [line for text in (cell["text"], cell["note"]) for line in text.split("\n")]


def _longest_line(cell: Mapping[str, Any]) -> int:
    return max(map(len, _texts(cell)))


def _longest_word(cell: Mapping[str, Any]) -> int:
    if cell.get("number"):  # an estimate stays whole, and so does its interval
        return max(len(part) for text in _texts(cell) for part in text.replace(" [", "\n[").split("\n"))
    return max((_unbreakable(word) for line in _texts(cell) for word in line.split(" ")), default=1)


def _unbreakable(word: str) -> int:
    pieces = [word] if len(word) <= UNBROKEN else re.split(r"(?<=[/_.,;:=-])", word)
    return min(RUN, max(map(len, pieces)))
