"""Classification in the report: F1 against the number of positives, areas, rivals of synthetic data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mirage.config.evaluations import ClassificationArm, ClassificationEvaluation
from mirage.data import Dataset
from mirage.evaluate.statistics import (
    LEVEL,
    Difference,
    hanley_mcneil,
    holm,
    nadeau_bengio,
    positives_needed,
)
from mirage.files import read_json
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import Chapter, count, words
from mirage.report.evaluators import arms
from mirage.report.evaluators.classification_scores import (
    Arm,
    area_difference,
    by_fold,
    curves,
    one_image_each,
    read_arm,
    resample,
    sizes_of,
)
from mirage.report.evaluators.detection_scores import Resampled, absolute_rows, compared_rows
from mirage.report.inputs import Finished, ReportInputs
from mirage.report.numbers import DASH, interval, number, setting
from mirage.report.size_curves import size_curves
from mirage.report.summary import COLUMNS, row_key
from mirage.report.verdicts import Verdict

TITLES = {
    "image_f1": "F1",
    "image_f1_half": "F1 at probability ½",
    "image_auc": "ROC AUC",
    "average_precision": "average precision",
    "brier": "Brier score",
    "calibration_error": "expected calibration error",
}
LOWER_IS_BETTER = ("brier", "calibration_error")
SAME = "not distinguishable"
PUBLISHED_SIZES = (100, 250, 500, 750, 1000, 1300)
PUBLISHED_CASES = (433, 4333)
PUBLISHED = {
    "ORG": (0.9836, 0.9848, 0.9896, 0.9990, 0.9989, 0.9989),
    "GAN": (0.9843, 0.9902, 0.9984, 0.9997, 0.9993, 0.9987),
    "Aug ORG": (0.9877, 0.9896, 0.9982, 0.9998, 0.9997, 0.9999),
    "Aug GAN": (0.9902, 0.9984, 0.9996, 0.9990, 0.9998, 0.9999),
}
"""Areas under the ROC by mode and k that the mammography study published, and test cases of a fold."""
BALANCE = {
    "none": "",
    "class_weights": "class weights",
    "focal": "focal loss",
    "smote": "SMOTE",
    "borderline_smote": "borderline SMOTE",
    "adasyn": "ADASYN",
    "jitter": "jittered copies",
}


def scores_of(config: ClassificationEvaluation) -> arms.Scores:
    """The metrics of one evaluation: of every k, and their means over all k."""
    by_k = {f"{name}/k={k}": f"{title}, k = {k}" for name, title in TITLES.items() for k in config.positives}
    means = {name: f"{title}, mean over k" for name, title in TITLES.items()}
    lower = [name for name in (*means, *by_k) if name.partition("/")[0] in LOWER_IS_BETTER]
    return arms.Scores("image_f1", means | by_k, shares=[*means, *by_k], lower_is_better=lower)


def summarise(name: str, config: ClassificationEvaluation, folders: Sequence[Path]) -> pd.DataFrame:
    """Rows of the summary: figures at every k and their means over k, with paired differences."""
    found = _resampled(tuple(config.arms), tuple(folders))
    scores = scores_of(config)
    rows: list[dict[str, Any]] = []
    for arm, own in found.items():
        rows += absolute_rows(own, arm, "")
    rows += compared_rows(found, config, list(scores.lower_is_better))
    table = pd.DataFrame(rows).assign(evaluation=name).reindex(columns=list(COLUMNS))
    absolute = table["kind"] == "absolute"
    table.loc[absolute, ["low", "high"]] = table.loc[absolute, ["low", "high"]].clip(0, 1)
    return table


@lru_cache(maxsize=4)
def _read(names: tuple[str, ...], folders: tuple[Path, ...]) -> dict[str, Arm]:
    seeds = {
        arm: {int(path.name.removeprefix("seed-")): path for path in folders if path.parent.name == arm}
        for arm in names
    }
    return {arm: read_arm(own) for arm, own in seeds.items() if own}


@lru_cache(maxsize=4)
def _resampled(names: tuple[str, ...], folders: tuple[Path, ...]) -> dict[str, Resampled]:
    return {arm: resample(own) for arm, own in _read(names, folders).items()}


def verdicts(own: Mapping[str, Finished], synthetic: set[str], summary: pd.DataFrame) -> list[Verdict]:
    """Utility of the synthetic data."""
    scores = {name: scores_of(done.config) for name, done in own.items()}
    return [arms.verdict(own, synthetic, summary, scores)]


def limits(own: Mapping[str, Finished], summary: pd.DataFrame) -> list[str]:
    """What the numbers cannot bear."""
    points = arms.limits(own, summary)
    for name, done in own.items():
        if done.config.folds is None:
            points.append(
                f"{words(name)}: one split into training, validation and test patients; how much the result "
                "depends on it is unknown. `folds` cross-validates."
            )
        else:
            points.append(
                f"{words(name)}: training sets of the folds overlap, so the resamples of patients tell less "
                "than the whole variation between training sets; the corrected t test of Nadeau and Bengio "
                "beside them allows for it."
            )
    return points


def chapters(
    own: Mapping[str, Finished],
    inputs: ReportInputs,
    data: Mapping[str, Dataset],
    summary: pd.DataFrame,
    book: Book,
) -> list[Chapter]:
    """Results of every evaluation."""
    chapter = Chapter("Utility: imbalanced classification of real images", "utility")
    for name, done in own.items():
        config = done.config
        table = arms.own_rows(summary, name, config)
        chapter.heading(words(name))
        chapter.text(_protocol(done))
        chapter.show(_curves(name, done, book))
        chapter.show(_headline(name, done, table, book))
        chapter.show(arms.forest(name, config, table, scores_of(config), book))
        pairs = _synthetic_pairs(config)
        if pairs:
            chapter.show(_added_value(name, done, pairs, book))
        chapter.show(_areas(name, done, book))
        chapter.remark(_saturation(done))
        chapter.show(_others(name, done, table, book))
    chapter.show(_published(book))
    return [chapter]


def _facts(done: Finished) -> dict[str, Any]:
    """``arm.json`` of the first classifiers of the baseline."""
    folder = arms.first_seed(done.config.baseline, done.folders)
    path = None if folder is None else folder / "details/arm.json"
    return read_json(path) if path is not None and path.is_file() else {}


def _test_numbers(done: Finished) -> tuple[int, int, int]:
    """Positives, negatives and patients of all test sets."""
    config = done.config
    sets = [one for one in _facts(done).get("sets", []) if one["k"] == config.positives[0]]
    keys = ("positives", "negatives", "subjects")
    positives, negatives, subjects = (sum(int(one["test"][key]) for one in sets) for key in keys)
    return positives, negatives, subjects


def _protocol(done: Finished) -> str:
    config = done.config
    positives, negatives, subjects = _test_numbers(done)
    added = (
        f"{setting(config.augmentation_ratio)} positives are added to a real one"
        if config.ar_definition == "fake_per_real"
        else f"so many are added that there are {setting(config.augmentation_ratio)} positives to a real one"
    )
    generators = (
        "; the generator of a fold, too, has seen that fold's training patients only"
        if any(arm.added(config.test) for arm in config.arms.values())
        else ""
    )
    folds = (
        "The dataset's own split into training, validation and test patients is used."
        if config.folds is None
        else f"Cross-validation by patient in {config.folds.count} folds{generators}."
    )
    return (
        f"Positive: {config.positive.words()}. For every k of {', '.join(map(str, config.positives))}, "
        f"classifiers ({config.judge.arch}) learn from k real positives and "
        f"{setting(config.ratio)} times as many real negatives, nested by patient: a smaller set lies inside "
        f"a larger one. Where an arm adds positives, {added}. {folds} Every classifier has {config.steps} "
        f"optimiser steps of {config.batch_size} images and keeps its last weights; its threshold is the one "
        f"of highest F1 on real validation images. Tested on {count(positives, 'positive')} and "
        f"{count(negatives, 'negative')} of {count(subjects, 'patient')}, with "
        f"{count(len(config.seeds), 'training seed')}. Intervals (95 %) resample patients and seeds; arms "
        "share test images, so differences are paired."
    )


def _curves(name: str, done: Finished, book: Book) -> Exhibit:
    config, folders = done
    found = _resampled(tuple(config.arms), tuple(folders))
    panels = {
        "F1 at the validation threshold": curves(found, "image_f1", config.positives),
        "F1 at probability ½": curves(found, "image_f1_half", config.positives),
    }
    caption = (
        f"{words(name).capitalize()}: F1 against the number of real training positives, k, for every way to "
        "train. Bands are 95 % intervals over patients and seeds. At probability ½, F1 also tells how a "
        "method shifts the scores, which a threshold chosen on validation images takes away."
    )
    last = panels["F1 at the validation threshold"]
    shown = last[last["k"] == config.positives[0]]
    alt = f"F1 at k = {config.positives[0]}: " + "; ".join(
        f"{words(row.arm)} {number(row.estimate)}" for row in shown.itertuples()
    )
    data = pd.concat(panels.values(), ignore_index=True)
    return book.chart(f"curves/{name}", size_curves(panels), data, caption=caption, alt=alt)


def _way(config: ClassificationEvaluation, arm: ClassificationArm) -> str:
    """How an arm differs from the plain one, in words."""
    given = list(
        dict.fromkeys(words(part.data.removesuffix(f"-fold-{part.fold}")) for part in arm.added(config.test))
    )
    parts = [
        f"+ {', '.join(given)}" if given else "",
        BALANCE[arm.balance],
        "augmented" if arm.augment else "",
    ]
    return ", ".join(part for part in parts if part) or "real images as they are"


def _headline(name: str, done: Finished, own: pd.DataFrame, book: Book) -> Exhibit:
    """F1 of every arm, rivals of synthetic data among them: mean over k, at the smallest and the largest."""
    config = done.config
    found = arms.lookup(own)
    keys = [
        "image_f1",
        *(f"image_f1/k={k}" for k in dict.fromkeys((config.positives[0], config.positives[-1]))),
    ]
    rows = []
    for arm, training in config.arms.items():
        row = [Cell(words(arm), note=_way(config, training))]
        for key in keys:
            gap = found.get((arm, key, "difference"))
            decided = gap is not None and gap.verdict in ("better", "worse")
            row.append(_cell(found.get((arm, key, "absolute"))))
            row.append(_cell(gap, sign=True, strong=decided))
        gap = found.get((arm, "image_f1", "difference"))
        word = "baseline" if arm == config.baseline else str(gap.verdict) if gap else DASH
        row += [Cell(number(gap.p_holm) if gap else DASH, number=True), Cell(word)]
        rows.append(row)
    titles = ["mean over k", *(key.partition("/")[2].replace("=", " = ") for key in keys[1:])]
    head = [
        "arm",
        *(text for title in titles for text in (f"F1, {title}", "difference")),
        "p (Holm)",
        "verdict",
    ]
    caption = (
        f"{words(name).capitalize()}: F1 at the validation threshold of every arm, and differences to "
        f"“{words(config.baseline)}”. Below, 95 % intervals over patients and seeds; p is two-sided, of the "
        "same resamples of the mean over k, adjusted for the number of arms, and decides nothing. Bold: the "
        "interval of the difference excludes zero; otherwise the comparison is inconclusive."
    )
    data = own[own["metric"].isin(keys)]
    return book.table(f"results/{name}", head, rows, caption=caption, data=data)


def _cell(row: Any, *, sign: bool = False, strong: bool = False) -> Cell:
    if row is None:
        return Cell(DASH, number=True)
    note = interval(row.low, row.high, sign=sign)
    return Cell(number(row.estimate, sign=sign), True, strong, row_key(row), note)


def _synthetic_pairs(config: ClassificationEvaluation) -> list[tuple[str, str]]:
    """(arm with synthetic positives, arm it is compared with): its like without them, then every rival."""
    pairs = []
    for name, arm in config.arms.items():
        if arm.added(config.test):
            rivals = [other for other, training in config.arms.items() if not training.added(config.test)]
            others = dict.fromkeys((config.like(name), *rivals))
            pairs += [(name, other) for other in others if other != name]
    return pairs


def _added_value(name: str, done: Finished, pairs: Sequence[tuple[str, str]], book: Book) -> Exhibit:
    """What synthetic positives add to each arm without them, at up to three k and on average."""
    config, folders = done
    read, found = _read(tuple(config.arms), tuple(folders)), _resampled(tuple(config.arms), tuple(folders))
    k = config.positives[0]
    shown = dict.fromkeys((k, config.positives[len(config.positives) // 2], config.positives[-1]))
    keys = [*(f"image_f1/k={size}" for size in shown), "image_f1"]
    records = []
    for arm, other in pairs:
        if arm not in found or other not in found:
            continue
        record: dict[str, Any] = {"arm": arm, "compared_with": other}
        for key in keys:
            gap, low, high = found[arm].difference(found[other], key)
            record |= {key: gap, f"{key}_low": low, f"{key}_high": high}
        if config.folds is not None:
            share = 1 / ((config.folds.count - 1) * (1 - config.folds.val))  # test to training patients
            test = nadeau_bengio(by_fold(read[arm], read[other], "image_f1", k), share)
            record |= {"corrected_t_low": test.low, "corrected_t_high": test.high, "p": test.p}
        records.append(record)
    table = pd.DataFrame(records)
    if "p" in table:
        table["p_holm"] = holm(table["p"].tolist())
    rows = [_pair_row(row, keys) for row in table.to_dict("records")]
    head = ["with synthetic positives", "compared with"]
    head += [*(f"F1 difference, k = {size}" for size in shown), "mean over k"]
    head += ["corrected t, p (Holm)"] if "p" in table else []
    corrected = (
        f" The last column is the corrected t test of Nadeau and Bengio over folds, of means over seeds, at "
        f"k = {k}, with Holm's adjustment for all rows."
        if "p" in table
        else ""
    )
    caption = (
        f"What synthetic positives add, {words(name)}: differences of F1 to the like arm without them, and "
        f"to every rival that needs no generator; 95 % intervals over patients and seeds below. Where an "
        f"interval holds zero the two are {SAME}.{corrected}"
    )
    return book.table(f"added/{name}", head, rows, caption=caption, data=table)


def _pair_row(row: Mapping[str, Any], keys: Sequence[str]) -> list[Cell]:
    cells = [Cell(words(row["arm"])), Cell(words(row["compared_with"]))]
    for key in keys:
        found = Difference(row[key], row[f"{key}_low"], row[f"{key}_high"], float("nan"))
        decided = _excludes_zero(found)
        note = interval(found.low, found.high, sign=True) + ("" if decided else f"; {SAME}")
        cells.append(Cell(number(found.estimate, sign=True), True, decided, note=note))
    if "p" in row:
        told = interval(row["corrected_t_low"], row["corrected_t_high"], sign=True)
        cells.append(Cell(number(row["p_holm"]), number=True, note=told))
    return cells


def _excludes_zero(found: Difference) -> bool:
    return bool(found.low > 0 or found.high < 0)


def _areas(name: str, done: Finished, book: Book) -> Exhibit:
    """The study's table of areas under the ROC, with what of it can be told apart."""
    config, folders = done
    read, found = _read(tuple(config.arms), tuple(folders)), _resampled(tuple(config.arms), tuple(folders))
    exact = all(one_image_each(arm) for arm in read.values())
    sizes = sizes_of(next(iter(read.values())))
    records, rows = [], []
    for arm, own in read.items():
        row = [Cell(words(arm))]
        for k in sizes:
            value = found[arm].estimate[f"image_auc/k={k}"]
            if arm == config.baseline or config.baseline not in read:
                row.append(
                    Cell(number(value, 4), number=True, note="baseline" if arm == config.baseline else "")
                )
                records.append({"arm": arm, "k": k, "auc": value})
                continue
            gap = _area_gap(own, read[config.baseline], found[arm], found[config.baseline], k, exact)
            apart = _excludes_zero(gap)
            note = f"{number(gap.estimate, 4, sign=True)} {interval(gap.low, gap.high, 4, sign=True)}"
            row.append(Cell(number(value, 4), True, apart, note=note if apart else f"{note}: {SAME}"))
            ends = {"difference": gap.estimate, "low": gap.low, "high": gap.high}
            records.append({"arm": arm, "k": k, "auc": value, **ends, "distinguishable": apart})
        rows.append(row)
    how = (
        "by DeLong's covariance of the classifiers on the same images, one a patient"
        if exact
        else "from resampled patients and seeds, since patients have several images"
    )
    positives, negatives, _ = _test_numbers(done)
    caption = (
        f"Area under the ROC of {words(name)} against the number of real training positives, k, mean over "
        f"seeds and folds; {positives} test positives and {negatives} negatives. Below, the difference to "
        f"“{words(config.baseline)}” with its 95 % interval {how}. Where the interval holds zero, the two "
        f"are {SAME}, however the numbers are ordered."
    )
    head = ["arm", *(f"k = {k}" for k in sizes)]
    return book.table(f"areas/{name}", head, rows, caption=caption, data=pd.DataFrame(records))


