"""Leakage through the condition: masks of synthetic items that are a training patient's own.

A conditional generator draws an image around a mask. Where that mask, or the brain it lies in, was taken from
a patient, the item discloses its shape, however new the image is. Metrics, protocol ``condition``, ``label``
mask or brain, arms ``synthetic`` and ``reference`` (held-out masks against training masks);
blank masks are left out:

- ``reidentified``: share of masks whose Dice with the nearest training mask, in some orientation, exceeds
  ``same_mask``.
- ``reidentified_subjects``: share of training subjects whose mask is so found in the synthetic set.
- ``mask_dice``: median Dice with the nearest training mask.
- ``donor_named``: of synthetic items that have donors, the share whose nearest training mask is a donor's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.evaluate.privacy.rows import exact_interval, row
from mirage.evaluate.privacy.search import Found
from mirage.evaluate.privacy.spaces import ARMS
from mirage.evaluate.statistics import bootstrap_weights, limits, weighted_median


def condition_rows(found: Found, same_mask: float, draws: int, seed: int) -> list[dict[str, Any]]:
    """Rows of one space of masks."""
    rows, name = [], found.space.name
    for side, arm in ARMS.items():
        if side not in found.tables:
            continue
        table = found.tables[side]
        dice = 1 - table["distance"].to_numpy()
        subjects = pd.factorize(table["subject_id"])[0].astype(np.int64)
        people = int(subjects.max()) + 1
        share = float((dice > same_mask).mean())
        interval = exact_interval(round(share * people), people)
        rows.append(row(arm, "reidentified", name, "condition", share, interval, len(table), people))
        weights = bootstrap_weights(seeds.rng(seed, f"privacy/condition/{name}/{side}"), subjects, draws)
        ends = limits(weighted_median(dice, weights))
        rows.append(
            row(arm, "mask_dice", name, "condition", float(np.median(dice)), ends, len(table), people)
        )
    return [*rows, _disclosed(found, same_mask), *_donors(found)]


def reidentified(found: Found, same_mask: float) -> np.ndarray:
    """Which synthetic items have a training patient's mask."""
    return 1 - found.tables["synthetic"]["distance"].to_numpy() > same_mask


def _disclosed(found: Found, same_mask: float) -> dict[str, Any]:
    table = found.tables["synthetic"][reidentified(found, same_mask)]
    known = found.space.sides["training"].items.iloc[found.space.known("training")]
    everyone, named = known["subject_id"].nunique(), table["neighbour_subject_id"].nunique()
    interval = exact_interval(named, everyone)
    return row(
        "synthetic",
        "reidentified_subjects",
        found.space.name,
        "condition",
        named / everyone,
        interval,
        everyone,
        everyone,
    )


def _donors(found: Found) -> list[dict[str, Any]]:
    training, synthetic = found.space.sides["training"], found.space.sides["synthetic"]
    donors = synthetic.items.set_index("item_id")["donor_subject_ids"]
    table = found.tables["synthetic"]
    own = [set(donors[item]) for item in table["item_id"]]
    named = [
        f"{training.info.namespace}/{subject}" in given
        for subject, given in zip(table["neighbour_subject_id"], own, strict=True)
        if given
    ]
    if not named:
        return []
    count = len(named)
    interval = exact_interval(sum(named), count)
    share = float(np.mean(named))
    return [row("synthetic", "donor_named", found.space.name, "condition", share, interval, count, count)]
