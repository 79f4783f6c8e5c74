"""Utility: judges trained on every arm, scored on held-out real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mirage.config.evaluations import Arm, SegmentationEvaluation, TrainingSet
from mirage.data import Dataset
from mirage.data.shards import ShardReader
from mirage.files import read_json
from mirage.report import figures
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import Chapter, count, words
from mirage.report.images import Tile, difference_rgb, mask_to_rgb, outline, plane, to_rgb
from mirage.report.inputs import ReportInputs
from mirage.report.numbers import DASH, estimate, interval, number
from mirage.report.summary import HEADLINE, OBSERVER, pick, read_metrics, row_key

PANEL_IMAGES = 4
TITLES = {
    "f1": "F1 (Dice)",
    "macro_f1": "macro-F1",
    "f1_half": "F1 at probability ½",
    "cldice": "clDice",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "accuracy": "accuracy",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
}


MACRO_F1_NOTE = (
    " Macro-F1 is the mean of the F1 of foreground and background and, with thin foreground, is much higher "
    "than F1; studies that report F1 near 0.9 for vessels most likely mean it."
)


def title(metric: str) -> str:
    """A segmentation metric's printed name."""
    return TITLES.get(metric, words(metric))


def utility_chapter(
    inputs: ReportInputs, data: Mapping[str, Dataset], summary: pd.DataFrame, book: Book
) -> Chapter | None:
    """Results of every segmentation evaluation; None without one."""
    found = {
        name: (config, folders)
        for name, (config, folders) in inputs.evaluations.items()
        if isinstance(config, SegmentationEvaluation)
    }
    if not found:
        return None
    chapter = Chapter("Utility: segmentation of real images")
    for name, (config, folders) in found.items():
        _evaluation(chapter, name, config, folders, data, summary, book)
    return chapter


def _evaluation(
    chapter: Chapter, name: str, config: SegmentationEvaluation, folders: Sequence[Path],
    data: Mapping[str, Dataset], summary: pd.DataFrame, book: Book,
) -> None:  # fmt: skip
    own = summary[summary["evaluation"] == name]
    base = pick(summary, name, metric=HEADLINE, arm=config.baseline).iloc[0]
    chapter.heading(words(name))
    chapter.text(
        f"One U-Net (a judge) was trained on each arm with each of {count(len(config.seeds), 'seed')}, "
        f"always for {config.steps} optimiser steps, and scored on "
        f"{count(int(base.n_subjects), 'test subject')} of {words(config.test)} that nothing behind any arm "
        "has learnt from. A judge keeps its last weights, and its threshold is the one of highest F1 on its "
        "own training images, so that a purely synthetic arm knows no real image. Arms share test subjects "
        "and seeds, so differences are paired. Intervals (95 %) come from a bootstrap over seeds and "
        "subjects, widened for small numbers of either."
    )
    chapter.show(_headline_table(name, config, folders, own, book))
    chapter.show(_headline_figure(name, config, own, book))
    others = _others_table(name, config, own, book)
    if others is not None:
        chapter.show(others)
    rows = read_metrics(folders)
    chapter.show(_subjects(name, rows, book))
    if config.test in data:
        panel = _panel(name, config, folders, data[config.test].select("test"), book)
        if panel is not None:
            chapter.show(panel)


def describe_arm(arm: Arm, images: Mapping[str, int]) -> str:
    """What an arm is trained on, in words; ``images`` are the numbers of each dataset, where known."""

    def sets(parts: Sequence[TrainingSet]) -> str:
        return " + ".join(_training_set(part, part.images or images.get(part.data)) for part in parts)

    text = f"{sets(arm.pretrain)}, then {sets(arm.train)}" if arm.pretrain else sets(arm.train)
    return f"{text}, augmented" if arm.augment else text


def _training_set(part: TrainingSet, images: int | None) -> str:
    return words(part.data) + (f" ({count(images, 'image')})" if images else "")


def _training_images(arm: str, folders: Sequence[Path]) -> dict[str, int]:
    """Training images an arm had of each dataset, as its first judge recorded them."""
    folder = _first_seed(arm, folders)
    if folder is None or not (folder / "arm.json").is_file():
        return {}
    facts = read_json(folder / "arm.json")
    return {part["data"]: part["images"] for kind in ("train", "pretrain") for part in facts.get(kind, [])}


def _cell(row: Any, *, sign: bool = False, strong: bool = False) -> Cell:
    return Cell(
        estimate(row.estimate, row.low, row.high, sign=sign), number=True, strong=strong, key=row_key(row)
    )


