"""Fidelity and diversity in the report: likeness of images and masks to real ones, and their variety."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mirage.config.evaluations import FidelityEvaluation
from mirage.data import Dataset
from mirage.report.book import Book
from mirage.report.chapters.base import Chapter
from mirage.report.evaluators import fidelity_chapter, fidelity_features
from mirage.report.evaluators.fidelity_verdicts import CRITERIA, axis_verdict
from mirage.report.inputs import Finished, ReportInputs
from mirage.report.summary import COLUMNS, read_metrics
from mirage.report.verdicts import Verdict

TITLES = {**fidelity_chapter.TITLES, **fidelity_features.TITLES}


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
    return [fidelity_chapter.fidelity_chapter(own, data, summary, book)]


def verdicts(own: Mapping[str, Finished], synthetic: set[str], summary: pd.DataFrame) -> list[Verdict]:
    """Fidelity and diversity of the synthetic data."""
    return [axis_verdict(axis, own, summary) for axis in CRITERIA]


def limits(own: Mapping[str, Finished], summary: pd.DataFrame) -> list[str]:
    """What the numbers cannot bear."""
    return [
        "Fidelity was measured by features that programs compute; a feature space sees what its encoder "
        "sees. Whether anatomy is right is for the reader's eye."
    ]
