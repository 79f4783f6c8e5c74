"""Shares, exceedances and areas under the ROC: exact intervals and DeLong's."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from mirage.evaluate.statistics.hypotheses import LEVEL, Difference

Floats = npt.NDArray[np.float64]
CHANCES = 400
"""Equally likely places of a threshold over which :func:`exceedance` takes the mean."""


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


def exceedance(hits: int, trials: int, rank: float, references: float) -> Interval:
    """How much more often trials fall below the rank-th smallest of some reference values than those would.

    A new value of the reference's own distribution falls below with a probability that is Beta(rank,
    references + 1 - rank) distributed, whatever that distribution is, hence with rank / (references + 1) on
    average. So many hits are then binomial with that probability and the excess. Both errors, of the
    threshold and of the trials, are in the interval, which inverts the exact test.

    Args:
        hits: trials below the threshold.
        trials: independent ones, 1 or more.
        rank: k, of the reference value that is the threshold; need not be whole where items count in part.
        references: n, values that it is one of.

    Returns:
        The share less what is expected, with its 95 % interval.
    """
    below = stats.beta(rank, references + 1 - rank)
    chances = below.ppf((np.arange(CHANCES) + 0.5) / CHANCES)
    tail = (1 - LEVEL) / 2

    def at_most(count: int, excess: float) -> float:
        return float(stats.binom.cdf(count, trials, np.clip(chances + excess, 0, 1)).mean())

    least, found = -float(below.ppf(1 - tail)), hits / trials - rank / (references + 1)
    low, high = least, 1.0
    if hits and at_most(hits - 1, least) > 1 - tail:
        low = float(optimize.brentq(lambda excess: at_most(hits - 1, excess) - (1 - tail), least, 1.0))
    if hits < trials:
        high = float(optimize.brentq(lambda excess: at_most(hits, excess) - tail, -1.0, 1.0))
    return Interval(found, min(low, found), max(high, found))


def delong(
    positives: npt.ArrayLike, negatives: npt.ArrayLike, folds: npt.ArrayLike | None = None
) -> Interval:
    """Area under the ROC with DeLong's interval (1988), on the scale of the logit.

    The logit keeps the interval within 0 to 1. Where the two do not overlap at all there is no variance to
    go by; the far end is then that of an exact binomial interval over the fewer cases, which is wide.

    Args:
        positives: scores (n,), one a subject; with ``folds`` (F, n), by the score of every fold.
        negatives: scores (m,).
        folds: (m,), by which of F scores each negative was scored; the area is the mean over folds.

    Returns:
        NaN for the interval with fewer than two scores on a side, and where all scores are equal.
    """
    (area,), variance = _areas([_placements(positives, negatives, folds)])
    nan = float("nan")
    fewest = min(np.shape(positives)[-1], np.size(negatives))
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
    folds: npt.ArrayLike | None = None,
    other_folds: npt.ArrayLike | None = None,
) -> Difference:
    """Difference of two areas under the ROC on the same subjects, with DeLong's interval and test.

    Args:
        positives, negatives: scores (n,) or (F, n), and (m,), of the one method, see :func:`delong`.
        other_positives, other_negatives: of the other, for the same subjects in the same order.
        folds, other_folds: (m,), see :func:`delong`.

    Returns:
        The one less the other; NaN for interval and p with fewer than two scores on a side.

    Raises:
        ValueError: the methods scored different numbers of subjects.
    """
    sizes = [np.shape(scores)[-1] for scores in (positives, other_positives, negatives, other_negatives)]
    if sizes[0] != sizes[1] or sizes[2] != sizes[3]:
        raise ValueError(f"both methods must score the same subjects; found {sizes[::2]} and {sizes[1::2]}")
    areas, covariance = _areas(
        [_placements(positives, negatives, folds), _placements(other_positives, other_negatives, other_folds)]
    )
    gap, nan = areas[0] - areas[1], float("nan")
    if min(sizes) < 2:
        return Difference(gap, nan, nan, nan)
    error = math.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0))
    if error == 0:
        return Difference(gap, gap, gap, 1.0 if gap == 0 else 0.0)
    reach = _normal() * error
    return Difference(gap, gap - reach, gap + reach, float(2 * stats.norm.sf(abs(gap) / error)))


def hanley_mcneil(area: float, positives: float, negatives: float) -> float:
    """Standard error of an area under the ROC by its size alone (Hanley and McNeil 1982).

    For published areas, of which there are no scores.

    Args:
        area: in [0, 1].
        positives, negatives: cases.
    """
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area)
    spread += (positives - 1) * (first - area**2) + (negatives - 1) * (second - area**2)
    return math.sqrt(max(spread, 0.0) / (positives * negatives))


def positives_needed(
    area: float, gap: float, ratio: float, power: float = 0.8, correlation: float = 0.5
) -> float:
    """Test positives at which a difference of two areas about ``area`` is seen on the same images.

    Args:
        area: about which both lie.
        gap: their difference.
        ratio: negatives to a positive.
        power: chance to find it at 5 %, two-sided.
        correlation: of the two areas over test sets, 0 where each has a test set of its own.
    """
    wanted = gap / (math.sqrt(2 * (1 - correlation)) * (_normal() + float(stats.norm.ppf(power))))

    def too_few(positives: float) -> float:
        return hanley_mcneil(area, positives, ratio * positives) - wanted

    return 2.0 if too_few(2.0) <= 0 else float(optimize.brentq(too_few, 2.0, 1e9))


def delong_covariance(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Areas under the ROC of several readers of the same cases, and DeLong's covariance of them.

    Args:
        positives: scores (R, n) of R readers, n >= 2.
        negatives: scores (R, m), m >= 2.

    Returns:
        Areas (R,) and covariance (R, R).
    """
    high, low = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    areas, covariance = _areas([_placements(one, other, None) for one, other in zip(high, low, strict=True)])
    return np.array(areas), covariance


def _normal() -> float:
    return float(stats.norm.ppf((1 + LEVEL) / 2))


def _placements(
    positives: npt.ArrayLike, negatives: npt.ArrayLike, folds: npt.ArrayLike | None
) -> tuple[Floats, Floats]:
    """Share (n,) of negatives below each positive, and (m,) of positives above each negative, by mid-ranks
    (Sun and Xu 2014), within folds."""
    highs, low = np.atleast_2d(np.asarray(positives, np.float64)), np.asarray(negatives, np.float64)
    place = np.zeros(len(low), np.int64) if folds is None else np.asarray(folds, np.int64)
    over, under = np.zeros(highs.shape[1]), np.empty(len(low))
    for fold, high in enumerate(highs):
        own = low[place == fold]
        ranks = stats.rankdata(np.concatenate([high, own]))
        over += (ranks[: len(high)] - stats.rankdata(high)) / len(low)
        under[place == fold] = 1 - (ranks[len(high) :] - stats.rankdata(own)) / len(high)
    return over, under


def _areas(placements: list[tuple[Floats, Floats]]) -> tuple[list[float], Floats]:
    """Areas of each method and their covariance (methods, methods), by :func:`_placements`."""
    over, under = ([pair[side] for pair in placements] for side in (0, 1))
    areas = [float(own.mean()) for own in over]
    covariance = np.full((len(areas),) * 2, np.nan)
    if min(len(over[0]), len(under[0])) > 1:
        parts = (np.atleast_2d(np.cov(np.stack(part))) / len(part[0]) for part in (over, under))
        covariance = sum(parts, np.zeros_like(covariance))
    return areas, covariance
