"""Sections of a printed report: where each chapter of the page goes, and what stands between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mirage.report.book import MAIN_PAGE, Cell
from mirage.report.chapters.base import PARTS
from mirage.report.record import Record

Blocks = list[dict[str, Any]]
FAILURES = ("failed", "filtered", "predictions")
"""First part of the ids of exhibits that show what went wrong."""
WITH = {"diversity": "fidelity"}
"""Part -> the part whose chapter has its measurements, where it has none of its own."""
TITLES = {part: part.capitalize() for part in PARTS}


@dataclass
class Section:
    """A section of the print.

    Attributes:
        title: its heading.
        label: name by which other sections refer to it, unique in the document.
        blocks: as in :attr:`mirage.report.record.Record.chapters`.
        sections: sections below it.
    """

    title: str
    label: str
    blocks: Blocks = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)


@dataclass(frozen=True)
class Outline:
    """The numbered sections of a print, its annexes, and the tables that only the print has."""

    sections: Sequence[Section]
    annexes: Sequence[Section] = ()
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def text(words: str) -> dict[str, Any]:
    """A paragraph."""
    return {"kind": "text", "text": words, "items": []}


def remark(words: str) -> dict[str, Any]:
    """A paragraph set apart."""
    return {"kind": "remark", "text": words, "items": []}


def points(items: Sequence[str]) -> dict[str, Any]:
    """A bullet list."""
    return {"kind": "list", "text": "", "items": list(items)}


def show(exhibit: str) -> dict[str, Any]:
    """A figure or table."""
    return {"kind": "exhibit", "text": "", "items": [], "exhibit": exhibit}


def chapters_of(record: Record, *parts: str) -> list[Section]:
    """Chapters of the given parts, in the order of the parts, then of the page.

    Chapters of a page below the main one, such as a generator's, are sections of the chapter before them.
    """
    return [section for part in parts for section in _of_part(record, part)]


def _of_part(record: Record, part: str) -> list[Section]:
    found: list[Section] = []
    for chapter in record.chapters:
        if chapter["part"] == part:
            section = Section(chapter["title"], label_of(chapter["title"]), for_paper(chapter["blocks"]))
            below = found and chapter["page"] != MAIN_PAGE
            (found[-1].sections if below else found).append(section)
    return found


def for_paper(blocks: Blocks) -> Blocks:
    """The blocks without links to pages; equal values under a fold, as seeds have, are named together."""
    return [
        {**block, "items": _together(block["items"])} if block["kind"] == "fold" else block
        for block in blocks
        if block["kind"] != "links"
    ]


def _together(items: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    names: dict[str, list[str]] = {}
    for name, value in items:
        names.setdefault(value, []).append(name)
    return [("; ".join(same), value) for value, same in names.items()]


def measured(record: Record, *parts: str) -> list[Section]:
    """Chapters of what was measured; a part without one is a section that says what is known of it."""
    found: list[Section] = []
    for part in parts:
        found += chapters_of(record, part) or [_without_chapter(record, part)]
    return found


def _without_chapter(record: Record, part: str) -> Section:
    """The verdict on an axis that is measured in another chapter, or that nothing measures it."""
    tested = [v for v in record.verdicts if v.axis.lower() == part and v.word != "untested"]
    if not tested:
        untested = remark(f"No evaluation of this study measures {part}; nothing is claimed of it.")
        return Section(TITLES[part], f"no-{part}", [untested])
    verdicts = {"kind": "verdicts", "text": "", "items": [asdict(verdict) for verdict in tested]}
    there = places(record, [WITH[part]]) if part in WITH else ""
    blocks = [text(f"The measurements stand in {there}; this is what they say.")] if there else []
    return Section(TITLES[part], f"verdict-{part}", [*blocks, verdicts])


def failures(record: Record) -> Section:
    """What went wrong: the study's own chapters of it, and where else failures are shown."""
    own = chapters_of(record, "failures")
    blocks = [block for section in own for block in section.blocks]
    shown = [
        f"{reference(exhibit['anchor'])}: {first_sentence(exhibit['caption'])}."
        for id, exhibit in record.exhibits.items()
        if id.split("/")[0] in FAILURES
    ]
    if shown:
        blocks += [text("Failures stand where they arose, the worst first:"), points(shown)]
    return Section("Failures", "failures", blocks or [remark("This study shows no failures.")])


def reference(label: str) -> str:
    """What stands in a text for the number of the exhibit or section of that label."""
    return f"{{ref:{label}}}"


def places(record: Record, parts: Sequence[str]) -> str:
    """References to the sections of the given parts, empty where there are none."""
    labels = [section.label for section in chapters_of(record, *parts)]
    labels += ["failures"] if "failures" in parts else []
    return ", ".join(map(reference, labels))


def table(id: str, head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> dict[str, Any]:
    """A table of words that only the print has, as an exhibit."""
    return {
        "kind": "Table",
        "form": "table",
        "anchor": f"print-{id}",
        "caption": caption,
        "alt": caption,
        "files": {},
        "head": list(head),
        "rows": [[asdict(Cell(words)) for words in row] for row in rows],
    }


def first_sentence(caption: str) -> str:
    """The caption up to its first full stop."""
    return re.split(r"\.(?:\s|$)", caption, maxsplit=1)[0]


def label_of(title: str) -> str:
    """A title as a label."""
    return "section-" + re.sub(r"\W+", "-", title.lower()).strip("-")


def walk(sections: Iterable[Section]) -> Iterator[Section]:
    """All sections, each before those below it."""
    for section in sections:
        yield section
        yield from walk(section.sections)


def exhibits_in(outline: Outline) -> list[str]:
    """Ids of the exhibits that are shown, in their order."""
    blocks = (block for section in walk([*outline.sections, *outline.annexes]) for block in section.blocks)
    return [block["exhibit"] for block in blocks if block["kind"] == "exhibit"]
