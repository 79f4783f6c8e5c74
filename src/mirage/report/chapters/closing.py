"""Limits, provenance, and which published figure each exhibit stands for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mirage.config.evaluations import StudyConfig
from mirage.data import Dataset
from mirage.files import read_json
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import Chapter, listing, words
from mirage.report.chapters.data import origin
from mirage.report.chapters.spent import spent
from mirage.report.evaluators import present
from mirage.report.inputs import ReportInputs
from mirage.report.numbers import DASH


def limits_chapter(
    inputs: ReportInputs, data: Mapping[str, Dataset], summary: pd.DataFrame, untested: Sequence[str]
) -> Chapter:
    """What the numbers above cannot bear; ``untested`` are the axes without a verdict."""
    chapter = Chapter("Limits", "limits")
    points = [*_simulated(data), *_generators(inputs)]
    for module, own in present(inputs):
        points += module.limits(own, summary)
    points += [f"{axis} was not tested." for axis in untested]
    points += [
        "Privacy was not assessed. Nearest-neighbour and duplicate searches can reveal copies; finding none "
        "does not show that the synthetic data are private. No membership-inference attack was run and no "
        "differential privacy was used.",
        "No human reader study was made: whether experts can tell synthetic from real images was not tested.",
        "Synthetic images are for research; they are not evidence about any patient.",
    ]
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


def _generators(inputs: ReportInputs) -> list[str]:
    single = [words(name) for name, folders in inputs.models.items() if len(folders) == 1]
    if not single:
        return []
    return [
        f"{listing(single)}: trained once. Another training seed would give other synthetic data, and that "
        "variation is in none of the intervals."
    ]


def provenance_chapter(inputs: ReportInputs, data: Mapping[str, Dataset], book: Book) -> Chapter:
    """Commit, configuration, fingerprints, seeds, options, versions, and what it took."""
    chapter = Chapter("Provenance", "provenance")
    records = _records(inputs, data)
    chapter.facts(_facts(inputs, [made for _, _, made in records]))
    chapter.show(_artefacts(records, inputs, data, book))
    options = [(title, json.dumps(made["config"])) for title, _, made in records if made.get("config")]
    if options:
        chapter.fold("All options that made these results, defaults included", options)
    if inputs.benchmarks:
        chapter.show(spent(inputs.benchmarks, inputs.cost, book))
    else:
        chapter.text("Time and memory of the stages were not recorded.")
    return chapter


Record = tuple[str, Path, Mapping[str, Any]]
"""What was made, where, and its provenance as :func:`mirage.provenance.describe` gives it."""


def _records(inputs: ReportInputs, data: Mapping[str, Dataset]) -> list[Record]:
    """Provenance of every dataset, model and evaluation that has one."""
    found: list[Record] = [
        (f"dataset {name}", dataset.folder, dataset.info.provenance) for name, dataset in data.items()
    ]
    for name, folders in inputs.models.items():
        for folder in folders:
            if (folder / "provenance.json").is_file():
                found.append((f"model {name}, {folder.name}", folder, read_json(folder / "provenance.json")))
    for name, (_, folders) in inputs.evaluations.items():
        for folder in folders:
            for path in sorted((folder / "details").glob("*.json")):
                made = read_json(path).get("provenance") or {}
                place = "" if folder.name == name else f", {folder.parent.name} {folder.name}"
                found.append((f"evaluation {name}{place}", folder, made))
    return found


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


def models_behind(config: Any) -> list[str]:
    """``name, seed n`` of every trained generator that the options of a recipe name, once."""
    if isinstance(config, list):
        return list(dict.fromkeys(found for item in config for found in models_behind(item)))
    if not isinstance(config, Mapping):
        return []
    if config.keys() == {"generator", "seed"}:
        return [f"{config['generator']}, seed {config['seed']}"]
    return models_behind(list(config.values()))


def _artefacts(
    records: Sequence[Record], inputs: ReportInputs, data: Mapping[str, Dataset], book: Book
) -> Exhibit:
    made_by = {folder: made for _, folder, made in records}
    table: list[dict[str, Any]] = []
    for name, dataset in data.items():
        made = made_by[dataset.folder]
        table.append(
            {
                "kind": "dataset",
                "name": name,
                "seed": made.get("seed"),
                "models": "; ".join(models_behind(made.get("config"))),
                "fingerprint": dataset.info.fingerprint,
                "made": made.get("finished"),
            }
        )
    for name, folders in inputs.models.items():
        for folder in folders:
            model = read_json(folder / "model.json")
            table.append(
                {
                    "kind": "model",
                    "name": name,
                    "seed": model.get("seed"),
                    "models": "",
                    "fingerprint": (model.get("training") or {}).get("fingerprint"),
                    "made": made_by.get(folder, {}).get("finished"),
                }
            )
    rows = [
        [
            Cell(words(record["name"]), note=record["kind"]),
            Cell(DASH if record["seed"] is None else str(record["seed"]), number=True),
            Cell(words(record["models"]) or DASH),
            Cell(str(record["fingerprint"] or DASH)),
            Cell(str(record["made"] or DASH)),
        ]
        for record in table
    ]
    caption = (
        "Datasets and models. The fingerprint of a dataset is a hash over its manifest and images; that of "
        "a model is the fingerprint of the data it learnt from."
    )
    head = ["name", "seed", "made with", "fingerprint", "made"]
    return book.table("artefacts", head, rows, caption=caption, data=pd.DataFrame(table))


def correspondence_chapter(study: StudyConfig, book: Book) -> Chapter:
    """All exhibits with the published figure each regenerates, then published items that none does."""
    chapter = Chapter("List of figures and tables", "exhibits")
    exhibits = list(book.exhibits)
    published: dict[str, list[str]] = {}
    for item, target in study.published.items():
        published.setdefault(target, []).append(item)
    rows, records = [], []
    for exhibit in exhibits:
        regenerated = "; ".join(published.get(exhibit.id, [])) or DASH
        link = Cell(exhibit.label, links=[(exhibit.label, f"#{exhibit.anchor}")])
        rows.append([link, Cell(_first_sentence(exhibit.caption), note=exhibit.id), Cell(regenerated)])
        records.append({"exhibit": exhibit.label, "id": exhibit.id, "published": regenerated})
    ids = {exhibit.id for exhibit in exhibits}
    for target, items in published.items():
        if target not in ids:
            why = (
                target.removeprefix("none:").strip()
                if target.startswith("none:")
                else f"no exhibit {target!r} in this run"
            )
            rows.append([Cell(DASH), Cell(f"not regenerated: {why}"), Cell("; ".join(items))])
            records.append({"exhibit": "", "id": target, "published": "; ".join(items)})
    if study.reference:
        chapter.text(f"Reference: {study.reference}")
    caption = (
        f"Exhibits of this report, n = {len(exhibits)}, and the published figures and tables they "
        "regenerate. Small print: the exhibit's id."
    )
    head = ["exhibit", "shows", "published as"]
    chapter.show(book.table("exhibits", head, rows, caption=caption, data=pd.DataFrame(records)))
    return chapter


def _first_sentence(caption: str) -> str:
    return re.split(r"\.(?:\s|$)", caption, maxsplit=1)[0]
