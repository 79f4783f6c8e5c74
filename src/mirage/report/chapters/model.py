"""The page of one generator: how it was trained, why its weights were kept, its options and its cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mirage.amounts import duration
from mirage.benchmarks import job_of
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import Chapter, words
from mirage.report.chapters.spent import spent
from mirage.report.chapters.training import best_of, curves, kept_value, metric_name, previews
from mirage.report.inputs import ReportInputs
from mirage.report.numbers import DASH, grouped, significant
from mirage.report.sources import Made


def page_of(name: str) -> str:
    """File of a generator's page, relative to the report."""
    return f"models/{name}.html"


PARTS = {
    "training": "training",
    "checkpoint": "training",
    "options": "provenance",
    "cost": "provenance",
    "provenance": "provenance",
}
"""Chapter of the page -> which part of a print it goes to."""


def model_chapters(
    name: str, runs: Sequence[Mapping[str, Any]], inputs: ReportInputs, made: Sequence[Made], book: Book
) -> list[Chapter]:
    """Chapters of a generator's page.

    Args:
        name: of the generator.
        runs: its models, from :func:`mirage.report.chapters.training.read_model`, a training seed each.
        inputs: folders of results.
        made: provenance of those models.
        book: gets the exhibits.
    """
    chapters = {
        title: Chapter(f"{words(name)}: {title}", part, page=page_of(name)) for title, part in PARTS.items()
    }
    shown = [curves(name, runs, book)]
    shown += [
        previews(name, folder, run, book, several=len(runs) > 1)
        for folder, run in zip(inputs.models[name], runs, strict=True)
    ]
    for exhibit in shown:
        if exhibit is not None:
            chapters["training"].show(exhibit)
    chapters["checkpoint"].show(_checkpoint(name, runs, book))
    chapters["options"].show(_options(name, runs[0], made[0], book))
    _cost(chapters["cost"], name, inputs, book)
    for one, run in zip(made, runs, strict=True):
        if len(made) > 1:
            chapters["provenance"].heading(one.part)
        chapters["provenance"].facts(list(_facts(one, run)))
    return [chapter for chapter in chapters.values() if chapter.blocks]


def _checkpoint(name: str, runs: Sequence[Mapping[str, Any]], book: Book) -> Exhibit:
    records, rows = [], []
    for run in runs:
        last, best = run["history"]["step"].max(), best_of(run)
        kept = kept_value(run)
        record = {
            "seed": run.get("seed"),
            "step": run.get("step"),
            "last_step": None if pd.isna(last) else int(last),
            "chosen_because": run.get("chosen_because"),
            "metric": metric_name(run),
            "value": kept,
            "best_value": None if best is None else best[1],
            "best_step": None if best is None else best[0],
        }
        records.append(record)
        rows.append(
            [
                Cell(f"seed {record['seed']}"),
                Cell(f"{record['step']} of {record['last_step']}", number=True),
                Cell(str(record["chosen_because"] or DASH)),
                Cell(DASH if kept is None else significant(float(kept)), number=True),
                Cell(DASH if best is None else f"{significant(best[1])} at {grouped(best[0])}", number=True),
            ]
        )
    metric = words(metric_name(runs[0])) or "the validation metric"
    caption = (
        f"Weights of {words(name)} that were kept, and {metric} on validation subjects there and where it "
        "was best. Test subjects play no part."
    )
    head = ["run", "kept step", "why", f"{metric}, kept", "best, at step"]
    return book.table(f"checkpoint/{name}", head, rows, caption=caption, data=pd.DataFrame(records))


def _options(name: str, run: Mapping[str, Any], made: Made, book: Book) -> Exhibit:
    """Every option of the network and, where they were recorded, of its training."""
    config = made.record.get("config") or {}
    options = {"arch": run.get("arch")} | {f"options.{k}": v for k, v in (run.get("options") or {}).items()}
    options |= {key: value for key, value in _flat(config) if not key.startswith("options.")}
    rows = [[Cell(key), Cell(_plain(value))] for key, value in options.items()]
    data = pd.DataFrame({"option": [*options], "value": [_plain(value) for value in options.values()]})
    caption = (
        f"Options of {words(name)}: of the network all, defaults included; of training those that differ "
        "from the default."
    )
    return book.table(f"options/{name}", ["option", "value"], rows, caption=caption, data=data)


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as dotted keys."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _cost(chapter: Chapter, name: str, inputs: ReportInputs, book: Book) -> None:
    own = [path for path in inputs.benchmarks if _trains(path, name)]
    if own:
        chapter.show(spent(f"time/{name}", own, inputs.cost, book))
    else:
        chapter.text("Time and memory of training were not recorded.")


def _trains(path: Path, name: str) -> bool:
    return job_of(path).startswith(f"train_generator/{name}/")


def _facts(made: Made, run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    record, training = made.record, run.get("training") or {}
    yield "commit", f"{made.commit or 'unknown'}{' with uncommitted changes' if made.edited else ''}"
    yield "options", str(record.get("config_hash") or "not recorded")
    yield "trained on", f"{words(str(training.get('dataset')))}, fingerprint {training.get('fingerprint')}"
    if training.get("items") is not None:
        yield "training items", grouped(int(training["items"]))
    yield from ((words(name), str(value)) for name, value in (run.get("notes") or {}).items())
    yield "weights (SHA-256)", str(run.get("weights_sha256") or "not recorded")
    yield "finished", str(record.get("finished") or "not recorded")
    if record.get("seconds"):
        yield "seconds in the loop", duration(float(record["seconds"]))
    yield "device", str(record.get("device") or "not recorded")
    packages = record.get("packages") or {}
    yield "packages", ", ".join(f"{key} {value}" for key, value in packages.items()) or "not recorded"
