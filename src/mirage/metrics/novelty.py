"""Whether a synthetic set repeats its training set, beside real points that no generator has seen.

None of these finds memorisation reliably on its own: its authors or others have shown each to miss cases.
Quote several, with copies put in on purpose as a control. What passes here is not thereby private: a set
may pass every test of distances and still betray its members (see :mod:`mirage.metrics.membership`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.cluster import KMeans

from mirage.metrics.mixture import fit_variances, log_mixture
from mirage.metrics.pairwise import nearest_points
from mirage.metrics.points import Array, Floats, check_points

CELLS = 3
LEAST_IN_CELL = 20
"""Held-out and synthetic subjects that a cell needs for its z to be about normal."""
Groups = npt.NDArray[np.int64]


def authentic(distance: Floats, bound: Floats) -> npt.NDArray[np.bool_]:
    """Which items lie farther from their nearest training item than that lies from the next.

    The mean is the authenticity (Alaa 2022); about 0.5 for a fresh sample of the same distribution, of as
    many items.

    Args:
        distance: (Q,), to the nearest training item.
        bound: (Q,), from that training item to the nearest one of another subject.

    Returns:
        bool (Q,).
    """
    return np.asarray(distance > bound)


@dataclass(frozen=True)
class DataCopying:
    """C_T and what it is made of.

    Attributes:
        z: mean over cells, weighted by their held-out points; far below 0: synthetic points lie nearer to
            training points than held-out ones do. Far above 0: the set does not fit. NaN without a cell.
        cells: float64 (cells,), z of each cell; NaN where it has too few points.
        heldout, synthetic: int64 (cells,), points in each.
    """

    z: float
    cells: Floats
    heldout: npt.NDArray[np.int64]
    synthetic: npt.NDArray[np.int64]


def data_copying(
    training: Array,
    heldout: Array,
    synthetic: Array,
    subjects: tuple[Groups, Groups] | None = None,
    *,
    seed: int,
    cells: int = CELLS,
    least: int = LEAST_IN_CELL,
) -> DataCopying:
    """Data-copying test C_T (Meehan 2020): a Mann-Whitney z in each cell of the training set.

    Compares distances to the nearest training point, of synthetic and of held-out points, within the cells
    of a k-means of the training points, so that copying in one region is not outweighed by bad fit in
    another. All points count; the error of each z is that of subjects (:func:`mann_whitney_z`).

    Args:
        training: (N, D), float.
        heldout: (H, D), real points that no generator has seen.
        synthetic: (M, D).
        subjects: int64 (H,) and (M,), subject of every held-out and every synthetic point; None: each point
            is its own.
        seed: of the k-means.
        cells: of the k-means; at most N.
        least: subjects held out, and synthetic ones, that a cell needs to count.
    """
    training, heldout, synthetic = check_points(training, heldout, synthetic)
    means = KMeans(min(cells, len(training)), n_init=10, random_state=seed).fit(training)
    places = means.labels_, means.predict(heldout), means.predict(synthetic)
    own = subjects or (np.arange(len(heldout)), np.arange(len(synthetic)))
    z = np.full(means.n_clusters, np.nan)
    sizes = [np.bincount(place, minlength=means.n_clusters) for place in places]
    for cell in range(means.n_clusters):
        known, held, made = (
            points[place == cell]
            for points, place in zip((training, heldout, synthetic), places, strict=True)
        )
        people = own[0][places[1] == cell], own[1][places[2] == cell]
        if min(len(np.unique(group)) for group in people) >= least:
            near, new = (nearest_points(points, known).distance[:, 0] for points in (made, held))
            z[cell] = mann_whitney_z(near, new, (people[1], people[0]))
    counted = np.where(np.isnan(z), 0, sizes[1])
    total = counted.sum()
    return DataCopying(float(np.nansum(z * counted) / total) if total else math.nan, z, sizes[1], sizes[2])


def mann_whitney_z(first: Floats, second: Floats, subjects: tuple[Groups, Groups] | None = None) -> float:
    """z of the Mann-Whitney U of two samples, with continuity correction; below 0: the first is smaller.

    Items of one subject resemble one another, so the variance is that of independent items times the design
    effect (Kish 1965) of the ranks: that of sums over subjects to that of single items, at least 1.

    Args:
        first: (N,).
        second: (M,).
        subjects: (N,) and (M,), subject of every item; None: each item is its own.
    """
    n, m = len(first), len(second)
    u = stats.mannwhitneyu(first, second, alternative="less").statistic
    variance = n * m * (n + m + 1) / 12
    if subjects:
        variance *= _design_effect(stats.rankdata(np.concatenate([first, second])), subjects)
    return float((u - (n * m / 2 - 0.5)) / math.sqrt(variance))


def _design_effect(ranks: Floats, subjects: tuple[Groups, Groups]) -> float:
    centred = ranks - ranks.mean()
    joint = single = 0.0
    for own, part in zip(subjects, np.split(centred, [len(subjects[0])]), strict=True):
        sums = np.bincount(np.unique(own, return_inverse=True)[1], weights=part)
        joint += float(np.square(sums).sum()) / len(own) ** 2
        single += float(np.square(part).sum()) / len(own) ** 2
    return max(1.0, joint / single) if single > 0 else 1.0


@dataclass(frozen=True)
class Likelihood:
    """Feature likelihood divergence, 100 x nats per dimension.

    Attributes:
        divergence: FLD, of held-out points under the mixture around synthetic points, less that under a
            mixture around training points; 0: as good as real points, higher: worse.
        gap: of the training points that bandwidths were fitted to, less that of held-out points, under the
            mixture around synthetic points. Somewhat below 0 always, by the fit; far below: overfitted.
        reference_gap: the same of the mixture around training points, which copies nothing.
    """

    divergence: float
    gap: float
    reference_gap: float


def feature_likelihood(
    training: Array,
    heldout: Array,
    synthetic: Array,
    subjects: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> Likelihood:
    """FLD and its generalisation gap (Jiralerspong 2023).

    Gaussians around synthetic points get the bandwidths that make the training points most likely; a copy of
    a training point shrinks to it and explains nothing else. The published code z-scores on held-out points
    and fits by gradient steps; here nothing is fitted to held-out points, and the fit is EM until it settles.

    The mixture around training points, which is the reference, needs half of the subjects as centres and the
    others to be fitted to. The synthetic mixture gets as many centres and is fitted to the same points, since
    a mixture of more Gaussians is the better one whatever they are. The halves then change places.

    Args:
        training: (N, D), float, of two subjects or more.
        heldout: (H, D), real points that no generator has seen.
        synthetic: (M, D).
        subjects: (N,), subject of each training point.
        rng: halves the subjects, and draws as many centres of either set as the smaller one has.
    """
    training, heldout, synthetic = check_points(training, heldout, synthetic, least=1)
    names = np.unique(subjects)
    if len(names) < 2:
        raise ValueError("the feature likelihood needs training points of two subjects or more")
    spread = training.std(axis=0, dtype=np.float64)
    varies = spread > 1e-12 * np.abs(training).max(axis=0)
    if not varies.any():
        raise ValueError("every feature is constant in the training points; there is nothing to z-score")
    centre = training[:, varies].mean(axis=0, dtype=np.float64)
    known, held, made = (
        (points[:, varies] - centre) / spread[varies] for points in (training, heldout, synthetic)
    )
    half = np.isin(subjects, rng.permutation(names)[: len(names) // 2])
    found = []
    for own in (half, ~half):
        count = min(int(own.sum()), len(made))
        seen, real = _losses(known[~own], _some(known[own], count, rng), held)
        fitted, unseen = _losses(known[~own], _some(made, count, rng), held)
        found.append((unseen - real, fitted - unseen, seen - real))
    divergence, gap, reference_gap = 100 * np.mean(found, axis=0)
    return Likelihood(float(divergence), float(gap), float(reference_gap))


def _losses(points: Floats, centres: Floats, heldout: Floats) -> tuple[float, float]:
    """Negative log-likelihood per dimension of the points that variances were fitted to, and of others."""
    variances = fit_variances(points, centres)
    dimension = points.shape[1]
    fitted, other = (log_mixture(p, centres, variances).mean() / dimension for p in (points, heldout))
    return -float(fitted), -float(other)


def _some(points: Floats, count: int, rng: np.random.Generator) -> Floats:
    return points[np.sort(rng.choice(len(points), count, replace=False))]


def distance_ratios(first: Floats, second: Floats) -> Floats:
    """Nearest neighbour distance ratio (Q,): distance to the nearest item over that to the next.

    Near 0: one item stands out, as that of a copy does. 1 where both distances are 0.

    Args:
        first: (Q,), to the nearest training item.
        second: (Q,), to the nearest one of another subject; NaN where there is none, as is the ratio then.
    """
    return np.divide(first, second, out=np.where(np.isnan(second), np.nan, 1.0), where=second > 0)


@dataclass(frozen=True)
class Nearer:
    """How many synthetic items lie nearer to training than to held-out items.

    Attributes:
        hits: as many do.
        total: of so many; items equally near to both sets are not counted.
        error: standard error of the share when training and held-out items are exchanged at random: all
            synthetic items are compared with the same few real ones.
    """

    hits: int
    total: int
    error: float


def nearer_to_training(to_training: Array, to_heldout: Array) -> Nearer:
    """DCR share: 0.5 for a set that knows nothing of its training items.

    It can fail a release but never pass one (Yao 2025).

    Args:
        to_training: (M, K), distances of synthetic items to training items.
        to_heldout: (M, K), to as many real items that no generator has seen.
    """
    count = to_training.shape[1]
    gap = to_training.min(axis=1) - to_heldout.min(axis=1)
    decided = gap != 0
    total = int(decided.sum())
    # How often each real item is the nearest: what exchanging training and held-out items leaves as it is.
    nearest = np.concatenate([to_training, to_heldout], axis=1)[decided].argmin(axis=1)
    times = np.bincount(nearest, minlength=2 * count)
    variance = times.var() * 2 * count / (2 * count - 1) * count / 2
    return Nearer(int(np.count_nonzero(gap < 0)), total, float(np.sqrt(variance)) / max(total, 1))
