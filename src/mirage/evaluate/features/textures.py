"""Radiomic features of a region of a grey image or volume, as the Image Biomarker Standardisation Initiative
defines them (Zwanenburg et al. 2020), with the aggregation of pyradiomics: one matrix a direction, features
averaged over directions, distance 1, all neighbours (8 in the plane, 26 in space).

Pure functions of arrays. Grey levels are integers 1 ... ``bins`` inside the region and 0 outside it.
Logarithms are to base 2. Where a definition divides by zero, as in a flat region, its limit or the value of
pyradiomics is returned, so that every feature is a finite number.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import label

Floats = npt.NDArray[np.float64]
Levels = npt.NDArray[np.int64]
EPSILON = float(np.spacing(1.0))
FLAT_COARSENESS = 1e6
"""Coarseness of a region without any difference between neighbours."""


def discretise(values: np.ndarray, region: npt.NDArray[np.bool_], edges: Floats) -> Levels:
    """Grey levels of an image: bin 1 below ``edges[1]`` ... bin ``len(edges) - 1`` from ``edges[-2]`` on; 0
    outside the region."""
    return np.where(region, 1 + np.searchsorted(edges[1:-1], values, side="right"), 0)


def texture(levels: Levels, bins: int) -> dict[str, float]:
    """All texture features of a region: co-occurrence, run length, size zone, and neighbouring differences.

    Args:
        levels: (H, W) or (D, H, W), see :func:`discretise`; at least one place is inside.
        bins: the highest possible level.
    """
    families = {
        "glcm": cooccurrence(levels, bins),
        "glrlm": run_length(levels, bins),
        "glszm": size_zone(levels, bins),
        "ngtdm": neighbour_differences(levels, bins),
    }
    return {f"{family}_{name}": value for family, found in families.items() for name, value in found.items()}


def first_order(values: npt.NDArray[np.floating], levels: Levels) -> dict[str, float]:
    """Features of the distribution of values.

    Args:
        values: (N,) of the places inside the region, N >= 1.
        levels: (N,) their grey levels.
    """
    values = values.astype(np.float64)
    tenth, quarter, median, three_quarters, ninetieth = np.percentile(values, [10, 25, 50, 75, 90])
    mean, spread = values.mean(), values - values.mean()
    variance = float(np.square(spread).mean())
    robust = values[(values >= tenth) & (values <= ninetieth)]
    shares = np.bincount(levels) / len(levels)
    flat = variance <= 1e-12 * max(1.0, mean**2)
    return {
        "energy": float(np.square(values).sum()),
        "entropy": float(-(shares * np.log2(shares + EPSILON)).sum()),
        "minimum": float(values.min()),
        "10_percentile": tenth,
        "90_percentile": ninetieth,
        "maximum": float(values.max()),
        "mean": mean,
        "median": median,
        "interquartile_range": three_quarters - quarter,
        "range": float(np.ptp(values)),
        "mean_absolute_deviation": float(np.abs(spread).mean()),
        "robust_mean_absolute_deviation": float(np.abs(robust - robust.mean()).mean()),
        "root_mean_squared": float(np.sqrt(np.square(values).mean())),
        "skewness": 0.0 if flat else float((spread**3).mean() / variance**1.5),
        "kurtosis": 0.0 if flat else float((spread**4).mean() / variance**2),
        "variance": variance,
        "uniformity": float(np.square(shares).sum()),
    }


@lru_cache(maxsize=4)
def directions(ndim: int) -> tuple[tuple[int, ...], ...]:
    """One of each pair of opposite steps to a neighbour: 4 in the plane, 13 in space."""
    steps = [step for step in product((-1, 0, 1), repeat=ndim) if any(step)]
    return tuple(step for step in steps if step > tuple(-part for part in step))


def _shifted(array: np.ndarray, step: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two views of equal shape: places, and those one step further."""
    here = tuple(slice(max(0, -part), min(n, n - part)) for part, n in zip(step, array.shape, strict=True))
    there = tuple(slice(max(0, part), min(n, n + part)) for part, n in zip(step, array.shape, strict=True))
    return array[here], array[there]


def cooccurrence(levels: Levels, bins: int) -> dict[str, float]:
    """Features of the symmetrical grey level co-occurrence matrices, mean over directions."""
    matrices = []
    for step in directions(levels.ndim):
        first, second = _shifted(levels, step)
        both = (first > 0) & (second > 0)
        pairs = (first[both] - 1) * bins + second[both] - 1
        counts = np.bincount(pairs, minlength=bins * bins).reshape(bins, bins).astype(np.float64)
        if len(pairs):
            matrices.append((counts + counts.T) / (2 * len(pairs)))
    # One place alone has no neighbours: it is its own pair, as if it were a flat region.
    single = np.zeros((bins, bins))
    single[levels.max() - 1, levels.max() - 1] = 1.0
    found = _cooccurrence_features(np.stack(matrices or [single]))
    return {name: float(values.mean()) for name, values in found.items()}


