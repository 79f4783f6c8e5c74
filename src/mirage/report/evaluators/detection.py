"""Detection in the report: detectors trained on every arm's boxes, scored on held-out radiographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from mirage.config.evaluations import DetectionEvaluation
from mirage.data import Dataset
from mirage.evaluate.marks import Tables, corners
from mirage.files import read_json
from mirage.metrics.detection import NEED_NORMALS, RATES
from mirage.metrics.hits import NODE21
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.boxes import FALSE, HIT, LEGEND, TRUTH, with_boxes
from mirage.report.chapters.base import Chapter, count, listing, words
from mirage.report.evaluators import arms
from mirage.report.evaluators.detection_scores import (
    HIT_FRACTION,
    Column,
    absolute_rows,
    band,
    by_column,
    compared_rows,
    rate_name,
    read_columns,
    resample,
)
from mirage.report.froc import froc_curves
from mirage.report.images import Tile, to_rgb
from mirage.report.inputs import Finished, ReportInputs
from mirage.report.numbers import DASH, estimate, interval, number, setting
from mirage.report.summary import COLUMNS, pick, read_metrics, row_key
from mirage.report.verdicts import Verdict

OWN = "/own"
"""End of the metrics of the column `own`."""
SHOWN = 3
"""Pictures of good and of bad detections of an arm."""
MARKS_SHOWN = 3
"""Highest marks drawn on a picture."""
TITLES = {
    "cpm": "CPM",
    "froc_mean": "FROC score, points joined by lines",
    "sensitivity": "sensitivity at any score",
    "false_positives": "false positives an image, all marks",
    "afroc": "AFROC",
    "afroc1": "AFROC1",
    "wafroc": "wAFROC",
    "wafroc1": "wAFROC1",
    "roc_auc": "inferred ROC AUC",
    "node21": "NODE21 rank",
    "ap": "AP at the hit rule",
    HIT_FRACTION: "hit fraction (as the chest study)",
    "shown_false_positives": "false positives an image that are shown",
    "map": "COCO mAP",
    "ap50": "AP50",
    "ap20": "AP20",
    "ar100": "AR100",
    **{rate_name(rate): f"sensitivity at {setting(rate)} FP" for rate in RATES},
}
LOWER_IS_BETTER = ("false_positives", "shown_false_positives")
UNRESAMPLED = ("map", "ap50", "ap20", "ar100", "shown_false_positives")
"""Figures that the judges give without resampling of patients: printed without an interval."""
SCORES = arms.Scores(
    headline="cpm",
    titles=TITLES | {f"{name}{OWN}": f"{title}, own images" for name, title in TITLES.items()},
    shares=[name for name in TITLES if name not in LOWER_IS_BETTER],
    lower_is_better=LOWER_IS_BETTER,
    distances=LOWER_IS_BETTER,
    remarks={
        "node21": "The rank of the NODE challenge, three parts of the inferred ROC AUC and one of the "
        "sensitivity at a quarter of a false positive an image, always has that challenge's own hit rule, "
        f"{NODE21.words().removeprefix('hit: ')}.",
        "map": "COCO's figures have rules of overlap of their own and no intervals here.",
    },
)
VOID = (
    "The text of the chest study sets its hit fractions beside values of radiologists and of a network by "
    "Schultheiss and others. Those are areas under wAFROC, on radiographs with nodules of another making and "
    "with normal images among them: another quantity on other images. The comparison is void, and no number "
    "of this page can be set beside them either."
)


def summarise(name: str, config: DetectionEvaluation, folders: Sequence[Path]) -> pd.DataFrame:
    """Rows of the summary: figures of both columns, and differences on the benchmark, patients resampled."""
    columns = _columns(config, folders)
    rows: list[dict[str, Any]] = []
    found = by_column(columns, "benchmark", resample)
    for arm, own in found.items():
        rows += absolute_rows(own, arm, "")
    rows += compared_rows(found, config, LOWER_IS_BETTER)
    for arm, own in by_column(columns, "own", resample).items():
        rows += absolute_rows(own, arm, OWN)
    rows += _unresampled(read_metrics(folders))
    table = pd.DataFrame(rows).assign(evaluation=name).reindex(columns=list(COLUMNS))
    measure = table["metric"].str.removesuffix(OWN)
    shares = (table["kind"] == "absolute") & measure.isin(SCORES.shares)
    table.loc[shares, ["low", "high"]] = table.loc[shares, ["low", "high"]].clip(0, 1)
    distances = (table["kind"] == "absolute") & measure.isin(SCORES.distances)
    table.loc[distances, "low"] = table.loc[distances, "low"].clip(lower=0)
    return table


def _unresampled(rows: pd.DataFrame) -> list[dict[str, Any]]:
    own = rows[rows["metric"].isin(UNRESAMPLED) & rows["value"].notna()]
    return [
        {
            "arm": arm,
            "metric": f"{metric}{OWN if test == 'own' else ''}",
            "kind": "absolute",
            "estimate": float(part["value"].mean()),
            "n_seeds": int(part["seed"].nunique()),
        }
        for (arm, metric, test), part in own.groupby(["arm", "metric", "label"], sort=False)
    ]


def _columns(config: DetectionEvaluation, folders: Sequence[Path]) -> dict[str, dict[str, Column]]:
    """Arm -> test column -> its tables."""
    return _read(tuple(config.arms), tuple(folders), config.shown_from)


@lru_cache(maxsize=4)
def _read(names: tuple[str, ...], folders: tuple[Path, ...], shown: float) -> dict[str, dict[str, Column]]:
    found = {arm: {_seed(path): path for path in folders if path.parent.name == arm} for arm in names}
    return {arm: read_columns(own, shown) for arm, own in found.items() if own}


def _seed(folder: Path) -> int:
    return int(folder.name.removeprefix("seed-"))


def verdicts(own: Mapping[str, Finished], synthetic: set[str], summary: pd.DataFrame) -> list[Verdict]:
    """Utility of the synthetic data."""
    return [arms.verdict(own, synthetic, summary, dict.fromkeys(own, SCORES))]


def limits(own: Mapping[str, Finished], summary: pd.DataFrame) -> list[str]:
    """What the numbers cannot bear."""
    points = arms.limits(own, summary)
    for name, done in own.items():
        for facts in _facts(done.folders)[:1]:
            refused = [TITLES[key] for key in facts.get("refused", {}).get("benchmark", {}) if key in TITLES]
            if refused:
                points.append(
                    f"{words(name)}: {', '.join(refused)} are not defined, since every test image has a "
                    "lesion; "
                    "how often the detectors cry wolf on normal radiographs is unknown."
                )
    return points


def _facts(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """``arm.json`` of every detector."""
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
    chapter = Chapter("Utility: detection on held-out radiographs", "utility")
    for name, done in own.items():
        config = done.config
        chapter.heading(words(name))
        chapter.text(_protocol(name, done, summary))
        table = arms.own_rows(summary, name, config)
        chapter.show(_headline(name, done, table, book))
        chapter.show(arms.forest(name, config, table, SCORES, book))
        chapter.show(_curves(name, done, book))
        chapter.show(_rates(name, done, table, book))
        chapter.show(_others(name, done, table, book))
        chapter.show(_study_table(name, done, table, book))
        chapter.remark(VOID)
        if config.test in data:
            for exhibit in _pictures(name, done, data[config.test].select("test"), book):
                chapter.show(exhibit)
    return [chapter]


def _rule(done: Finished) -> str:
    """The hit rule, as the judges recorded it."""
    facts = _facts(done.folders)
    rule = str(facts[0]["hit_rule"]) if facts else "hit rule unknown"
    return rule[0].upper() + rule[1:]


def _numbers(done: Finished) -> str:
    """Images, lesions and patients of the benchmark, in words."""
    facts = _facts(done.folders)
    column = facts[0]["columns"].get("benchmark", {}) if facts else {}
    return (
        f"{count(column.get('images', 0), 'image')} ({column.get('normal', 0)} without lesions) of "
        f"{count(column.get('subjects', 0), 'patient')} with {count(column.get('lesions', 0), 'lesion')}"
    )


def _protocol(name: str, done: Finished, summary: pd.DataFrame) -> str:
    config = done.config
    base = pick(summary, name, metric=SCORES.headline, arm=config.baseline)
    seeds = int(base["n_seeds"].iat[0]) if len(base) else len(config.seeds)
    return (
        f"One detector, {config.judge.title}, was trained on the boxes of each arm with each of "
        f"{count(seeds, 'seed')}, always for {config.steps} optimiser steps of {config.batch_size} images, "
        "and "
        f"keeps its last weights. Two test columns, as in the chest study: the benchmark, the test split of "
        f"{words(config.test)} ({_numbers(done)}), of which nothing behind any arm has seen a patient, be it "
        "as "
        f"host or as donor of a lesion; and own images, {setting(100 * config.own_share)} % of the donors of "
        "the arm's own training images, held out from its detector. Own images of a synthetic arm are "
        "synthetic too: they tell how well a detector finds what the recipe makes, not lesions. "
        f"{_rule(done)}. "
        "Intervals (95 %) resample patients, and seeds where there are several; arms share test patients, so "
        "differences are paired."
    )


def _headline(name: str, done: Finished, own: pd.DataFrame, book: Book) -> Exhibit:
    """Every arm on the metric that decides, in both columns, and its comparison with the baseline."""
    config, folders = done
    found = arms.lookup(own)
    rows = []
    for arm in config.arms:
        values = [
            found.get((arm, key, kind))
            for key, kind in (("cpm", "absolute"), ("cpm", "difference"), (f"cpm{OWN}", "absolute"))
        ]
        benchmark, gap, owned = values
        decided = gap is not None and gap.verdict in ("better", "worse")
        word = "baseline" if arm == config.baseline else str(gap.verdict) if gap else DASH
        rows.append(
            [
                Cell(
                    words(arm), note=arms.describe_arm(config.arms[arm], arms.training_images(arm, folders))
                ),
                _cell(benchmark),
                _cell(gap, sign=True, strong=decided),
                Cell(number(gap.p_holm) if gap else DASH, number=True),
                Cell(word, strong=decided),
                _cell(owned),
            ]
        )
    head = ["arm", "CPM, benchmark", f"difference to {words(config.baseline)}", "p (Holm)", "verdict"]
    caption = (
        f"{words(name).capitalize()}: CPM, the mean sensitivity at "
        f"{listing([setting(rate) for rate in RATES])} false positives an image, over all images; "
        f"{_numbers(done)}. {_rule(done)}. In brackets 95 % intervals over "
        "patients; p is two-sided, of the same resamples, adjusted for the number of arms, and decides "
        "nothing. "
        "Bold: the interval of the difference excludes zero; otherwise the comparison is inconclusive."
    )
    return book.table(f"results/{name}", [*head, "CPM, own images"], rows, caption=caption, data=own)


def _cell(row: Any, *, sign: bool = False, strong: bool = False) -> Cell:
    if row is None:
        return Cell(DASH, number=True)
    note = interval(row.low, row.high, sign=sign)
    return Cell(number(row.estimate, sign=sign), True, strong, row_key(row), note)


def _rates(name: str, done: Finished, own: pd.DataFrame, book: Book) -> Exhibit:
    columns = {rate_name(rate): f"{setting(rate)} FP" for rate in RATES}
    caption = (
        f"{words(name).capitalize()}: share of the lesions of the benchmark that are found at so many false "
        f"positives (FP) an image, at operating points that the detector reaches. {_rule(done)}."
    )
    return arms.grid(f"sensitivities/{name}", done.config, own, columns, caption, book)


def _others(name: str, done: Finished, own: pd.DataFrame, book: Book) -> Exhibit:
    """All other figures of the benchmark, a row each; those that need normal images say so without them."""
    config = done.config
    found, rows = arms.lookup(own), []
    shown = [metric for metric in TITLES if not metric.startswith("sensitivity_at_") and metric != "cpm"]
    refused = {key for facts in _facts(done.folders) for key in facts.get("refused", {}).get("benchmark", {})}
    for metric in shown:
        values = [found.get((arm, metric, "absolute")) for arm in config.arms]
        if all(value is None for value in values) and metric not in refused:
            continue
        row = [Cell(TITLES[metric])]
        for arm, value in zip(config.arms, values, strict=True):
            gap = found.get((arm, metric, "difference"))
            decided = gap is not None and gap.verdict in ("better", "worse")
            undefined = value is None and metric in refused & NEED_NORMALS
            row.append(
                Cell("not defined", note="no normal images") if undefined else _cell(value, strong=decided)
            )
        rows.append(row)
    remarks = " ".join(SCORES.remarks.values())
    caption = (
        f"Other figures of {words(name)} on the benchmark, {_numbers(done)}; 95 % intervals over patients "
        "below. "
        f"Bold: the difference to “{words(config.baseline)}” has an interval that excludes zero. "
        f"{_rule(done)}. "
        f"wAFROC compares every lesion with the worst false mark of normal images; wAFROC1, with that of all "
        f"images, is another quantity and given only where there are no normal ones. {remarks}"
    )
    data = own[own["metric"].isin(shown)]
    return book.table(
        f"metrics/{name}", ["figure", *map(words, config.arms)], rows, caption=caption, data=data
    )


def _study_table(name: str, done: Finished, own: pd.DataFrame, book: Book) -> Exhibit:
    """The chest study's own table: method, training images, hit fraction of both columns."""
    config, folders = done
    found, rows, records = arms.lookup(own), [], []
    for arm in config.arms:
        images = sum(arms.training_images(arm, folders).values())
        cells = [_cell(found.get((arm, key, "absolute"))) for key in (f"{HIT_FRACTION}{OWN}", HIT_FRACTION)]
        rows.append([Cell(words(arm)), Cell(str(images or DASH), number=True), *cells])
        texts = {key: cell.text for key, cell in zip(("own", "benchmark"), cells, strict=True)}
        records.append({"arm": arm, "training_images": images, **texts})
    caption = (
        f"The chest study's own table for {words(name)}: the share of lesions that any mark with a score of "
        f"{setting(config.shown_from)} or more hits, with 95 % intervals over patients. {_rule(done)}. It "
        "counts "
        "no false positives: a detector that marks everything has 1, so it decides nothing here. The study "
        "trained on nodules cut out of the very images of its benchmark; here donors and test patients "
        "differ."
    )
    head = ["method", "training images", "own images", "benchmark"]
    return book.table(f"hit_fraction/{name}", head, rows, caption=caption, data=pd.DataFrame(records))


