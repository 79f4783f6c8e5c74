"""Fidelity in the report: likeness of grey values to real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mirage.config.evaluations import FidelityEvaluation
from mirage.data import Dataset
from mirage.report.book import Book
from mirage.report.chapters.base import Chapter, words
from mirage.report.evaluators.fidelity_chapter import fidelity_chapter
from mirage.report.inputs import Finished, ReportInputs
from mirage.report.numbers import estimate
from mirage.report.summary import COLUMNS, pick, read_metrics
from mirage.report.verdicts import Verdict, combine

HEADLINE = "js_robust"
NO_IMAGES = "No evaluation of this study compares images."


def summarise(name: str, config: FidelityEvaluation, folders: Sequence[Path]) -> pd.DataFrame:
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
    """One chapter of all fidelity evaluations."""
    return [fidelity_chapter(own, data, summary, book)]


def verdicts(own: Mapping[str, Finished], synthetic: set[str], summary: pd.DataFrame) -> list[Verdict]:
    """Fidelity of the synthetic data."""
    return [fidelity_verdict(own, summary)]


def limits(own: Mapping[str, Finished], summary: pd.DataFrame) -> list[str]:
    """What the numbers cannot bear."""
    return ["Fidelity was measured on grey values and areas only; shapes and anatomy were not measured."]


FIDELITY_RULE = (
    "the Jensen-Shannon divergence of grey values from the real training images is divided by that of other "
    "real images, at equal numbers of images. Fail: the whole 95 % range of the ratio lies above 1; pass: "
    "it lies at or below 1; otherwise inconclusive. Only grey values are judged: shapes and anatomy are for "
    "the reader's eye."
)


def fidelity_verdict(own: Mapping[str, Finished], summary: pd.DataFrame) -> Verdict:
    """Verdict over all fidelity evaluations that compare images."""
    found, sentences = [], []
    for name in own:
        row = _ratio(summary, name)
        if row is not None:
            word = "worse" if row["low"] > 1 else "better" if row["high"] <= 1 else "inconclusive"
            claim = {
                "worse": "lie farther from real training images than other real images do",
                "better": "lie no farther from real training images than other real images do",
            }.get(word, "cannot be told from other real ones by this measure")
            found.append(word)
            sentences.append(
                f"{words(name)}: grey values ({row['label']}) {claim}: ratio "
                f"{estimate(row['estimate'], row['low'], row['high'], 2)}, n = {int(row['n_items'])} a side."
            )
    return Verdict("Fidelity", combine(found, "better", "worse"), sentences or [NO_IMAGES], FIDELITY_RULE)


def _ratio(summary: pd.DataFrame, evaluation: str) -> pd.Series | None:
    """The ratio that decides: first channel, against held-out real images, else against random halves."""
    rows = pick(summary, evaluation, metric=HEADLINE, kind="ratio")
    for protocol in ("heldout", "halves"):
        chosen = rows[(rows["protocol"] == protocol) & rows["low"].notna()]
        if len(chosen):
            return chosen.iloc[0]
    return None
