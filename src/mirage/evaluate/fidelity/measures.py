"""Distances and scores of features, made ready once so that hundreds of draws of items cost little.

A measure holds the features of all items of all sides. Called with the numbers of base items and of one or
more other sets, it gives for each of these metric -> value; NaN where the sets are too small for it. What
all draws share (projections, inner products, distances) is computed when it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mirage import seeds
from mirage.evaluate.fidelity.draws import Ints
from mirage.metrics.distances import (
    frechet_distance,
    frechet_infinity,
    quantiles,
    random_directions,
    sliced_wasserstein,
)
from mirage.metrics.kernels import HeldKernel
from mirage.metrics.manifold import HeldDistances
from mirage.metrics.points import Array, PrincipalAxes, regular_dimension
from mirage.metrics.vendi import vendi

Found = dict[str, float]
NAN = float("nan")
FEWEST_ON_A_LINE = 20
"""Items from which a distance is extrapolated."""


class Measure(Protocol):
    """See the module."""

    def __call__(self, base: Ints, others: Sequence[Ints]) -> list[Found]:
        """Metric -> value of every other set against the base."""


class Frechet:
    """Fréchet distance ``frechet``, or ``frechet_pca`` where a covariance of all features would be singular.

    Args:
        values: (N, D) features of all items.
        training: numbers of the real training items, on which principal components are fitted.
        count: items of the smallest set. With fewer than D, distances are taken in the space of the leading
            ``count // 5`` components.
    """

    def __init__(self, values: Array, training: Ints, count: int) -> None:
        self.dimensions, self.name = values.shape[1], "frechet"
        if count < self.dimensions:
            self.dimensions, self.name = regular_dimension(count, features=self.dimensions), "frechet_pca"
            if len(training) > self.dimensions:
                values = PrincipalAxes(values[training], self.dimensions)(values)
        self.values = values

    def __call__(self, base: Ints, others: Sequence[Ints]) -> list[Found]:
        found = []
        for other in others:
            enough = min(len(base), len(other)) >= 2
            distance = frechet_distance(self.values[other], self.values[base]) if enough else NAN
            found.append({self.name: distance})
        return found


class FrechetInfinity:
    """``frechet_infinity``: the Fréchet distance at infinitely many items, extrapolated over 1 / n.

    Refused (NaN) for sets of fewer items than features, where the distance is not linear in 1 / n.
    """

    def __init__(self, values: Array, seed: int) -> None:
        self.values, self.seed = values, seed

    def __call__(self, base: Ints, others: Sequence[Ints]) -> list[Found]:
        found = []
        for other in others:
            distance = NAN
            if min(len(base), len(other)) >= max(self.values.shape[1], FEWEST_ON_A_LINE):
                rng = seeds.rng(self.seed, "fidelity/infinity")
                distance = frechet_infinity(self.values[other], self.values[base], rng)
            found.append({"frechet_infinity": distance})
        return found


class Marginals:
    """Mean over features of the Wasserstein-1 distance of their distributions, under a given name."""

    def __init__(self, values: Array, name: str) -> None:
        self.values, self.name = values, name

    def __call__(self, base: Ints, others: Sequence[Ints]) -> list[Found]:
        reference = quantiles(self.values[base])
        return [
            {self.name: float(np.abs(quantiles(self.values[other]) - reference).mean())} for other in others
        ]


class SlicedWasserstein:
    """``sliced_wasserstein``: root mean square over random directions of the Wasserstein-2 distance."""

    def __init__(self, values: Array, seed: int) -> None:
        rng = seeds.rng(seed, "fidelity/directions")
        self.projected = values.astype(np.float64) @ random_directions(values.shape[1], rng)

    def __call__(self, base: Ints, others: Sequence[Ints]) -> list[Found]:
        reference = quantiles(self.projected[base])
        return [
            {"sliced_wasserstein": sliced_wasserstein(quantiles(self.projected[other]), reference)}
            for other in others
        ]


class Kernel:
    """``kid`` and ``kid_biased``: squared maximum mean discrepancy under the kernel (x.y / D + 1)^3.

    ``kid`` leaves items' products with themselves out and is 0 on average, and often below 0, between sets
    of one kind. ``kid_biased`` keeps them and is positive, so that a ratio of two makes sense.
    """

    def __init__(self, values: Array) -> None:
        self.kernel = HeldKernel(values)

    def __call__(self, base: Ints, others: Sequence[Ints]) -> list[Found]:
        own, found = self.kernel.within(base), []
        for other in others:
            unbiased, biased = self.kernel.distances(base, other, own, self.kernel.within(other))
            found.append({"kid": unbiased, "kid_biased": biased})
        return found


class Neighbourhoods:
    """``precision``, ``recall`` (Kynkäänniemi 2019), ``density`` and ``coverage`` (Naeem 2020).

    The base is the real set: its items' balls reach to their k-th nearest neighbour in it.
    """

    def __init__(self, values: Array, k: int) -> None:
        self.k, self.distances = k, HeldDistances(values)

    def __call__(self, base: Ints, others: Sequence[Ints]) -> list[Found]:
        names = ("precision", "recall", "density", "coverage")
        if len(base) <= self.k:
            return [dict.fromkeys(names, NAN) for _ in others]
        radii, found = self.distances.radii(base, self.k), []
        for other in others:
            if len(other) <= self.k:
                found.append(dict.fromkeys(names, NAN))
                continue
            both = radii, self.distances.radii(other, self.k)
            scores = self.distances.prdc(base, other, both, self.k)
            found.append({name: getattr(scores, name) for name in names})
        return found


class Vendi:
    """``vendi``: effective number of different items in a set (Friedman and Dieng 2023); no base needed.

    Similarity is the cosine of features less the training mean.
    """

    def __init__(self, values: Array, training: Ints) -> None:
        self.values = values - values[training].mean(axis=0)

    def __call__(self, base: Ints, others: Sequence[Ints]) -> list[Found]:
        return [{"vendi": float(vendi(self.values[other])) if len(other) > 1 else NAN} for other in others]
