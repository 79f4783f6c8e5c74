"""How the generators were trained: a table of all, and of each the curves and the previews along the way."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from mirage.amounts import duration
from mirage.errors import DataError
from mirage.files import read_json
from mirage.report import figures
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import Chapter, count, words
from mirage.report.chapters.spent import measured
from mirage.report.images import Tile
from mirage.report.inputs import ReportInputs
from mirage.report.numbers import DASH, grouped, significant
from mirage.training.selection import average_name

PREVIEWS = 4
SHEET_SIDE = 1024


def training_chapter(
    models: Mapping[str, Sequence[Mapping[str, Any]]],
    pages: Mapping[str, str],
    inputs: ReportInputs,
    book: Book,
) -> Chapter | None:
    """Table of models and what each drew last; curves and options stand on their own pages.

    Args:
        models: generator -> its runs, from :func:`read_model`.
        pages: generator -> file of its page, relative to the report.
        inputs: folders of results.
        book: gets the exhibits.
    """
    if not models:
        return None
    chapter = Chapter("Generators", "training")
    chapter.show(_table(models, pages, inputs, book))
    last = _last_previews(models, inputs, book)
    if last is not None:
        chapter.show(last)
    chapter.links(
        "Training curves, previews along the way, the choice of the checkpoint, all options and the cost:",
        [(words(name), page) for name, page in pages.items()],
    )
    return chapter


def read_model(folder: Path) -> dict[str, Any]:
    """``model.json`` of a model folder with its history under ``history``.

    Raises:
        DataError: the folder holds no readable model.
    """
    try:
        model: dict[str, Any] = read_json(folder / "model.json")
        history = pd.read_parquet(folder / "history.parquet")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder}: not a readable model folder ({error}); expected model.json and history.parquet"
        ) from error
    return {**model, "history": history}


def metric_name(model: Mapping[str, Any]) -> str:
    """The validation metric a model was chosen by, or an empty string."""
    metric = model.get("metric")
    return str(metric.get("name") or "") if isinstance(metric, Mapping) else str(metric or "")


def kept_value(model: Mapping[str, Any]) -> float | None:
    """The validation metric of the weights that were kept; None where none was measured."""
    metric = model.get("metric")
    value = metric.get("value") if isinstance(metric, Mapping) else None
    return None if value is None else float(value)


def judged_by(model: Mapping[str, Any]) -> str:
    """Sentences on what a model was chosen by, after a blank: the distance, its n, and its moving average.

    Empty where the generator's own metric chose by each value.
    """
    metric = model.get("metric")
    if not isinstance(metric, Mapping):
        return ""
    name, window, said = metric_name(model), metric.get("window", 1), metric.get("words")
    raw = name if window == 1 else name.removesuffix(average_name(""))
    found = f" {words(raw)}: {said}." if said else ""
    if window > 1:
        found += f" {words(name)}: at each step the mean of {window} values, that step's the last."
    return found


def best_of(model: Mapping[str, Any]) -> tuple[int, float] | None:
    """Step and value of the best validation metric of a training; None where none was measured."""
    history = model["history"]
    own = history[(history["metric"] == metric_name(model)) & history["value"].notna()]
    if own.empty:
        return None
    metric = model.get("metric")
    highest = isinstance(metric, Mapping) and metric.get("mode") == "max"
    row = own.loc[own["value"].idxmax() if highest else own["value"].idxmin()]
    return int(row["step"]), float(row["value"])


def _table(
    models: Mapping[str, Sequence[Mapping[str, Any]]],
    pages: Mapping[str, str],
    inputs: ReportInputs,
    book: Book,
) -> Exhibit:
    records, rows = [], []
    jobs = measured(inputs.benchmarks).groupby("job")["seconds"].sum()
    for name, runs in models.items():
        for model in runs:
            training = model.get("training") or {}
            last, seconds = (
                model["history"]["step"].max(),
                jobs.get(f"train_generator/{name}/seed-{model.get('seed')}"),
            )
            record = {
                "generator": name,
                "arch": model.get("arch"),
                "trained_on": training.get("dataset") or training.get("name"),
                "seed": model.get("seed"),
                "step": model.get("step"),
                "last_step": None if pd.isna(last) else int(last),
                "chosen_because": model.get("chosen_because"),
                "metric": metric_name(model),
                "value": kept_value(model),
                "seconds": seconds,
            }
            records.append(record)
            value, metric = record["value"], words(str(record["metric"]))
            rows.append(
                [
                    Cell(words(name), note=str(record["arch"]), links=[(words(name), pages[name])]),
                    Cell(words(str(record["trained_on"] or DASH))),
                    Cell(str(record["seed"]), number=True),
                    Cell(f"{record['step']} of {record['last_step']}", number=True),
                    Cell(str(record["chosen_because"] or DASH)),
                    Cell(DASH if value is None else significant(value), number=True, note=metric),
                    Cell(DASH if seconds is None else duration(seconds), number=True),
                ]
            )
    caption = (
        f"Trained generators, n = {len(records)}. The weights kept are those of the chosen step: the "
        "last one, or one chosen on validation subjects, never on test subjects. A name leads to the "
        "generator's own page."
    )
    head = ["generator", "trained on", "seed", "chosen step", "why", "validation", "time"]
    return book.table("generators", head, rows, caption=caption, data=pd.DataFrame(records))


def metric_groups(metrics: Sequence[str], chosen_by: str) -> dict[str, list[str]]:
    """Panels of the training figure: title -> metrics.

    A discriminator's two losses share a panel, since they are read against each other; every other metric
    has its own, since scales differ, and so has the gradient penalty ``r1`` beside them. The metric that
    weights are chosen by comes last; a moving average shares its panel with what it averages.
    """
    pairs: dict[str, list[str]] = {}
    for metric in metrics:
        side, _, which = figures.short(metric).partition(" ")
        if side in ("real", "fake"):
            pairs.setdefault(which, []).append(metric)
    penalty = [metric for metric in metrics if figures.short(metric) == "r1"]
    both = [metric for pair in pairs.values() for metric in pair]
    judged = [metric for metric in metrics if chosen_by in (metric, average_name(metric))]
    rest = [metric for metric in metrics if metric not in (*both, *penalty, *judged)]
    groups = {words(metric): [metric] for metric in rest}
    groups |= {f"discriminator {which}".strip(): pair for which, pair in pairs.items()}
    if penalty:
        groups["discriminator: R1 penalty"] = penalty
    if judged:
        groups[f"validation: {words(judged[0])}"] = judged
    return groups


def curves(name: str, runs: Sequence[Mapping[str, Any]], book: Book) -> Exhibit | None:
    """Training history of a generator, every seed a line; None where nothing was logged."""
    histories = {int(model.get("seed") or 0): model["history"] for model in runs}
    data = pd.concat([history.assign(seed=seed) for seed, history in histories.items()], ignore_index=True)
    if data.empty:
        return None
    chosen = {
        int(model.get("seed") or 0): int(model["step"]) for model in runs if model.get("step") is not None
    }
    metric = metric_name(runs[0])
    groups = metric_groups(list(dict.fromkeys(data["metric"])), metric)
    window = figures.smoothing_window(int(data.groupby(["seed", "metric"]).size().max()))
    why = "; ".join(dict.fromkeys(words(str(m["chosen_because"])) for m in runs if m.get("chosen_because")))
    steps = ", ".join(grouped(step) for step in sorted(set(chosen.values())))
    smoothed = f" Strong lines are moving averages over {window} logged values." if window > 1 else ""
    caption = (
        f"Training of {words(name)}, {count(len(runs), 'seed')}.{smoothed}{judged_by(runs[0])} The dashed "
        f"line marks the step whose weights were kept ({steps or 'none'}{f': {why}' if why else ''}). Losses "
        "of adversarial training need not fall; look for one that runs off or stands still."
    )
    alt = (
        f"Training curves of {words(name)}: {', '.join(groups)} against the optimiser step, kept step {steps}"
    )
    return book.chart(
        f"training/{name}", figures.training_curves(histories, groups, chosen), data, caption=caption, alt=alt
    )


def previews(
    name: str, folder: Path, model: Mapping[str, Any], book: Book, *, several: bool
) -> Exhibit | None:
    """What one run drew along the way; None where it left no previews.

    Args:
        name: of the generator.
        folder: of the run.
        model: the run.
        book: gets the sheet.
        several: whether the generator was trained with more seeds than this.
    """
    files = preview_files(folder)
    if not files:
        return None
    picks = [files[i] for i in sorted({round(i) for i in np.linspace(0, len(files) - 1, PREVIEWS)})]
    data = pd.DataFrame(
        {"file": [path.name for path in picks], "step": [preview_step(path) for path in picks]}
    )
    caption = (
        f"What {words(name)} (seed {model.get('seed')}) drew from the same fixed noise or conditions as "
        f"training went on; {len(picks)} of {count(len(files), 'preview')}. Look for repeated pictures (mode "
        "collapse)."
    )
    columns = [f"step {preview_step(path)}" for path in picks]
    id = f"previews/{folder.name}/{name}" if several else f"previews/{name}"
    tiles = [_preview(path, name) for path in picks]
    return book.plate(id, [tiles], columns=columns, data=data, caption=caption, side=236)


def _preview(path: Path, name: str, note: str = "") -> Tile | None:
    with Image.open(path) as picture:
        sheet = picture.convert("RGB")
    sheet.thumbnail((SHEET_SIDE, SHEET_SIDE))
    return Tile(np.asarray(sheet), f"preview of {words(name)} after step {preview_step(path)}", note)


def _last_previews(
    models: Mapping[str, Sequence[Mapping[str, Any]]], inputs: ReportInputs, book: Book
) -> Exhibit | None:
    """The last preview of every generator's first run, side by side."""
    last = {name: files[-1] for name in models if (files := preview_files(inputs.models[name][0]))}
    if not last:
        return None
    tiles = [_preview(path, name, words(name)) for name, path in last.items()]
    rows = [tiles[start : start + PREVIEWS] for start in range(0, len(tiles), PREVIEWS)]
    data = pd.DataFrame({"generator": [*last], "file": [path.name for path in last.values()]})
    caption = "What each generator drew last from its fixed noise or conditions; the first seed of each."
    return book.plate("last_previews", rows, data=data, caption=caption, side=236)


def preview_files(folder: Path) -> list[Path]:
    """Previews of a run, the first step first."""
    return sorted((folder / "previews").glob("*.png"), key=lambda path: (preview_step(path), path.name))


def preview_step(path: Path) -> int:
    """Step in a preview's file name: its last number; 0 without one."""
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else 0
