"""Whether a classifier can tell synthetic from real images: the classifier two-sample test, ``c2st``.

The area under the ROC curve of a logistic regression on the features and their squares (a blurred image
differs in spread, not in place), cross-validated with all images of a patient in one fold. 0.5: it cannot; 1:
always.

Synthetic images are told from held-out ones, never from training ones: an encoder that was fitted on the
training images places these apart from all others, so that even new real images would be told from them.
Where nothing is held out (protocol ``halves``) every real image may be one of these: there is no such test.
The reference is that of held-out from training images at equal numbers, and what is judged is by how much
AUC - 0.5 exceeds its reference (kind ``difference``). The interval resamples patients on the scores of the
images; that other training images would have given another classifier is not in it.
"""

from __future__ import annotations

import numpy as np

from mirage import seeds
from mirage.evaluate.fidelity.draws import Floats, Ints, Plan, pick
from mirage.evaluate.fidelity.rows import Rows, planned
from mirage.evaluate.statistics import bootstrap_weights, limits
from mirage.metrics.points import Array
from mirage.metrics.separability import TwoSampleTest, classifier_two_sample

FEWEST = 10
"""Patients or synthetic images a side; with fewer an area under the curve says nothing."""


def separability(
    values: Array, patients: Ints, plan: Plan, label: str, draws: int, seed: int, absent: dict[str, str]
) -> Rows:
    """Rows of ``c2st``, of both arms and their difference.

    Args:
        values: (N, D) features of all items.
        patients: (N,) of all items, different ones on different sides.
        plan: the first of its equal draws is classified.
        label: the encoder.
        draws: bootstrap resamples.
        seed: of folds and resamples.
        absent: gets why there is no row.
    """
    if plan.protocol == "halves":
        absent["c2st"] = "nothing is held out, and an encoder may know the images that it was fitted on"
        return []
    draw = plan.equal[0]
    rng = seeds.rng(seed, "fidelity/c2st/base")
    base = draw.base[pick(rng, patients[draw.base], min(plan.count, len(draw.base)))]
    few = min(len(np.unique(patients[side])) for side in (base, draw.judged, draw.reference))
    if few < FEWEST:
        absent["c2st"] = f"{few} patients or synthetic images on one side; at least {FEWEST} are needed"
        return []
    centred = values - values[draw.base].mean(axis=0)
    wide = np.concatenate([centred, centred**2], axis=1)
    new = _weights(patients[draw.reference], draws, seed, 0)
    areas = []
    for place, other in enumerate((draw.judged, base)):
        groups = patients[np.concatenate([draw.reference, other])]
        test = classifier_two_sample(wide[draw.reference], wide[other], groups, seed=seed)
        weights = _weights(patients[other], draws, seed, 1 + place)
        areas.append((test.auc, _resampled(test, new, weights)))
    (own, own_draws), (real, real_draws) = areas
    first, second = plan.subjects
    return [
        planned("synthetic", "c2st", own, limits(own_draws), plan, first, label),
        planned("reference", "c2st", real, limits(real_draws), plan, second, label),
        planned(
            "synthetic",
            "c2st",
            own - real,
            limits(own_draws - real_draws),
            plan,
            plan.fewest,
            label,
            kind="difference",
        ),
    ]


def _weights(patients: Ints, draws: int, seed: int, place: int) -> Floats:
    numbers = np.unique(patients, return_inverse=True)[1].astype(np.int64)
    return bootstrap_weights(seeds.rng(seed, "fidelity/c2st", place), numbers, draws)


def _resampled(test: TwoSampleTest, real: Floats, other: Floats) -> Floats:
    """Mean over folds of the area under the curve of every resample (draws, N) and (draws, M)."""
    areas = np.zeros((len(test.folds), len(real)))
    for fold in range(len(test.folds)):
        mine, theirs = test.fold_synthetic == fold, test.fold_real == fold
        gap = test.synthetic[mine, None] - test.real[theirs]
        won = (np.sign(gap) + 1) / 2
        w, v = other[:, mine], real[:, theirs]
        total = w.sum(axis=1) * v.sum(axis=1)
        with np.errstate(invalid="ignore"):
            areas[fold] = np.einsum("dn,dn->d", w @ won, v) / total
    return np.nanmean(areas, axis=0)
