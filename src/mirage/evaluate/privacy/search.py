"""The nearest training item of every synthetic and every held-out item, and repetitions in the synthetic set.

Held-out real items are asked what synthetic ones are asked: they are what new looks like. Metrics of protocol
``nearest``, ``label`` the space, arms ``synthetic`` and ``reference`` (held-out):

- ``nearest``: median distance to the nearest training item; ``ratio``: over that of held-out items, below 1
  leans to copying.
- ``nndr``: median ratio of the distance to the nearest training item over that to the nearest one of another
  subject. Near 0: copies of single items.
- ``exact_copies``: share with the same stored pixels as a training item in some orientation.
- ``near_copies``: share closer than ``near`` times the reference distance: the median of held-out items, or,
  where nothing is held out, of training items to those of other subjects.
- ``distinct``: number of synthetic items that repeat no earlier one exactly; ``exact_duplicates``,
  ``near_duplicates``: shares that do, the latter by the bound of near copies.

Intervals are percentiles of a bootstrap by subject; a synthetic item is a subject of its own. A share has the
exact binomial interval over subjects where that is wider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.data.shards import content_hash
from mirage.evaluate.privacy.rows import UNKNOWN, exact_interval, row
from mirage.evaluate.privacy.spaces import Masks, Patterns, Space
from mirage.evaluate.statistics import bootstrap_weights, limits, weighted_median
from mirage.metrics.neighbours import Floats, Neighbours, exact_groups, nearest, nearest_earlier, views

ARMS = {"synthetic": "synthetic", "heldout": "reference"}
OWN_NEIGHBOURS = 500
"""Training items whose own nearest neighbours are sought where nothing is held out."""


@dataclass(frozen=True)
class Found:
    """Nearest training items in one space.

    Attributes:
        space: where.
        tables: side -> a row an item, nearest first by ``rank``: item_id, subject_id, neighbour (number
            of the training item), neighbour_item_id, neighbour_subject_id, orientation, distance,
            second_distance (of the nearest of another subject), nndr, exact (null for features).
        vectors: side -> places of the items of its table.
        reference: held-out items, or where there are none a sample of training items among those of other
            subjects: their distance and nndr.
        near_bound: distance below which an item is a near copy; NaN with one training subject and nothing
            held out.
    """

    space: Space
    tables: Mapping[str, pd.DataFrame]
    vectors: Mapping[str, Floats]
    reference: pd.DataFrame
    near_bound: float


def search(space: Space, queries: Mapping[str, Sequence[int]], near: float, seed: int) -> Found:
    """Look for the nearest training items, over all training items, which are streamed from disk.

    Args:
        space: where.
        queries: side -> its items; those that have no place in the space are passed over.
        near: share of the reference distance below which an item is a near copy.
        seed: of the sample that stands for held-out items where there are none.
    """
    chosen = {
        side: own for side, wanted in queries.items() if (own := sorted(set(wanted) & set(space.known(side))))
    }
    vectors = {side: space.table(side, own) for side, own in chosen.items()}
    training = space.sides["training"]
    known = space.known("training")
    subjects = pd.factorize(training.items["subject_id"].iloc[known])[0].astype(np.int64)
    found = nearest(
        np.concatenate(list(vectors.values())), space.vectors("training", known), space.kind, groups=subjects
    )
    joined = pd.DataFrame(
        {
            "neighbour": np.asarray(known)[found.index],
            "orientation": found.orientation,
            "distance": found.distance,
            "second_distance": found.second_distance,
            "nndr": distance_ratio(found),
        }
    )
    names = training.items.iloc[joined["neighbour"]]
    joined["neighbour_item_id"] = names["item_id"].to_numpy()
    joined["neighbour_subject_id"] = names["subject_id"].to_numpy()
    seen = _digests(space, known)
    tables, start = {}, 0
    for side, own in chosen.items():
        items = space.sides[side].items.iloc[own]
        table = joined.iloc[start : start + len(own)].reset_index(drop=True)
        table.insert(0, "item_id", items["item_id"].to_numpy())
        table.insert(1, "subject_id", items["subject_id"].to_numpy())
        table["rank"] = table["distance"].rank(method="first").astype("int64")
        table["exact"] = None if seen is None else [bool(set(_turned(space, side, i)) & seen) for i in own]
        tables[side] = table
        start += len(own)
    reference = tables["heldout"] if "heldout" in tables else _among_training(space, known, seed)
    return Found(space, tables, vectors, reference, near * float(reference["distance"].median()))


def _among_training(space: Space, known: Sequence[int], seed: int) -> pd.DataFrame:
    """What stands for held-out items: training items, asked for those of other subjects."""
    drawn = np.sort(seeds.rng(seed, "privacy/reference").permutation(len(known))[:OWN_NEIGHBOURS])
    indices = [known[place] for place in drawn]
    found = own_neighbours(space, indices)
    subjects = space.sides["training"].items["subject_id"].iloc[indices].to_numpy()
    values = {"subject_id": subjects, "distance": found.distance, "nndr": distance_ratio(found)}
    return pd.DataFrame(values).dropna().reset_index(drop=True)


def _stored(space: Space, side: str, index: int) -> np.ndarray:
    """What must be equal in an exact copy, with a channel axis."""
    return space.stored(side, index)[None] if isinstance(space, Masks) else space.sides[side].image(index)


def _turned(space: Space, side: str, index: int) -> list[str]:
    """Digests of an item in all its orientations."""
    return [content_hash(view) for view in views(_stored(space, side, index))]


def _digests(space: Space, known: Sequence[int]) -> set[str] | None:
    """Digests of the training items; None for features, of which equal ones say nothing more."""
    if not isinstance(space, Patterns | Masks):
        return None
    return {content_hash(_stored(space, "training", index)) for index in known}


def own_neighbours(space: Space, indices: Sequence[int]) -> Neighbours:
    """Nearest training items of training items, among those of other subjects."""
    training, known = space.sides["training"], space.known("training")
    subjects = pd.factorize(training.items["subject_id"])[0].astype(np.int64)
    return nearest(
        space.table("training", indices),
        space.vectors("training", known),
        space.kind,
        exclude=subjects[list(indices)][:, None] == subjects[known][None],
        groups=subjects[known],
    )


def distance_ratio(found: Neighbours) -> np.ndarray:
    """Distance to the nearest item over that to the nearest of another subject; 1 where both are 0."""
    first, second = found.distance, found.second_distance
    return np.divide(first, second, out=np.where(np.isnan(second), np.nan, 1.0), where=second > 0)


def nearest_rows(found: Found, draws: int, seed: int) -> list[dict[str, Any]]:
    """Rows of protocol ``nearest``, without those of repetitions."""
    rows: list[dict[str, Any]] = []
    resampled: dict[tuple[str, str], tuple[float, np.ndarray]] = {}
    name = found.space.name
    for side, arm in ARMS.items():
        if side not in found.tables:
            continue
        table = found.tables[side]
        subjects = pd.factorize(table["subject_id"])[0].astype(np.int64)
        count = int(subjects.max()) + 1
        weights = bootstrap_weights(seeds.rng(seed, f"privacy/{name}/{side}"), subjects, draws)
        for metric, column in (("nearest", "distance"), ("nndr", "nndr")):
            values = table[column].to_numpy(np.float64)
            if np.isfinite(values).all():
                medians = weighted_median(values, weights)
                resampled[side, metric] = float(np.median(values)), medians
                rows.append(
                    row(
                        arm,
                        metric,
                        name,
                        "nearest",
                        float(np.median(values)),
                        limits(medians),
                        len(table),
                        count,
                    )
                )
        flags = {"near_copies": table["distance"] < found.near_bound}
        if table["exact"].notna().all():
            flags = {"exact_copies": table["exact"], **flags}
        for metric, flag in flags.items():
            share = np.asarray(flag, dtype=np.float64)
            ends = share_interval(share, weights, count)
            rows.append(row(arm, metric, name, "nearest", float(share.mean()), ends, len(table), count))
    for metric in ("nearest", "nndr"):
        if ("synthetic", metric) in resampled and ("heldout", metric) in resampled:
            (own, own_draws), (other, other_draws) = (resampled[side, metric] for side in ARMS)
            if other > 0:
                with np.errstate(divide="ignore", invalid="ignore"):
                    ends = limits(own_draws / other_draws)
                size = len(found.tables["synthetic"])
                rows.append(row("synthetic", metric, name, "nearest", own / other, ends, size, size, "ratio"))
    return rows


def share_interval(flags: np.ndarray, weights: np.ndarray, subjects: int) -> tuple[float, float]:
    """95 % interval of a share: of the bootstrap by subject, or exact binomial where that is wider."""
    low, high = limits((weights @ flags) / weights.sum(axis=1))
    least, most = exact_interval(round(float(flags.mean()) * subjects), subjects)
    return min(low, least), max(high, most)


def duplicates(found: Found) -> pd.DataFrame:
    """Synthetic items that repeat an earlier one: item_id, duplicate_of, distance, type (exact or near).

    Exact ones are sought among all items of the side ``synthetic``, near ones among those searched.
    """
    space = found.space
    table = found.tables["synthetic"]
    rows: list[tuple[str, str, float, str]] = []
    if isinstance(space, Patterns | Masks):
        names = space.sides["synthetic"].items["item_id"].to_numpy()
        everything = space.known("synthetic")
        digests = (min(_turned(space, "synthetic", index)) for index in everything)
        for place, leader in enumerate(exact_groups(digests).tolist()):
            if place != leader:
                rows.append((names[everything[place]], names[everything[leader]], 0.0, "exact"))
    exact = {item for item, *_ in rows}
    earlier = nearest_earlier(found.vectors["synthetic"], space.kind)
    items = table["item_id"].to_numpy()
    for place in np.flatnonzero(earlier.distance < found.near_bound).tolist():
        if items[place] not in exact:
            other = items[earlier.index[place]]
            rows.append((items[place], other, float(earlier.distance[place]), "near"))
    return pd.DataFrame(rows, columns=["item_id", "duplicate_of", "distance", "type"]).assign(kind=space.name)


def duplicate_rows(found: Found, repeated: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the repetitions in the synthetic set."""
    name, everything = found.space.name, len(found.space.known("synthetic"))
    sampled = len(found.tables["synthetic"])
    near = int((repeated["type"] == "near").sum())
    exact = int((repeated["type"] == "exact").sum())
    rows = []
    if isinstance(found.space, Patterns | Masks):
        interval = exact_interval(exact, everything)
        rows = [
            row(
                "synthetic", "distinct", name, "nearest", everything - exact, UNKNOWN, everything, everything
            ),
            row(
                "synthetic",
                "exact_duplicates",
                name,
                "nearest",
                exact / everything,
                interval,
                everything,
                everything,
            ),
        ]
    interval = exact_interval(near, sampled)
    return [
        *rows,
        row("synthetic", "near_duplicates", name, "nearest", near / sampled, interval, sampled, sampled),
    ]
