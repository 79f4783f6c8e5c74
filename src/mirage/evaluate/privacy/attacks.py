"""Membership inference: can an attacker who holds the synthetic set tell who was in the training data?

The attacker scores a record (an image of somebody); a high score says "member". Scores of a patient's images
are joined by their maximum, members are training subjects, non-members held-out ones. Attacks, in every
space:

- ``distance`` (GAN-Leaks; Chen 2020): minus the distance to the nearest synthetic item.
- ``calibrated`` (Chen 2020): that, less the distance to the nearest item of a reference set.
- ``domias`` (van Breugel 2023), features only: log density of the synthetic over that of the reference set.

The reference set is one half of the held-out subjects, the non-members are then the other half.

Metrics, protocol the attack, ``label`` the space: ``auc`` with DeLong's interval, and ``tpr_at_fpr_1``, the
share of members found at 1 % false accusations, NaN where fewer than 100 non-members cannot show such a rate.
Two controls, arm ``reference``: ``members_only`` (the distance attack between two halves of the members, 0.5
but for chance) and ``no_synthetic`` (the distance to the reference set alone: above 0.5 the split is biased,
and attacks that exceed it by nothing show nothing).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.evaluate.privacy.rows import UNKNOWN, exact_interval, row
from mirage.evaluate.privacy.spaces import Features, Space
from mirage.evaluate.statistics import delong, halves
from mirage.metrics.membership import (
    by_subject,
    calibrated_score,
    density_ratio_score,
    nearness_score,
    roc,
    tpr_at_fpr,
)
from mirage.metrics.neighbours import Floats, pairwise

FPR = 0.01
LEAST_FOR_DENSITY = 10
CONTROLS = ("members_only", "no_synthetic")


@dataclass(frozen=True)
class Records:
    """What the attacker is given.

    Attributes:
        members, others: numbers of training and of held-out items.
        member_subjects, other_subjects: int64, subject of each.
        synthetic: numbers of synthetic items.
    """

    members: list[int]
    others: list[int]
    member_subjects: np.ndarray
    other_subjects: np.ndarray
    synthetic: list[int]


Scores = tuple[np.ndarray, np.ndarray]
"""Scores of members and of others, a value a subject."""


def attack(space: Space, records: Records, seed: int) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Rows of all attacks and controls in one space, and their ROCs (space, attack, fpr, tpr).

    Nothing is attacked with fewer than two members or non-members.
    """
    rows, curves = [], []
    for name, scores in _scored(space, records, seed):
        arm = "reference" if name in CONTROLS else "synthetic"
        rows += success(arm, space.name, name, *scores)
        curves.append(curve(space.name, name, *scores))
    return rows, pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()


def success(arm: str, space: str, name: str, members: np.ndarray, others: np.ndarray) -> list[dict[str, Any]]:
    """Rows of one attack, by its scores of members (N,) and of others (M,), a value a subject."""
    auc, count = delong(members, others), len(members) + len(others)
    value, ends = math.nan, UNKNOWN
    if FPR * len(others) >= 1:
        accused = tpr_at_fpr(members, others, FPR)
        value, ends = accused.found / accused.members, exact_interval(accused.found, accused.members)
    return [
        row(arm, "auc", space, name, auc.estimate, (auc.low, auc.high), count, count),
        row(arm, "tpr_at_fpr_1", space, name, value, ends, count, len(members)),
    ]


def curve(space: str, name: str, members: np.ndarray, others: np.ndarray) -> pd.DataFrame:
    """Operating points of one attack: space, attack, fpr, tpr."""
    points = roc(members, others)
    return pd.DataFrame({"space": space, "attack": name, "fpr": points.fpr, "tpr": points.tpr})


def _scored(space: Space, records: Records, seed: int) -> Iterator[tuple[str, Scores]]:
    """Name and scores of every attack and control that the numbers of subjects allow."""
    subjects = records.member_subjects, records.other_subjects
    people = [len(np.unique(own)) for own in subjects]
    if min(people) < 2:
        return
    sides = ("training", records.members), ("heldout", records.others)
    vectors = np.concatenate([space.table(*side) for side in sides])
    made = space.table("synthetic", records.synthetic)
    rng = seeds.rng(seed, f"privacy/attack/{space.name}")
    cut = len(records.members)
    to_made = to_nearest(vectors, made, space)
    nearness = nearness_score(to_made)
    yield "distance", (by_subject(nearness[:cut], subjects[0]), by_subject(nearness[cut:], subjects[1]))
    if people[0] >= 4:
        first, second = (half[0] for half in halves(rng, subjects[0], 1))
        own = nearness[:cut]
        yield (
            "members_only",
            (by_subject(own[first], subjects[0][first]), by_subject(own[second], subjects[0][second])),
        )
    if people[1] >= 4:
        yield from _with_reference(space, vectors, made, to_made, subjects, rng)


def _with_reference(
    space: Space,
    vectors: Floats,
    made: Floats,
    to_made: np.ndarray,
    subjects: Scores,
    rng: np.random.Generator,
) -> Iterator[tuple[str, Scores]]:
    """Attacks that need a reference set, which is one half of the held-out subjects."""
    cut = len(subjects[0])
    first, second = halves(rng, subjects[1], 1)
    others, reference = first[0], vectors[cut:][second[0]]
    judged = np.concatenate([np.ones(cut, dtype=bool), others])
    to_reference = to_nearest(vectors[judged], reference, space)
    scores = {
        "calibrated": calibrated_score(to_made[judged], to_reference),
        "no_synthetic": nearness_score(to_reference),
    }
    if isinstance(space, Features) and min(len(made), len(reference)) >= LEAST_FOR_DENSITY:
        scores["domias"] = density_ratio_score(vectors[judged], made, reference)
    for name, values in scores.items():
        yield name, (by_subject(values[:cut], subjects[0]), by_subject(values[cut:], subjects[1][others]))


def to_nearest(records: Floats, others: Floats, space: Space) -> np.ndarray:
    """Distance (N,), float64, of each record from the nearest of some other items, over their views."""
    return pairwise(records, iter(others), space.kind).min(axis=1).astype(np.float64)
