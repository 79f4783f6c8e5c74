"""Limits, provenance, and which published figure each exhibit stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from mirage.config.evaluations import FidelityEvaluation, SegmentationEvaluation, StudyConfig
from mirage.data import Dataset
from mirage.files import read_json
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import Chapter, count, listing, words
from mirage.report.chapters.data import origin
from mirage.report.inputs import ReportInputs
from mirage.report.numbers import DASH, duration
from mirage.report.summary import OBSERVER

FEW_SUBJECTS = 20
FEW_SEEDS = 3


def limits_chapter(inputs: ReportInputs, data: Mapping[str, Dataset], summary: pd.DataFrame) -> Chapter:
    """What the numbers above cannot bear."""
    chapter = Chapter("Limits")
    configs = {name: config for name, (config, _) in inputs.evaluations.items()}
    judged = {name: config for name, config in configs.items() if isinstance(config, SegmentationEvaluation)}
    points = [*_simulated(data), *_small(judged, summary), *_generators(inputs)]
    for name, config in judged.items():
        points.append(_external(name, config))
        if OBSERVER not in set(summary.loc[summary["evaluation"] == name, "arm"]):
            points.append(
                f"{words(name)}: no second human observer is available for the test images, so how far two "
                "people would agree is unknown."
            )
    if not judged:
        points.append("Utility was not tested: no model was trained on the synthetic data for a task.")
    if not any(isinstance(config, FidelityEvaluation) for config in configs.values()):
        points.append("Fidelity and novelty were not tested.")
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


def _small(judged: Mapping[str, SegmentationEvaluation], summary: pd.DataFrame) -> list[str]:
    points = []
    for name, config in judged.items():
        own = summary[(summary["evaluation"] == name) & (summary["kind"] == "absolute")]
        own = own[own["arm"] != OBSERVER]
        subjects, seeds = int(own["n_subjects"].max()), int(own["n_seeds"].max())
        if subjects < FEW_SUBJECTS:
            points.append(
                f"{words(name)}: {count(subjects, 'test subject')}. With so few, intervals rest on roughly "
                "normal subject means, and effects smaller than the intervals cannot be seen."
            )
        if len(config.arms) > 2:
            points.append(
                f"{words(name)}: {len(config.arms) - 1} arms are compared with “{words(config.baseline)}”; "
                "intervals are not adjusted for making several comparisons."
            )
        if seeds < FEW_SEEDS:
            points.append(
                f"{words(name)}: {count(seeds, 'training seed')} an arm, so the variation from training to "
                f"training is {'not in the intervals' if seeds == 1 else 'poorly known'}."
            )
    return points


def _generators(inputs: ReportInputs) -> list[str]:
    single = [words(name) for name, folders in inputs.models.items() if len(folders) == 1]
    if not single:
        return []
    return [
        f"{listing(single)}: trained once. Another training seed would give other synthetic data, and that "
        "variation is in none of the intervals."
    ]


def _external(name: str, config: SegmentationEvaluation) -> str:
    trained = {part.data for arm in config.arms.values() for part in (*arm.train, *arm.pretrain)}
    if config.test in trained:
        return (
            f"{words(name)}: test subjects come from {words(config.test)}, which some arms also learn from; "
            "other cameras, clinics and populations were not tested."
        )
    return f"{words(name)}: one external test dataset, {words(config.test)}; other sites were not tested."


def provenance_chapter(inputs: ReportInputs, data: Mapping[str, Dataset], book: Book) -> Chapter:
    """Commit, configuration, fingerprints, seeds, versions, time and memory."""
    chapter = Chapter("Provenance")
    records = [read_json(folder / "provenance.json") for folder in _with_provenance(inputs)]
    records += [read_json(path).get("provenance") or {} for path in _fact_files(inputs)]
    records += [dataset.info.provenance for dataset in data.values()]
    chapter.facts(_facts(inputs, records))
    chapter.show(_artefacts(inputs, data, book))
    if inputs.benchmarks:
        chapter.show(_times(inputs.benchmarks, book))
    else:
        chapter.text("Time and memory of the stages were not recorded.")
    return chapter


def _with_provenance(inputs: ReportInputs) -> list[Path]:
    folders = [folder for folders in inputs.models.values() for folder in folders]
    folders += [folder for _, folders in inputs.evaluations.values() for folder in folders]
    return [folder for folder in folders if (folder / "provenance.json").is_file()]


def _fact_files(inputs: ReportInputs) -> list[Path]:
    folders = [folder for _, own in inputs.evaluations.values() for folder in own]
    files = [folder / name for folder in folders for name in ("arm.json", "fidelity.json")]
    return [path for path in files if path.is_file()]


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
        name: ", ".join(map(str, config.seeds))
        for name, (config, _) in inputs.evaluations.items()
        if isinstance(config, SegmentationEvaluation)
    }
    versions = ", ".join(f"{name} {' or '.join(sorted(found))}" for name, found in sorted(packages.items()))
    facts = [
        ("report made by commit", inputs.commit or "unknown"),
        ("results made by commit", "; ".join(sorted(commits)) or "not recorded"),
        ("configuration", inputs.config_hash or "not recorded"),
        ("packages", versions or "not recorded"),
    ]
    return facts + [(f"seeds of {words(name)}", value) for name, value in seeds.items()]


def _artefacts(inputs: ReportInputs, data: Mapping[str, Dataset], book: Book) -> Exhibit:
    records: list[dict[str, Any]] = [
        {"kind": "dataset", "name": name, "seed": (dataset.info.provenance or {}).get("seed"),
         "fingerprint": dataset.info.fingerprint, "made": (dataset.info.provenance or {}).get("finished")}
        for name, dataset in data.items()
    ]  # fmt: skip
    for name, folders in inputs.models.items():
        for folder in folders:
            model = read_json(folder / "model.json")
            path = folder / "provenance.json"
            made = read_json(path).get("finished") if path.is_file() else None
            learnt = (model.get("training") or {}).get("fingerprint")
            records.append(
                {
                    "kind": "model",
                    "name": name,
                    "seed": model.get("seed"),
                    "fingerprint": learnt,
                    "made": made,
                }
            )
    rows = [
        [
            Cell(words(record["name"]), note=record["kind"]),
            Cell(DASH if record["seed"] is None else str(record["seed"]), number=True),
            Cell(str(record["fingerprint"] or DASH)),
            Cell(str(record["made"] or DASH)),
        ]
        for record in records
    ]
    caption = (
        "Datasets and models. The fingerprint of a dataset is a hash over its manifest and images; that of "
        "a model is the fingerprint of the data it learnt from."
    )
    return book.table(
        "artefacts",
        ["name", "seed", "fingerprint", "made"],
        rows,
        caption=caption,
        data=pd.DataFrame(records),
    )


def read_benchmarks(paths: Sequence[Path]) -> pd.DataFrame:
    """One row a run of a job: ``stage, job, seconds, max_rss_mb``; NaN where Snakemake measured nothing.

    The part of the path after the last folder ``benchmarks`` names the job, its first part the stage.
    """
    records = []
    for path in paths:
        parts = path.with_suffix("").parts
        last = max((i for i, part in enumerate(parts) if part == "benchmarks"), default=len(parts) - 2)
        own = [part for part in parts[last + 1 :] if part != "runs"]
        table = pd.read_csv(path, sep="\t", na_values=["-", "NA"])
        for row in table.to_dict("records"):
            records.append(
                {
                    "stage": own[0],
                    "job": "/".join(own),
                    "seconds": float(row.get("s", "nan")),
                    "max_rss_mb": float(row.get("max_rss", "nan")),
                }
            )
    return pd.DataFrame(records, columns=["stage", "job", "seconds", "max_rss_mb"])


def _times(paths: Sequence[Path], book: Book) -> Exhibit:
    data = read_benchmarks(paths)
    rows = []
    for stage, jobs in data.groupby("stage", sort=False):
        memory = jobs["max_rss_mb"].max()
        rows.append(
            [
                Cell(words(str(stage))),
                Cell(str(len(jobs)), number=True),
                Cell(duration(jobs["seconds"].sum()), number=True),
                Cell(duration(jobs["seconds"].max()), number=True),
                Cell(DASH if pd.isna(memory) else f"{memory:.0f} MB", number=True),
            ]
        )
    caption = (
        f"Time and memory of the stages as Snakemake measured them, {count(len(data), 'job')}. Total time is "
        "over jobs, which may have run side by side."
    )
    head = ["stage", "jobs", "total time", "longest job", "peak memory"]
    return book.table("time", head, rows, caption=caption, data=data)


def correspondence_chapter(study: StudyConfig, book: Book) -> Chapter:
    """All exhibits with the published figure each regenerates, then published items that none does."""
    chapter = Chapter("List of figures and tables")
    exhibits = list(book.exhibits)
    published: dict[str, list[str]] = {}
    for item, target in study.published.items():
        published.setdefault(target, []).append(item)
    rows, records = [], []
    for exhibit in exhibits:
        regenerated = "; ".join(published.get(exhibit.id, [])) or DASH
        link = Markup('<a href="#{}">{}</a>').format(exhibit.anchor, exhibit.label)
        rows.append([Cell(link), Cell(_first_sentence(exhibit.caption), note=exhibit.id), Cell(regenerated)])
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