def _curves(name: str, done: Finished, book: Book) -> Exhibit:
    columns = _columns(done.config, done.folders)
    titles = {"benchmark": "benchmark (held-out real images)", "own": "own images of each arm"}
    panels = {title: bands for test, title in titles.items() if (bands := by_column(columns, test, band))}
    data = pd.concat(
        [table.assign(test=title, arm=arm) for title, own in panels.items() for arm, table in own.items()]
    )
    caption = (
        f"FROC of every arm of {words(name)}: lesions found against false positives an image over all "
        "images, "
        f"the mean of {count(len(done.config.seeds), 'seed')}, with pointwise 95 % bands over patients; "
        f"{_numbers(done)}. {_rule(done)}. A curve is flat beyond the last mark of its detector."
    )
    at_one = data[(data["false_positives"] - 1).abs() < 1e-9]
    alt = "FROC curves; lesions found at 1 false positive an image: " + "; ".join(
        f"{row.test}, {words(row.arm)} {estimate(row.sensitivity, row.low, row.high)}"
        for row in at_one.itertuples()
    )
    return book.chart(f"froc/{name}", froc_curves(panels), data, caption=caption, alt=alt)


def _pictures(name: str, done: Finished, test: Dataset, book: Book) -> list[Exhibit]:
    """Good and bad detections of every arm's first seed."""
    columns = by_column(_columns(done.config, done.folders), "benchmark", _first)
    shown = []
    for kind in ("good", "bad"):
        rows, names, records = [], [], []
        for arm, tables in columns.items():
            items = ranked_items(tables, kind)[:SHOWN]
            if items:
                rows.append([_tile(test, tables, item, arm) for item in items])
                names.append(words(arm))
                records += [{"arm": arm, "item_id": item, "kind": kind} for item in items]
        if rows:
            shown.append(_plate(name, kind, rows, names, pd.DataFrame(records), done, book))
    return shown


