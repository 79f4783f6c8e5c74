"""Typesets a report: its sections, figures and words as data for the templates, and typst over them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import Any

from mirage.config.printing import PrintOptions, Template
from mirage.files import atomic_path
from mirage.report.numbers import DASH
from mirage.report.printing import acronyms
from mirage.report.printing.deliverable import cover, deliverable
from mirage.report.printing.outline import Outline, Section, exhibits_in, walk
from mirage.report.printing.pictures import place_chart, place_plate
from mirage.report.printing.tables import place_table
from mirage.report.printing.thesis import thesis
from mirage.report.printing.typeset import compiled, families, warn_of_missing_letters
from mirage.report.quotes import quotable, quoted, read_summary
from mirage.report.record import Record, read_record

OUTLINES = {"thesis": thesis, "deliverable": deliverable}
WIDTHS = {"a4": 459.0, "us-letter": 476.0}
"""Width of the text, points: the paper without the margins of the template."""
HASH = 12


def print_study(report: Path, template: Template, options: PrintOptions, pdf: Path) -> None:
    """Typeset the report of a study.

    The same report and options give the same bytes: there is no date in the file, and no font of the machine
    is used.

    Args:
        report: folder of the report: ``report.json``, ``summary.csv`` and ``figures/``.
        template: which of the templates.
        options: title page and words.
        pdf: the file to write.

    Raises:
        ConfigError: the words quote a number that the summary has not, or answer an unknown item.
        DataError: the report is not whole, or typst refuses it.
    """
    record = read_record(report)
    filled = fill(options, quotable(read_summary(report)))
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_source(record, report, template, filled, folder)
        with atomic_path(pdf) as path:
            path.write_bytes(compiled(folder / f"{template}.typ", options.fonts))


def fill(options: PrintOptions, numbers: dict[str, str]) -> PrintOptions:
    """The options with the numbers that their texts quote."""

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return quoted(value, numbers)
        if isinstance(value, list):
            return [filled(item) for item in value]
        return {key: filled(item) for key, item in value.items()} if isinstance(value, dict) else value

    return PrintOptions.model_validate(filled(options.model_dump()))


def write_source(
    record: Record, report: Path, template: Template, options: PrintOptions, folder: Path
) -> None:
    """Write templates, pictures and ``content.json`` into a folder."""
    outline = OUTLINES[template](record, options)
    width = WIDTHS[options.paper]
    known = {**record.exhibits, **outline.tables}
    exhibits = {id: _placed(known[id], report, folder, width) for id in exhibits_in(outline)}
    labels = [section.label for section in walk([*outline.sections, *outline.annexes])]
    content = {
        **_facts(record, options),
        "sections": [_plain(section) for section in outline.sections],
        "annexes": [_plain(section) for section in outline.annexes],
        "exhibits": exhibits,
        "labels": [*labels, *(exhibit["anchor"] for exhibit in exhibits.values())],
    }
    text = json.dumps(content, ensure_ascii=False)
    content["acronyms"] = acronyms.used(_words(outline, exhibits), options.acronyms)
    content["fonts"] = families(options.fonts)
    warn_of_missing_letters(text, options.fonts)
    (folder / "content.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    with as_file(files("mirage.report.printing") / "templates") as templates:
        for path in templates.glob("*.typ"):
            copy(path, folder)


def _facts(record: Record, options: PrintOptions) -> dict[str, Any]:
    versions = [[v.version, v.date, v.author, v.changes] for v in options.versions]
    return {
        "study": record.study,
        "title": record.title,
        "question": record.question,
        "demo": record.scale == "demo",
        "commit": record.commit[:HASH],
        "configuration": record.configuration,
        "version": record.version,
        "versions": versions or [[DASH, DASH, DASH, "no version was logged"]],
        "cover": cover(options),
        **options.model_dump(include={"paper", "authors", "institution", "date", "project", "deliverable"}),
        **options.model_dump(include={"abstract", "funding"}),
    }


def _plain(section: Section) -> dict[str, Any]:
    return {
        "title": section.title,
        "label": section.label,
        "blocks": section.blocks,
        "sections": [_plain(one) for one in section.sections],
    }


def _placed(exhibit: Mapping[str, Any], report: Path, folder: Path, width: float) -> dict[str, Any]:
    if exhibit["form"] == "table":
        return {**exhibit, **place_table(exhibit, width)}
    place = place_plate if exhibit["form"] == "plate" else place_chart
    return {**exhibit, **place(exhibit, report, folder, width)}


def _words(outline: Outline, exhibits: Mapping[str, Any]) -> str:
    """What is printed of sections, captions and tables, for the acronyms in it."""
    blocks = [section.blocks for section in walk([*outline.sections, *outline.annexes])]
    shown = [
        (e["caption"], e["head"], [cell["text"] for row in e["rows"] for cell in row])
        for e in exhibits.values()
    ]
    return json.dumps([blocks, shown], ensure_ascii=False)
