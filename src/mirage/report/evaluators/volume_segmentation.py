"""Segmentation of volumes in the report: 3D judges trained on every arm, scored by region and by label.

A metric of a region is one metric of the summary, ``<metric>/<region>``: ``dice/WT``, ``hd95_mm/ET``. Label
fidelity stands there under the arms ``condition:<recipe>``, which are compared with nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from mirage.config.evaluations import VolumeSegmentationEvaluation
from mirage.config.judges import DeepMedicJudge
from mirage.data import Dataset
from mirage.data.shards import ShardReader
from mirage.data.tumour_labels import REGIONS
from mirage.files import read_json
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import Chapter, count, words
from mirage.report.evaluators import arms
from mirage.report.images import Tile
from mirage.report.inputs import Finished, ReportInputs
from mirage.report.numbers import DASH, estimate, grouped, interval, number, setting
from mirage.report.summary import pick, read_metrics, row_key
from mirage.report.verdicts import Verdict
from mirage.report.volumes import fullest_slice, label_tile, legend_of, sequence_tile

PANEL_SUBJECTS = 4
CONDITION = "condition:"
TITLES = {
    "dice": "Dice",
    "hd95_mm": "HD95 (mm)",
    "lesion_dice": "lesion-wise Dice",
    "lesion_hd95_mm": "lesion-wise HD95 (mm)",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "condition_dice": "Dice to the condition",
}
DISTANCES = ("hd95_mm", "lesion_hd95_mm")


def regions_of(config: VolumeSegmentationEvaluation) -> dict[str, tuple[str, ...]]:
    """Region -> names of its labels, as the evaluation scores them."""
    return {name: tuple(labels) for name, labels in (config.regions or REGIONS).items()}


def headline_region(config: VolumeSegmentationEvaluation) -> str:
    """WT, or the first region where there is no WT."""
    names = list(regions_of(config))
    return "WT" if "WT" in names else names[0]


def parts_of(config: VolumeSegmentationEvaluation, metrics: Iterable[str], metric: str = "dice") -> list[str]:
    """Regions, then labels, that a metric was measured of.

    Args:
        config: the evaluation.
        metrics: of the summary, ``<metric>/<region or label>``.
        metric: the metric.
    """
    found = [name.partition("/")[2] for name in dict.fromkeys(metrics) if name.startswith(f"{metric}/")]
    regions = [name for name in regions_of(config) if name in found]
    return [*regions, *(name for name in found if name not in regions)]


def scores_of(config: VolumeSegmentationEvaluation, metrics: Iterable[str]) -> arms.Scores:
    """What the metrics ``<metric>/<region or label>`` of an evaluation are."""
    titles = {}
    for name in dict.fromkeys(metrics):
        metric, _, part = name.partition("/")
        titles[name] = f"{TITLES.get(metric, words(metric))} of {part}"
    distances = [name for name in titles if name.partition("/")[0] in DISTANCES]
    return arms.Scores(
        headline=f"dice/{headline_region(config)}",
        titles=titles,
        shares=[name for name in titles if name not in distances],
        lower_is_better=distances,
        distances=distances,
    )


def by_part(folders: Sequence[Path]) -> pd.DataFrame:
    """Metric rows of an evaluation, each named ``<metric>/<region or label>``."""
    rows = read_metrics(folders)
    return rows.assign(metric=rows["metric"].astype(str) + "/" + rows["label"].astype(str))


def summarise(name: str, config: VolumeSegmentationEvaluation, folders: Sequence[Path]) -> pd.DataFrame:
    """Rows of the summary; see :func:`mirage.report.evaluators.arms.summarise`."""
    rows = by_part(folders)
    return arms.summarise(name, config, rows, scores_of(config, rows["metric"]))


def verdicts(own: Mapping[str, Finished], synthetic: set[str], summary: pd.DataFrame) -> list[Verdict]:
    """Utility of the synthetic data, and what label fidelity says of the untested fidelity."""
    scores = {name: scores_of(config, _metrics(summary, name)) for name, (config, _) in own.items()}
    utility = arms.verdict(own, synthetic, summary, scores)
    doubts = [
        f"{words(name)}: the order of the regions is implausible in {count(len(found), 'judge')}; read the "
        "warning there first."
        for name, done in own.items()
        if (found := implausible(done.folders))
    ]
    fidelity = [sentence for name, done in own.items() for sentence in _fidelity(name, done.config, summary)]
    cards = [replace(utility, sentences=[*doubts, *utility.sentences])]
    if fidelity:
        rule = (
            "label fidelity is reported and has no threshold: it says whether a judge that knows only real "
            "volumes finds the labels that synthetic ones were made from, not whether they look real."
        )
        cards.append(Verdict("Fidelity", "untested", fidelity, rule))
    return cards


def _metrics(summary: pd.DataFrame, name: str) -> list[str]:
    return list(summary.loc[summary["evaluation"] == name, "metric"])


def _fidelity(name: str, config: VolumeSegmentationEvaluation, summary: pd.DataFrame) -> list[str]:
    region = headline_region(config)
    return [
        f"{words(name)}: {region} that the judge of “{words(config.baseline)}” finds in {_recipe(row.arm)} "
        f"against the labels it was made from: Dice {estimate(row.estimate, row.low, row.high)}, "
        f"{count(int(row.n_subjects), 'volume')}."
        for row in pick(summary, name, metric=f"condition_dice/{region}").itertuples()
    ]


def _recipe(arm: str) -> str:
    return words(arm.removeprefix(CONDITION))


def limits(own: Mapping[str, Finished], summary: pd.DataFrame) -> list[str]:
    """What the numbers cannot bear."""
    points = arms.limits(own, summary)
    for name, done in own.items():
        if found := implausible(done.folders):
            points.append(
                f"{words(name)}: in {count(len(found), 'judge')} the whole tumour is found worse than a part "
                "of it; either labels are mixed up or the judges have learnt too little."
            )
        if unknown := max((facts.get("spacing_unknown", 0) for facts in _facts(done.folders)), default=0):
            points.append(
                f"{words(name)}: the spacing of {count(unknown, 'test volume')} is unknown and taken as "
                "1 mm; distances and volumes of lesions are in voxels there, whatever the unit says."
            )
    return points


@dataclass(frozen=True)
class Doubt:
    """A judge whose regions are in an implausible order, with its mean Dice by region."""

    arm: str
    seed: int
    dice: Mapping[str, float]
    message: str


def implausible(folders: Sequence[Path]) -> list[Doubt]:
    """Judges whose evaluation warned about the order of the regions."""
    return [
        Doubt(str(facts["arm"]), int(facts["seed"]), facts["mean_dice"], str(facts["implausible_order"]))
        for facts in _facts(folders)
        if facts.get("implausible_order")
    ]


def _facts(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """``arm.json`` of every judge."""
    paths = [folder / "details/arm.json" for folder in folders]
    return [read_json(path) for path in paths if path.is_file()]


def chapters(
    own: Mapping[str, Finished],
    inputs: ReportInputs,
    data: Mapping[str, Dataset],
    summary: pd.DataFrame,
    book: Book,
) -> list[Chapter]:
    """Results of every evaluation."""
    chapter = Chapter("Utility: segmentation of real volumes", "utility")
    for name, done in own.items():
        chapter.heading(words(name))
        _warn(done, chapter)
        chapter.text(_protocol(name, done.config, summary))
        for exhibit in _exhibits(name, done, summary, book):
            chapter.show(exhibit)
        if done.config.test in data:
            panel = _panel(name, done, data[done.config.test].select("test"), book)
            if panel is not None:
                chapter.show(panel)
        fidelity = _fidelity_table(name, done, summary, book)
        if fidelity is not None:
            chapter.show(fidelity)
    return [chapter]


def _warn(done: Finished, chapter: Chapter) -> None:
    found = implausible(done.folders)
    if not found:
        return
    regions = [name for name in ("WT", "TC", "ET") if name in found[0].dice]
    shown = [
        f"{words(doubt.arm)}, seed {doubt.seed}: "
        + ", ".join(f"{region} {number(doubt.dice[region])}" for region in regions)
        for doubt in found
    ]
    judges = len([facts for facts in _facts(done.folders) if "mean_dice" in facts])
    why = (
        "The whole tumour is the easiest of these regions, and here a part of it is found better (mean Dice "
        f"below). This happened in {len(found)} of {count(judges, 'judge')}. Either regions are made of the "
        "wrong labels (look at the label codes of the source and at the regions of the evaluation), or the "
        "judge has learnt too little. Do not quote these numbers before that is settled."
    )
    chapter.warning("Implausible order of regions", why, shown)


def _protocol(name: str, config: VolumeSegmentationEvaluation, summary: pd.DataFrame) -> str:
    scores = scores_of(config, _metrics(summary, name))
    base = pick(summary, name, metric=scores.headline, arm=config.baseline).iloc[0]
    judge = config.judge
    if isinstance(judge, DeepMedicJudge):
        network, unit = f"DeepMedic (variant {judge.variant}, width {setting(judge.width)})", "segments"
    else:
        network, unit = f"{judge.network} ({judge.features} features)", "patches"
    made = "; ".join(f"{region}: {' + '.join(labels)}" for region, labels in regions_of(config).items())
    return (
        f"One judge, {network}, was trained on each arm with each of {count(len(config.seeds), 'seed')}, "
        f"always for {grouped(config.steps)} optimiser steps of {config.batch_size} {unit}, and scored on "
        f"{count(int(base.n_subjects), 'test subject')} of {words(config.test)} that nothing behind any arm "
        "has learnt from. A judge keeps its last weights and gives every voxel its most probable label, so "
        f"nothing is chosen on real images. Regions ({made}) are unions of labels; both are printed, since "
        "tables that name regions often hold labels. Arms share test subjects and seeds, so differences are "
        "paired. Intervals (95 %) come from a bootstrap over seeds and subjects, widened for small numbers "
        "of either. Scores are of the stored volumes, not of the files they were prepared from."
    )


def _exhibits(name: str, done: Finished, summary: pd.DataFrame, book: Book) -> list[Exhibit]:
    config, folders = done
    own = arms.own_rows(summary, name, config)
    metrics = list(own["metric"])
    scores = scores_of(config, metrics)
    titled = words(name).capitalize()

    def grid(id: str, columns: dict[str, str], caption: str, kind: str = "absolute") -> Exhibit:
        return arms.grid(f"{id}/{name}", config, own, columns, caption, book, kind)

    def of(metric: str) -> dict[str, str]:
        return {f"{metric}/{part}": part for part in parts_of(config, metrics, metric)}

    rules = config.lesions
    empty = (
        "Where a region is missed, or found and not there, the distance counts as "
        f"{setting(config.penalty_mm)} mm; where it is neither there nor found, as 0 mm and Dice as 1."
    )
    lesions = {
        f"{metric}/{part}": f"{part}: {TITLES[metric].removeprefix('lesion-wise ')}"
        for part in parts_of(config, metrics, "lesion_dice")
        for metric in ("lesion_dice", "lesion_hd95_mm")
    }
    found = {
        f"{metric}/{part}": f"{part}: {TITLES[metric]}"
        for part in parts_of(config, metrics)
        if part in regions_of(config)
        for metric in ("sensitivity", "specificity")
    }
    rows = by_part(folders)
    shown = [
        arms.headline_table(name, done, own, scores, "the test volumes", book),
        arms.forest(name, config, own, scores, book),
        grid("regions", of("dice"), f"{titled}: mean Dice by region, then by label."),
        grid(
            "region_differences",
            of("dice"),
            f"{titled}: difference in Dice to “{words(config.baseline)}” by region, then by label, paired "
            "over subjects and seeds.",
            "difference",
        ),
        grid("distances", of("hd95_mm"), f"{titled}: HD95 in mm by region, then by label. {empty}"),
    ]
    if lesions:
        shown.append(
            grid(
                "lesions",
                lesions,
                f"{titled}: scores lesion by lesion, after BraTS 2023. Truth that hangs together after "
                f"dilation by {count(rules.dilation, 'voxel')} is one lesion, lesions of at most "
                f"{setting(rules.min_volume_mm3)} mm³ are left out, and a false lesion scores 0 and "
                f"{setting(config.penalty_mm)} mm.",
            )
        )
    shown.append(grid("detection", found, f"{titled}: sensitivity and specificity by region, of voxels."))
    shown.append(arms.subjects(name, rows[rows["arm"].isin(own["arm"])], scores, book))
    return shown


def _fidelity_table(name: str, done: Finished, summary: pd.DataFrame, book: Book) -> Exhibit | None:
    """Dice to the condition of every recipe, under the same judges' Dice on real volumes; None without."""
    config, folders = done
    absolute = pick(summary, name)
    conditions = absolute[absolute["arm"].str.startswith(CONDITION)]
    if conditions.empty:
        return None
    parts = parts_of(config, conditions["metric"], "condition_dice")
    real = absolute[absolute["arm"] == config.baseline]
    seen = {
        entry["data"]: int(entry["also_learnt_by_the_judge"])
        for facts in _facts(folders)
        for entry in facts.get("label_fidelity", [])
    }
    rows = [_fidelity_row(f"real test volumes ({words(config.test)})", real, "dice", parts, "")]
    for arm, part in conditions.groupby("arm", sort=False):
        known = seen.get(str(arm).removeprefix(CONDITION), 0)
        note = f"{count(int(part['n_subjects'].max()), 'volume')}" + (
            f"; {count(known, 'donor')} known to the judge" if known else ""
        )
        rows.append(_fidelity_row(_recipe(str(arm)), part, "condition_dice", parts, note))
    caption = (
        f"Label fidelity of {words(name)}: Dice between the labels that synthetic volumes were made from and "
        f"those that the judge of “{words(config.baseline)}”, which knows only its own training data, finds "
        f"in them, n = {count(len(rows) - 1, 'dataset')}; above them the same judge on real test volumes. "
        "95 % intervals below are over volumes and seeds; volumes share donors, so they are too short. "
        "Donors that the judge has learnt from make volumes easier for it."
    )
    data = pd.concat([conditions, real[real["metric"].isin([f"dice/{part}" for part in parts])]])
    return book.table(f"label_fidelity/{name}", ["volumes", *parts], rows, caption=caption, data=data)