def _lookup(own: pd.DataFrame) -> dict[tuple[str, str, str], Any]:
    return {(row.arm, row.metric, row.kind): row for row in own.itertuples()}


def _arm_names(own: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(own["arm"]))


def _headline_table(
    name: str, config: SegmentationEvaluation, folders: Sequence[Path], own: pd.DataFrame, book: Book
) -> Exhibit:
    rows, found = [], _lookup(own)
    for arm in _arm_names(own):
        values = {kind: found.get((arm, HEADLINE, kind)) for kind in ("absolute", "difference", "ratio")}
        difference = values["difference"]
        trained = (
            "a second human, against the first"
            if arm == OBSERVER
            else describe_arm(config.arms[arm], _training_images(arm, folders))
        )
        verdict = "baseline" if arm == config.baseline else difference.verdict if difference else DASH
        decided = difference is not None and difference.verdict in ("better", "worse")
        rows.append(
            [
                Cell("second observer" if arm == OBSERVER else words(arm), note=trained),
                _cell(values["absolute"]) if values["absolute"] else Cell(DASH, number=True),
                _cell(difference, sign=True, strong=decided) if difference else Cell(DASH, number=True),
                _cell(values["ratio"]) if values["ratio"] else Cell(DASH, number=True),
                Cell(str(verdict), strong=decided),
            ]
        )
    head = ["arm", title(HEADLINE), f"difference to {words(config.baseline)}", "ratio", "verdict"]
    caption = (
        f"{words(name).capitalize()}: {title(HEADLINE)} of {config.label or 'all foreground'} on the test "
        f"images inside the field of view, {_sizes(own)}. In brackets 95 % intervals. Bold: the interval of "
        "the difference excludes zero; otherwise the comparison is inconclusive."
    )
    return book.table(f"results/{name}", head, rows, caption=caption, data=own)


def _sizes(own: pd.DataFrame) -> str:
    judged = own[(own["kind"] == "absolute") & (own["arm"] != OBSERVER)]
    subjects, seeds = int(judged["n_subjects"].max()), int(judged["n_seeds"].max())
    return f"n = {count(subjects, 'subject')}, {count(seeds, 'seed')} an arm"


def _headline_figure(name: str, config: SegmentationEvaluation, own: pd.DataFrame, book: Book) -> Exhibit:
    chosen = own[own["metric"] == HEADLINE]
    absolute = chosen[(chosen["kind"] == "absolute") & (chosen["arm"] != OBSERVER)]
    difference = chosen[chosen["kind"] == "difference"]
    human = chosen[(chosen["kind"] == "absolute") & (chosen["arm"] == OBSERVER)]
    observer = float(human["estimate"].iat[0]) if len(human) else None
    line = (
        " The broken line is a second human observer scored against the first."
        if observer is not None
        else ""
    )
    caption = (
        f"{title(HEADLINE)} of every arm of {words(name)} (left) and its difference to "
        f"“{words(config.baseline)}” on the same subjects and seeds (right), {_sizes(own)}. Bars are 95 % "
        f"intervals; filled circles at the right have an interval that excludes zero.{line}"
    )
    alt = "; ".join(
        f"{words(row.arm)} {estimate(row.estimate, row.low, row.high)}" for row in absolute.itertuples()
    )
    figure = figures.headline(absolute, difference, title(HEADLINE), config.baseline, observer)
    return book.chart(
        f"forest/{name}", figure, chosen, caption=caption, alt=f"{title(HEADLINE)} by arm: {alt}"
    )


def _others_table(name: str, config: SegmentationEvaluation, own: pd.DataFrame, book: Book) -> Exhibit | None:
    metrics = [metric for metric in dict.fromkeys(own["metric"]) if metric != HEADLINE]
    if not metrics:
        return None
    rows, found = [], _lookup(own)
    for metric in metrics:
        row = [Cell(title(metric))]
        for arm in _arm_names(own):
            value, difference = (found.get((arm, metric, kind)) for kind in ("absolute", "difference"))
            if value is None:
                row.append(Cell(DASH, number=True))
                continue
            decided = difference is not None and difference.verdict in ("better", "worse")
            text = number(value.estimate)
            note = interval(value.low, value.high)
            row.append(Cell(text, True, decided, row_key(value), note))
        rows.append(row)
    head = ["metric", *("second observer" if arm == OBSERVER else words(arm) for arm in _arm_names(own))]
    note = MACRO_F1_NOTE if "macro_f1" in metrics else ""
    caption = (
        f"Other metrics of {words(name)}, {_sizes(own)}; 95 % intervals below. Bold: the difference to "
        f"“{words(config.baseline)}” has an interval that excludes zero.{note}"
    )
    return book.table(f"metrics/{name}", head, rows, caption=caption, data=own[own["metric"] != HEADLINE])


