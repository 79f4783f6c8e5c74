"""The nearest training item of every synthetic and every held-out item, and repetitions in the synthetic set.

Held-out real items are asked what synthetic ones are asked: they are what new looks like. Metrics of protocol
``nearest``, ``label`` the space, arms ``synthetic`` and ``reference`` (held-out):

- ``nearest``: median distance to the nearest training item; ``ratio``: over that of held-out items, below 1
  leans to copying.
- ``nndr``: median ratio of the distance to the nearest training item over that to the nearest one of another
  subject. Near 0: copies of single items.
- ``near_copies``: share closer than ``near`` times the reference distance: the median of held-out items, or,
  where nothing is held out, of training items to those of other subjects.
- ``near_duplicates``: share of synthetic items as close to an earlier one.

Large sides are sampled; exact copies, which need no distances, are sought among all items
(:mod:`mirage.evaluate.privacy.exact`).

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
from mirage.evaluate.privacy.rows import exact_interval, row
from mirage.evaluate.privacy.spaces import ARMS, Space
from mirage.evaluate.statistics import bootstrap_weights, limits, weighted_median
from mirage.metrics.neighbours import Floats, Neighbours, nearest, nearest_earlier
from mirage.metrics.novelty import distance_ratios

OWN_NEIGHBOURS = 500
"""Training items whose own nearest neighbours are sought where nothing is held out."""


@dataclass(frozen=True)
class Found:
    """Nearest training items in one space.

    Attributes:
        space: where.
        tables: side -> a row an item, nearest first by ``rank``: item_id, subject_id, neighbour (number
            of the training item), neighbour_item_id, neighbour_subject_id, orientation, distance,
            second_distance (of the nearest of another subject), nndr.
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
            "nndr": distance_ratios(found.distance, found.second_distance),
        }
    )
    names = training.items.iloc[joined["neighbour"]]
    joined["neighbour_item_id"] = names["item_id"].to_numpy()
    joined["neighbour_subject_id"] = names["subject_id"].to_numpy()
    tables, start = {}, 0
    for side, own in chosen.items():
        items = space.sides[side].items.iloc[own]
        table = joined.iloc[start : start + len(own)].reset_index(drop=True)
        table.insert(0, "item_id", items["item_id"].to_numpy())
        table.insert(1, "subject_id", items["subject_id"].to_numpy())
        table["rank"] = table["distance"].rank(method="first").astype("int64")
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
    ratios = distance_ratios(found.distance, found.second_distance)
    values = {"subject_id": subjects, "distance": found.distance, "nndr": ratios}
    return pd.DataFrame(values).dropna().reset_index(drop=True)


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


def nearest_rows(found: Found, draws: int, seed: int) -> list[dict[str, Any]]:
    """Rows of distances to training items."""
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
        near = (table["distance"] < found.near_bound).to_numpy(np.float64)
        ends = share_interval(near, weights, count)
        rows.append(row(arm, "near_copies", name, "nearest", float(near.mean()), ends, len(table), count))
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


def duplicates(found: Found, same: pd.DataFrame) -> pd.DataFrame:
    """Synthetic items that repeat an earlier one: item_id, duplicate_of, distance, type (exact or near).

    Args:
        found: near ones are sought among the items that were searched.
        same: exact ones, of all items (:func:`mirage.evaluate.privacy.exact.identical`).
    """
    made = same[(same["side"] == "synthetic") & same["repeats"].notna()]
    exact = made[["item_id"]].assign(duplicate_of=made["repeats"], distance=0.0, type="exact")
    earlier = nearest_earlier(found.vectors["synthetic"], found.space.kind)
    items = found.tables["synthetic"]["item_id"].to_numpy()
    close = np.flatnonzero((earlier.distance < found.near_bound) & ~np.isin(items, exact["item_id"]))
    near = pd.DataFrame(
        {
            "item_id": items[close],
            "duplicate_of": items[earlier.index[close]],
            "distance": earlier.distance[close],
            "type": "near",
        }
    )
    tables = [table for table in (exact, near) if len(table)]
    return pd.concat(tables, ignore_index=True).assign(kind=found.space.name) if tables else near


def near_duplicates_row(found: Found, repeated: pd.DataFrame) -> dict[str, Any]:
    """Row of the near repetitions in the synthetic set."""
    near, count = int((repeated["type"] == "near").sum()), len(found.tables["synthetic"])
    ends = exact_interval(near, count)
    return row("synthetic", "near_duplicates", found.space.name, "nearest", near / count, ends, count, count)
