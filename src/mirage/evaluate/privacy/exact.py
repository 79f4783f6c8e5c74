"""Exact copies of training items and exact repetitions, among all items, however many there are.

Digests of what is stored are read one after the other: nothing is sampled, and memory holds a digest an item.
An item is the same in all its orientations. Blank items (:func:`mirage.data.shards.is_blank`) are
alike whoever they are of: they are nobody's copy, and are counted by themselves. Metrics of protocol
``nearest``, ``label`` image or a mask:

- ``blank``, of arms ``synthetic`` and ``reference`` (held-out): share of items that are; all other metrics
  leave them out.
- ``exact_copies``, of arms ``synthetic`` and ``reference`` (held-out): share of items with the same stored
  pixels as a training item; NaN where all are blank, as is the share of repetitions.
- ``distinct``: number of synthetic items that repeat no earlier one; ``exact_duplicates``: share that do.

Intervals are exact binomial ones over subjects.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from mirage.data.shards import is_blank
from mirage.evaluate.privacy.rows import UNKNOWN, exact_interval, row
from mirage.evaluate.privacy.spaces import ARMS, Masks, Patterns, Space
from mirage.metrics.neighbours import canonical_hash, exact_groups

COLUMNS = ["side", "item_id", "subject_id", "blank", "copy_of", "repeats"]


def identical(space: Space) -> pd.DataFrame:
    """What is stored alike: a row a synthetic and a held-out item.

    Returns:
        side, item_id, subject_id, blank, copy_of (the first training item that is the same), repeats (the
        first earlier item of its side that is); None where there is none, and of blank items. Empty for
        features, of which equal ones say nothing more.
    """
    if not isinstance(space, Patterns | Masks):
        return pd.DataFrame(columns=COLUMNS)
    training = _named(space, "training")
    originals: dict[str, str] = {}
    for digest, item in zip(_digests(space, "training"), training["item_id"], strict=True):
        if digest is not None:
            originals.setdefault(digest, item)
    tables = []
    for side in ARMS:
        if side in space.sides:
            table, digests = _named(space, side), list(_digests(space, side))
            names = table["item_id"].to_numpy()
            alone = (place if digest is None else digest for place, digest in enumerate(digests))
            first = enumerate(exact_groups(alone).tolist())
            tables.append(
                table.assign(
                    side=side,
                    blank=[digest is None for digest in digests],
                    copy_of=[None if digest is None else originals.get(digest) for digest in digests],
                    repeats=[None if leader == place else names[leader] for place, leader in first],
                )
            )
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def _compared(space: Patterns | Masks, side: str) -> list[int]:
    return space.labelled(side) if isinstance(space, Masks) else list(range(len(space.sides[side])))


def _named(space: Patterns | Masks, side: str) -> pd.DataFrame:
    items = space.sides[side].items.iloc[_compared(space, side)]
    return items[["item_id", "subject_id"]].reset_index(drop=True)


def _digests(space: Patterns | Masks, side: str) -> Iterator[str | None]:
    """Of every item, None of blank ones."""
    for index in _compared(space, side):
        stored = (
            space.stored(side, index)[None] if isinstance(space, Masks) else space.sides[side].image(index)
        )
        yield None if is_blank(stored) else canonical_hash(stored)


def identical_rows(space: str, same: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of what :func:`identical` has found."""
    rows = []
    for side, table in same.groupby("side", sort=False):
        for metric, flags, of in (
            ("blank", table["blank"], table),
            ("exact_copies", table["copy_of"].notna(), table[~table["blank"]]),
        ):
            share, people = _share(int(flags.sum()), len(of)), of["subject_id"].nunique()
            ends = exact_interval(round(share * people) if people else 0, people)
            rows.append(row(ARMS[str(side)], metric, space, "nearest", share, ends, len(of), people))
    made = same[(same["side"] == "synthetic") & ~same["blank"].astype(bool)]
    if len(same):
        count, repeated = len(made), int(made["repeats"].notna().sum())
        share, ends = _share(repeated, count), exact_interval(repeated, count)
        rows += [
            row("synthetic", "distinct", space, "nearest", count - repeated, UNKNOWN, count, count),
            row("synthetic", "exact_duplicates", space, "nearest", share, ends, count, count),
        ]
    return rows


def _share(hits: int, count: int) -> float:
    return hits / count if count else math.nan
