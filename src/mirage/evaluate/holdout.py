"""Holding out a part of an arm's own training images, so that no donor stands on both sides.

A real image's donor is its subject; a synthetic image's are the subjects whose pixels it holds. Images that
share a donor, directly or by way of others, are one group, and a group is held out whole or not at all.
Where a recipe says by an attribute ``donor_group``, a name or a list of names, which donors matter (of
inserted lesions their patients, since every host serves many lesions), groups are by that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mirage.config.base import SOMEBODY
from mirage.data import Dataset
from mirage.data.pool import Pool
from mirage.files import digest

ATTRIBUTE = "donor_group"


@dataclass(frozen=True)
class HeldOut:
    """An arm's training sets without what is held out, and that.

    Attributes:
        kept: training sets by stage of training.
        own: the held-out images, None where there are none; item ids are ``dataset/item`` and subjects are
            donor groups.
        groups: donor groups there are, and how many of them are held out.
        why_none: why nothing is held out; None where something is.
    """

    kept: dict[str, list[Dataset]]
    own: Pool | None
    groups: tuple[int, int]
    why_none: str | None


def hold_out(parts: Mapping[str, Sequence[Dataset]], share: float) -> HeldOut:
    """Hold out a share of the donor groups of the stage ``train``; other stages lose these groups too.

    Groups are taken in the order of a hash of their name, so a larger share holds a smaller one, and all
    seeds of an arm hold out the same. A group of more than half of the training images is never held out:
    images that many patients' lesions join would leave next to nothing to train on.

    Args:
        parts: training sets by stage.
        share: of the donor groups, in [0, 1).
    """
    kept = {stage: list(sets) for stage, sets in parts.items()}
    if not share:
        return HeldOut(kept, None, (0, 0), "own_share is 0")
    groups = _groups(
        {(stage, number): one for stage, sets in parts.items() for number, one in enumerate(sets)}
    )
    images = pd.concat([own for (stage, _), own in groups.items() if stage == "train"]).value_counts()
    order = sorted(images.index, key=lambda name: (2 * images[name] > images.sum(), digest(["own", name])))
    count = min(max(1, round(share * len(order))), len(order) - 1)
    if count < 1:
        why = "all training images share donors, so none can be held out"
        return HeldOut(kept, None, (len(order), 0), why)
    chosen = set(order[:count])
    own = []
    for (stage, number), names in groups.items():
        held = names.isin(chosen)
        whole = kept[stage][number]
        kept[stage][number] = whole.of_items(set(names.index[~held]))
        if stage == "train" and held.any():
            own.append((whole.of_items(set(names.index[held])), names))
    pool = Pool([view for view, _ in own], mask_channels=())
    subjects = [names[item] for view, names in own for item in view.items["item_id"]]
    ids = pool.items["dataset"] + "/" + pool.items["item_id"]
    pool.items = pool.items.assign(item_id=ids, subject_id=subjects)
    return HeldOut(kept, pool, (len(order), count), None)


def _groups(parts: Mapping[tuple[str, int], Dataset]) -> dict[tuple[str, int], pd.Series]:
    """Name of the donor group of every item (index: item id), by training set."""
    donors = {key: _donors(data) for key, data in parts.items()}
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = name = root[root[name]]
        return name

    for own in donors.values():
        for names in own:
            first = find(names[0])
            for other in names[1:]:
                # The smaller name wins, so that the order of items does not matter.
                low, high = sorted((first, find(other)))
                root[high] = first = low
    return {
        key: pd.Series([find(names[0]) for names in own], index=own.index, dtype=object)
        for key, own in donors.items()
    }


def _donors(data: Dataset) -> pd.Series:
    """Donors of every item (index: item id), at least one, by all their names."""
    table = data.items
    own = data.info.namespace + "/" + table["subject_id"]
    found = [
        ([*map(str, donors)] or [subject]) + [name for name in names if not name.endswith(f"/{SOMEBODY}")]
        for donors, subject, names in zip(
            table["donor_subject_ids"], own, table["also_known_as"], strict=True
        )
    ]
    if ATTRIBUTE in table.columns:
        found = [_named(group) or names for names, group in zip(found, table[ATTRIBUTE], strict=True)]
    return pd.Series(found, index=table["item_id"], dtype=object)


def _named(group: Any) -> list[str]:
    """Donors that an attribute names: one, or a list of them; none where it is null."""
    if isinstance(group, str):
        return [group]
    return [] if group is None or isinstance(group, float) else [str(name) for name in group]
