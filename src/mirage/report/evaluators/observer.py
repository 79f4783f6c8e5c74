"""Observer studies in the report: what readers' answers show, and what they leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mirage.config.evaluations import ObserverEvaluation
from mirage.data import Dataset
from mirage.evaluate.statistics.guessing import ALPHA
from mirage.evaluate.statistics.readers import FEWEST
from mirage.files import read_json
from mirage.report.book import Book
from mirage.report.chapters.base import Chapter, listing, words
from mirage.report.evaluators.observer_chapter import TITLES, observer_chapter
from mirage.report.inputs import Finished, ReportInputs
from mirage.report.numbers import setting
from mirage.report.summary import COLUMNS, pick, read_metrics, row_key
from mirage.report.verdicts import Verdict, Word, worst

__all__ = ["TITLES", "chapters", "limits", "summarise", "verdicts"]

AXIS = "Observers"
ANSWERED: dict[str, Word] = {
    "told_apart": "fail",
    "equivalent": "pass",
    "inconclusive": "inconclusive",
    "waiting": "untested",
}


def summarise(name: str, config: ObserverEvaluation, folders: Sequence[Path]) -> pd.DataFrame:
    """Rows of the evaluation, which come with their intervals, under the summary's columns."""
    renamed = read_metrics(folders).rename(columns={"value": "estimate"}).assign(evaluation=name)
    return renamed.reindex(columns=list(COLUMNS))


def chapters(
    own: Mapping[str, Finished],
    inputs: ReportInputs,
    data: Mapping[str, Dataset],
    summary: pd.DataFrame,
    book: Book,
) -> list[Chapter]:
    """One chapter of all observer studies."""
    return [observer_chapter(own, data, book, page=_page)]


def _page(name: str, folder: Path) -> str:
    """From the report of a study to the page that readers get."""
    return f"../../evaluations/{name}/{_facts(folder)['page']}"


def verdicts(own: Mapping[str, Finished], synthetic: set[str], summary: pd.DataFrame) -> list[Verdict]:
    """Whether readers tell the synthetic images from real ones."""
    found, sentences, keys = list[Word](), [], list[str]()
    for name, (_, (folder,)) in own.items():
        facts = _facts(folder)
        found.append(ANSWERED[facts["word"]])
        sentences += [f"{words(name)}: {sentence}" for sentence in facts["sentences"]]
        rows = pick(summary, name)
        decide = rows[rows["metric"].isin(("accuracy", "equivalence_p"))]
        keys += [row_key(row) for row in decide.itertuples()]
    margins = listing(
        [setting(100 * margin) for margin in sorted({one.config.margin for one in own.values()})]
    )
    rule = (
        "fail: a reader's accuracy differs from one half (exact test, adjusted for the number of readers by "
        f"Holm, p below {setting(ALPHA)}), or from three readers on their mean does (Obuchowski and "
        f"Rockette), and it is not shown to lie within {margins} points of one half. Pass: of every reader "
        "that is shown, by two one-sided exact tests. Otherwise inconclusive: a difference that is not "
        "significant shows nothing."
    )
    return [Verdict(AXIS, worst(found), sentences, rule, keys)]


def limits(own: Mapping[str, Finished], summary: pd.DataFrame) -> list[str]:
    """What the numbers cannot bear."""
    points = []
    for name, (_, (folder,)) in own.items():
        facts = _facts(folder)
        if facts["word"] == "waiting":
            points.append(
                f"{words(name)}: nobody has read the images yet, so whether experts can tell synthetic from "
                "real ones was not tested."
            )
        elif facts["readers"] < FEWEST:
            points.append(
                f"{words(name)}: the intervals of single readers speak of these readers; what others would "
                "see takes three or more."
            )
    return [
        *points,
        "Readers who cannot tell single images apart may still do so with other images, more time, or a "
        "better screen; and an image that looks real need not be right.",
    ]


def _facts(folder: Path) -> Any:
    return read_json(folder / "details/observer.json")
