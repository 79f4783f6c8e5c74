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
``heldout`` as many synthetic images as are held out, against held-out (val and test) against training images;
            training images                                   interval: bootstrap by subject on both sides
``pixels``  none                                              two random halves of the training pixels,
                                                              whatever image they are from
=========== ================================================= =============================================

The value of a protocol with random draws is the median of the draws, and its low and high are their 2.5
and 97.5 percentiles: a spread, not a confidence interval. Kind ``ratio`` divides synthetic by reference at
equal numbers of images: 1 means no farther from real images than other real images are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from mirage import seeds
from mirage.data import Items
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


def count_items(data: Items, indices: Sequence[int], levels: histograms.Levels, with_fov: bool) -> ItemCounts:
    """Count grey levels item by item.

    Args:
        data: 2D images.
        indices: items to count.
        levels: the grid.
        with_fov: count inside the field of view: the stored one, or one derived from the image where the
            dataset stores none. Otherwise the whole image is the field of view.
    """
    rgb = is_rgb(data.info.channel_names)
    stored = "fov" in data.info.mask_channels
    count = len(data.info.channel_names) + rgb
    whole = np.zeros((len(indices), count, len(levels)), np.uint32)
    inside = np.zeros_like(whole)
    for place, index in enumerate(indices):
        image = data.image(index)
        planes = [histograms.luma(image), *image] if rgb else list(image)
        if with_fov:
            fov = (data.mask(index, "fov") if stored else derive_fov(image)).astype(bool)
        for channel, plane in enumerate(planes):
            whole[place, channel] = levels.count(plane)
            inside[place, channel] = levels.count(plane[fov]) if with_fov else whole[place, channel]
    subjects = pd.factorize(data.items["subject_id"].iloc[list(indices)])[0].astype(np.int64)
    return ItemCounts(whole, inside, subjects)


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


def compare(
    training: ItemCounts,
    heldout: ItemCounts | None,
    synthetic: ItemCounts,
    levels: histograms.Levels,
    channel_names: Sequence[str],
    *,
    draws: int,
    seed: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All distances of both profiles and all their channels.

    Args:
        training, heldout, synthetic: counts on the same levels; heldout None where nothing is held out.
        channel_names: of the images.
        draws: random draws behind every interval and reference.
        seed: of the draws.

    Returns:
        rows of metrics (arm, metric, label, kind, protocol, value, low, high, n_items, n_subjects) and
        rows of histograms (side, profile, channel, bin_lo, bin_hi, count, density).
    """
    rows: list[dict[str, Any]] = []
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
            if heldout is not None:
                h = heldout.of(profile, channel)
                found += _heldout(distances, training, t, heldout, h, synthetic, s, draws, seed)
            if profile == "published":
                found += _pixels(distances, t, training, draws, seed)
            rows += [{"label": name, **row} for row in found]
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
    count = int(min(second.sum(axis=1).min(), len(synthetic)))
    base = first.astype(np.float64) @ r
    reference = distances(base, pick_weights(rng, second, count) @ r)
    judged = distances(base, pick_weights(rng, np.ones((draws, len(synthetic)), bool), count) @ s)
    return _beside(judged, reference, "halves", count, (_subjects(synthetic), _subjects(real)))


def _heldout(
    distances: Distances,
    training: ItemCounts,
    t: Floats,
    heldout: ItemCounts,
    h: Floats,
    synthetic: ItemCounts,
    s: Floats,
    draws: int,
    seed: int,
) -> list[dict[str, Any]]:
    rng = seeds.rng(seed, "fidelity/heldout")
    count = min(len(heldout), len(synthetic))
    base = t.sum(axis=0)
    judged = distances(base, pick_weights(rng, np.ones((draws, len(synthetic)), bool), count) @ s)
    values = distances(base, h.sum(axis=0))
    resampled = distances(
        bootstrap_weights(rng, training.subjects, draws) @ t,
        bootstrap_weights(rng, heldout.subjects, draws) @ h,
    )
    enough = _subjects(heldout) > 1 and _subjects(training) > 1
    reference = {
        metric: centred(float(value[0]), resampled[metric]) if enough else value
        for metric, value in values.items()
    }
    rows = _beside(judged, reference, "heldout", count, (_subjects(synthetic), _subjects(heldout)))
    for row in rows:
        if row["arm"] == "reference":
            row |= {"value": float(values[row["metric"]][0]), "n_items": len(heldout)}
            if not enough:
                row |= {"low": np.nan, "high": np.nan}
    return rows


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
    low, high = (np.nan, np.nan) if draws is None else limits(draws)
    return {
        "arm": arm,
        "metric": metric,
        "kind": kind,
        "protocol": protocol,
        "value": value,
        "low": low,
        "high": high,
        "n_items": items,
        "n_subjects": subjects,
    }


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
