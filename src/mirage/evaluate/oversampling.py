"""Positives made of training positives without a generator: what synthetic images have to beat."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE
from sklearn.decomposition import PCA

from mirage import seeds
from mirage.config.classifiers import Balance, OversamplingOptions
from mirage.data import Items
from mirage.errors import DataError
from mirage.training.augment import augment

Flags = npt.NDArray[np.bool_]
Images = npt.NDArray[np.generic]
CHUNK = 256


def oversample(
    kind: Balance, data: Items, positive: Flags, count: int, options: OversamplingOptions, seed: int
) -> Images:
    """Further positives (count, C, H, W), in the stored type, of some training items.

    Args:
        kind: SMOTE (Chawla 2002) and its kin, which interpolate between neighbouring positives, or jitter.
        data: training items.
        positive: (N,) their class.
        count: images to make; of ADASYN, which draws more where positives are surrounded by negatives,
            roughly so many are made and cut to it.
        options: space of the interpolation, neighbours, strength of the jitter.
        seed: of all that is random.

    Raises:
        DataError: too few positives, or none that the method would interpolate from.
    """
    if kind == "jitter":
        return _jittered(data, positive, count, options, seed)
    return _interpolated(kind, data, positive, count, options, seed)


def _jittered(data: Items, positive: Flags, count: int, options: OversamplingOptions, seed: int) -> Images:
    """Changed copies; every positive is copied once before one is copied again."""
    chosen = seeds.rng(seed, "jitter").permutation(np.flatnonzero(positive))
    low, high = data.info.value_range
    made = []
    for number in range(count):
        image = data.image(int(chosen[number % len(chosen)])).astype(np.float32)
        unit = torch.from_numpy((image - low) / (high - low))
        changed, _ = augment(unit, None, options.jitter, seeds.rng(seed, "jitter", number), "reflection")
        made.append(_stored(changed.numpy() * (high - low) + low, data))
    return np.stack(made)


def _interpolated(
    kind: Balance, data: Items, positive: Flags, count: int, options: OversamplingOptions, seed: int
) -> Images:
    total = int(positive.sum())
    neighbours = min(options.neighbours, total - 1)
    if neighbours < 1:
        raise DataError(f"{data.info.name}: {total} positives; {kind} interpolates between at least two")
    pca = PCA(min(options.components, total - 1), random_state=0) if options.space == "pca" else None
    if pca is not None:
        pca.fit(_flat(data, np.flatnonzero(positive)))
    codes = np.concatenate(
        [
            _flat(data, rows) if pca is None else pca.transform(_flat(data, rows))
            for rows in np.array_split(np.arange(len(data)), max(1, len(data) // CHUNK))
        ]
    )
    # Asked for a little more, since ADASYN rounds for every positive on its own.
    asked = total + (count + total if kind == "adasyn" else count)
    sampler = _sampler(kind, neighbours, {1: asked}, seeds.integer(seed, "smote") % 2**32)
    try:
        drawn, _ = sampler.fit_resample(codes, positive.astype(np.int64))
    except (ValueError, RuntimeError) as error:
        raise DataError(f"{data.info.name}: {kind} makes nothing of {total} positives: {error}") from error
    fresh = drawn[len(codes) :]
    if len(fresh) < count:
        raise DataError(
            f"{data.info.name}: {kind} made {len(fresh)} of {count} positives, since too few of {total} lie "
            "at the border of the negatives; use `balance: smote`"
        )
    chosen = np.sort(seeds.rng(seed, "chosen").permutation(len(fresh))[:count])
    pixels = fresh[chosen] if pca is None else pca.inverse_transform(fresh[chosen])
    return _stored(pixels.reshape(count, *data.info.image_shape), data)


def _sampler(kind: Balance, neighbours: int, wanted: dict[int, int], seed: int) -> Any:
    given = {"sampling_strategy": wanted, "random_state": seed}
    if kind == "adasyn":
        return ADASYN(n_neighbors=neighbours, **given)
    kinds = {"smote": SMOTE, "borderline_smote": BorderlineSMOTE}
    return kinds[kind](k_neighbors=neighbours, **given)


def _flat(data: Items, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Images as rows (n, pixels) of float32."""
    return np.stack([data.image(int(row)).reshape(-1) for row in rows]).astype(np.float32)


def _stored(values: npt.NDArray[Any], data: Items) -> Images:
    """Values in the stored type, rounded and kept in the stored range."""
    dtype = np.dtype(data.info.image_dtype)
    clipped = np.clip(values, *data.info.value_range)
    return (np.rint(clipped) if dtype.kind in "iu" else clipped).astype(dtype)
