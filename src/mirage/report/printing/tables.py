"""Widths of the columns of a printed table, from what stands in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

WIDTHS = {
    **dict.fromkeys(" .,:;!|'ijl[]()/", 0.29),
    **dict.fromkeys("mwMW%\u2014", 0.82),
    **dict.fromkeys("ABCDEFGHKLNOPQRSTUVXYZ&", 0.66),
}
"""Width of a letter for the size of the font, about; of all others ``LETTER``."""
LETTER = 0.49
NOTE = 0.88
"""Size of the second lines of cells for that of the first; as in the template."""
PADDING = 9.0
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
    head = [{"text": title, "note": ""} for title in exhibit["head"]]
    columns = list(zip(head, *exhibit["rows"], strict=True))
    numbers = [any(cell.get("number") for cell in column) for column in columns]
    whole = [max(map(_longest_line, column)) for column in columns]
    least = [max(map(_longest_word, column)) for column in columns]
    for size in SIZES:
        needed = [size * ems + PADDING for ems in whole]
        at_least = [size * ems + PADDING for ems in least]
        if sum(needed) <= width:
            return {"numbers": numbers, "size": size, "widths": [0.0] * len(columns)}
        if sum(at_least) <= width:
            break
    return {"numbers": numbers, "size": size, "widths": _shares(needed, at_least, width)}


def _shares(needed: Sequence[float], least: Sequence[float], width: float) -> list[float]:
    """Every column gets its longest word, and of what is left a share by what it still wants."""
    free = max(0.0, width - sum(least))
    wanted = [max(want - low, 0.0) ** 0.7 for want, low in zip(needed, least, strict=True)]
    total = sum(wanted) or 1.0
    return [low + free * want / total for low, want in zip(least, wanted, strict=True)]


def _width(text: str) -> float:
    """Width of a text for the size of the font."""
    return sum(WIDTHS.get(letter, LETTER) for letter in text)


def _lines(cell: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Lines of a cell and the size of their letters."""
    return [(line, 1.0) for line in cell["text"].split("\n")] + [
        (line, NOTE) for line in cell["note"].split("\n")
    ]


def _longest_line(cell: Mapping[str, Any]) -> float:
    return max(size * _width(line) for line, size in _lines(cell))


def _longest_word(cell: Mapping[str, Any]) -> float:
    if cell.get("number"):  # an estimate stays whole, and so does its interval
        parts = [
            (part, size) for line, size in _lines(cell) for part in line.replace(" [", "\n[").split("\n")
        ]
    else:
        parts = [
            (part, size) for line, size in _lines(cell) for word in line.split(" ") for part in _parts(word)
        ]
    return max(size * _width(part) for part, size in parts)


def _parts(word: str) -> list[str]:
    """What of a word stays together: long ones may break after punctuation, and within a long run."""
    pieces = [word] if len(word) <= UNBROKEN else re.split(r"(?<=[/_.,;:=-])", word)
    return [piece[:RUN] for piece in pieces]
