"""Membership inference: telling training items from others by the synthetic set alone.

An attacker who holds a record gives it a score; higher means "was in the training set". Scores of members
and of non-members drawn from the same distribution make the ROC. If members can be told from non-members
without the synthetic set at all, the split is biased and the attack shows nothing: run that control too.
A reference set belongs to the attacker and must share no subject with either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_curve

from mirage.metrics.mixture import log_mixture
from mirage.metrics.points import Array, Floats, PrincipalAxes, check_points, regular_dimension


def nearness_score(to_synthetic: Floats) -> Floats:
    """GAN-Leaks (Chen 2020): minus the distance (N,) of each record from the nearest synthetic item."""
    return -to_synthetic


def calibrated_score(to_synthetic: Floats, to_reference: Floats) -> Floats:
    """How much nearer (N,) a record lies to the synthetic than to a reference set (Chen 2020).

    Records in dense regions are near to any sample; the reference takes that off.
    """
    return to_reference - to_synthetic


def density_ratio_score(
    records: Array, synthetic: Array, reference: Array, dimension: int | None = None
) -> Floats:
    """DOMIAS (van Breugel 2023): log density (N,) of the synthetic over that of the reference set.

    Both densities are Gaussian kernel estimates with Scott's bandwidth, in the whitened space of the first
    principal components of the reference.

    Args:
        records: (N, D), float.
        synthetic: (M, D).
        reference: (R, D), real, of other subjects than the records.
        dimension: of the space; by default a fifth of the smaller of both sets, at most D.
    """
    records, synthetic, reference = check_points(records, synthetic, reference)
    if dimension is None:
        dimension = regular_dimension(len(synthetic), len(reference), features=reference.shape[1])
    axes = PrincipalAxes(reference, dimension)
    unit = np.sqrt(np.where(axes.variances > 0, axes.variances, 1.0))
    where, made, real = (axes(points) / unit for points in (records, synthetic, reference))
    return _density(where, made) - _density(where, real)


def _density(points: Floats, sample: Floats) -> Floats:
    """Log of a Gaussian kernel estimate (N,) of whitened points, with Scott's bandwidth."""
    count, dimension = sample.shape
    return log_mixture(points, sample, count ** (-2 / (dimension + 4)))


def by_subject(scores: Floats, subjects: npt.NDArray[np.int64]) -> Floats:
    """Highest score (S,) of each subject, by rising subject: who recognises one image has found the patient.

    Args:
        scores: of records (N,).
        subjects: of each record (N,).
    """
    names, place = np.unique(subjects, return_inverse=True)
    highest = np.full(len(names), -np.inf)
    np.maximum.at(highest, place, scores)
    return highest


def exposure(planted: Floats, left_out: Floats) -> Floats:
    """Exposure (N,) of planted canaries, bits (Carlini 2019): how far up they rank among those left out.

    log2(M + 1) less log2 of the rank, which ties share: 1 where half of those left out score higher, about
    log2(M + 1) where none does. Near 1 in the median without memorisation.

    Args:
        planted: scores (N,) of canaries that were trained on.
        left_out: scores (M,) of canaries drawn like them that were not.
    """
    ordered = np.sort(left_out)
    above = len(ordered) - np.searchsorted(ordered, planted, "right")
    tied = np.searchsorted(ordered, planted, "right") - np.searchsorted(ordered, planted, "left")
    found: Floats = np.log2(len(ordered) + 1) - np.log2(1 + above + tied / 2)
    return found


def guesses(scores: Floats, planted: npt.NDArray[np.bool_], share: float) -> tuple[int, int]:
    """Right guesses, and guesses, of an auditor who says "in" of the highest and "out" of the lowest scores.

    Whoever makes them does so by the scores and by the order of canaries alone, which must not depend on
    which were planted: it breaks ties.

    Args:
        scores: of all canaries (M,), in an order that tells nothing.
        planted: whether each was trained on (M,), by a fair coin.
        share: of all canaries that is called in, and that is called out, fixed beforehand; at most 0.5.
    """
    order, count = np.argsort(scores, kind="stable"), int(share * len(scores))
    right = (~planted[order[:count]]).sum() + planted[order[len(order) - count :]].sum()
    return int(right), 2 * count


def epsilon_of_guessing(rate: float) -> float:
    """Least epsilon >= 0 of pure differential privacy that lets an auditor guess so well (Steinke 2023).

    The number of right guesses of an epsilon-private training is at most binomial with probability
    e^epsilon / (1 + e^epsilon), so a lower bound of the rate gives a lower bound of epsilon.

    Args:
        rate: share of right guesses, or a lower bound of it, in [0, 1).
    """
    return max(0.0, math.log(rate / (1 - rate))) if rate > 0 else 0.0


@dataclass(frozen=True)
class Roc:
    """Operating points of an attack, from none to all accused.

    Attributes:
        fpr, tpr: float64, rising from 0 to 1.
        threshold: float64, falling; a record is accused at this score or above. Infinite at the first.
    """

    fpr: Floats
    tpr: Floats
    threshold: Floats


def roc(members: Floats, others: Floats) -> Roc:
    """ROC of the scores of members (N,) and of others (M,)."""
    truth = np.repeat([1, 0], [len(members), len(others)])
    return Roc(*roc_curve(truth, np.concatenate([members, others])))


@dataclass(frozen=True)
class Accused:
    """Members found at a bounded rate of false accusations.

    Attributes:
        threshold: a record is accused above this score.
        found, members: how many of how many; their share is the TPR, with an exact binomial interval.
        false, others: false accusations, of how many.
    """

    threshold: float
    found: int
    members: int
    false: int
    others: int


def tpr_at_fpr(members: Floats, others: Floats, fpr: float) -> Accused:
    """Members found with at most a share ``fpr`` of others accused (Carlini 2022).

    Args:
        members: scores (N,) of training items or subjects.
        others: scores (M,) of non-members, at least 1 / fpr of them.
        fpr: in (0, 1).

    Raises:
        ValueError: too few non-members to see such a rate: 100 for 1 %, 1,000 for 0.1 %.
    """
    allowed = math.floor(fpr * len(others) + 1e-9)
    if allowed < 1 or allowed >= len(others):
        raise ValueError(
            f"a false positive rate of {fpr:g} needs {math.ceil(1 / fpr)} non-members, found {len(others)}"
        )
    threshold = float(np.sort(others)[-allowed - 1])
    return Accused(
        threshold,
        int(np.count_nonzero(members > threshold)),
        len(members),
        int(np.count_nonzero(others > threshold)),
        len(others),
    )
