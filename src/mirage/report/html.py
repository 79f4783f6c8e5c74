"""Chapters as HTML: pages that hold all they need and load nothing."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import jinja2

from mirage.report.chapters.base import Chapter
from mirage.report.numbers import DASH

Link = tuple[str, str]
"""Text, and where it leads."""
MARKS = {
    "pass": "✓",
    "fail": "✗",
    "inconclusive": "?",
    "untested": DASH,
    "regenerated": "✓",
    "needs-data": "◔",
    "diagram": "◇",
    "not-yet": DASH,
    "not-run-here": "○",
    "missing": "✗",
}
"""Sign of a verdict or state beside its word: colour alone never tells it."""


@dataclass(frozen=True)
class Page:
    """What stands around the chapters of a page.

    Attributes:
        kind: small line above the title.
        title: heading of the page.
        lead: one sentence below it.
        facts: lines of small print.
        up: pages above this one.
        below: pages below this one, listed behind the contents.
        root: from this page to the folder that exhibits' files are relative to.
        home: page that sources of exhibits stand on; empty for this one.
        demo: whether the numbers mean nothing.
        traced_to: files of all numbers, named in the footer.
    """

    kind: str
    title: str
    lead: str
    facts: Sequence[str] = ()
    up: Sequence[Link] = ()
    below: Sequence[Link] = ()
    root: str = ""
    home: str = ""
    demo: bool = False
    traced_to: Sequence[str] = ()


def render(page: Page, chapters: Sequence[Chapter]) -> str:
    """A page as HTML text."""
    template = _environment().get_template("page.html.j2")
    return template.render(page=page, chapters=chapters, marks=MARKS)


@functools.cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(str(files("mirage.report") / "templates"))
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
