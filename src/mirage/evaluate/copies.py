"""Whether synthetic items repeat training items, or one another.

Both questions are asked of images (``rms`` distance at 64 pixels or less, in shares of the value range) and
of label masks (``dice`` distance at 128 pixels or less), over the eight flips and rotations; see
:mod:`mirage.metrics.neighbours`. Held-out real items are asked the same: they are what new looks like.

An *exact* copy has the same stored pixels in some orientation. A *near* copy is closer than ``near`` times
the median distance of held-out items to their nearest training items; where nothing is held out, of training
items to those of other subjects. The bound is thus set by the data and not by a constant.

Metrics, each with the prefix ``image_`` or ``mask_``, of arm ``synthetic`` and, where it says so, of arm
``reference`` (held-out real items):

- ``nearest`` (both arms): median distance to the nearest training item. A ratio below 1 leans to copying.
- ``nndr`` (both arms): median ratio of nearest to second nearest distance. Near 0: copies of single items.
- ``exact_copies``, ``near_copies`` (both arms): share of items.
- ``distinct``: number of synthetic items without those that are exact twins of an earlier one.
- ``exact_duplicates``, ``near_duplicates``: share of synthetic items that repeat an earlier one.

Intervals are percentiles of a bootstrap by subject; a synthetic item is a subject of its own. A share of none
or all, which a bootstrap cannot leave, has the exact binomial interval over subjects. The others are too
short for fewer than about ten subjects, because a median of so few hardly moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.data import Items
from mirage.evaluate.statistics import bootstrap_weights, clopper_pearson, limits, weighted_median
from mirage.metrics.neighbours import (
    Kind,
    Neighbours,
    canonical_hash,
    exact_groups,
    image_vector,
    mask_vector,
    nearest,
    nearest_earlier,
)

What = Literal["image", "mask"]
SIDES: dict[What, int] = {"image": 64, "mask": 128}
DISTANCE: dict[What, Kind] = {"image": "rms", "mask": "dice"}


@dataclass(frozen=True)
class Found:
    """Tables of one comparison: rows of metrics, neighbours and duplicates, and the bound of a near copy."""

    metrics: list[dict[str, Any]]
    neighbours: pd.DataFrame
    duplicates: pd.DataFrame
    near_bound: float


def labelled(data: Items, what: What) -> list[int]:
    """Items that have what is compared: all for images, those with a label for masks."""
    if what == "image":
        return list(range(len(data)))
    return np.flatnonzero(data.items["mask_origin"].notna()).tolist()


def compare(
    what: What,
    training: Items,
    heldout: Items | None,
    synthetic: Items,
    sampled: Sequence[int],
    *,
    near: float,
    draws: int,
    seed: int,
) -> Found:
    """Look for copies of all training items among synthetic and held-out ones, and for duplicates.

    Args:
        what: images or label masks.
        training: all of it is searched, streamed from disk.
        heldout: real items that no generator has seen, or None.
        synthetic: the set that is judged. Exact copies and duplicates are sought among all of it.
        sampled: synthetic items whose neighbours are sought; they are held in memory at 64 or 128 pixels.
        near: share of the median reference distance below which an item is a near copy.
        draws: bootstrap resamples.
        seed: of the resampling.
    """
    side = min(SIDES[what], *training.info.image_shape[1:], *synthetic.info.image_shape[1:])
    known = labelled(training, what)
    queries = {"synthetic": (synthetic, [i for i in sampled if i in set(labelled(synthetic, what))])}
    if heldout is not None and labelled(heldout, what):
        queries["heldout"] = (heldout, labelled(heldout, what))
    vectors = {key: np.stack(list(_vectors(*query, what, side))) for key, query in queries.items()}
    joined = nearest(
        np.concatenate(list(vectors.values())), _vectors(training, known, what, side), DISTANCE[what]
    )
    tables = _split(joined, queries, training, known)
    digests = {key: _digests(*query, what) for key, query in queries.items()}
    seen = set(_digests(training, known, what))
    for key, table in tables.items():
        table["exact"] = [digest in seen for digest in digests[key]]

    bound = near * _reference_distance(tables, training, known, what, side, seed)
    duplicates, everything = _duplicates(
        what, synthetic, queries["synthetic"][1], vectors["synthetic"], bound
    )
    metrics = _neighbour_rows(what, tables, bound, draws, seed) + _duplicate_rows(
        what, duplicates, everything, len(queries["synthetic"][1])
    )
    neighbours = pd.concat(
        [table.assign(kind=what, side=key) for key, table in tables.items()], ignore_index=True
    )
    return Found(metrics, neighbours, duplicates, bound)


def _vectors(data: Items, indices: Sequence[int], what: What, side: int) -> Iterator[np.ndarray]:
    for index in indices:
        if what == "image":
            yield image_vector(data.image(index), data.info.value_range, side)
        else:
            yield mask_vector(data.mask(index), sorted(data.info.labels), side)


def _digests(data: Items, indices: Sequence[int], what: What) -> list[str]:
    """Digests that the eight orientations of an item share; the label plane stands for a mask."""
    return [canonical_hash(data.image(i) if what == "image" else data.mask(i)) for i in indices]


def _split(
    joined: Neighbours, queries: dict[str, tuple[Items, list[int]]], training: Items, known: Sequence[int]
) -> dict[str, pd.DataFrame]:
    """Neighbours of each side as a table, nearest first."""
    names = training.items.iloc[np.asarray(known)[joined.index]]
    start, tables = 0, {}
    for key, (data, indices) in queries.items():
        part = slice(start, start + len(indices))
        start = part.stop
        own = data.items.iloc[indices]
        table = pd.DataFrame(
            {
                "item_id": own["item_id"].to_numpy(),
                "subject_id": own["subject_id"].to_numpy(),
                "neighbour_item_id": names["item_id"].to_numpy()[part],
                "neighbour_subject_id": names["subject_id"].to_numpy()[part],
                "orientation": joined.orientation[part],
                "distance": joined.distance[part],
                "second_distance": joined.second_distance[part],
            }
        )
        table["rank"] = table["distance"].rank(method="first").astype("int64")
        tables[key] = table
    return tables


def _reference_distance(
    tables: dict[str, pd.DataFrame], training: Items, known: Sequence[int], what: What, side: int, seed: int
) -> float:
    """Median distance to the nearest training item of what is real and new; NaN with one real subject."""
    if "heldout" in tables:
        return float(tables["heldout"]["distance"].median())
    chosen = np.sort(seeds.rng(seed, "fidelity/reference").permutation(len(known))[:500])
    subjects = training.items["subject_id"].iloc[list(known)].to_numpy()
    own = np.stack(list(_vectors(training, [known[i] for i in chosen], what, side)))
    found = nearest(
        own,
        _vectors(training, known, what, side),
        DISTANCE[what],
        subjects[chosen][:, None] == subjects[None],
    )
    distances = found.distance[np.isfinite(found.distance)]
    return float(np.median(distances)) if len(distances) else float("nan")


def _duplicates(
    what: What, synthetic: Items, sampled: Sequence[int], vectors: np.ndarray, bound: float
) -> tuple[pd.DataFrame, int]:
    """Items that repeat an earlier one, exactly (of all) or nearly (of the sampled); the number of all."""
    everything = labelled(synthetic, what)
    names = synthetic.items["item_id"].to_numpy()
    rows: list[dict[str, Any]] = []
    for place, leader in enumerate(exact_groups(_digests(synthetic, everything, what)).tolist()):
        if place != leader:
            rows.append(_pair(names[everything[place]], names[everything[leader]], 0.0, "exact"))
    exact = {row["item_id"] for row in rows}
    found = nearest_earlier(vectors, DISTANCE[what])
    for place in np.flatnonzero(found.distance < bound).tolist():
        item = names[sampled[place]]
        if item not in exact:
            other = names[sampled[found.index[place]]]
            rows.append(_pair(item, other, float(found.distance[place]), "near"))
    return pd.DataFrame(rows, columns=["item_id", "duplicate_of", "distance", "type"]).assign(kind=what), len(
        everything
    )


def _pair(item: str, other: str, distance: float, kind: str) -> dict[str, Any]:
    return {"item_id": item, "duplicate_of": other, "distance": distance, "type": kind}


def _neighbour_rows(
    what: What, tables: dict[str, pd.DataFrame], bound: float, draws: int, seed: int
) -> list[dict[str, Any]]:
    arms = {"synthetic": "synthetic", "heldout": "reference"}
    rows: list[dict[str, Any]] = []
    resampled: dict[tuple[str, str], tuple[float, np.ndarray]] = {}
    for side, table in tables.items():
        subjects = pd.factorize(table["subject_id"])[0].astype(np.int64)
        count = int(subjects.max()) + 1
        weights = bootstrap_weights(seeds.rng(seed, f"fidelity/{what}/{side}"), subjects, draws)
        first, second = table["distance"].to_numpy(), table["second_distance"].to_numpy()
        # Two neighbours at distance 0 are two copies: as near to each other as can be.
        nndr = np.divide(first, second, out=np.where(np.isnan(second), np.nan, 1.0), where=second > 0)
        for name, values in (("nearest", first), ("nndr", nndr)):
            if np.isfinite(values).all():
                medians = weighted_median(values, weights)
                value = float(np.median(values))
                resampled[side, name] = value, medians
                rows.append(_row(arms[side], f"{what}_{name}", value, limits(medians), len(table), count))
        for name, flags in (("exact_copies", table["exact"]), ("near_copies", first < bound)):
            share = np.asarray(flags, dtype=np.float64)
            ends = limits((weights @ share) / weights.sum(axis=1))
            if share.min() == share.max():
                ends = clopper_pearson(count if share[0] else 0, count)[1:]
            rows.append(_row(arms[side], f"{what}_{name}", float(share.mean()), ends, len(table), count))
    for name in ("nearest", "nndr"):
        if ("synthetic", name) in resampled and ("heldout", name) in resampled:
            (own, own_draws), (other, other_draws) = resampled["synthetic", name], resampled["heldout", name]
            if other > 0:
                with np.errstate(divide="ignore", invalid="ignore"):
                    ends = limits(own_draws / other_draws)
                table = tables["synthetic"]
                rows.append(
                    _row(
                        "synthetic", f"{what}_{name}", own / other, ends, len(table), len(table), kind="ratio"
                    )
                )
    return rows


def _duplicate_rows(
    what: What, duplicates: pd.DataFrame, everything: int, sampled: int
) -> list[dict[str, Any]]:
    none = (float("nan"), float("nan"))
    exact = int((duplicates["type"] == "exact").sum())
    near = int((duplicates["type"] == "near").sum())
    values = (
        ("distinct", everything - exact, everything),
        ("exact_duplicates", exact / everything, everything),
        ("near_duplicates", near / sampled, sampled),
    )
    return [_row("synthetic", f"{what}_{name}", float(value), none, n, n) for name, value, n in values]


def _row(
    arm: str,
    metric: str,
    value: float,
    ends: tuple[float, float],
    items: int,
    subjects: int,
    kind: str = "absolute",
) -> dict[str, Any]:
    low, high = ends if subjects > 1 else (float("nan"), float("nan"))
    return {
        "arm": arm,
        "metric": metric,
        "kind": kind,
        "protocol": "nearest",
        "value": value,
        "low": low,
        "high": high,
        "n_items": items,
        "n_subjects": subjects,
    }
