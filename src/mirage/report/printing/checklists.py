"""Reporting checklists: what a report can answer by itself is answered, and the rest is printed as open."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from mirage.config.printing import PrintOptions
from mirage.errors import ConfigError
from mirage.report.printing.outline import places
from mirage.report.record import Record


@dataclass(frozen=True)
class Item:
    """One item of a checklist.

    Attributes:
        id: as options name it, such as ``CLAIM 7``.
        asks: what it asks for, in our words.
        answer: what holds of every study made with Mirage, or empty.
        see: parts of the report that answer it, where the study has them.
        option: key of the print's options that answers it, or empty.
    """

    id: str
    asks: str
    answer: str = ""
    see: Sequence[str] = ()
    option: str = ""


@dataclass(frozen=True)
class Checklist:
    """A reporting guideline: its items in their order."""

    id: str
    title: str
    reference: str
    remark: str
    items: Sequence[Item]


def _read() -> list[Checklist]:
    text = (files("mirage.report.printing") / "checklists.yaml").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = yaml.safe_load(text)
    return [Checklist(**{**one, "items": [Item(**item) for item in one["items"]]}) for one in found]


CHECKLISTS = _read()


def answered(checklist: Checklist, record: Record, options: PrintOptions) -> list[str]:
    """The answer to every item, empty where it is open.

    The study's own words come first, then what holds of every study, then where the report answers.

    Raises:
        ConfigError: the options answer an item that no checklist has.
    """
    known = [item.id for one in CHECKLISTS for item in one.items]
    for name in options.checklists:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"print.checklists: {name!r} is no item of a checklist{hint}")
    return [_answer(item, record, options) for item in checklist.items]


def _answer(item: Item, record: Record, options: PrintOptions) -> str:
    if item.id in options.checklists:
        return options.checklists[item.id]
    if item.option:
        value = getattr(options, item.option)
        return value if isinstance(value, str) else "See the introduction." if value else ""
    seen = places(record, item.see)
    if item.see and not seen:
        return ""
    return f"{item.answer} See {seen}." if item.answer and seen else f"See {seen}." if seen else item.answer
