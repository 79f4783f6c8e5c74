"""Set-level tests of novelty: whether synthetic items lie nearer to training items than new real ones do.

Metrics, protocol ``novelty``, ``label`` the space:

- ``authenticity`` (Alaa 2022), also of arm ``reference``: share of items that lie farther from their nearest
  training item than that item lies from the training items of other subjects.
- ``c_t`` (Meehan 2020): Mann-Whitney z of the distances to the nearest training item, synthetic against
  held-out; far below 0: copying. In features within cells of a k-means. All items count; the z is in standard
  errors by subject, so within -2 ... 2 by chance, and has no interval of its own.
- ``dcr_share``: share of synthetic items that lie nearer to training items than to as many held-out ones; 0.5
  without copying. Its interval is the exact binomial one, or that of exchanging training and held-out items
  where that is wider: all synthetic items are compared with the same few real ones.
- ``fld``, ``fld_gap`` (Jiralerspong 2023), features only: 100 x nats a dimension; a gap far below 0:
  overfitted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.data import Items
from mirage.evaluate.privacy.rows import UNKNOWN, exact_interval, row
from mirage.evaluate.privacy.search import Found, own_neighbours
from mirage.evaluate.privacy.spaces import ARMS, Features
from mirage.metrics.neighbours import pairwise
from mirage.metrics.novelty import (
    authentic,
    data_copying,
    feature_likelihood,
    mann_whitney_z,
    nearer_to_training,
)

MOST = 2000
"""Training items that take part in tests which compare all with all."""


def novelty_rows(found: Found, heldout: list[int], seed: int) -> list[dict[str, Any]]:
    """All rows of one space.

    Args:
        found: nearest training items.
        heldout: held-out items that were searched for; empty where there are none.
        seed: of subsets.
    """
    rows = _authenticity(found)
    if not heldout:
        return rows
    known = found.space.known("training")
    rng = seeds.rng(seed, f"privacy/novelty/{found.space.name}")
    sample = [known[place] for place in np.sort(rng.permutation(len(known))[:MOST])]
    count, name = len(found.tables["synthetic"]), found.space.name
    made, held = (pd.factorize(found.tables[side]["subject_id"])[0].astype(np.int64) for side in ARMS)
    near, new = (found.tables[side]["distance"].to_numpy(np.float64) for side in ARMS)
    z = mann_whitney_z(near, new, (made, held))
    if isinstance(found.space, Features):
        points = (found.space.table("training", sample), found.vectors["heldout"], found.vectors["synthetic"])
        copying = data_copying(points[0], points[1], points[2], (held, made), seed=seed)
        z = z if np.isnan(copying.z) else copying.z
        subjects = _subjects(found.space.sides["training"], sample)
        if subjects.max() > 0 and points[0].any():
            fld = feature_likelihood(points[0], points[1], points[2], subjects, rng)
            rows.append(row("synthetic", "fld", name, "novelty", fld.divergence, UNKNOWN, count, count))
            rows.append(row("synthetic", "fld_gap", name, "novelty", fld.gap, UNKNOWN, count, count))
    rows.append(row("synthetic", "c_t", name, "novelty", z, UNKNOWN, count, int(made.max()) + 1))
    return [*rows, _dcr_share(found, sample, rng)]


def _subjects(data: Items, indices: list[int]) -> np.ndarray:
    return pd.factorize(data.items["subject_id"].iloc[indices])[0].astype(np.int64)


def _authenticity(found: Found) -> list[dict[str, Any]]:
    joined = pd.concat([found.tables[side].assign(side=side) for side in ARMS if side in found.tables])
    matched = np.unique(joined["neighbour"])
    own = pd.Series(own_neighbours(found.space, matched.tolist()).distance, index=matched)
    joined = joined.assign(bound=own.loc[joined["neighbour"]].to_numpy())
    if joined["bound"].isna().any():
        return []
    rows = []
    for side, table in joined.groupby("side", sort=False):
        share = float(authentic(table["distance"].to_numpy(), table["bound"].to_numpy()).mean())
        people = table["subject_id"].nunique()
        interval = exact_interval(round(share * people), people)
        rows.append(
            row(
                ARMS[str(side)],
                "authenticity",
                found.space.name,
                "novelty",
                share,
                interval,
                len(table),
                people,
            )
        )
    return rows


def _dcr_share(found: Found, sample: list[int], rng: np.random.Generator) -> dict[str, Any]:
    """As many training as held-out items, drawn once."""
    held, made = found.vectors["heldout"], found.vectors["synthetic"]
    count = min(len(held), len(sample))
    known = found.space.table("training", [sample[i] for i in np.sort(rng.permutation(len(sample))[:count])])
    held = held[np.sort(rng.permutation(len(held))[:count])]
    distances = pairwise(made, iter([*known, *held]), found.space.kind)
    nearer = nearer_to_training(distances[:, :count], distances[:, count:])
    name, total = found.space.name, nearer.total
    if not total:
        return row("synthetic", "dcr_share", name, "novelty", 0.5, UNKNOWN, len(made), len(made))
    share, reach = nearer.hits / total, 1.96 * nearer.error if count > 1 else 1.0
    low, high = exact_interval(nearer.hits, total)
    ends = max(min(low, share - reach), 0.0), min(max(high, share + reach), 1.0)
    return row("synthetic", "dcr_share", name, "novelty", share, ends, total, total)
