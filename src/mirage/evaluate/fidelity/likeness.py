"""Diversity: how alike images of one set are, ``ms_ssim``, beside how alike real images are.

The mean multi-scale structural similarity of random pairs of images of different patients. A set whose
images resemble one another more than real ones do lacks variety; one whose images do so less may be noisy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mirage import seeds
from mirage.data import Items
from mirage.evaluate.features.pixels import fitting_size, resized, scaled
from mirage.evaluate.fidelity.draws import Floats, Ints
from mirage.evaluate.fidelity.rows import Rows, row, too_few
from mirage.evaluate.statistics import bootstrap_interval, bootstrap_weights
from mirage.evaluate.statistics.resampling import LEAST_SUBJECTS
from mirage.metrics.ssim import Pyramid, compare, pyramid, random_pairs, scales_of

SIDES = {2: 128, 3: 48}
"""Longest side, pixels, at which images and volumes are compared."""
IMAGES, PAIRS = 80, 300
"""Images of one set, and pairs of them, at most."""


def likeness(
    real: Items, synthetic: Items, draws: int, seed: int, absent: dict[str, str]
) -> tuple[Rows, dict[str, Any]]:
    """Rows of ``ms_ssim``, of both arms and their ratio, and what was compared.

    Args:
        real: held-out images, or training ones where nothing is held out.
        synthetic: the set that is judged.
        draws: bootstrap resamples of patients.
        seed: of the choice of images and pairs.
        absent: gets why there is no row.
    """
    size = fitting_size(real.info.image_shape[1:], SIDES[len(real.info.image_shape) - 1])
    scales = scales_of(size)
    if not scales:
        absent["ms_ssim"] = f"images of {size} pixels are smaller than the window of 11"
        return [], {}
    sides = (synthetic, real)
    count = min(IMAGES, *(data.items["subject_id"].nunique() for data in sides))
    if count < 2:
        absent["ms_ssim"] = "images of two patients a side are needed to make a pair"
        return [], {}
    found = [_of(data, count, size, draws, seed, place) for place, data in enumerate(sides)]
    (own, own_draws), (other, other_draws) = found
    facts: dict[str, Any] = {"protocol": "pairs", "items": count, "subjects": count}
    ends = [
        (max(low, 0.0), min(high, 1.0))
        for low, high in (bootstrap_interval(value, spread, count) for value, spread in found)
    ]
    rows = [
        row(arm, "ms_ssim", value, end, **facts)
        for arm, (value, _), end in zip(("synthetic", "reference"), found, ends, strict=True)
    ]
    if count < LEAST_SUBJECTS:
        absent["ratio of ms_ssim"] = too_few(count)
    elif other > 0:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = bootstrap_interval(own / other, own_draws / other_draws, count, log=True)
        rows.append(row("synthetic", "ms_ssim", own / other, ratios, kind="ratio", **facts))
    else:
        absent["ratio of ms_ssim"] = "real images have nothing in common"
    pairs = min(PAIRS, count * (count - 1) // 2)
    return rows, {"size": list(size), "scales": scales, "images": count, "pairs": pairs}


def _of(
    data: Items, count: int, size: tuple[int, ...], draws: int, seed: int, place: int
) -> tuple[float, Floats]:
    """Mean similarity of random pairs of images of a set, and the same of its resamples."""
    rng = seeds.rng(seed, "fidelity/likeness", place)
    shuffled = data.items.reset_index(drop=True).iloc[rng.permutation(len(data))]
    chosen = shuffled.drop_duplicates("subject_id").index[:count]
    images = [_pyramid(data, int(index), size) for index in chosen]
    first, second = random_pairs(np.arange(count), PAIRS, rng).T
    alike = np.array([compare(images[a], images[b]) for a, b in zip(first, second, strict=True)])
    weights = bootstrap_weights(rng, np.arange(count), draws)
    return float(alike.mean()), resampled(alike, weights, first, second)


def resampled(alike: Floats, weights: Floats, first: Ints, second: Ints) -> Floats:
    """Means of resamples of patients; a pair counts as often as both its images are drawn together."""
    both = weights[:, first] * weights[:, second]
    total = both.sum(axis=1)
    return np.divide(both @ alike, total, out=np.full(len(total), np.nan), where=total > 0)


def _pyramid(data: Items, index: int, size: tuple[int, ...]) -> Pyramid:
    """An image's mean channel at the size of comparison."""
    small = resized(scaled(data.image(index), data.info.value_range), size)
    return pyramid(small.mean(axis=0, keepdims=True), (0.0, 1.0))
