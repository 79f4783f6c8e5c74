"""Grey-value distributions of synthetic against real images, each distance beside real against real.

The profiles ``kl_published`` and ``kl_robust`` are those of :mod:`mirage.metrics.histograms`. Metrics:

- ``kl_published_synthetic_real``, ``kl_published_real_synthetic``: KL(synthetic || real) and back, nats;
- ``js_robust``: Jensen-Shannon divergence, nats, at most ln 2 = 0.693;
- ``kl_robust_synthetic_real``, ``kl_robust_real_synthetic``: nats;
- ``wasserstein1_robust``: Wasserstein-1 distance of the unbinned values in the field of view, grey values.

Real stands for the training split unless a protocol says otherwise:

=========== ================================================= =============================================
protocol    arm ``synthetic``                                 arm ``reference``
=========== ================================================= =============================================
``all``     all synthetic against all real training images;   none: there is no other set of that size
            interval: bootstrap by subject on both sides
``halves``  as many synthetic images as the second half       the second against the first of two random
            holds, against the first half                     halves of all real images: by image in
                                                              ``kl_published``, by subject in ``kl_robust``
``heldout`` as many synthetic images as held-out ones,       held-out against training images
            against training images
``pixels``  none                                              two random halves of the training pixels,
                                                              whatever image they are from
=========== ================================================= =============================================

``heldout`` and its intervals are explained in :mod:`mirage.evaluate.fidelity.draws`. Elsewhere the value of a
protocol with random draws is their median, and its low and high are their 2.5 and 97.5 percentiles: a
spread, not a confidence interval. Kind ``ratio`` divides synthetic by reference at
equal numbers of images: 1 means no farther from real images than other real images are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from mirage import seeds
from mirage.data import Items
from mirage.errors import DataError
from mirage.evaluate.fidelity.draws import Ints, Plan
from mirage.evaluate.fidelity.measures import Found
from mirage.evaluate.fidelity.rows import Rows, measured, row
from mirage.evaluate.statistics import bootstrap_weights, centred, halves, limits, pick_weights
from mirage.metrics import histograms
from mirage.preprocess.fov import derive_fov

Floats = npt.NDArray[np.float64]
Profile = Literal["published", "robust"]


@dataclass(frozen=True)
class ItemCounts:
    """Counts of grey levels of every item of a set.

    Attributes:
        whole, inside: uint32 (N, channels, L), over the whole image and in the field of view.
        subjects: int64 (N,), subject number of every item.
    """

    whole: npt.NDArray[np.uint32]
    inside: npt.NDArray[np.uint32]
    subjects: npt.NDArray[np.int64]

    def of(self, profile: Profile, channel: int) -> Floats:
        """Counts (N, L) that a profile looks at."""
        return (self.whole if profile == "published" else self.inside)[:, channel].astype(np.float64)

    def __len__(self) -> int:
        return len(self.subjects)

    def __add__(self, other: ItemCounts) -> ItemCounts:
        """Both sets; their subjects are different ones."""
        shift = int(self.subjects.max()) + 1 if len(self) else 0
        return ItemCounts(
            np.concatenate([self.whole, other.whole]),
            np.concatenate([self.inside, other.inside]),
            np.concatenate([self.subjects, other.subjects + shift]),
        )


def is_rgb(channel_names: Sequence[str]) -> bool:
    """Whether the channels are red, green and blue, in this order."""
    return [name[:1].lower() for name in channel_names] == ["r", "g", "b"]


def channels(channel_names: Sequence[str], profile: Profile) -> list[str]:
    """Channels that a profile compares: luma first where images are RGB."""
    if not is_rgb(channel_names):
        return list(channel_names)
    return ["luma"] if profile == "published" else ["luma", *channel_names]


FIELDS = ("fov", "brain")
"""Mask channels that say where in the frame there is anything to see."""


def stored_field(mask_channels: Sequence[str]) -> str | None:
    """The mask channel that is the field of view, where there is one."""
    return next((name for name in FIELDS if name in mask_channels), None)


def field_of_view(data: Items, index: int) -> npt.NDArray[np.bool_] | None:
    """Stored field of view (H, W) or brain (D, H, W) of an item, or None."""
    name = stored_field(data.info.mask_channels)
    return None if name is None else data.mask(index, name).astype(bool)


def derived_field(image: np.ndarray, lowest: float) -> npt.NDArray[np.bool_]:
    """Field of view of an image (C, H, W) by threshold; of a volume (C, D, H, W) what is not background.

    Args:
        image: stored values.
        lowest: of the range, which prepared volumes have around the brain.
    """
    if image.ndim == 3:
        return derive_fov(image).astype(bool)
    inside = np.zeros(image.shape[1:], bool)
    for channel in image:
        inside |= channel > lowest
    return inside


def count_items(data: Items, indices: Sequence[int], levels: histograms.Levels, with_fov: bool) -> ItemCounts:
    """Count grey levels item by item, of volumes plane by plane.

    Args:
        data: images or volumes.
        indices: items to count.
        levels: the grid.
        with_fov: count inside the field of view: the stored one, or one derived from the image where the
            dataset stores none. Otherwise the whole image is the field of view.

    Raises:
        DataError: a value that is NaN or outside the range; names the item.
    """
    rgb = is_rgb(data.info.channel_names)
    count = len(data.info.channel_names) + rgb
    whole = np.zeros((len(indices), count, len(levels)), np.uint32)
    inside = np.zeros_like(whole)
    for place, index in enumerate(indices):
        image, fov = data.image(index), None
        if with_fov:
            fov = field_of_view(data, index)
            fov = derived_field(image, data.info.value_range[0]) if fov is None else fov
        try:
            for number, slab in enumerate(_slabs(image)):
                planes = [histograms.luma(slab), *slab] if rgb else list(slab)
                for channel, plane in enumerate(planes):
                    counted = levels.count(plane)
                    whole[place, channel] += counted.astype(np.uint32)
                    if fov is not None:
                        counted = levels.count(plane[fov if image.ndim == 3 else fov[number]])
                    inside[place, channel] += counted.astype(np.uint32)
        except DataError as error:
            raise DataError(
                f"{data.info.name}, item {data.items['item_id'].iat[index]}: {error}; mend or leave out this "
                "image"
            ) from error
    subjects = pd.factorize(data.items["subject_id"].iloc[list(indices)])[0].astype(np.int64)
    return ItemCounts(whole, inside, subjects)


def _slabs(image: np.ndarray) -> Iterator[np.ndarray]:
    """An image (C, H, W) as it is, a volume (C, D, H, W) plane by plane."""
    if image.ndim == 3:
        yield image
    else:
        yield from np.moveaxis(image, 1, 0)


class Distances:
    """The distances of one profile and channel between pooled counts.

    Args:
        profile: which.
        levels: grid of the counts.
        training: counts (L,) of the real training pixels, which fix the bins of ``kl_robust``.
    """

    def __init__(self, profile: Profile, levels: histograms.Levels, training: Floats) -> None:
        self.profile, self.levels = profile, levels
        self.edges = (
            histograms.published_edges(levels)
            if profile == "published"
            else histograms.robust_edges(training, levels)
        )

    def bins(self, counts: Floats) -> Floats:
        """Counts (..., L) in the bins of the profile."""
        return histograms.rebin(counts, self.levels.values, self.edges)

    def __call__(self, real: Floats, synthetic: Floats) -> dict[str, Floats]:
        """Metric -> distances, of counts (..., L) that broadcast against each other."""
        p, q = self.bins(synthetic), self.bins(real)
        kl = histograms.kl_published if self.profile == "published" else histograms.kl_robust
        found = {
            f"kl_{self.profile}_synthetic_real": kl(p, q),
            f"kl_{self.profile}_real_synthetic": kl(q, p),
        }
        if self.profile == "robust":
            found = {"js_robust": histograms.js_robust(p, q), **found}
            found["wasserstein1_robust"] = histograms.wasserstein1(
                histograms.normalise(synthetic), histograms.normalise(real), self.levels.values
            )
        return {name: np.atleast_1d(value) for name, value in found.items()}


class Pooled:
    """The distances of one profile and channel as a measure (:mod:`mirage.evaluate.fidelity.measures`).

    Args:
        distances: of the profile and channel.
        counts: (N, L) of all items of all sides.
    """

    def __init__(self, distances: Distances, counts: Floats) -> None:
        self.distances, self.counts = distances, counts

    def __call__(self, base: Ints, others: Sequence[Ints]) -> list[Found]:
        real = self.counts[base].sum(axis=0)
        judged = np.stack([self.counts[other].sum(axis=0) for other in others])
        values = self.distances(real, judged)
        return [{name: float(found[at]) for name, found in values.items()} for at in range(len(others))]


def compare(
    training: ItemCounts,
    heldout: ItemCounts | None,
    synthetic: ItemCounts,
    levels: histograms.Levels,
    channel_names: Sequence[str],
    plan: Plan | None,
    absent: dict[str, str],
    *,
    draws: int,
    seed: int,
) -> tuple[Rows, list[dict[str, Any]]]:
    """All distances of both profiles and all their channels.

    Args:
        training, heldout, synthetic: counts on the same levels; heldout None where nothing is held out.
        channel_names: of the images.
        plan: draws against held-out images, of the items in this order; another one is not looked at.
        absent: gets why there is no ratio against them.
        draws: random draws behind every other interval and reference.
        seed: of the draws.

    Returns:
        rows of metrics (arm, metric, label, kind, protocol, value, low, high, n_items, n_subjects) and
        rows of histograms (side, profile, channel, bin_lo, bin_hi, count, density).
    """
    rows: Rows = []
    bars: list[dict[str, Any]] = []
    profiles: tuple[Profile, ...] = ("robust", "published")
    for profile in profiles:
        for channel, name in enumerate(channels(channel_names, profile)):
            t, s = training.of(profile, channel), synthetic.of(profile, channel)
            distances = Distances(profile, levels, t.sum(axis=0))
            found = _all(distances, training, t, synthetic, s, draws, seed)
            everything = training if heldout is None else training + heldout
            found += _halves(
                distances, everything, everything.of(profile, channel), synthetic, s, draws, seed
            )
            if profile == "published":
                found += _pixels(distances, t, training, draws, seed)
            rows += [{**row, "label": name} for row in found]
            if heldout is not None and plan is not None:
                pooled = Pooled(distances, np.concatenate([t, heldout.of(profile, channel), s]))
                rows += measured(pooled, plan, name, absent)
            for side, counts in (("real", t), ("synthetic", s)):
                bars += _bars(side, profile, name, distances, counts.sum(axis=0))
    return rows, bars


def _all(
    distances: Distances,
    training: ItemCounts,
    t: Floats,
    synthetic: ItemCounts,
    s: Floats,
    draws: int,
    seed: int,
) -> list[dict[str, Any]]:
    values = distances(t.sum(axis=0), s.sum(axis=0))
    rng = seeds.rng(seed, "fidelity/all")
    resampled = distances(
        bootstrap_weights(rng, training.subjects, draws) @ t,
        bootstrap_weights(rng, synthetic.subjects, draws) @ s,
    )
    enough = _subjects(training) > 1 and _subjects(synthetic) > 1
    rows = []
    for metric, (value,) in values.items():
        spread = centred(float(value), resampled[metric]) if enough else None
        rows.append(
            _row("synthetic", metric, "all", float(value), spread, len(synthetic), _subjects(synthetic))
        )
    return rows


def _halves(
    distances: Distances, real: ItemCounts, r: Floats, synthetic: ItemCounts, s: Floats, draws: int, seed: int
) -> list[dict[str, Any]]:
    groups = np.arange(len(real)) if distances.profile == "published" else real.subjects
    if len(np.unique(groups)) < 2:
        return []
    rng = seeds.rng(seed, "fidelity/halves")
    first, second = halves(rng, groups, draws)
    # Half of the synthetic images at most: picking all of them every time would show no spread.
    count = int(min(second.sum(axis=1).min(), max(1, len(synthetic) // 2)))
    base = first.astype(np.float64) @ r
    reference = distances(base, pick_weights(rng, second, count) @ r)
    judged = distances(base, pick_weights(rng, np.ones((draws, len(synthetic)), bool), count) @ s)
    return _beside(judged, reference, "halves", count, (_subjects(synthetic), _subjects(real)))


def _pixels(
    distances: Distances, t: Floats, training: ItemCounts, draws: int, seed: int
) -> list[dict[str, Any]]:
    pooled = t.sum(axis=0).astype(np.int64)
    first = seeds.rng(seed, "fidelity/pixels").binomial(pooled, 0.5, size=(draws, len(pooled)))
    found = distances(first.astype(np.float64), (pooled - first).astype(np.float64))
    return [
        _row(
            "reference",
            metric,
            "pixels",
            float(np.median(values)),
            values,
            len(training),
            _subjects(training),
        )
        for metric, values in found.items()
    ]


def _beside(
    judged: dict[str, Floats],
    reference: dict[str, Floats],
    protocol: str,
    count: int,
    subjects: tuple[int, int],
) -> list[dict[str, Any]]:
    """Rows of both arms and of their ratio, from draws at equal numbers of items."""
    rows = []
    for metric, values in judged.items():
        against = reference[metric]
        rows.append(_row("synthetic", metric, protocol, float(np.median(values)), values, count, subjects[0]))
        rows.append(
            _row("reference", metric, protocol, float(np.median(against)), against, count, subjects[1])
        )
        length = min(len(values), len(against)) if len(against) > 1 else len(values)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = values[:length] / against[:length] if len(against) > 1 else values / against
            ratio = float(np.float64(np.median(values)) / np.median(against))
        rows.append(_row("synthetic", metric, protocol, ratio, ratios, count, subjects[0], kind="ratio"))
    return rows


def _row(
    arm: str,
    metric: str,
    protocol: str,
    value: float,
    draws: Floats | None,
    items: int,
    subjects: int,
    kind: str = "absolute",
) -> dict[str, Any]:
    ends = (np.nan, np.nan) if draws is None else limits(draws)
    return row(arm, metric, value, ends, protocol=protocol, items=items, subjects=subjects, kind=kind)


def _subjects(counts: ItemCounts) -> int:
    return len(np.unique(counts.subjects))


def _bars(
    side: str, profile: Profile, channel: str, distances: Distances, counts: Floats
) -> list[dict[str, Any]]:
    binned, edges = distances.bins(counts), distances.edges
    density = binned / binned.sum() / np.diff(edges)
    return [
        {
            "side": side,
            "profile": profile,
            "channel": channel,
            "bin_lo": lo,
            "bin_hi": hi,
            "count": int(n),
            "density": d,
        }
        for lo, hi, n, d in zip(edges[:-1], edges[1:], binned, density, strict=True)
    ]
