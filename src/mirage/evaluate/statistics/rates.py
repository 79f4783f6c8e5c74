"""Shares and areas under the ROC: exact binomial intervals and DeLong's."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from mirage.evaluate.statistics.hypotheses import LEVEL, Difference

Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A number with its 95 % interval."""

    estimate: float
    low: float
    high: float


def clopper_pearson(successes: int, trials: int) -> Interval:
    """Share of successes with its exact binomial interval (Clopper and Pearson 1934).

    Covers 95 % or more whatever the true share is; conservative with few trials. Trials are independent:
    patients, not their images.

    Raises:
        ValueError: no trial, or more successes than trials.
    """
    low, high = stats.binomtest(successes, trials).proportion_ci(LEVEL, "exact")
    return Interval(successes / trials, float(low), float(high))


def delong(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> Interval:
    """Area under the ROC with DeLong's interval (1988), on the scale of the logit.

    The logit keeps the interval within 0 to 1. Where the two do not overlap at all there is no variance to
    go by; the far end is then that of an exact binomial interval over the fewer cases, which is wide.

    Args:
        positives: scores (n,), one a subject.
        negatives: scores (m,).

    Returns:
        NaN for the interval with fewer than two scores on a side, and where all scores are equal.
    """
    (area,), variance = _areas([positives], [negatives])
    nan = float("nan")
    fewest = min(np.size(positives), np.size(negatives))
    if fewest < 2:
        return Interval(area, nan, nan)
    if area in (0.0, 1.0):
        return Interval(area, *clopper_pearson(round(area * fewest), fewest)[1:])
    if variance[0, 0] == 0:
        return Interval(area, nan, nan)
    error = math.sqrt(variance[0, 0]) / (area * (1 - area))
    centre, reach = math.log(area / (1 - area)), _normal() * error
    return Interval(area, 1 / (1 + math.exp(reach - centre)), 1 / (1 + math.exp(-reach - centre)))


def delong_difference(
    positives: npt.ArrayLike,
    negatives: npt.ArrayLike,
    other_positives: npt.ArrayLike,
    other_negatives: npt.ArrayLike,
) -> Difference:
    """Difference of two areas under the ROC on the same subjects, with DeLong's interval and test.

    Args:
        positives, negatives: scores (n,) and (m,) of the one method.
        other_positives, other_negatives: of the other, for the same subjects in the same order.

    Returns:
        The one less the other; NaN for interval and p with fewer than two scores on a side.

    Raises:
        ValueError: the methods scored different numbers of subjects.
    """
    sizes = [np.size(scores) for scores in (positives, other_positives, negatives, other_negatives)]
    if sizes[0] != sizes[1] or sizes[2] != sizes[3]:
        raise ValueError(f"both methods must score the same subjects; found {sizes[::2]} and {sizes[1::2]}")
    areas, covariance = _areas([positives, other_positives], [negatives, other_negatives])
    gap, nan = areas[0] - areas[1], float("nan")
    if min(sizes) < 2:
        return Difference(gap, nan, nan, nan)
    error = math.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0))
    if error == 0:
        return Difference(gap, gap, gap, 1.0 if gap == 0 else 0.0)
    reach = _normal() * error
    return Difference(gap, gap - reach, gap + reach, float(2 * stats.norm.sf(abs(gap) / error)))


def _normal() -> float:
    return float(stats.norm.ppf((1 + LEVEL) / 2))


def _areas(positives: list[npt.ArrayLike], negatives: list[npt.ArrayLike]) -> tuple[list[float], Floats]:
    """Areas of each method and their covariance, by mid-ranks (Sun and Xu 2014)."""
    areas, over, under = [], [], []
    for own, other in zip(positives, negatives, strict=True):
        high, low = np.asarray(own, np.float64), np.asarray(other, np.float64)
        ranks = stats.rankdata(np.concatenate([high, low]))
        # Share of negatives below each positive, and of positives above each negative.
        over.append((ranks[: len(high)] - stats.rankdata(high)) / len(low))
        under.append(1 - (ranks[len(high) :] - stats.rankdata(low)) / len(high))
        areas.append(float(over[-1].mean()))
    covariance = np.full((len(areas),) * 2, np.nan)
    if min(len(over[0]), len(under[0])) > 1:
        parts = (np.atleast_2d(np.cov(np.stack(part))) / len(part[0]) for part in (over, under))
        covariance = sum(parts, np.zeros_like(covariance))
    return areas, covariance