def _subjects(name: str, rows: pd.DataFrame, book: Book) -> Exhibit:
    chosen = rows[(rows["metric"] == HEADLINE) & rows["value"].notna()]
    scores = chosen.pivot_table(index="subject_id", columns="arm", values="value", aggfunc="mean")
    scores = scores[list(dict.fromkeys(chosen["arm"]))]
    scores = scores.rename(columns={OBSERVER: "second observer"})
    caption = (
        f"{title(HEADLINE)} of every test subject of {words(name)} in every arm, averaged over images and "
        f"seeds, n = {count(len(scores), 'subject')}. A thin line joins one subject; look for subjects on "
        "which all arms fail."
    )
    alt = f"{title(HEADLINE)} by subject and arm, from {scores.min().min():.3f} to {scores.max().max():.3f}"
    return book.chart(
        f"subjects/{name}",
        figures.per_subject(scores, title(HEADLINE)),
        scores.reset_index(),
        caption=caption,
        alt=alt,
    )


def _panel(
    name: str, config: SegmentationEvaluation, folders: Sequence[Path], test: Dataset, book: Book
) -> Exhibit | None:
    """Test images beside their truth and the prediction of every arm; None without stored predictions."""
    arms = {
        arm: folder
        for arm in config.arms
        for folder in [_first_seed(arm, folders)]
        if folder is not None and (folder / "predictions.arrow").is_file()
    }
    if not arms or not len(test):
        return None
    rows = read_metrics(list(arms.values()))
    scores = rows[rows["metric"] == HEADLINE].set_index(["arm", "item_id"])["value"]
    items = spread_by_score(scores.get(config.baseline, scores.groupby("item_id").mean()), PANEL_IMAGES)
    predictions = {arm: ShardReader(folder / "predictions.arrow") for arm, folder in arms.items()}
    thresholds = {
        arm: round(read_json(folder / "arm.json")["threshold"] * 255) for arm, folder in arms.items()
    }
    places = {item: index for index, item in enumerate(test.items["item_id"])}
    wanted = [value for value, label in test.info.labels.items() if config.label in (None, label)]
    tiles: list[list[Tile | None]] = []
    for item in items:
        index = places[item]
        truth = np.isin(plane(test.mask(index)), wanted)
        fov = plane(test.mask(index, "fov")) > 0 if "fov" in test.info.mask_channels else np.ones_like(truth)
        rgb = to_rgb(test.image(index), test.info.value_range)
        row: list[Tile | None] = [
            Tile(rgb, f"test image {item}", item, outline(truth)),
            Tile(mask_to_rgb(truth), f"annotation of {item}"),
        ]
        for arm, reader in predictions.items():
            drawn = (plane(reader.tensor(index, "image")[0]) >= thresholds[arm]) & fov
            score = number(float(scores[arm, item]))
            alt = f"prediction of {words(arm)} for {item}, {title(HEADLINE)} {score}"
            row.append(Tile(difference_rgb(truth & fov, drawn), alt, score))
        tiles.append(row)
    shown = scores[scores.index.get_level_values("item_id").isin(items)].rename(HEADLINE).reset_index()
    caption = (
        f"Test images of {words(name)}, their annotation, and the prediction of every arm (first seed), with "
        f"{title(HEADLINE)}: from worst (top) to best (bottom) by “{words(config.baseline)}”, {len(items)} "
        f"of {count(len(test), 'image')}. White: found; orange: missed; blue: false alarm."
    )
    columns = ["image", "annotation", *map(words, predictions)]
    return book.plate(f"predictions/{name}", tiles, columns=columns, data=shown, caption=caption, side=150)


def _first_seed(arm: str, folders: Sequence[Path]) -> Path | None:
    """The arm's folder of the smallest seed (``<arm>/seed-<n>``)."""
    own = [folder for folder in folders if folder.parent.name == arm and folder.name.startswith("seed-")]
    return min(own, key=lambda folder: int(folder.name.removeprefix("seed-")), default=None)


def spread_by_score(scores: pd.Series, number_of_items: int) -> list[str]:
    """Items at evenly spaced ranks of their scores, the worst first."""
    ordered = list(scores.sort_values(kind="stable").index)
    places = np.linspace(0, len(ordered) - 1, min(number_of_items, len(ordered)))
    return [str(ordered[place]) for place in sorted({round(float(p)) for p in places})]