def _cooccurrence_features(p: Floats) -> dict[str, Floats]:
    """Features (A,) of normalised symmetrical matrices (A, bins, bins)."""
    count, bins = p.shape[:2]
    level = np.arange(1, bins + 1, dtype=np.float64)
    i, j = level[:, None], level[None]
    margin = p.sum(axis=2)
    mean = margin @ level
    centred = i + j - 2 * mean[:, None, None]
    variance = (margin * np.square(level - mean[:, None])).sum(axis=1)
    flat = p.reshape(count, -1)
    sums: Floats = np.stack([np.bincount((i + j - 2).astype(int).ravel(), row, 2 * bins - 1) for row in flat])
    gaps: Floats = np.stack([np.bincount(np.abs(i - j).astype(int).ravel(), row, bins) for row in flat])
    total, gap = np.arange(2.0, 2 * bins + 1), np.arange(float(bins))
    gap_mean = gaps @ gap
    products = margin[:, :, None] * margin[:, None]
    entropy, margin_entropy = _entropy(flat), _entropy(margin)
    crossed = -(flat * np.log2(products.reshape(count, -1) + EPSILON)).sum(axis=1)
    independent = _entropy(products.reshape(count, -1))
    autocorrelation = (p * i * j).sum(axis=(1, 2))
    uniform = variance <= 1e-12
    correlation = (autocorrelation - mean**2) / np.where(uniform, 1, variance)
    information = np.maximum(1 - np.exp(-2 * (independent - entropy)), 0)
    return {
        "autocorrelation": autocorrelation,
        "cluster_prominence": (p * centred**4).sum(axis=(1, 2)),
        "cluster_shade": (p * centred**3).sum(axis=(1, 2)),
        "cluster_tendency": (p * centred**2).sum(axis=(1, 2)),
        "contrast": gaps @ gap**2,
        "correlation": np.where(uniform, 1.0, correlation),
        "difference_average": gap_mean,
        "difference_entropy": _entropy(gaps),
        "difference_variance": (gaps * np.square(gap - gap_mean[:, None])).sum(axis=1),
        "joint_energy": np.square(flat).sum(axis=1),
        "joint_entropy": entropy,
        "information_correlation_1": np.where(
            uniform, 0.0, (entropy - crossed) / np.where(uniform, 1, margin_entropy)
        ),
        "information_correlation_2": np.sqrt(information),
        "inverse_difference_moment": gaps @ (1 / (1 + gap**2)),
        "normalised_inverse_difference_moment": gaps @ (1 / (1 + gap**2 / bins**2)),
        "inverse_difference": gaps @ (1 / (1 + gap)),
        "normalised_inverse_difference": gaps @ (1 / (1 + gap / bins)),
        "inverse_variance": gaps[:, 1:] @ (1 / gap[1:] ** 2),
        "joint_average": mean,
        "maximum_probability": flat.max(axis=1),
        "maximal_correlation": np.where(uniform, 1.0, _maximal_correlation(p, margin)),
        "sum_average": sums @ total,
        "sum_entropy": _entropy(sums),
        "sum_squares": variance,
    }


def _entropy(shares: Floats) -> Floats:
    return -(shares * np.log2(shares + EPSILON)).sum(axis=1)


def _maximal_correlation(p: Floats, margin: Floats) -> Floats:
    """Second largest singular value of the matrices divided by the roots of their margins."""
    root = 1 / np.sqrt(np.where(margin > 0, margin, 1))
    values = np.abs(np.linalg.eigvalsh(p * root[:, :, None] * root[:, None]))
    return np.sort(values, axis=1)[:, -2] if p.shape[1] > 1 else np.ones(len(p))


@lru_cache(maxsize=64)
def _lines(shape: tuple[int, ...], step: tuple[int, ...]) -> tuple[npt.NDArray[np.int32], np.ndarray]:
    """All places, flat, line by line in a direction, and which of them begin a line."""
    grid = np.indices(shape, dtype=np.int32)
    behind = [
        place if part > 0 else extent - 1 - place
        for place, part, extent in zip(grid, step, shape, strict=True)
        if part
    ]
    position = np.minimum.reduce(behind)
    start = np.ravel_multi_index([g - position * part for g, part in zip(grid, step, strict=True)], shape)
    order = np.lexsort((position.ravel(), start.ravel()))
    return order.astype(np.int32), position.ravel()[order] == 0


