"""The chapter on readers: confusion tables, accuracies, ratings, agreement, and images that misled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mirage.amounts import count
from mirage.config.evaluations import ObserverEvaluation
from mirage.data import Dataset
from mirage.evaluate.statistics.guessing import ALPHA, POWER
from mirage.files import read_json
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import Chapter, words
from mirage.report.images import Tile, to_rgb
from mirage.report.inputs import Finished
from mirage.report.numbers import DASH, estimate, interval, number, setting
from mirage.report.reader_figures import accuracies, ratings

MISLED = 6
TITLES = {
    "accuracy": "share of right answers",
    "hit_rate": "synthetic images called synthetic",
    "false_alarm_rate": "real images called synthetic",
    "d_prime": "d'",
    "criterion": "criterion c",
    "equivalence_p": "p of not being equivalent to guessing",
    "kappa": "Cohen's kappa",
    "kappa_max": "largest possible kappa",
    "pabak": "prevalence- and bias-adjusted kappa",
    "fleiss_kappa": "Fleiss' kappa",
    "accuracy_difference": "difference in right answers between readers",
    "seconds": "median seconds a case",
    "left": "share of left answers",
    "plausibility": "real images rated more plausible than synthetic ones (area)",
    "cases": "cases",
    "hits": "synthetic called synthetic",
    "misses": "synthetic called real",
    "false_alarms": "real called synthetic",
    "correct_rejections": "real called real",
    "undecided": "undecided",
}


def observer_chapter(
    own: Mapping[str, Finished],
    data: Mapping[str, Dataset],
    book: Book,
    page: Callable[[str, Path], str] | None = None,
) -> Chapter:
    """One chapter of all observer studies.

    Args:
        own: name -> evaluation.
        data: datasets whose images may be shown.
        book: gets the exhibits.
        page: where the page for readers lies, by name and folder, from the report; None: nowhere.
    """
    chapter = Chapter("Observers", "further")
    chapter.text(
        "Readers were shown real and synthetic images in random order, all in one form, and said which is "
        "which. A synthetic image is what is sought: calling one synthetic is a hit, calling a real one so a "
        "false alarm. Not being significantly better than guessing does not show that a reader guesses; "
        "equivalence to guessing is tested for itself."
    )
    for name, (config, (folder,)) in own.items():
        chapter.heading(words(name))
        facts = read_json(folder / "details/observer.json")
        if page is not None:
            chapter.links("The page that readers get:", [("observer.html", page(name, folder))])
        if facts["word"] == "waiting":
            chapter.remark(
                "Waiting for readers: give out the page, put the files that come back where `answers` of "
                f"evaluation {name} finds them, and run again."
            )
        else:
            chapter.points([*facts["sentences"], *facts["remarks"]])
            _show_answers(chapter, name, config, folder, data, book)
        chapter.show(_planning(name, config, folder, book))
        _handling(chapter, facts.get("made") or {})
    return chapter


def _show_answers(
    chapter: Chapter,
    name: str,
    config: ObserverEvaluation,
    folder: Path,
    data: Mapping[str, Dataset],
    book: Book,
) -> None:
    readers = pd.read_parquet(folder / "details/readers.parquet")
    cases = pd.read_parquet(folder / "details/cases.parquet")
    pairs = pd.read_parquet(folder / "details/pairs.parquet")
    chapter.show(_readers(name, config, readers, book))
    if "hits" in readers:
        chapter.show(_confusion(name, readers, book))
    chapter.show(_accuracies(name, config, readers, book))
    roc = pd.read_parquet(folder / "details/roc.parquet")
    if len(roc):
        chapter.show(_ratings(name, cases, roc, readers, book))
    if len(pairs):
        chapter.show(_pairs(name, pairs, book))
    plausible = pd.read_parquet(folder / "metrics.parquet").query("metric == 'plausibility'")
    if len(plausible):
        chapter.show(_plausibility(name, plausible, book))
    misled = _misled(name, cases, data, book)
    if misled is not None:
        chapter.show(misled)


def _value(row: Any, metric: str, digits: int = 3) -> Cell:
    """A number of a reader with its interval below."""
    value = getattr(row, metric, float("nan"))
    if pd.isna(value):
        return Cell(DASH, number=True)
    low = getattr(row, f"{metric}_low", float("nan"))
    note = "" if pd.isna(low) else interval(low, getattr(row, f"{metric}_high"), digits)
    return Cell(number(value, digits), number=True, note=note)


def _readers(name: str, config: ObserverEvaluation, readers: pd.DataFrame, book: Book) -> Exhibit:
    metrics = [
        (metric, head)
        for metric, head in (
            ("accuracy", "accuracy"),
            ("d_prime", "d'"),
            ("auc", "AUC"),
        )
        if metric in readers
    ]
    rows = []
    for row in readers.itertuples():
        years = "" if pd.isna(row.years) else f"{setting(row.years)} years"
        rows.append(
            [
                Cell(str(row.reader), note=years),
                Cell(f"{row.right} of {row.cases - row.undecided}", number=True),
                *(_value(row, metric) for metric, _ in metrics),
                Cell(number(row.p), number=True, note=f"adjusted {number(row.p_holm)}"),
                Cell(number(row.equivalence_p), number=True),
                _value(row, "seconds", 1),
                Cell(row.word.replace("_", " ")),
            ]
        )
    caption = (
        "What each reader's answers show. In brackets 95 % intervals: of accuracy exact binomial, of AUC "
        "DeLong's. p: exact, of guessing, and adjusted for the number of readers by Holm. Equivalence: p of "
        f"the accuracy lying further than {setting(100 * config.margin)} points from one half, small where "
        f"guessing is shown. n = {int(readers['cases'].max())} cases."
    )
    head = ["reader", "right", *(title for _, title in metrics), "p", "equivalence p", "seconds", "word"]
    return book.table(f"readers/{name}", head, rows, caption=caption, data=readers)


def _confusion(name: str, readers: pd.DataFrame, book: Book) -> Exhibit:
    counted = ("hits", "misses", "false_alarms", "correct_rejections")
    rows = [
        [
            Cell(str(row.reader)),
            *(Cell(str(getattr(row, column)), number=True) for column in counted),
            *(_value(row, metric) for metric in ("hit_rate", "false_alarm_rate", "criterion", "kappa")),
        ]
        for row in readers.itertuples()
    ]
    caption = (
        "Confusion table of each reader: truth, then answer. Shares with exact 95 % intervals; c: criterion, "
        "below 0 where a reader says synthetic readily; κ: Cohen's, of answers and truth."
    )
    head = [
        "reader",
        "synthetic: synthetic",
        "synthetic: real",
        "real: synthetic",
        "real: real",
        "hit rate",
        "false alarm rate",
        "c",
        "κ",
    ]
    return book.table(f"confusion/{name}", head, rows, caption=caption, data=readers[["reader", *counted]])


def _accuracies(name: str, config: ObserverEvaluation, readers: pd.DataFrame, book: Book) -> Exhibit:
    shown = readers[["reader", "accuracy", "accuracy_low", "accuracy_high"]]
    caption = (
        f"Share of right answers of {count(len(readers), 'reader')} with exact 95 % intervals. The line is "
        "guessing, the band what counts as guessing in the test of equivalence, "
        f"{setting(100 * config.margin)} points to either side. An interval that holds the line leaves "
        "open whether there is a difference; only one within the band shows guessing."
    )
    said = ", ".join(
        f"{row.reader} {estimate(row.accuracy, row.accuracy_low, row.accuracy_high)}"
        for row in readers.itertuples()
    )
    figure = accuracies(shown, config.margin)
    return book.chart(f"accuracy/{name}", figure, shown, caption=caption, alt=f"Accuracy: {said}")


def _ratings(name: str, cases: pd.DataFrame, roc: pd.DataFrame, readers: pd.DataFrame, book: Book) -> Exhibit:
    rated = cases[cases["rating"].notna()][["reader", "truth", "rating"]]
    areas = {row.reader: row.auc for row in readers.itertuples() if not pd.isna(getattr(row, "auc", np.nan))}
    caption = (
        "Ratings by truth, and the ROC curves they give; the diagonal is guessing. Higher ratings mean "
        f"surely synthetic. n = {count(len(rated), 'rating')}."
    )
    alt = f"Histograms of ratings and ROC curves of {', '.join(areas)}"
    return book.chart(f"ratings/{name}", ratings(rated, roc, areas), rated, caption=caption, alt=alt)


def _pairs(name: str, pairs: pd.DataFrame, book: Book) -> Exhibit:
    rows = [
        [
            Cell(f"{row.first} and {row.second}"),
            Cell(number(row.agreement), number=True),
            _value(row, "kappa"),
            Cell(number(row.kappa_max), number=True),
            Cell(number(row.pabak), number=True),
            Cell(f"{row.first_alone} : {row.second_alone}", number=True),
            Cell(number(row.p), number=True, note=f"adjusted {number(row.p_holm)}"),
        ]
        for row in pairs.itertuples()
    ]
    caption = (
        "Agreement of readers on what is synthetic. κ: Cohen's, with its 95 % interval; κ max: the largest "
        "that their shares of answers allow; PABAK: adjusted for prevalence and bias. Right alone: cases "
        "that one of them has right and the other wrong, with McNemar's exact p, adjusted by Holm. "
        f"n = {int(pairs['cases'].max())} cases."
    )
    head = ["readers", "agreement", "κ", "κ max", "PABAK", "right alone", "p"]
    return book.table(f"agreement/{name}", head, rows, caption=caption, data=pairs)


def _plausibility(name: str, found: pd.DataFrame, book: Book) -> Exhibit:
    rows = [
        [
            Cell(str(row.label)),
            Cell(str(row.arm)),
            Cell(number(row.value), number=True, note=interval(row.low, row.high)),
            Cell(str(row.n_items), number=True),
        ]
        for row in found.sort_values(["label", "arm"]).itertuples()
    ]
    caption = (
        "Plausibility of findings: how often a real image is rated more plausible than a synthetic one, one "
        "half where neither is, with DeLong's 95 % interval."
    )
    head = ["finding", "reader", "real above synthetic", "cases"]
    return book.table(f"plausibility/{name}", head, rows, caption=caption, data=found)


def _misled(name: str, cases: pd.DataFrame, data: Mapping[str, Dataset], book: Book) -> Exhibit | None:
    """Images that most readers had wrong; None where their datasets are not at hand or nobody was wrong."""
    known = cases[cases["dataset"].isin(list(data)) & cases["correct"].notna()]
    if known.empty:
        return None
    grouped = known.groupby(["truth", "dataset", "item_id"], sort=True)["correct"]
    table = (1 - grouped.mean()).rename("wrong").reset_index().assign(readers=grouped.size().to_numpy())
    table = table[table["wrong"] > 0].sort_values("wrong", ascending=False, kind="stable")
    rows: list[list[Tile | None]] = []
    names = []
    for truth, own in table.groupby("truth", sort=True):
        worst = own.head(MISLED)
        rows.append([_tile(row, data) for row in worst.itertuples()])
        names.append(str(truth))
    if not rows:
        return None
    caption = (
        f"Images that readers most often judged wrong, at most {MISLED} of a kind; below each how many "
        "of its readers were wrong."
    )
    return book.plate(f"misled/{name}", rows, names=names, data=table, caption=caption, side=128)


def _tile(row: Any, data: Mapping[str, Dataset]) -> Tile | None:
    dataset = data[row.dataset]
    places = np.flatnonzero(dataset.items["item_id"] == row.item_id)
    if not len(places):
        return None
    rgb = to_rgb(dataset.image(int(places[0])), dataset.info.value_range)
    said = f"{round(row.wrong * row.readers)} of {row.readers}"
    return Tile(rgb, f"{words(row.dataset)} {row.item_id}, {row.truth}, wrong: {said}", said)


def _planning(name: str, config: ObserverEvaluation, folder: Path, book: Book) -> Exhibit:
    plan = pd.read_parquet(folder / "details/planning.parquet")
    said = {
        "detection": "to detect a true accuracy of {} %",
        "equivalence": "to show guessing within ± {} points",
    }
    rows = [
        [
            Cell(said[row.aim].format(setting(100 * row.share))),
            Cell(str(row.normal), number=True),
            Cell(str(row.exact), number=True),
        ]
        for row in plan.itertuples()
    ]
    total = 2 * config.n if config.mode == "single" else config.n
    caption = (
        f"Cases that one reader has to judge for {setting(100 * POWER)} % power at the "
        f"{setting(100 * ALPHA)} % level: to detect a true accuracy, two-sided, or to show equivalence to "
        "guessing where the reader does guess. By the normal approximation, and for the exact tests used "
        f"here. This study has {total} cases."
    )
    return book.table(f"planning/{name}", ["aim", "normal", "exact"], rows, caption=caption, data=plan)


def _handling(chapter: Chapter, made: Mapping[str, Any]) -> None:
    """How the images were made alike, and what the files would still tell."""
    if not made:
        return
    found = made["audit"]
    if found["auc"] is None:
        said = "There are too few images to tell whether their files give the kinds away."
    else:
        said = (
            "Whether files give the kinds away: a classifier that sees only statistics of them, such as "
            "their length and their extreme values, has an area of "
            f"{estimate(found['auc'], *_ends(found), 2)} under the ROC, cross-validated; one half is by "
            "chance."
        )
    chapter.text(said)
    if made["remarks"]:
        chapter.warning(
            "How the images were handled", "Look at these before the answers are believed.", made["remarks"]
        )


def _ends(found: Mapping[str, Any]) -> tuple[float, float]:
    low, high = (float("nan") if found[end] is None else found[end] for end in ("low", "high"))
    return low, high