def _fidelity_row(
    title: str, table: pd.DataFrame, metric: str, parts: Sequence[str], note: str
) -> list[Cell]:
    found = {row.metric: row for row in table.itertuples()}
    row = [Cell(title, note=note)]
    for part in parts:
        value: Any = found.get(f"{metric}/{part}")
        row.append(
            Cell(DASH, number=True)
            if value is None
            else Cell(
                number(value.estimate),
                number=True,
                key=row_key(value),
                note=interval(value.low, value.high),
            )
        )
    return row


def _panel(name: str, done: Finished, test: Dataset, book: Book) -> Exhibit | None:
    """Test subjects, their truth and what every arm's judge finds; None without stored predictions."""
    config, folders = done
    found = arms.stored_predictions(config, folders)
    if not found or not len(test):
        return None
    rows = by_part(list(found.values()))
    headline = f"dice/{headline_region(config)}"
    scores = rows[rows["metric"] == headline].set_index(["arm", "item_id"])["value"]
    items = arms.spread_by_score(
        scores.get(config.baseline, scores.groupby("item_id").mean()), PANEL_SUBJECTS
    )
    places = {item: index for index, item in enumerate(test.items["item_id"])}
    ats = {item: (fullest_slice(test.mask(places[item])), 0, 0) for item in items}
    channel = test.info.channel_names[0]
    tiles: list[list[Tile | None]] = [
        [sequence_tile(test, places[item], 0, "axial", ats[item], item) for item in items],
        [label_tile(test, places[item], test.mask(places[item]), "axial", ats[item]) for item in items],
    ]
    for arm, folder in found.items():
        reader = ShardReader(folder / "details/predictions.arrow")
        row: list[Tile | None] = []
        for item in items:
            predicted = reader.tensor(places[item], "image")[0]
            score = number(float(scores[arm, item]))
            alt = f"labels that {words(arm)} finds in {item}, Dice of {headline_region(config)} {score}"
            row.append(label_tile(test, places[item], predicted, "axial", ats[item], score, alt))
        tiles.append(row)
    shown = scores[scores.index.get_level_values("item_id").isin(items)].rename(headline).reset_index()
    caption = (
        f"Test subjects of {words(name)}, their annotation, and what the judge of every arm (first seed) "
        f"finds, with the Dice of {headline_region(config)} of the whole volume: the axial slice with the "
        f"most annotated voxels, {channel}, anterior up, from worst (left) to best (right) by "
        f"“{words(config.baseline)}”, {len(items)} of {count(len(test), 'volume')}."
    )
    names = [channel, "annotation", *map(words, found)]
    return book.plate(
        f"predictions/{name}",
        tiles,
        names=names,
        data=shown,
        caption=caption,
        side=150,
        legend=legend_of(test.info.labels),
    )