def run_length(levels: Levels, bins: int) -> dict[str, float]:
    """Features of the grey level run length matrices, mean over directions."""
    inside, found = int(np.count_nonzero(levels)), []
    for step in directions(levels.ndim):
        order, first = _lines(levels.shape, step)
        line = levels.ravel()[order]
        first = first.copy()
        first[1:] |= line[1:] != line[:-1]
        starts = np.flatnonzero(first)
        lengths = np.diff(starts, append=len(line))
        kept = line[starts] > 0
        found.append(_size_features(line[starts][kept], lengths[kept], inside, "run"))
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def size_zone(levels: Levels, bins: int) -> dict[str, float]:
    """Features of the grey level size zone matrix: connected places of one level."""
    zones = label(levels, background=0, connectivity=levels.ndim).ravel()
    sizes = np.bincount(zones)[1:]
    zone_levels = np.zeros(len(sizes) + 1, np.int64)
    zone_levels[zones] = levels.ravel()
    return _size_features(zone_levels[1:], sizes, int(sizes.sum()), "zone")


def _size_features(levels: Levels, sizes: Levels, places: int, what: str) -> dict[str, float]:
    """Features of a matrix that counts pieces by level and size, from the level and size of every piece."""
    count = len(levels)
    i, j = levels.astype(np.float64), sizes.astype(np.float64)
    by_level, by_size = np.bincount(levels).astype(np.float64), np.bincount(sizes).astype(np.float64)
    cells = np.unique(levels * (int(sizes.max()) + 1) + sizes, return_counts=True)[1] / count
    level_sum, size_sum = np.square(by_level).sum(), np.square(by_size).sum()
    return {
        f"short_{what}_emphasis": float((1 / j**2).mean()),
        f"long_{what}_emphasis": float((j**2).mean()),
        "grey_level_non_uniformity": float(level_sum / count),
        "normalised_grey_level_non_uniformity": float(level_sum / count**2),
        f"{what}_size_non_uniformity": float(size_sum / count),
        f"normalised_{what}_size_non_uniformity": float(size_sum / count**2),
        f"{what}_percentage": count / places,
        "grey_level_variance": float(i.var()),
        f"{what}_variance": float(j.var()),
        f"{what}_entropy": float(-(cells * np.log2(cells + EPSILON)).sum()),
        f"low_grey_level_{what}_emphasis": float((1 / i**2).mean()),
        f"high_grey_level_{what}_emphasis": float((i**2).mean()),
        f"short_{what}_low_grey_level_emphasis": float((1 / (i * j) ** 2).mean()),
        f"short_{what}_high_grey_level_emphasis": float((i**2 / j**2).mean()),
        f"long_{what}_low_grey_level_emphasis": float((j**2 / i**2).mean()),
        f"long_{what}_high_grey_level_emphasis": float(((i * j) ** 2).mean()),
    }


def neighbour_differences(levels: Levels, bins: int) -> dict[str, float]:
    """Features of the neighbouring grey tone difference matrix."""
    inside = levels > 0
    around, number = (_neighbour_sum(array) for array in (levels.astype(np.float64), inside.astype(float)))
    known = inside & (number > 0)
    gaps = np.abs(levels[known] - around[known] / number[known])
    places = int(known.sum())
    if not places:
        return dict.fromkeys(("busyness", "complexity", "contrast", "strength"), 0.0) | {
            "coarseness": FLAT_COARSENESS
        }
    share = np.bincount(levels[known], minlength=bins + 1) / places
    difference = np.bincount(levels[known], gaps, bins + 1)
    i = np.flatnonzero(share).astype(np.float64)
    p, s = share[share > 0], difference[share > 0]
    step = i[:, None] - i[None]
    pairs = len(i) * (len(i) - 1)
    coarseness, total = float(p @ s), float(s.sum())
    weighted = np.abs((i * p)[:, None] - (i * p)[None]).sum()
    joint = p[:, None] + p[None]
    scaled = ((p * s)[:, None] + (p * s)[None]) / joint
    return {
        "coarseness": min(FLAT_COARSENESS, 1 / coarseness) if coarseness > 0 else FLAT_COARSENESS,
        "contrast": float(p @ step**2 @ p) / pairs * total / places if pairs else 0.0,
        "busyness": coarseness / float(weighted) if weighted > 0 else 0.0,
        "complexity": float((np.abs(step) * scaled).sum()) / places,
        "strength": float((joint * step**2).sum()) / total if total > 0 else 0.0,
    }


def _neighbour_sum(array: Floats) -> Floats:
    """Sum over the neighbours of every place, itself left out; nothing lies outside."""
    total = array
    for axis in range(array.ndim):
        total = ndimage.correlate1d(total, np.ones(3), axis=axis, mode="constant")
    return total - array