def _area_gap(
    own: Arm, base: Arm, resampled: Resampled, others: Resampled, k: int, exact: bool
) -> Difference:
    if exact:
        return area_difference(own, base, k)
    return Difference(*resampled.difference(others, f"image_auc/k={k}"), float("nan"))


def _saturation(done: Finished) -> str:
    """How small a difference of areas this test set can show, as the best arm stands."""
    config, folders = done
    positives, negatives, _ = _test_numbers(done)
    found = _resampled(tuple(config.arms), tuple(folders))
    k = config.positives[-1]
    best = max(own.estimate[f"image_auc/k={k}"] for own in found.values())
    area = float(np.clip(best, 0.5, 0.999))
    error = hanley_mcneil(area, positives, negatives)
    gap = (1 - area) / 2
    needed = positives_needed(area, gap, negatives / max(positives, 1))
    cases = f"{int(round(needed, -1 if needed < 1000 else -2)):,}"
    return (
        f"An area near 1 says little. At {number(area)}, {positives} test positives and {negatives} "
        f"negatives give a standard error of {number(error, 4)} (Hanley and McNeil), and to tell it from one "
        f"that is {number(gap, 4)} higher would take about {cases} test positives."
    )


def _published(book: Book) -> Exhibit:
    """The mammography study's own table with what it lacks: standard errors, and what can be told apart."""
    positives, negatives = PUBLISHED_CASES
    records, rows = [], []
    for mode, areas in PUBLISHED.items():
        row = [Cell(mode)]
        for k, area, plain in zip(PUBLISHED_SIZES, areas, PUBLISHED["ORG"], strict=True):
            error, other = (hanley_mcneil(one, positives, negatives) for one in (area, plain))
            # Of a difference on the same images, whose areas are taken to be correlated by one half.
            reach = float(stats.norm.ppf((1 + LEVEL) / 2)) * float(
                np.sqrt(error**2 + other**2 - error * other)
            )
            apart = mode != "ORG" and abs(area - plain) > reach
            note = f"± {number(error, 4)}" + ("" if apart or mode == "ORG" else f"; {SAME}")
            row.append(Cell(number(area, 4), True, apart, note=note))
            records.append(
                {"mode": mode, "k": k, "auc": area, "standard_error": error, "distinguishable": apart}
            )
        rows.append(row)
    caption = (
        "The published areas under the ROC of the mammography study (Alyafi, Diaz and Martí) by number of "
        "real training positives, k. Below, what the publication does not give: the standard error by Hanley "
        f"and McNeil for {positives} test positives and {negatives} negatives, the third of a fold, and "
        f"whether a mode is {SAME} from ORG at 95 %, areas of the same images taken to be correlated by one "
        "half. The differences at large k are smaller than the standard error."
    )
    head = ["mode", *(f"k = {k}" for k in PUBLISHED_SIZES)]
    return book.table("published_areas", head, rows, caption=caption, data=pd.DataFrame(records))


def _others(name: str, done: Finished, own: pd.DataFrame, book: Book) -> Exhibit:
    config = done.config
    k = config.positives[0]
    shown = {f"{metric}/k={k}": title for metric, title in TITLES.items()}
    caption = (
        f"Figures of {words(name)} at k = {k}. The Brier score and the calibration error are better when "
        "smaller; average precision of a chance ranking is the share of positives. "
    )
    return arms.grid(f"metrics/{name}", config, own, shown, caption, book)
