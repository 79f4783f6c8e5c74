"""Tables of the privacy evaluator's rows: measures down and arms across, or spaces down and measures
across."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import words
from mirage.report.numbers import DASH, grouped, range_of, significant
from mirage.report.summary import row_key

Column = tuple[str, str, str]
"""Heading, arm, kind."""
Measure = tuple[str, str, str, str]
"""Heading, metric, arm, protocol."""
TITLES = {
    "nearest": "distance to nearest training item",
    "nndr": "nearest over nearest of another patient",
    "blank": "blank items, left out below",
    "exact_copies": "exact copies",
    "near_copies": "near copies",
    "distinct": "distinct items",
    "exact_duplicates": "exact duplicates within the set",
    "near_duplicates": "near duplicates within the set",
    "authenticity": "authenticity",
    "c_t": "C_T (z)",
    "dcr_share": "nearer to training than to held-out",
    "fld": "feature likelihood divergence",
    "fld_gap": "feature likelihood divergence, gap",
    "exposure": "exposure of planted canaries (median, bits)",
    "guessed": "right guesses of which were planted",
    "epsilon_lower": "epsilon is at least",
    "reidentified": "items with a training patient's mask",
    "reidentified_subjects": "training patients whose mask turns up",
    "mask_dice": "Dice with the nearest training mask",
    "donor_named": "nearest training mask is the donor's",
}


def table_of(
    id: str, own: pd.DataFrame, columns: Sequence[Column], caption: str, book: Book, data: pd.DataFrame
) -> Exhibit:
    """Measures and spaces down, arms and kinds across; ``data`` is the CSV."""
    found = {(row.metric, row.label, row.arm, row.kind): row for row in own.itertuples()}
    wanted = sorted(
        dict.fromkeys(zip(own["metric"], own["label"], strict=True)),
        key=lambda pair: list(TITLES).index(pair[0]),
    )
    rows = [
        [
            Cell(TITLES[metric], note=words(label)),
            *(cell(found.get((metric, label, arm, kind))) for _, arm, kind in columns),
        ]
        for metric, label in wanted
    ]
    return book.table(id, ["measure", *(column[0] for column in columns)], rows, caption=caption, data=data)


def columns_of(id: str, own: pd.DataFrame, measures: Sequence[Measure], caption: str, book: Book) -> Exhibit:
    """Spaces down, measures across."""
    found = {(row.label, row.metric, row.arm, row.protocol): row for row in own.itertuples()}
    rows = [
        [Cell(words(space)), *(cell(found.get((space, *measure[1:]))) for measure in measures)]
        for space in dict.fromkeys(own["label"])
    ]
    return book.table(id, ["space", *(measure[0] for measure in measures)], rows, caption=caption, data=own)


def cell(row: Any) -> Cell:
    """A number with its interval below."""
    if row is None or np.isnan(row.estimate):
        return Cell(DASH, number=True)
    text = grouped(int(row.estimate)) if row.metric == "distinct" else significant(row.estimate)
    note = "" if np.isnan(row.low) else range_of(row.low, row.high)
    return Cell(text, True, key=row_key(row), note=note)
