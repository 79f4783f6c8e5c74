"""Label masks: how much of an image they cover, and whether they fit what the image shows.

- ``mask_foreground``: mean share of foreground pixels, of synthetic and of all real masks.
- ``mask_contrast``: how much brighter or darker a channel is inside the label than elsewhere in the field of
  view, in standard deviations of the image; between sets the Wasserstein-1 distance of its distributions
  over images, averaged over channels. Masks laid over other images than their own have little contrast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mirage import seeds
from mirage.data import Items
from mirage.evaluate.fidelity.draws import Floats, Ints
from mirage.evaluate.fidelity.intensity import field_of_view
from mirage.evaluate.fidelity.rows import Rows, row
from mirage.evaluate.statistics import bootstrap_weights, limits


def foreground_shares(data: Items, indices: Sequence[int]) -> Floats:
    """Share of foreground pixels of items."""
    return np.array([np.count_nonzero(mask) / mask.size for mask in map(data.mask, indices)])


def foreground(arms: Mapping[str, tuple[Floats, Ints]], draws: int, seed: int) -> Rows:
    """Rows of ``mask_foreground``: of both arms and their ratio.

    Args:
        arms: synthetic and reference -> share of foreground and patient of every item.
        draws: bootstrap resamples of patients.
        seed: of the resamples.
    """
    rows, kept = [], {}
    for arm, (shares, patients) in arms.items():
        subjects = np.unique(patients, return_inverse=True)[1].astype(np.int64)
        weights = bootstrap_weights(seeds.rng(seed, f"fidelity/foreground/{arm}"), subjects, draws)
        value, resampled = float(shares.mean()), (weights @ shares) / weights.sum(axis=1)
        count = int(subjects.max()) + 1
        facts: dict[str, Any] = {"protocol": "all", "items": len(shares), "subjects": count}
        kept[arm] = value, resampled, facts
        rows.append(row(arm, "mask_foreground", value, _ends(resampled, count), **facts))
    (own, own_draws, facts), (other, other_draws, real) = kept["synthetic"], kept["reference"]
    if other > 0:
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = _ends(own_draws / other_draws, min(facts["subjects"], real["subjects"]))
        rows.append(row("synthetic", "mask_foreground", own / other, ends, kind="ratio", **facts))
    return rows


def _ends(draws: Floats, subjects: int) -> tuple[float, float]:
    return limits(draws) if subjects > 1 else (float("nan"), float("nan"))


def contrasts(data: Items, indices: Sequence[int]) -> Floats:
    """Contrast (len(indices), C) of the labels of items; 0 where the label is empty."""
    found = np.zeros((len(indices), len(data.info.channel_names)))
    for place, index in enumerate(indices):
        field = field_of_view(data, index)
        within = slice(None) if field is None else field.ravel()
        label = (data.mask(index) > 0).ravel()[within]
        count, inside = len(label), np.count_nonzero(label)
        if not 0 < inside < count:
            continue
        for channel, plane in enumerate(data.image(index)):
            grey = plane.ravel()[within].astype(np.float64)
            spread = grey.std()
            if spread > 0:
                part = grey[label].sum()
                gap = part / inside - (grey.sum() - part) / (count - inside)
                found[place, channel] = gap / spread
    return found
