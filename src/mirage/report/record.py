"""The finished report as data: ``report.json``, from which print, LaTeX and comparisons are made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mirage
from mirage.config.evaluations import StudyConfig
from mirage.data import Dataset
from mirage.errors import DataError
from mirage.files import read_json, write_json
from mirage.report.book import Exhibit
from mirage.report.chapters.base import Block, Chapter
from mirage.report.inputs import ReportInputs
from mirage.report.verdicts import Verdict

FORMAT = 1
FILE = "report.json"
_FILE = re.compile(r"figures/[^/]+\.(csv|svg|pdf|png)$")


@dataclass(frozen=True)
class Record:
    """What a report says and shows, without its pictures: these lie in ``figures/``.

    Attributes:
        study: the study's name in the configuration.
        title, question, reference: as configured.
        scale: ``full`` or ``demo``.
        commit: of the code, empty when unknown.
        configuration: digest of everything that decides the results.
        version: of Mirage.
        fingerprints: ``dataset <name>`` -> hash of its contents; ``model <name>, seed-<n>`` -> hash of what
            it learnt from, and the step whose weights were kept.
        simulated: names of datasets that are phantoms.
        chapters: in the order of the page. A block is a mapping with ``kind``, ``text`` and ``items``, and
            with the exhibit's id where it shows one.
        exhibits: id -> its fields, with ``files``: suffix -> path relative to the report.
    """

    study: str
    title: str
    question: str
    reference: str
    scale: str
    commit: str
    configuration: str
    version: str
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    simulated: Sequence[str] = ()
    chapters: Sequence[Mapping[str, Any]] = ()
    exhibits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdicts, in their order."""
        return [
            Verdict(**item)
            for chapter in self.chapters
            for block in chapter["blocks"]
            if block["kind"] == "verdicts"
            for item in block["items"]
        ]


def record_of(
    study: StudyConfig,
    name: str,
    inputs: ReportInputs,
    data: Mapping[str, Dataset],
    chapters: Sequence[Chapter],
) -> Record:
    """The record of an assembled report."""
    return Record(
        study=name,
        title=study.title,
        question=study.question,
        reference="; ".join(
            [*(one.reference for one in inputs.publications.values()), *filter(None, [study.reference])]
        ),
        scale=inputs.scale,
        commit=inputs.commit,
        configuration=inputs.config_hash,
        version=mirage.__version__,
        fingerprints={**_data(data), **_models(inputs)},
        simulated=[key for key, dataset in data.items() if (dataset.items["origin"] == "simulated").any()],
        **as_data(chapters),
    )


def as_data(chapters: Sequence[Chapter]) -> dict[str, Any]:
    """Chapters and their exhibits as the fields of a record."""
    shown = [block.exhibit for chapter in chapters for block in chapter.blocks if block.exhibit is not None]
    return {
        "chapters": [
            {
                "title": chapter.title,
                "part": chapter.part,
                "page": chapter.page,
                "blocks": [_block(block) for block in chapter.blocks],
            }
            for chapter in chapters
        ],
        "exhibits": {exhibit.id: _exhibit(exhibit) for exhibit in shown},
    }


def _data(data: Mapping[str, Dataset]) -> dict[str, str]:
    return {f"dataset {key}": dataset.info.fingerprint for key, dataset in data.items()}


def _models(inputs: ReportInputs) -> dict[str, str]:
    """Training data and kept step of every model."""
    found = {}
    for name, folders in inputs.models.items():
        for folder in folders:
            model = read_json(folder / "model.json")
            data = (model.get("training") or {}).get("fingerprint") or "unknown data"
            found[f"model {name}, {folder.name}"] = f"{data}, step {model.get('step')}"
    return found


def _block(block: Block) -> dict[str, Any]:
    items = [asdict(item) if isinstance(item, Verdict) else item for item in block.items]
    found: dict[str, Any] = {"kind": block.kind, "text": str(block.text), "items": items}
    return found if block.exhibit is None else {**found, "exhibit": block.exhibit.id}


def _exhibit(exhibit: Exhibit) -> dict[str, Any]:
    return {
        "kind": exhibit.kind,
        "number": exhibit.number,
        "form": exhibit.form,
        "anchor": exhibit.anchor,
        "page": exhibit.page,
        "caption": exhibit.caption,
        "alt": exhibit.alt,
        "files": _files(exhibit.links),
        "head": list(exhibit.head),
        "rows": [[asdict(cell) for cell in row] for row in exhibit.rows],
        "columns": list(exhibit.columns),
        "names": list(exhibit.names),
        "side": exhibit.side,
        "legend": [list(key) for key in exhibit.legend],
        "tiles": [
            [None if picture is None else _tile(picture, place) for picture, place in zip(*row, strict=True)]
            for row in zip(exhibit.pictures, exhibit.places, strict=True)
        ],
    }


def _tile(picture: Any, place: Any) -> dict[str, Any]:
    return {"place": list(place), "alt": picture.alt, "note": picture.note}


def _files(links: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Suffix -> path of what was written of an exhibit; of several the first."""
    found: dict[str, str] = {}
    for _, path in links:
        if known := _FILE.fullmatch(path):
            found.setdefault(known[1], path)
    return found


def write_record(record: Record, folder: Path) -> None:
    """Write ``report.json`` into the folder of a report."""
    write_json(folder / FILE, {"format": FORMAT, **asdict(record)})


def read_record(folder: Path) -> Record:
    """The record of a report.

    Raises:
        DataError: the folder holds none, or one of another format.
    """
    path = folder / FILE
    try:
        fields = dict(read_json(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no readable record of a report ({error}); make the report again") from error
    found = fields.pop("format", None)
    if found != FORMAT:
        raise DataError(f"{path}: format {found}, expected {FORMAT}; make the report again")
    return Record(**fields)
