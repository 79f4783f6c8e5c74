"""Items by an attribute or by the labels of their boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mirage.config.criteria import Criterion
from mirage.data.dataset import Dataset
from mirage.data.items import Items
from mirage.errors import DataError

Flags = npt.NDArray[np.bool_]


def meets(data: Items, criterion: Criterion) -> Flags:
    """Which items (N,) a criterion means.

    Raises:
        DataError: there is no such attribute, or no item has one of the values or boxes.
    """
    name = data.info.name
    if criterion.attribute is None:
        wanted = set(criterion.boxes)
        found = [{str(box["label"]) for box in boxes} for boxes in data.items["boxes"]]
        there = sorted(set().union(*found))
        what = "boxes named"
    else:
        column = _column(data, criterion.attribute)
        wanted = {value.casefold() for value in criterion.values}
        found = [_texts(value) for value in column]
        there = sorted({text for texts in found for text in texts})
        what = f"values of {criterion.attribute!r}:"
    flags = np.array([bool(texts & wanted) for texts in found], np.bool_)
    if not flags.any():
        raise DataError(
            f"{name}: none of the {len(data)} items has {criterion.words()}; there are {what} "
            f"{', '.join(there[:12]) or 'none'}"
        )
    return flags


def known(data: Items, criterion: Criterion) -> Flags:
    """Of which items (N,) it can be told whether a criterion means them: their attribute is not null."""
    if criterion.attribute is None:
        return np.ones(len(data), np.bool_)
    return np.asarray(_column(data, criterion.attribute).notna(), np.bool_)


def matching(data: Dataset, criterion: Criterion) -> Dataset:
    """The same dataset restricted to the items that a criterion means.

    Raises:
        DataError: as for :func:`meets`.
    """
    return data.of_items(set(data.items["item_id"][meets(data, criterion)]))


def _column(data: Items, attribute: str) -> pd.Series:
    if attribute not in data.items.columns:
        raise DataError(
            f"{data.info.name}: no attribute {attribute!r} in its manifest; there are "
            f"{', '.join(sorted(data.items.columns))}"
        )
    return data.items[attribute]


def _texts(value: Any) -> set[str]:
    """A value as text, each of several separated by a bar; whole numbers without a decimal point."""
    if value is None or value != value:
        return set()
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return {part.strip().casefold() for part in str(value).split("|")}
