"""Exact copies of training items and exact repetitions, among all items, however many there are.

Digests of what is stored are read one after the other: nothing is sampled, and memory holds a digest an item.
An item is the same in all its orientations. Metrics of protocol ``nearest``, ``label`` image or a mask:

- ``exact_copies``, of arms ``synthetic`` and ``reference`` (held-out): share of items with the same stored
  pixels as a training item.
- ``distinct``: number of synthetic items that repeat no earlier one; ``exact_duplicates``: share that do.

Intervals are exact binomial ones over subjects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from mirage.evaluate.privacy.rows import UNKNOWN, exact_interval, row
from mirage.evaluate.privacy.spaces import ARMS, Masks, Patterns, Space
from mirage.metrics.neighbours import canonical_hash, exact_groups

COLUMNS = ["side", "item_id", "subject_id", "copy_of", "repeats"]


def identical(space: Space) -> pd.DataFrame:
    """What is stored alike: a row a synthetic and a held-out item.

    Returns:
        side, item_id, subject_id, copy_of (the first training item that is the same), repeats (the first
        earlier item of its side that is); None where there is none. Empty for features, of which equal ones
        say nothing more.
    """
    if not isinstance(space, Patterns | Masks):
        return pd.DataFrame(columns=COLUMNS)
    training = _named(space, "training")
    originals: dict[str, str] = {}
    for digest, item in zip(_digests(space, "training"), training["item_id"], strict=True):
        originals.setdefault(digest, item)
    tables = []
    for side in ARMS:
        if side in space.sides:
            table, digests = _named(space, side), list(_digests(space, side))
            names = table["item_id"].to_numpy()
            first = enumerate(exact_groups(digests).tolist())
            tables.append(
                table.assign(
                    side=side,
                    copy_of=[originals.get(digest) for digest in digests],
                    repeats=[None if leader == place else names[leader] for place, leader in first],
                )
            )
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def _named(space: Space, side: str) -> pd.DataFrame:
    items = space.sides[side].items.iloc[space.known(side)]
    return items[["item_id", "subject_id"]].reset_index(drop=True)


def _digests(space: Patterns | Masks, side: str) -> Iterator[str]:
    for index in space.known(side):
        stored = (
            space.stored(side, index)[None] if isinstance(space, Masks) else space.sides[side].image(index)
        )
        yield canonical_hash(stored)


def identical_rows(space: str, same: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of what :func:`identical` has found."""
    rows = []
    for side, table in same.groupby("side", sort=False):
        share, people = float(table["copy_of"].notna().mean()), table["subject_id"].nunique()
        ends = exact_interval(round(share * people), people)
        rows.append(row(ARMS[str(side)], "exact_copies", space, "nearest", share, ends, len(table), people))
    made = same[same["side"] == "synthetic"]
    if len(made):
        count, repeated = len(made), int(made["repeats"].notna().sum())
        ends = exact_interval(repeated, count)
        rows += [
            row("synthetic", "distinct", space, "nearest", count - repeated, UNKNOWN, count, count),
            row("synthetic", "exact_duplicates", space, "nearest", repeated / count, ends, count, count),
        ]
    return rows
