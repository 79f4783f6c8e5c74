"""How raw data became stored arrays: the options that every dataset was prepared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from mirage.data import Dataset
from mirage.report.book import Book, Cell
from mirage.report.chapters.base import Chapter, words


def preprocessing_chapter(data: Mapping[str, Dataset], book: Book) -> Chapter | None:
    """Table of the options of preparation; None where no dataset was prepared from raw data."""
    prepared = {
        name: dict(_flat(options))
        for name, dataset in data.items()
        if (options := (dataset.info.provenance.get("config") or {}).get("prepare"))
    }
    if not prepared:
        return None
    names = list(dict.fromkeys(option for options in prepared.values() for option in options))
    table = pd.DataFrame(
        [
            {"option": name, **{data: options.get(name, "") for data, options in prepared.items()}}
            for name in names
        ]
    )
    rows = [
        [Cell(words(name)), *(Cell(options.get(name, "")) for options in prepared.values())] for name in names
    ]
    caption = (
        "How each dataset was prepared from its raw files, defaults included. Options are explained in the "
        "reference of the configuration; “none” is an option that is not used."
    )
    chapter = Chapter("Preprocessing", "preprocessing")
    chapter.show(
        book.table("preprocessing", ["option", *map(words, prepared)], rows, caption=caption, data=table)
    )
    return chapter


def _flat(options: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Options with those inside them, ``intensity: kind``, as text."""
    for name, value in options.items():
        title = f"{above}: {name}" if above else name
        if isinstance(value, Mapping):
            yield from _flat(value, title)
        else:
            yield title, _said(value)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "none"
    return "none" if value is None else str(value)
