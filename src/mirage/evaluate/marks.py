"""The tables that an arm's detector leaves: its marks, the lesions, and the images that were looked at.

``marks.parquet``
    A row a mark: ``test`` (``benchmark`` or ``own``), ``item_id``, ``subject_id``, ``diseased`` (it has
    a lesion), ``x0, y0, x1, y1`` (pixels of the stored image, half-open), ``score`` in [0, 1], ``lesion``
    (number of the lesion that it hits, as in ``truths.parquet``; null for none) and ``outcome``: ``hit`` (the
    mark by which a lesion counts as found, one a lesion at most), ``false`` (a false positive) or ``ignored``
    (a further mark on a found lesion, where the hit rule ignores these).
``truths.parquet``
    A row a lesion: ``test, item_id, subject_id, lesion`` (from 0 in every image), ``x0, y0, x1, y1, label``.
``items.parquet``
    A row an image, also of those without marks and lesions: ``test, item_id, subject_id, diseased``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from mirage.data import Items
from mirage.errors import DataError
from mirage.evaluate.table import COUNT, FLAG, NUMBER, TEXT, write_table
from mirage.metrics.detection import FreeResponse
from mirage.metrics.hits import Floats, HitRule, Marks, match

TESTS = ("benchmark", "own")
"""The two test columns: held-out real images, and a held-out part of what the arm learns from."""
CORNERS = ("x0", "y0", "x1", "y1")
BOX_COLUMNS = dict.fromkeys(CORNERS, NUMBER)
NAMED = {"test": TEXT, "item_id": TEXT, "subject_id": TEXT}
MARKS = {**NAMED, "diseased": FLAG, **BOX_COLUMNS, "score": NUMBER, "lesion": COUNT, "outcome": TEXT}
TRUTHS = {**NAMED, "lesion": COUNT, **BOX_COLUMNS, "label": TEXT}
ITEMS = {**NAMED, "diseased": FLAG}
SCHEMAS = {"marks": MARKS, "truths": TRUTHS, "items": ITEMS}


@dataclass(frozen=True)
class Tables:
    """Marks, lesions and images of one arm and seed; columns as the module says."""

    marks: pd.DataFrame
    truths: pd.DataFrame
    items: pd.DataFrame

    def of_test(self, test: str) -> Tables:
        """Those of one test column."""
        return Tables(*(table[table["test"] == test] for table in (self.marks, self.truths, self.items)))

    def free_response(self) -> FreeResponse:
        """What the figures of merit see, images numbered in the order of ``items``.

        Raises:
            DataError: several test columns, whose images may share ids.
        """
        if self.items["test"].nunique() > 1:
            raise DataError("marks of several test columns cannot be scored as one; choose with `of_test`")
        place = pd.Series(np.arange(len(self.items)), index=self.items["item_id"])
        hits = self.marks[self.marks["outcome"] == "hit"].set_index(["item_id", "lesion"])["score"]
        keys = pd.MultiIndex.from_frame(self.truths[["item_id", "lesion"]])
        false = self.marks[self.marks["outcome"] == "false"]
        return FreeResponse(
            len(self.items),
            place.loc[self.truths["item_id"]].to_numpy(),
            hits.reindex(keys).fillna(-np.inf).to_numpy(np.float64),
            place.loc[false["item_id"]].to_numpy(),
            false["score"].to_numpy(np.float64),
        )

    def patients(self) -> npt.NDArray[np.int64]:
        """(K,) number of each image's subject, for a bootstrap over patients."""
        return np.asarray(pd.factorize(self.items["subject_id"])[0], np.int64)

    def rematched(self, rule: HitRule) -> Tables:
        """The same marks under another hit rule."""
        boxes = dict(iter(self.truths.groupby("item_id", sort=False)))
        nothing = self.truths.iloc[:0]
        parts = []
        for key, own in self.marks.groupby("item_id", sort=False):
            lesions = boxes.get(key, nothing)
            found = match(rule, corners(own), own["score"].to_numpy(np.float64), corners(lesions))
            numbers = lesions["lesion"].to_numpy()
            lesion = [int(numbers[index]) if index >= 0 else None for index in found.lesion]
            parts.append(own.assign(lesion=pd.array(lesion, "Int64"), outcome=found.outcome))
        marks = pd.concat(parts, ignore_index=True) if parts else self.marks
        return Tables(marks, self.truths, self.items)

    def write(self, folder: Path) -> None:
        """Write the three files."""
        for name, schema in SCHEMAS.items():
            write_table(folder / f"{name}.parquet", getattr(self, name), schema)


def read_tables(folder: Path) -> Tables:
    """Take back what ``write`` wrote: the three files of an arm's ``details/``.

    Raises:
        DataError: one of them is missing or damaged.
    """
    try:
        return Tables(*(pd.read_parquet(folder / f"{name}.parquet") for name in SCHEMAS))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: no marks of a detector ({error}); run the evaluation again") from error


def corners(table: pd.DataFrame) -> Floats:
    """Boxes (N, 4) of a table's rows."""
    return table[list(CORNERS)].to_numpy(np.float64).reshape(-1, 4)


def lesions_of(data: Items, index: int, labels: Sequence[str] | None) -> list[dict[str, object]]:
    """Boxes of an item that are lesions; all where ``labels`` is None."""
    boxes = data.items["boxes"].iat[index]
    return [dict(box) for box in boxes if labels is None or box["label"] in labels]


def tables_of(
    found: Mapping[str, tuple[Items, Sequence[Marks]]], labels: Sequence[str] | None, rule: HitRule
) -> Tables:
    """Tables of what a detector marked.

    Args:
        found: test column -> its images and the marks of each, in order.
        labels: names of the boxes that are lesions; None: all.
        rule: when a mark hits.
    """
    marks, truths, items = [], [], []
    for test, (data, marked) in found.items():
        for index, (item, own) in enumerate(zip(data.items.itertuples(), marked, strict=True)):
            lesions = lesions_of(data, index, labels)
            named = {"test": test, "item_id": item.item_id, "subject_id": item.subject_id}
            items.append({**named, "diseased": bool(lesions)})
            truths += [{**named, "lesion": number, **lesion} for number, lesion in enumerate(lesions)]
            boxes = np.array([[lesion[key] for key in CORNERS] for lesion in lesions], np.float64)
            matched = match(rule, own.boxes, own.scores, boxes.reshape(-1, 4))
            for box, score, lesion_hit, outcome in zip(
                own.boxes, own.scores, matched.lesion, matched.outcome, strict=True
            ):
                marks.append(
                    {
                        **named,
                        "diseased": bool(lesions),
                        **dict(zip(CORNERS, map(float, box), strict=True)),
                        "score": float(score),
                        "lesion": int(lesion_hit) if lesion_hit >= 0 else None,
                        "outcome": str(outcome),
                    }
                )
    tables = {"marks": marks, "truths": truths, "items": items}
    frames = {name: pd.DataFrame(rows, columns=list(SCHEMAS[name])) for name, rows in tables.items()}
    frames["marks"]["lesion"] = frames["marks"]["lesion"].astype("Int64")
    return Tables(**frames)
