"""Random draws of subjects for distances between two sets, and intervals from such draws.

A distance has no scores of single subjects. Whole subjects are drawn, as rows of weights over items, so that
the pooled histogram or the kernel sums of all draws are one matrix product.

**m out of n.** A bootstrap draws some items twice, and duplicates change a distance itself: they shrink the
rank of a covariance and make neighbours at distance 0. So m of the n subjects of each side are drawn without
replacement. The values of such subsets vary by ``sqrt((n - m) / m)`` times as much as those of full sets,
which for halves is as much. They tell the spread only and are moved to the estimate, for a distance of fewer
items is larger.

**What the interval is of.** The expected distance of sets of these sizes, not of infinitely many items. A
distance that falls with n, such as Fréchet's, is to be compared with its reference at the same n.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from mirage.evaluate.statistics.hypotheses import LEVEL

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
SHARE = 0.5
"""Of the subjects of a side that m out of n draws."""
FEW_DRAWS = 100
"""Below, percentiles lie too near one another: even the ends of twenty draws enclose but 90 %."""
LEAST_SUBJECTS = 4
"""On a side, so that half of them still vary."""


def bootstrap_weights(rng: np.random.Generator, subjects: npt.NDArray[np.int64], draws: int) -> Floats:
    """How often each item occurs (draws, N) when subjects are drawn with replacement, all items of each.

    Args:
        subjects: (N,) subject number of every item, 0 ... n - 1.
    """
    count = int(subjects.max()) + 1
    times = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    return times[:, subjects].astype(np.float64)


def pick_weights(rng: np.random.Generator, among: npt.NDArray[np.bool_], count: int) -> Floats:
    """0/1 weights (draws, N) that pick ``count`` of the True items of each row, without replacement."""
    order = np.where(among, rng.random(among.shape), 2.0).argsort(axis=1)
    weights = np.zeros(among.shape)
    np.put_along_axis(weights, order[:, :count], 1.0, axis=1)
    return weights


def halves(
    rng: np.random.Generator, groups: npt.NDArray[np.int64], draws: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Random halves of the groups (subjects, or items): membership (draws, N) in the first and the second.

    The smaller half, floor(n / 2) groups, is the second.
    """
    count = int(groups.max()) + 1
    ranks = rng.random((draws, count)).argsort(axis=1).argsort(axis=1)
    second = (ranks < count // 2)[:, groups]
    return ~second, second


def weighted_median(values: Floats, weights: Floats) -> Floats:
    """Median of values (N,) under each row of weights (draws, N); the mean of the two middle ones if two."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[:, order], axis=1)
    half = cumulative[:, -1:] / 2
    lower = np.argmax(cumulative >= half, axis=1)
    upper = np.argmax(cumulative > half, axis=1)
    ordered = values[order]
    return (ordered[lower] + ordered[upper]) / 2


def centred(estimate: float, draws: Floats) -> Floats:
    """Bootstrap draws of a positive distance, scaled so that their geometric mean is the estimate.

    Resampling adds noise to both sides, which moves any distance up: the spread of the draws is right, their
    place is not.
    """
    positive = draws[draws > 0]
    if not len(positive) or estimate <= 0:
        return np.full(1, np.nan)
    return estimate * positive / np.exp(np.mean(np.log(positive)))


def limits(draws: Floats) -> tuple[float, float]:
    """Percentiles of the draws that enclose 95 % of them; NaN where no draw is a number."""
    known = draws[np.isfinite(draws)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bootstrap_interval(
    estimate: float, draws: Floats, subjects: int, *, log: bool = False, by_seed: Floats | None = None
) -> tuple[float, float]:
    """95 % interval from draws of subjects with replacement, see :func:`bootstrap_weights`.

    Percentiles, widened about the estimate for few subjects and seeds: a bootstrap of n sees (n - 1) / n of
    the variance, and its tails are normal where Student's are due.

    Args:
        estimate: of all subjects.
        draws: of the resamples; those that are not finite are left out.
        subjects: n, of the smaller set of two.
        log: of a positive quantity, whose logarithm is taken as what varies.
        by_seed: (S,) of each training seed by itself, where seeds were drawn with the subjects and
            ``estimate`` is the mean over them.

    Returns:
        low, high; NaN with fewer than four subjects, and where the logarithm is asked for and there is none.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        middle, known = (np.log(estimate), np.log(draws)) if log else (estimate, draws)
        seeds = None if by_seed is None else np.log(by_seed) if log else by_seed
    if subjects < LEAST_SUBJECTS or not np.isfinite(middle):
        return float("nan"), float("nan")
    factor = _widening(known[np.isfinite(known)], subjects, seeds)
    ends = [float(middle + factor * (end - middle)) for end in limits(known)]
    low, high = np.exp(ends) if log else ends
    return float(low), float(high)


def _widening(draws: Floats, subjects: int, by_seed: Floats | None) -> float:
    """Factor by which percentiles of draws of few subjects, and of few seeds with them, fall short.

    As in :mod:`mirage.evaluate.statistics.hierarchical`: variances of subjects and of seeds, each with what
    a bootstrap does not see of it, and Satterthwaite's degrees of freedom.
    """
    tail = (1 + LEVEL) / 2
    freedom, missed = subjects - 1.0, subjects / (subjects - 1)
    if by_seed is not None and len(by_seed) > 1 and len(draws):
        count = len(by_seed)
        of_seeds = float(np.var(by_seed, ddof=1)) / count
        seen = of_seeds * (count - 1) / count
        of_subjects = max(float(np.var(draws)) - seen, 0.0) * missed
        total = of_seeds + of_subjects
        if total > 0:
            freedom = total**2 / (of_seeds**2 / (count - 1) + of_subjects**2 / (subjects - 1))
            missed = total / (seen + of_subjects / missed)
    return float(stats.t.ppf(tail, freedom) / stats.norm.ppf(tail) * np.sqrt(missed))


@dataclass(frozen=True)
class Resampled:
    """A distance between two sets with its interval.

    Attributes:
        estimate: the distance of the whole sets.
        low, high: of the 95 % interval; NaN with fewer than four subjects on a side.
        draws: float64 (draws,), the distances of the subsets, rescaled about the estimate. Ratios and
            differences of distances drawn from the same subsets are formed draw by draw.
    """

    estimate: float
    low: float
    high: float
    draws: Floats


def subsample(rng: np.random.Generator, subjects: npt.NDArray[np.int64], draws: int) -> npt.NDArray[np.bool_]:
    """Items (draws, N) of half of the subjects, floor(n / 2) but at least one, without replacement.

    Args:
        subjects: (N,) subject number of every item, 0 ... n - 1.
    """
    count = int(subjects.max()) + 1
    ranks = rng.random((draws, count)).argsort(axis=1).argsort(axis=1)
    return (ranks < max(1, int(SHARE * count)))[:, subjects]


def m_out_of_n(
    statistic: Callable[[Indices, Indices], float],
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    rng: np.random.Generator,
    draws: int,
) -> Resampled:
    """Interval of a distance between two sets, by subsets of half of the subjects of each.

    Args:
        statistic: the distance of the items with indices (n,) of the first and (m,) of the second set.
        first: (N,) subject number of every item of the first set, 0 ... n - 1.
        second: (M,) of the second set.
        rng: draws subjects, on either side for itself.
        draws: subsets.
    """
    picked = subsample(rng, first, draws), subsample(rng, second, draws)
    estimate = statistic(np.arange(len(first)), np.arange(len(second)))
    values = [statistic(np.flatnonzero(a), np.flatnonzero(b)) for a, b in zip(*picked, strict=True)]
    return rescaled(estimate, np.array(values), (int(first.max()) + 1, int(second.max()) + 1))


def rescaled(estimate: float, values: Floats, subjects: tuple[int, ...]) -> Resampled:
    """Interval from the distances (draws,) of subsets made by :func:`subsample`.

    Percentiles, widened for few subjects; of fewer than 100 draws Student's t times their standard deviation.

    Args:
        estimate: the distance of the whole sets.
        values: of the subsets; those that are not finite are left out.
        subjects: how many there are on each side that was drawn from.
    """
    fewest = min(subjects)
    known = values[np.isfinite(values)]
    if fewest < LEAST_SUBJECTS or len(known) < 2:
        nan = float("nan")
        return Resampled(estimate, nan, nan, np.full(1, nan))
    m = int(SHARE * fewest)
    factor = np.sqrt(m / (fewest - m))
    draws = estimate + factor * (known - known.mean())
    tail = (1 + LEVEL) / 2
    if len(draws) < FEW_DRAWS:
        reach = float(stats.t.ppf(tail, min(fewest, len(draws)) - 1) * draws.std(ddof=1))
        return Resampled(estimate, estimate - reach, estimate + reach, draws)
    wider = stats.t.ppf(tail, fewest - 1) / stats.norm.ppf(tail)
    low, high = limits(draws)
    return Resampled(
        estimate, estimate + wider * (low - estimate), estimate + wider * (high - estimate), draws
    )
