"""Membership inference: can an attacker who holds the synthetic set tell who was in the training data?

The attacker scores a record (an image of somebody); a high score says "member". Scores of a patient's images
are joined by their maximum, members are training subjects, non-members held-out ones. Attacks, in every
space:

- ``distance`` (GAN-Leaks; Chen 2020): minus the distance to the nearest synthetic item.
- ``calibrated`` (Chen 2020): that, less the distance to the nearest item of a reference set.
- ``domias`` (van Breugel 2023), features only: log density of the synthetic over that of the reference set.

The reference set is one half of the held-out subjects, and the non-members are the other half; then the two
change places, so that all held-out subjects are non-members once. Members are scored both times, and the area
is the mean of the two.

Metrics, protocol the attack, ``label`` the space: ``auc`` with DeLong's interval; ``auc_gain``, by how much
it exceeds that of ``no_synthetic`` on the same subjects, with DeLong's interval of the difference; and
``tpr_at_fpr_1``, the share of members found at 1 % false accusations, whose interval holds the errors of
threshold and share, NaN where fewer than 100 non-members cannot show such a rate. Two
controls, arm ``reference``: ``members_only`` (the distance attack between two halves of the members, 0.5
but for chance) and ``no_synthetic`` (the distance to the reference set alone:
above 0.5 the split is biased, and attacks that exceed it by nothing show nothing).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.evaluate.privacy.rows import UNKNOWN, row
from mirage.evaluate.privacy.spaces import Features, Space
from mirage.evaluate.statistics import delong, delong_difference, exceedance, halves
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


@dataclass(frozen=True)
class Scores:
    """Scores of an attack, a value a subject; higher means more suspect.

    Attributes:
        members: float64 (F, n), by the score of every fold; one fold where nothing is exchanged.
        others: float64 (m,).
        folds: int64 (m,), by which of the F each non-member was scored.
        items: how many items were scored.
    """

    members: np.ndarray
    others: np.ndarray
    folds: np.ndarray
    items: int

    @classmethod
    def alone(cls, members: np.ndarray, others: np.ndarray, items: int) -> Scores:
        """Of one fold, members (n,) and others (m,)."""
        return cls(members[None], others, np.zeros(len(others), np.int64), items)


def attack(space: Space, records: Records, seed: int) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Rows of all attacks and controls in one space, and their ROCs (space, attack, fpr, tpr).

    Nothing is attacked with fewer than two members or non-members.
    """
    rows, curves, scored = [], [], dict(_scored(space, records, seed))
    blind = scored.get(CONTROLS[1])
    for name, scores in scored.items():
        arm = "reference" if name in CONTROLS else "synthetic"
        rows += success(arm, space.name, name, scores)
        if blind is not None and arm == "synthetic":
            rows.append(_gain(space.name, name, scores, blind))
        curves.append(curve(space.name, name, scores))
    return rows, pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()


def success(arm: str, space: str, name: str, scores: Scores) -> list[dict[str, Any]]:
    """Rows of one attack."""
    auc = delong(scores.members, scores.others, scores.folds)
    people, accused, ends = scores.members.shape[1] + len(scores.others), math.nan, UNKNOWN
    if FPR * len(scores.others) >= 1:
        # A member that half of the folds accuse counts for half.
        accused = float(np.mean([_accused(own, scores.others) for own in scores.members]))
        ends = _accused_interval(accused, scores.members.shape[1], len(scores.others))
    return [
        row(arm, "auc", space, name, auc.estimate, (auc.low, auc.high), scores.items, people),
        row(arm, "tpr_at_fpr_1", space, name, accused, ends, scores.items, scores.members.shape[1]),
    ]


def _accused(members: np.ndarray, others: np.ndarray) -> float:
    found = tpr_at_fpr(members, others, FPR)
    return found.found / found.members


def _accused_interval(accused: float, members: int, others: int) -> tuple[float, float]:
    """Of the members found: some of the error is that of the threshold, which a few non-members set.

    The highest scores of 100 non-members leave anything from 0.2 to 5 % of new ones above the threshold, so
    that a binomial interval over many members would take a threshold that is too low for a leak.
    """
    rank = math.floor(FPR * others + 1e-9) + 1
    excess = exceedance(round(accused * members), members, rank, others)
    return max(0.0, FPR + excess.low), min(1.0, max(FPR + excess.high, accused))


def _gain(space: str, name: str, scores: Scores, blind: Scores) -> dict[str, Any]:
    """Row of what an attack tells beyond what is told without the synthetic set."""
    gain = delong_difference(
        scores.members, scores.others, blind.members, blind.others, scores.folds, blind.folds
    )
    people = scores.members.shape[1] + len(scores.others)
    return row(
        "synthetic", "auc_gain", space, name, gain.estimate, (gain.low, gain.high), scores.items, people
    )


def curve(space: str, name: str, scores: Scores) -> pd.DataFrame:
    """Operating points of one attack: space, attack, fpr, tpr."""
    points = roc(scores.members.ravel(), scores.others)
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
    sides_of = by_subject(nearness[:cut], subjects[0]), by_subject(nearness[cut:], subjects[1])
    yield "distance", Scores.alone(*sides_of, len(nearness))
    if people[0] >= 4:
        first, second = (
            by_subject(nearness[:cut][half[0]], subjects[0][half[0]]) for half in halves(rng, subjects[0], 1)
        )
        yield "members_only", Scores.alone(first, second, cut)
    if people[1] >= 4:
        yield from _with_reference(space, vectors, made, to_made, subjects, rng)


def _with_reference(
    space: Space,
    vectors: Floats,
    made: Floats,
    to_made: np.ndarray,
    subjects: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> Iterator[tuple[str, Scores]]:
    """Attacks that need a reference set, which either half of the held-out subjects is once."""
    cut, names = len(subjects[0]), np.unique(subjects[1])
    members: dict[str, list[np.ndarray]] = {}
    others: dict[str, np.ndarray] = {}
    folds = np.zeros(len(names), np.int64)
    parts = [half[0] for half in halves(rng, subjects[1], 1)]
    for fold, (judged, reference) in enumerate((parts, parts[::-1])):
        known = np.concatenate([np.ones(cut, dtype=bool), judged])
        own = np.isin(names, subjects[1][judged])
        folds[own] = fold
        scored = _referred(space, vectors[known], made, to_made[known], vectors[cut:][reference])
        for name, values in scored.items():
            members.setdefault(name, []).append(by_subject(values[:cut], subjects[0]))
            others.setdefault(name, np.empty(len(names)))[own] = by_subject(values[cut:], subjects[1][judged])
    for name, found in members.items():
        if len(found) == len(parts):
            yield name, Scores(np.stack(found), others[name], folds, len(vectors))


def _referred(
    space: Space, vectors: Floats, made: Floats, to_made: np.ndarray, reference: Floats
) -> dict[str, np.ndarray]:
    """Scores (N,) of records by attacks that know a reference set."""
    to_reference = to_nearest(vectors, reference, space)
    scores = {
        "calibrated": calibrated_score(to_made, to_reference),
        "no_synthetic": nearness_score(to_reference),
    }
    if isinstance(space, Features) and min(len(made), len(reference)) >= LEAST_FOR_DENSITY:
        scores["domias"] = density_ratio_score(vectors, made, reference)
    return scores


def to_nearest(records: Floats, others: Floats, space: Space) -> np.ndarray:
    """Distance (N,), float64, of each record from the nearest of some other items, over their views."""
    return pairwise(records, iter(others), space.kind).min(axis=1).astype(np.float64)