def _plate(
    name: str,
    kind: str,
    rows: Sequence[Sequence[Tile]],
    names: Sequence[str],
    data: pd.DataFrame,
    done: Finished,
    book: Book,
) -> Exhibit:
    chosen = {
        "good": "The best detections: lesions hit with the highest scores, in order; where a detector hits "
        "fewer, images without a hit follow",
        "bad": "The worst detections: lesions that no mark hits, the surest false positive first; then those "
        "hit with the lowest scores",
    }[kind]
    caption = (
        f"{chosen}. Test images of {words(name)}, a row an arm (first seed), up to {SHOWN} of "
        f"{_numbers(done)}, with the lesion's box and the {MARKS_SHOWN} highest marks; the score of the "
        "highest "
        f"stands below. {_rule(done)}."
    )
    return book.plate(
        f"{kind}/{name}", rows, names=names, data=data, caption=caption, side=236, legend=LEGEND
    )


def _first(column: Column) -> Tables:
    """Tables of the smallest seed."""
    return column.seeds[min(column.seeds)]


def ranked_items(tables: Tables, kind: str) -> list[str]:
    """Images with lesions: ``good``, by the score of the surest hit; ``bad``, the other way round.

    Where no mark hits, the surest false mark is the worst.
    """
    marks = tables.marks
    hits = marks[marks["outcome"] == "hit"].groupby("item_id")["score"].max()
    wrong = marks[marks["outcome"] == "false"].groupby("item_id")["score"].max()
    items = tables.items.loc[tables.items["diseased"], "item_id"].tolist()

    def quality(item: str) -> tuple[float, float]:
        return float(hits.get(item, -1.0)), -float(wrong.get(item, 0.0))

    return [str(item) for item in sorted(items, key=quality, reverse=kind == "good")]


def _tile(test: Dataset, tables: Tables, item: str, arm: str) -> Tile:
    index = list(test.items["item_id"]).index(item)
    rgb = to_rgb(test.image(index), test.info.value_range)
    marks = tables.marks[tables.marks["item_id"] == item].nlargest(MARKS_SHOWN, "score")
    lesions = corners(tables.truths[tables.truths["item_id"] == item])
    drawn = [(tuple(box), TRUTH) for box in lesions]
    for box, outcome in zip(corners(marks), marks["outcome"], strict=True):
        drawn.append((tuple(box), FALSE if outcome == "false" else HIT))
    score = number(float(marks["score"].iat[0])) if len(marks) else "no mark"
    hits = int((marks["outcome"] == "hit").sum())
    alt = (
        f"test image {item} with {count(len(lesions), 'lesion')}; {hits} of the {len(marks)} highest marks "
        "of "
        f"{words(arm)} hit, the highest has score {score}"
    )
    return Tile(with_boxes(rgb, drawn), alt, score)
