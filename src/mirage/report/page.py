"""Assembles the report: chapters, page, tables of numbers."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2
import pandas as pd

import mirage
from mirage.config.evaluations import StudyConfig
from mirage.data import Dataset
from mirage.errors import DataError
from mirage.files import atomic_path, write_json
from mirage.report.book import Book
from mirage.report.chapters.base import Block, Chapter, listing, words
from mirage.report.chapters.closing import (
    correspondence_chapter,
    limits_chapter,
    models_behind,
    provenance_chapter,
)
from mirage.report.chapters.data import data_chapter, made_by_recipes, origin, pipeline_chapter
from mirage.report.chapters.gallery import gallery_chapter
from mirage.report.chapters.training import training_chapter
from mirage.report.chapters.tumours import tumour_chapter
from mirage.report.evaluators import present
from mirage.report.inputs import ReportInputs
from mirage.report.nifti import Written, export_volumes
from mirage.report.record import record_of, write_record
from mirage.report.summary import nested, summarise
from mirage.report.tumours import Group, measure_all
from mirage.report.verdicts import Verdict, in_order

PAGE_BYTES = 5_000_000
SHRINK = (1.0, 0.75, 0.5, 0.35)


@dataclass(frozen=True)
class Volumes:
    """What is read of volumes once, however often the page is laid out.

    Attributes:
        written: exported volumes.
        tumours: measured tumours.
    """

    written: Sequence[Written]
    tumours: Sequence[Group]


def build_report(study: StudyConfig, name: str, inputs: ReportInputs, out: Path) -> None:
    """Write the report of one study into a folder.

    Writes ``report.html`` (one self-contained page under 5 MB), ``figures/`` (every figure in full and the
    CSV behind it), ``volumes/`` (NIfTI files of a few synthetic volumes; empty in a study of images),
    ``summary.csv`` (the tidy table of :func:`mirage.report.summary.summarise`), ``summary.json`` (the
    same, nested, for ``dvc metrics``) and ``report.json`` (the page as data,
    :mod:`mirage.report.record`).

    Args:
        study: title, question, notes, publication followed.
        name: the study's name in the configuration.
        inputs: folders of results.
        out: folder, made when missing; files of an earlier report are overwritten.

    Raises:
        DataError: a result is missing or breaks its contract, or even the smallest page is too big.
    """
    summary = summarise(inputs)
    data = {key: Dataset(folder) for key, folder in inputs.datasets.items()}
    volumes = Volumes(export_volumes(data, _drawn(data), out), measure_all(data, made_by_recipes(data)))
    page, chapters = _page_in_budget(study, name, inputs, data, summary, volumes, out)
    with atomic_path(out / "summary.csv") as path:
        summary.to_csv(path, index=False)
    write_json(out / "summary.json", nested(summary))
    write_record(record_of(study, name, inputs, data, chapters), out)
    with atomic_path(out / "report.html") as path:
        path.write_text(page, encoding="utf-8")


def _drawn(data: Mapping[str, Dataset]) -> list[str]:
    """Names of the datasets whose images a generator has drawn."""
    return [
        name
        for name, dataset in data.items()
        if origin(dataset) == "synthetic" and models_behind(dataset.info.provenance.get("config"))
    ]


def _page_in_budget(
    study: StudyConfig,
    name: str,
    inputs: ReportInputs,
    data: dict[str, Dataset],
    summary: pd.DataFrame,
    volumes: Volumes,
    out: Path,
) -> tuple[str, list[Chapter]]:
    """The page with thumbnails as large as the budget of bytes allows, and its chapters."""
    for scale in SHRINK:
        chapters = assemble(study, inputs, data, summary, volumes, Book(out, scale))
        page = render(study, name, inputs, chapters)
        if len(page.encode()) < PAGE_BYTES:
            return page, chapters
    raise DataError(
        f"report {name}: the page has {len(page.encode()) / 1e6:.1f} MB, at most {PAGE_BYTES / 1e6:.0f} are "
        "allowed; split the study into two with fewer evaluations each"
    )


def assemble(
    study: StudyConfig,
    inputs: ReportInputs,
    data: dict[str, Dataset],
    summary: pd.DataFrame,
    volumes: Volumes,
    book: Book,
) -> list[Chapter]:
    """All chapters in their order; those that a study has nothing for are left out."""
    made = set(made_by_recipes(data))
    verdicts = in_order(
        [verdict for module, own in present(inputs) for verdict in module.verdicts(own, made, summary)]
    )
    chapters = [
        _findings(study, data, verdicts),
        pipeline_chapter(inputs, book),
        data_chapter(data, book) if data else None,
        training_chapter(inputs, book),
        gallery_chapter(data, volumes.written, book),
        tumour_chapter(volumes.tumours, book),
        *(
            chapter
            for module, own in present(inputs)
            for chapter in module.chapters(own, inputs, data, summary, book)
        ),
        limits_chapter(inputs, data, summary, [v.axis for v in verdicts if v.word == "untested"]),
        provenance_chapter(inputs, data, book),
        correspondence_chapter(study, book),
    ]
    return [chapter for chapter in chapters if chapter is not None]


def _findings(study: StudyConfig, data: dict[str, Dataset], verdicts: list[Verdict]) -> Chapter:
    chapter = Chapter("Findings", "findings")
    simulated = [words(name) for name, dataset in data.items() if origin(dataset) == "simulated"]
    if simulated:
        chapter.remark(
            f"This run uses simulated data ({listing(simulated)}). It shows that the pipeline works; it says "
            "nothing about patients."
        )
    chapter.blocks.append(Block("verdicts", items=verdicts))
    chapter.text(
        "Each verdict follows the rule printed below it and is inconclusive unless a 95 % interval decides. "
        "Privacy was not assessed."
    )
    for note in study.notes:
        chapter.remark(note)
    return chapter


def render(study: StudyConfig, name: str, inputs: ReportInputs, chapters: list[Chapter]) -> str:
    """The page as HTML text."""
    template = _environment().get_template("report.html.j2")
    return template.render(
        study=study,
        name=name,
        chapters=chapters,
        commit=inputs.commit,
        config_hash=inputs.config_hash,
        demo=inputs.scale == "demo",
        version=mirage.__version__,
    )


@functools.cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(str(files("mirage.report") / "templates"))
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
