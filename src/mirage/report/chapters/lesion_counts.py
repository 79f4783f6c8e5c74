"""How many lesions of each kind there are, and patches of them and of normal tissue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from mirage.data import Dataset
from mirage.data.manifest import SPLITS
from mirage.report.book import Book, Cell, Exhibit
from mirage.report.chapters.base import count, words
from mirage.report.numbers import DASH

PATCH, IMAGE = "lesion_type", "lesion_types"
"""Columns that patches of mammograms and whole mammograms have."""
NORMAL, UNKNOWN = "normal tissue", "unknown"


def lesion_counts(data: Mapping[str, Dataset], book: Book) -> Exhibit | None:
    """Table of lesions by kind, malignancy and split; None without a dataset of mammograms."""
    shown = {name: dataset for name, dataset in data.items() if {PATCH, IMAGE} & set(dataset.items.columns)}
    found = pd.DataFrame([{"dataset": name, **row} for name, one in shown.items() for row in _lesions(one)])
    if not len(found):
        return None
    keys = ["dataset", "kind", "malignancy"]
    records, rows = [], []
    for (name, kind, malignancy), part in found.groupby(keys, sort=False):
        items = [int((part["split"] == split).sum()) for split in SPLITS]
        lesions = None if kind == NORMAL else int(part["lesion"].nunique())
        subjects = [part[part["split"] == split]["subject"].nunique() for split in SPLITS]
        records.append(
            {
                "dataset": name,
                "kind": kind,
                "malignancy": malignancy,
                "lesions": lesions,
                **{f"subjects_{split}": number for split, number in zip(SPLITS, subjects, strict=True)},
                **{f"boxes_or_patches_{split}": number for split, number in zip(SPLITS, items, strict=True)},
            }
        )
        rows.append(
            [
                Cell(words(str(name))),
                Cell(str(kind)),
                Cell(str(malignancy)),
                Cell(DASH if lesions is None else str(lesions), number=True),
                Cell(" / ".join(map(str, subjects)), number=True),
                Cell(" / ".join(map(str, items)), number=True),
            ]
        )
    total = int((found["kind"] != NORMAL).sum())
    caption = (
        f"Lesions of the mammograms by kind, {count(total, 'box or patch', 'boxes or patches')} of them, and "
        "patches of normal tissue. A lesion in two views counts twice; of one lesion there may be several "
        "patches."
    )
    head = ["dataset", "kind", "malignancy", "lesions", "subjects train / val / test"]
    head.append("boxes or patches train / val / test")
    return book.table("lesion-counts", head, rows, caption=caption, data=pd.DataFrame(records))


def _lesions(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """A row a box of whole images, in the order of kinds; of patches, a row a patch."""
    rows = []
    patches = PATCH in dataset.items.columns
    for item in dataset.items.to_dict("records"):
        image = str(item["item_id"])
        own = {"subject": item["subject_id"], "split": item["split"]}
        if not patches:
            for number, box in enumerate(item["boxes"]):
                rows.append({**own, "kind": box["label"], "malignancy": UNKNOWN, "lesion": (image, number)})
        elif isinstance(item[PATCH], str):
            known = item["malignancy"] if isinstance(item["malignancy"], str) else UNKNOWN
            lesion = (image.rpartition("/")[0], item["lesion"])
            rows.append({**own, "kind": item[PATCH], "malignancy": known, "lesion": lesion})
        else:
            rows.append({**own, "kind": NORMAL, "malignancy": DASH, "lesion": None})
    yield from sorted(rows, key=lambda row: (str(row["kind"]), str(row["malignancy"])))
