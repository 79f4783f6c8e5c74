"""Assembles the report: chapters, its pages, tables of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import mirage
from mirage.amounts import size as as_size
from mirage.config.evaluations import ArmsEvaluation, StudyConfig
from mirage.data import Dataset
from mirage.errors import DataError
from mirage.files import atomic_path, write_json
from mirage.report.book import MAIN_PAGE, Book
from mirage.report.chapters.base import Block, Chapter, listing, words
from mirage.report.chapters.closing import correspondence_chapter, limits_chapter, provenance_chapter
from mirage.report.chapters.data import data_chapter, made_by_recipes, origin, pipeline_chapter
from mirage.report.chapters.gallery import gallery_chapter
from mirage.report.chapters.inpainting import inpainting_chapter
from mirage.report.chapters.lesions import lesion_chapter
from mirage.report.chapters.model import model_chapters, page_of
from mirage.report.chapters.preprocessing import preprocessing_chapter
from mirage.report.chapters.runs import models_behind
from mirage.report.chapters.training import read_model, training_chapter
from mirage.report.chapters.tumours import tumour_chapter
from mirage.report.evaluators import present
from mirage.report.html import Page, render
from mirage.report.inputs import ReportInputs
from mirage.report.nifti import Written, export_volumes
from mirage.report.record import record_of, write_record
from mirage.report.sources import COMMIT_DIGITS, Source, made_of, sources_of
from mirage.report.summary import nested, summarise
from mirage.report.tumours import Group, measure_all
from mirage.report.verdicts import COMBINED, Verdict, in_order

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

    Writes ``report.html`` and, below ``models/``, a page a generator (each self-contained and under 5 MB),
    ``figures/`` (every figure in full and the CSV behind it), ``volumes/`` (NIfTI files of a few synthetic
    volumes; empty in a study of images), ``summary.csv`` (the tidy table of
    :func:`mirage.report.summary.summarise`), ``summary.json`` (the same, nested, for ``dvc metrics``) and
    ``report.json`` (the pages as data, :mod:`mirage.report.record`).

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
    pages, chapters = _pages_in_budget(study, name, inputs, data, summary, volumes, out)
    with atomic_path(out / "summary.csv") as path:
        summary.to_csv(path, index=False)
    write_json(out / "summary.json", nested(summary))
    write_record(record_of(study, name, inputs, data, chapters), out)
    (out / "models").mkdir(exist_ok=True)
    for file, text in pages.items():
        with atomic_path(out / file) as path:
            path.write_text(text, encoding="utf-8")


def _drawn(data: Mapping[str, Dataset]) -> list[str]:
    """Names of the datasets whose images a generator has drawn."""
    return [
        name
        for name, dataset in data.items()
        if origin(dataset) == "synthetic" and models_behind(dataset.info.provenance.get("config"))
    ]


def _pages_in_budget(
    study: StudyConfig,
    name: str,
    inputs: ReportInputs,
    data: dict[str, Dataset],
    summary: pd.DataFrame,
    volumes: Volumes,
    out: Path,
) -> tuple[dict[str, str], list[Chapter]]:
    """All pages with thumbnails as large as the budget of bytes allows, and their chapters."""
    book = Book(out, drawn_by=Source("report_study", (inputs.commit[:COMMIT_DIGITS],)))
    for scale in SHRINK:
        book = book.smaller(scale)
        chapters = assemble(study, name, inputs, data, summary, volumes, book)
        pages = render_all(study, name, inputs, chapters)
        size = max(len(text.encode()) for text in pages.values())
        if size < PAGE_BYTES:
            return pages, chapters
    raise DataError(
        f"report {name}: a page has {as_size(size)}, at most {as_size(PAGE_BYTES)} are "
        "allowed; split the study into two with fewer evaluations each"
    )


def assemble(
    study: StudyConfig,
    name: str,
    inputs: ReportInputs,
    data: dict[str, Dataset],
    summary: pd.DataFrame,
    volumes: Volumes,
    book: Book,
) -> list[Chapter]:
    """All chapters of all pages in their order; those that a study has nothing for are left out."""
    synthetic = set(made_by_recipes(data))
    verdicts = in_order(
        [verdict for module, own in present(inputs) for verdict in module.verdicts(own, synthetic, summary)]
    )
    models = {key: [read_model(folder) for folder in folders] for key, folders in inputs.models.items()}
    pages = {key: page_of(key) for key in models}
    made = made_of(inputs, data)
    datasets, trained = sources_of(made, ["dataset"]), sources_of(made, ["model"])
    chapters = [_findings(study, data, verdicts), pipeline_chapter(inputs, book)]
    with book.showing(datasets):
        chapters.append(data_chapter(data, book, trains=_trains(inputs)) if data else None)
        chapters.append(preprocessing_chapter(data, book))
    with book.showing(trained):
        chapters.append(training_chapter(models, pages, inputs, book))
        chapters.append(inpainting_chapter(models, inputs, book))
    with book.showing(datasets):
        chapters.append(gallery_chapter(data, volumes.written, book))
        chapters.append(lesion_chapter(data, inputs.curations, book))
        chapters.append(tumour_chapter(volumes.tumours, book))
    with book.showing(sources_of(made, ["evaluation"])):
        for module, own in present(inputs):
            chapters += module.chapters(own, inputs, data, summary, book)
    untested = [verdict.axis for verdict in verdicts if verdict.word == "untested"]
    chapters.append(limits_chapter(inputs, data, summary, untested))
    chapters.append(provenance_chapter(inputs, data, made, book))
    for key, runs in models.items():
        with book.showing(trained, pages[key]):
            own_records = [one for one in made if (one.kind, one.name) == ("model", key)]
            chapters += model_chapters(key, runs, inputs, own_records, book)
    chapters.append(correspondence_chapter(study, name, inputs.publications, book))
    return [chapter for chapter in chapters if chapter is not None]


def _trains(inputs: ReportInputs) -> bool:
    """Whether the study trains generators or judges."""
    judged = (finished.config for finished in inputs.evaluations.values())
    return bool(inputs.models) or any(isinstance(config, ArmsEvaluation) for config in judged)


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
        "Each verdict follows the rule given with it and is inconclusive unless a 95 % interval decides. "
        f"{COMBINED}"
    )
    for note in study.notes:
        chapter.remark(note)
    return chapter


def render_all(
    study: StudyConfig, name: str, inputs: ReportInputs, chapters: Sequence[Chapter]
) -> dict[str, str]:
    """Every page as HTML text, by its file."""
    pages = {MAIN_PAGE: _main_page(study, name, inputs)}
    for model in inputs.models:
        pages[page_of(model)] = _model_page(study, model, inputs)
    shown = {file: [chapter for chapter in chapters if chapter.page == file] for file in pages}
    return {file: render(page, shown[file]) for file, page in pages.items()}


def _main_page(study: StudyConfig, name: str, inputs: ReportInputs) -> Page:
    follows = [f"Follows {one.reference}" for one in inputs.publications.values()]
    return Page(
        kind=f"Study report · {name}",
        title=study.title,
        lead=study.question,
        facts=[*follows, *filter(None, [study.reference]), _made_with(inputs)],
        below=[(words(model), page_of(model)) for model in inputs.models],
        demo=inputs.scale == "demo",
        traced_to=("summary.csv",),
    )


def _model_page(study: StudyConfig, model: str, inputs: ReportInputs) -> Page:
    return Page(
        kind="Generator",
        title=words(model),
        lead="How it was trained, which weights were kept and why, with which options and at what cost.",
        facts=[_made_with(inputs)],
        up=[(study.title, f"../{MAIN_PAGE}")],
        root="../",
        home=f"../{MAIN_PAGE}",
        demo=inputs.scale == "demo",
    )


def _made_with(inputs: ReportInputs) -> str:
    parts = [f"Mirage {mirage.__version__}"]
    if inputs.commit:
        parts.append(f"commit {inputs.commit[:COMMIT_DIGITS]}")
    if inputs.config_hash:
        parts.append(f"configuration {inputs.config_hash}")
    return " · ".join(parts)
