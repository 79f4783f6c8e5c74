"""A chapter is a title over blocks; blocks are what the template knows to print."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mirage.amounts import count
from mirage.report.book import MAIN_PAGE, Exhibit

__all__ = ["PARTS", "Block", "Chapter", "count", "evenly", "listing", "words"]

PARTS = (
    "findings",
    "pipeline",
    "data",
    "preprocessing",
    "training",
    "synthesis",
    "fidelity",
    "diversity",
    "novelty",
    "privacy",
    "utility",
    "further",
    "failures",
    "limits",
    "provenance",
    "exhibits",
)
"""Parts of a report: every chapter belongs to one, and a template prints each part in its place."""


@dataclass(frozen=True)
class Block:
    """One block of a chapter: text, remark, warning, heading, list, facts, fold, links, verdicts, exhibit."""

    kind: str
    text: str = ""
    items: Sequence[Any] = ()
    exhibit: Exhibit | None = None


@dataclass
class Chapter:
    """A numbered section of the page.

    Attributes:
        title: its heading.
        part: which place it takes in print, one of ``PARTS``; the page keeps the order of chapters.
        blocks: what it says and shows.
        page: the file it stands on, relative to the report.
    """

    title: str
    part: str = "further"
    blocks: list[Block] = field(default_factory=list)
    page: str = MAIN_PAGE

    @property
    def anchor(self) -> str:
        """Id of the section on the page."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self.blocks.append(Block("text", text))

    def remark(self, text: str) -> None:
        """Add a paragraph set apart."""
        self.blocks.append(Block("remark", text))

    def warning(self, title: str, text: str, items: Sequence[str]) -> None:
        """Add a box that cannot be overlooked: a title, a paragraph and a list."""
        self.blocks.append(Block("warning", title, [text, *items]))

    def heading(self, text: str) -> None:
        """Add a sub-heading."""
        self.blocks.append(Block("heading", text))

    def points(self, items: Sequence[str]) -> None:
        """Add a bullet list."""
        self.blocks.append(Block("list", items=items))

    def facts(self, items: Sequence[tuple[str, str]]) -> None:
        """Add terms and their values."""
        self.blocks.append(Block("facts", items=items))

    def fold(self, title: str, items: Sequence[tuple[str, str]]) -> None:
        """Add terms and their values, of any length, under a title that unfolds them."""
        self.blocks.append(Block("fold", title, items))

    def links(self, text: str, items: Sequence[tuple[str, str]]) -> None:
        """Add words and, after them, links: (text, where it leads)."""
        self.blocks.append(Block("links", text, items))

    def show(self, exhibit: Exhibit) -> None:
        """Add a figure or table."""
        self.blocks.append(Block("exhibit", exhibit=exhibit))


def words(name: str) -> str:
    """A configured name for prose: underscores as blanks."""
    return name.replace("_", " ")


def listing(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"


def evenly(total: int, wanted: int) -> list[int]:
    """At most ``wanted`` places at even steps through ``total`` items."""
    return (
        sorted({round(float(place)) for place in np.linspace(0, total - 1, min(wanted, total))})
        if total
        else []
    )
