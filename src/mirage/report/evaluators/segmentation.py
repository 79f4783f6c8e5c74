"""Segmentation in the report: U-Nets trained on every arm, scored on held-out real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mirage.config.evaluations import SegmentationEvaluation
from mirage.data import Dataset
from mirage.data.shards import ShardReader
from mirage.files import read_json
from mirage.report.book import Book, Exhibit
from mirage.report.chapters.base import Chapter, count, words
from mirage.report.evaluators import arms
from mirage.report.images import Tile, difference_rgb, mask_to_rgb, outline, to_rgb
from mirage.report.inputs import Finished, ReportInputs
from mirage.report.numbers import number
from mirage.report.summary import pick, read_metrics
from mirage.report.verdicts import Verdict

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
SCORES = arms.Scores(
    headline="f1",
    titles=TITLES,
    shares=TITLES.keys(),
    remarks={
        "macro_f1": "Macro-F1 is the mean of the F1 of foreground and background and, with thin foreground, "
        "is much higher than F1; studies that report an F1 of vessels above that of a second observer most "
        "likely mean it."
    },
)


def summarise(name: str, config: SegmentationEvaluation, folders: Sequence[Path]) -> pd.DataFrame:
    """Rows of the summary; see :func:`mirage.report.evaluators.arms.summarise`."""
    return arms.summarise(name, config, read_metrics(folders), SCORES)


def verdicts(own: Mapping[str, Finished], synthetic: set[str], summary: pd.DataFrame) -> list[Verdict]:
    """Utility of the synthetic data."""
    return [arms.verdict(own, synthetic, summary, dict.fromkeys(own, SCORES))]


def limits(own: Mapping[str, Finished], summary: pd.DataFrame) -> list[str]:
    """What the numbers cannot bear."""
    return arms.limits(own, summary)


def chapters(
    own: Mapping[str, Finished],
    inputs: ReportInputs,
    data: Mapping[str, Dataset],
    summary: pd.DataFrame,
    book: Book,
) -> list[Chapter]:
    """Results of every evaluation."""
    chapter = Chapter("Utility: segmentation of real images", "utility")
    for name, done in own.items():
        config, folders = done
        chapter.heading(words(name))
        chapter.text(_protocol(name, config, summary))
        scored = f"{config.label or 'all foreground'} on the test images inside the field of view"
        table = arms.own_rows(summary, name, config)
        chapter.show(arms.headline_table(name, done, table, SCORES, scored, book))
        chapter.show(arms.forest(name, config, table, SCORES, book))
        others = arms.others_table(name, config, table, SCORES, book)
        if others is not None:
            chapter.show(others)
        chapter.show(arms.subjects(name, read_metrics(folders), SCORES, book))
        if config.test in data:
            panel = _panel(name, config, folders, data[config.test].select("test"), book)
            if panel is not None:
                chapter.show(panel)
    return [chapter]


def _protocol(name: str, config: SegmentationEvaluation, summary: pd.DataFrame) -> str:
    base = pick(summary, name, metric=SCORES.headline, arm=config.baseline).iloc[0]
    return (
        f"One U-Net (a judge) was trained on each arm with each of {count(len(config.seeds), 'seed')}, "
        f"always for {config.steps} optimiser steps, and scored on "
        f"{count(int(base.n_subjects), 'test subject')} of {words(config.test)} that nothing behind any arm "
        "has learnt from. A judge keeps its last weights, and its threshold is the one of highest F1 on its "
        "own training images, so that a purely synthetic arm knows no real image. Arms share test subjects "
        "and seeds, so differences are paired. Intervals (95 %) come from a bootstrap over seeds and "
        "subjects, widened for small numbers of either."
    )


def _panel(
    name: str, config: SegmentationEvaluation, folders: Sequence[Path], test: Dataset, book: Book
) -> Exhibit | None:
    """Test images beside their truth and the prediction of every arm; None without stored predictions."""
    found = arms.stored_predictions(config, folders)
    if not found or not len(test):
        return None
    rows = read_metrics(list(found.values()))
    scores = rows[rows["metric"] == SCORES.headline].set_index(["arm", "item_id"])["value"]
    items = arms.spread_by_score(scores.get(config.baseline, scores.groupby("item_id").mean()), PANEL_IMAGES)
    predictions = {arm: ShardReader(folder / "details/predictions.arrow") for arm, folder in found.items()}
    thresholds = {
        arm: round(read_json(folder / "details/arm.json")["threshold"] * 255) for arm, folder in found.items()
    }
    places = {item: index for index, item in enumerate(test.items["item_id"])}
    wanted = [value for value, label in test.info.labels.items() if config.label in (None, label)]
    tiles: list[list[Tile | None]] = []
    for item in items:
        index = places[item]
        truth = np.isin(test.mask(index), wanted)
        fov = test.mask(index, "fov") > 0 if "fov" in test.info.mask_channels else np.ones_like(truth)
        rgb = to_rgb(test.image(index), test.info.value_range)
        row: list[Tile | None] = [
            Tile(rgb, f"test image {item}", item, outline(truth)),
            Tile(mask_to_rgb(truth), f"annotation of {item}"),
        ]
        for arm, reader in predictions.items():
            drawn = (reader.tensor(index, "image")[0] >= thresholds[arm]) & fov
            score = number(float(scores[arm, item]))
            alt = f"prediction of {words(arm)} for {item}, {SCORES.headline_title} {score}"
            row.append(Tile(difference_rgb(truth & fov, drawn), alt, score))
        tiles.append(row)
    shown = scores[scores.index.get_level_values("item_id").isin(items)].rename(SCORES.headline).reset_index()
    caption = (
        f"Test images of {words(name)}, their annotation, and the prediction of every arm (first seed), with "
        f"{SCORES.headline_title}: from worst (top) to best (bottom) by “{words(config.baseline)}”, "
        f"{len(items)} of {count(len(test), 'image')}. White: found; orange: missed; blue: false alarm."
    )
    columns = ["image", "annotation", *map(words, predictions)]
    return book.plate(f"predictions/{name}", tiles, columns=columns, data=shown, caption=caption, side=150)
