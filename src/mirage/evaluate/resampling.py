"""Random draws of items for distances between two sets: halves, equal numbers, and bootstraps by subject.

Every draw is a row of weights over items, so that the pooled histogram of all draws is one matrix product.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


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
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
