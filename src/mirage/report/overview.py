"""All studies side by side, and the catalogue of published figures and tables: pages above the reports."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import mirage
from mirage.amounts import count
from mirage.config.publications import STATES, Publication
from mirage.files import atomic_path
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.catalogue import ELSEWHERE, MISSING, Covered, coverage, coverage_table
from mirage.report.chapters.base import Chapter, words
from mirage.report.evaluators import term
from mirage.report.evaluators.privacy_chapter import ATTACKS
from mirage.report.html import Page, render
from mirage.report.numbers import DASH, estimate
from mirage.report.record import Record, read_record
from mirage.report.sources import COMMIT_DIGITS
from mirage.report.summary import row_key
from mirage.report.verdicts import AXES, Verdict

INDEX, CATALOGUE = "index.html", "catalogue.html"
NAMES = ("evaluation", "arm", "metric", "label", "protocol", "kind")
"""Columns of the summary that are text, even where it is all digits."""
SIGNED = ("difference", "added")
"""Kinds of numbers that are printed with their sign."""
PROTOCOLS = {"heldout": "beside held-out images", "halves": "beside halves of the real images", **ATTACKS}
"""Reference or attack -> what it is called; of the others the measure itself tells."""


@dataclass(frozen=True)
class Told:
    """What one study's report says.

    Attributes:
        record: the report as data.
        numbers: the summary's rows by their key.
        folder: of the report, relative to the overview.
    """

    record: Record
    numbers: Mapping[str, Any]
    folder: str

    def link(self, anchor: str = "") -> str:
        """To the report, or to a place on it."""
        return f"{self.folder}/report.html{f'#{anchor}' if anchor else ''}"


def build_overview(
    reports: Sequence[Path], publications: Mapping[str, Publication], out: Path, *, scale: str, commit: str
) -> None:
    """Write the overview of studies and the catalogue into a folder.

    Writes ``index.html``, ``catalogue.html`` (self-contained, like the reports) and ``tables/`` with the CSV
    behind each table. Nothing is measured: both are made of the reports' ``report.json`` and ``summary.csv``.

    Args:
        reports: folders of the studies' reports.
        publications: the catalogue.
        out: folder, made when missing.
        scale: ``full`` or ``demo``.
        commit: of the code, empty when unknown.

    Raises:
        DataError: a report is missing or of another format.
    """
    told = [_told(folder, out) for folder in reports]
    covered = {name: coverage(one, _exhibits(told)) for name, one in publications.items()}
    book = Book(out, folder="tables")
    made_by = f"Mirage {mirage.__version__}{f' · commit {commit[:COMMIT_DIGITS]}' if commit else ''}"
    index = Page(
        kind="Overview",
        title="Studies side by side",
        lead="Is the synthetic data useful, faithful, diverse, new and private? What each study found.",
        facts=[made_by],
        below=[("catalogue of published figures and tables", CATALOGUE)],
        demo=scale == "demo",
    )
    catalogue = Page(
        kind="Catalogue",
        title="Published figures and tables",
        lead="Every figure, table and number of the publications that studies follow, and what became of it.",
        facts=[made_by],
        up=[("Studies side by side", INDEX)],
        demo=scale == "demo",
    )
    pages = {
        INDEX: render(index, _index_chapters(told, publications, covered, book)),
        CATALOGUE: render(catalogue, _catalogue_chapters(publications, covered, book)),
    }
    for file, text in pages.items():
        with atomic_path(out / file) as path:
            path.write_text(text, encoding="utf-8")


def _told(report: Path, out: Path) -> Told:
    record = read_record(report)
    summary = pd.read_csv(report / "summary.csv", dtype=dict.fromkeys(NAMES, str))
    rows = {row_key(row): row for row in summary.itertuples()}
    return Told(record, rows, Path(os.path.relpath(report, out)).as_posix())


def _exhibits(told: Sequence[Told]) -> dict[str, dict[str, tuple[str, str]]]:
    """Exhibits of every study: id -> its label and where it is, seen from the overview."""
    return {
        one.record.study: {
            id: (f"{shown['kind']} {shown['number']}", f"{one.folder}/{shown['page']}#{shown['anchor']}")
            for id, shown in one.record.exhibits.items()
        }
        for one in told
    }


def _index_chapters(
    told: Sequence[Told],
    publications: Mapping[str, Publication],
    covered: Mapping[str, Sequence[Covered]],
    book: Book,
) -> list[Chapter]:
    verdicts = Chapter("Verdicts")
    verdicts.show(_verdict_table(told, book))
    numbers = Chapter("Numbers behind the verdicts")
    if any(verdict.decided_by for one in told for verdict in one.record.verdicts):
        numbers.show(_number_table(told, book))
    for one in told:
        said = [f"{v.axis}: {sentence}" for v in one.record.verdicts for sentence in _said(v)]
        if said:
            numbers.heading(one.record.title)
            numbers.points(said)
    runs = Chapter("Studies")
    runs.show(_study_table(told, book))
    published = Chapter("Published figures and tables")
    if publications:
        published.show(_state_table(publications, covered, book))
        published.links("What became of each:", [("catalogue", CATALOGUE)])
    return [chapter for chapter in (verdicts, numbers, runs, published) if chapter.blocks]


def _said(verdict: Verdict) -> Sequence[str]:
    """Sentences of a verdict that names no numbers of the summary."""
    return [] if verdict.word == "untested" or verdict.decided_by else verdict.sentences


def _axes(told: Sequence[Told]) -> list[str]:
    return list(dict.fromkeys([*AXES, *(v.axis for one in told for v in one.record.verdicts)]))


def _verdict_table(told: Sequence[Told], book: Book) -> Exhibit:
    axes, rows, records = _axes(told), [], []
    for one in told:
        words_of = {verdict.axis: verdict.word for verdict in one.record.verdicts}
        row = [Cell(one.record.title, links=[(one.record.title, one.link())], note=one.record.question)]
        for axis in axes:
            word = words_of.get(axis, "untested")
            row.append(Cell(word.replace("untested", "not tested"), tone=word))
            records.append({"study": one.record.study, "axis": axis, "verdict": word})
        rows.append(row)
    caption = (
        f"Verdict of {count(len(told), 'report')} on each axis. A verdict follows the rule printed in the "
        "study's findings, and is inconclusive unless a 95 % interval decides."
    )
    return book.table("verdicts", ["study", *axes], rows, caption=caption, data=pd.DataFrame(records))


def _number_table(told: Sequence[Told], book: Book) -> Exhibit:
    rows, records = [], []
    for one in told:
        for verdict in one.record.verdicts:
            for key in verdict.decided_by:
                row = one.numbers[key]
                rows.append(
                    [
                        Cell(one.record.title, links=[(one.record.study, one.link("findings"))]),
                        Cell(verdict.axis),
                        Cell(_measure(row), note=_of_what(row)),
                        Cell(
                            estimate(
                                row.estimate, row.low, row.high, sign=row.kind in ("difference", "added")
                            ),
                            number=True,
                        ),
                    ]
                )
                records.append({"study": one.record.study, "axis": verdict.axis, **row._asdict()})
    caption = (
        f"Numbers that decide the verdicts, n = {len(rows)}, with their 95 % intervals. A difference or "
        "ratio is to the baseline or the real-against-real reference of its evaluation; “added” is the "
        "difference to the arm that only lacks the synthetic data."
    )
    data = pd.DataFrame(records).drop(columns="Index", errors="ignore")
    return book.table("numbers", ["study", "axis", "number", "value"], rows, caption=caption, data=data)


def _measure(row: Any) -> str:
    """What a row of the summary measures; a ratio has no unit."""
    if row.kind == "absolute":
        return term(row.metric)
    return f"{term(row.metric).split(' (')[0]}, {row.kind}"


def _of_what(row: Any) -> str:
    """Evaluation and arm, and the feature space, channel or attack."""
    label = words(row.label) if isinstance(row.label, str) else ""
    beside = PROTOCOLS.get(row.protocol, "")
    return ", ".join(filter(None, [words(row.evaluation), words(row.arm), label, beside]))


def _study_table(told: Sequence[Told], book: Book) -> Exhibit:
    rows, records = [], []
    for one in told:
        record = one.record
        counts = pd.Series([shown["kind"] for shown in record.exhibits.values()]).value_counts()
        shown = [count(int(counts.get(kind, 0)), kind.lower()) for kind in ("Figure", "Table")]
        fact = {
            "study": record.study,
            "scale": record.scale,
            "commit": record.commit[:COMMIT_DIGITS],
            "configuration": record.configuration,
            "simulated": "; ".join(record.simulated),
            "datasets": sum(name.startswith("dataset ") for name in record.fingerprints),
        }
        records.append(fact)
        rows.append(
            [
                Cell(record.study, links=[(record.study, one.link())], note=record.reference),
                Cell(record.scale, note="simulated data" if record.simulated else ""),
                Cell(str(fact["datasets"]), number=True),
                Cell(", ".join(shown)),
                Cell(str(fact["commit"] or DASH)),
                Cell(record.configuration or DASH),
            ]
        )
    caption = "Studies, the commit their reports were made at, and the digest of their configuration."
    head = ["study", "scale", "datasets", "exhibits", "commit", "configuration"]
    return book.table("studies", head, rows, caption=caption, data=pd.DataFrame(records))


def _state_table(
    publications: Mapping[str, Publication], covered: Mapping[str, Sequence[Covered]], book: Book
) -> Exhibit:
    """How many items of each publication are in each state."""
    states = [*STATES.values(), ELSEWHERE, MISSING]
    counts = {
        name: [sum(one.state == state for one in covered[name]) for state in states] for name in covered
    }
    used = [i for i, state in enumerate(states) if state != MISSING or any(row[i] for row in counts.values())]
    rows = [
        [
            Cell(publications[name].reference, links=[(publications[name].reference, _anchor(name))]),
            *(Cell(str(row[i]), number=True) for i in used),
            Cell(str(sum(row)), number=True),
        ]
        for name, row in counts.items()
    ]
    data = pd.DataFrame([dict(zip(states, row, strict=True)) for row in counts.values()])
    data.insert(0, "publication", list(counts))
    caption = (
        "Figures, tables and numbers of each publication by what became of them. Diagrams hold no result; "
        "“not run here”: the study that makes them is not among those above."
    )
    head = ["publication", *(states[i] for i in used), "all"]
    return book.table("states", head, rows, caption=caption, data=data)


def _anchor(name: str) -> str:
    return f"{CATALOGUE}#fig-coverage-{name}"


def _catalogue_chapters(
    publications: Mapping[str, Publication], covered: Mapping[str, Sequence[Covered]], book: Book
) -> list[Chapter]:
    chapters = []
    for name, publication in publications.items():
        chapter = Chapter(name)
        missing = [f"{one.item}: {', '.join(one.missing)}" for one in covered[name] if one.missing]
        if missing:
            chapter.warning("Missing", "The catalogue names exhibits that these reports lack.", missing)
        chapter.text(publication.reference)
        chapter.show(coverage_table(name, covered[name], book))
        chapters.append(chapter)
    return chapters
