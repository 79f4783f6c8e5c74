"""Limits, provenance, and which published figure each exhibit stands for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mirage.config.evaluations import ObserverEvaluation, StudyConfig
from mirage.config.publications import Publication
from mirage.data import Dataset
from mirage.report.book import MAIN_PAGE, Book, Cell, Exhibit
from mirage.report.catalogue import coverage, coverage_table
from mirage.report.chapters.base import Chapter, listing, words
from mirage.report.chapters.data import origin
from mirage.report.chapters.runs import run_table, source_table
from mirage.report.chapters.spent import spent
from mirage.report.evaluators import present
from mirage.report.inputs import ReportInputs
from mirage.report.numbers import DASH
from mirage.report.sources import COMMIT_DIGITS, Made
from mirage.report.verdicts import AXES

UNTESTED = {
    "Privacy": "Privacy was not tested: copies of training images were not searched for, and no membership "
    "inference attack was run. An evaluation with `evaluator: privacy` does both."
}
"""What an axis that nothing measures leaves open, where that needs more words than others."""


def limits_chapter(
    inputs: ReportInputs, data: Mapping[str, Dataset], summary: pd.DataFrame, untested: Sequence[str]
) -> Chapter:
    """What the numbers above cannot bear; ``untested`` are the axes without a verdict."""
    chapter = Chapter("Limits", "limits")
    points = [*_simulated(data), *_generators(inputs), *_doubts(data)]
    for module, own in present(inputs):
        points += module.limits(own, summary)
    points += [UNTESTED.get(axis, f"{axis} was not tested.") for axis in untested if axis in AXES]
    if not any(isinstance(config, ObserverEvaluation) for config, _ in inputs.evaluations.values()):
        points.append(
            "No human reader study was made: whether experts can tell synthetic from real images was not "
            "tested."
        )
    points.append("Synthetic images are for research; they are not evidence about any patient.")
    chapter.points(points)
    return chapter


def _simulated(data: Mapping[str, Dataset]) -> list[str]:
    names = [words(name) for name, dataset in data.items() if origin(dataset) == "simulated"]
    if not names:
        return []
    return [
        f"{listing(names)} {'is' if len(names) == 1 else 'are'} simulated: phantoms drawn by a program. "
        "Numbers from phantoms show that the pipeline works and say nothing about patients."
    ]


def _doubts(data: Mapping[str, Dataset]) -> list[str]:
    return [f"{words(name)}: {doubt}" for name, dataset in data.items() for doubt in dataset.info.doubts]


def _generators(inputs: ReportInputs) -> list[str]:
    single = [words(name) for name, folders in inputs.models.items() if len(folders) == 1]
    if not single:
        return []
    return [
        f"{listing(single)}: trained once. Another training seed would give other synthetic data, and that "
        "variation is in none of the intervals."
    ]


def provenance_chapter(
    inputs: ReportInputs, data: Mapping[str, Dataset], made: Sequence[Made], book: Book
) -> Chapter:
    """Commit, configuration, runs, rules, seeds, options, versions, and what it took."""
    chapter = Chapter("Provenance", "provenance")
    chapter.facts(_facts(inputs, [one.record for one in made]))
    chapter.show(run_table(made, inputs, data, book))
    chapter.show(source_table(made, inputs.commit[:COMMIT_DIGITS], book))
    options = [
        (one.title, json.dumps(one.record["config"]))
        for one in made
        if one.record.get("config") and one.kind != "model"
    ]
    if options:
        chapter.fold(
            "All options that made datasets and evaluations, defaults included; those of a generator stand "
            "on its own page",
            options,
        )
    if inputs.benchmarks:
        chapter.show(spent("time", inputs.benchmarks, inputs.cost, book))
    else:
        chapter.text("Time and memory of the stages were not recorded.")
    return chapter


def _facts(inputs: ReportInputs, records: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    packages: dict[str, set[str]] = {}
    commits: set[str] = set()
    for record in records:
        for package, version in (record.get("packages") or {}).items():
            packages.setdefault(package, set()).add(version)
        code = record.get("code") or {}
        if code.get("commit"):
            commits.add(
                code["commit"][:12] + (" with uncommitted changes" if code.get("uncommitted_changes") else "")
            )
    seeds = {
        name: config.seeds for name, (config, _) in inputs.evaluations.items() if hasattr(config, "seeds")
    }
    versions = ", ".join(f"{name} {' or '.join(sorted(found))}" for name, found in sorted(packages.items()))
    facts = [
        ("report made by commit", inputs.commit or "unknown"),
        ("results made by commit", "; ".join(sorted(commits)) or "not recorded"),
        ("configuration", inputs.config_hash or "not recorded"),
        ("scale", inputs.scale),
        ("packages", versions or "not recorded"),
    ]
    return facts + [(f"seeds of {words(name)}", ", ".join(map(str, own))) for name, own in seeds.items()]


def correspondence_chapter(
    study: StudyConfig, name: str, publications: Mapping[str, Publication], book: Book
) -> Chapter:
    """All exhibits, and the figures and tables of the publications followed with what became of each."""
    chapter = Chapter("List of figures and tables", "exhibits")
    exhibits = list(book.exhibits)
    for publication in publications.values():
        chapter.text(f"Reference: {publication.reference}")
    if study.reference:
        chapter.text(f"Reference: {study.reference}")
    chapter.show(_list_of(exhibits, publications, name, book))
    for key, publication in publications.items():
        covered = coverage(publication, {name: {one.id: (one.label, link_to(one)) for one in exhibits}})
        chapter.show(coverage_table(key, covered, book))
        missing = [
            f"{one.item}: {listing(list(one.missing))} is not in this run" for one in covered if one.missing
        ]
        if missing:
            chapter.warning("Not regenerated", "The catalogue names exhibits that this run lacks.", missing)
    return chapter


def link_to(exhibit: Exhibit) -> str:
    """From the main page to an exhibit."""
    return f"{'' if exhibit.page == MAIN_PAGE else exhibit.page}#{exhibit.anchor}"


def _list_of(
    exhibits: Sequence[Exhibit], publications: Mapping[str, Publication], study: str, book: Book
) -> Exhibit:
    published: dict[str, list[str]] = {}
    for publication in publications.values():
        for title, item in publication.items.items():
            if study in item.by:
                published.setdefault(item.by[study], []).append(title)
    rows, records = [], []
    for exhibit in exhibits:
        shown_as = "; ".join(published.get(exhibit.id, [])) or DASH
        link = Cell(exhibit.label, links=[(exhibit.label, link_to(exhibit))])
        rows.append([link, Cell(_first_sentence(exhibit.caption), note=exhibit.id), Cell(shown_as)])
        records.append({"exhibit": exhibit.label, "id": exhibit.id, "published": shown_as})
    caption = (
        f"Exhibits of this report, n = {len(exhibits)}, and what they are called where they were published. "
        "Small print: the exhibit's id."
    )
    head = ["exhibit", "shows", "published as"]
    return book.table("exhibits", head, rows, caption=caption, data=pd.DataFrame(records))


def _first_sentence(caption: str) -> str:
    return re.split(r"\.(?:\s|$)", caption, maxsplit=1)[0]
