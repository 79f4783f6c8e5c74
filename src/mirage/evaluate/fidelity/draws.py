"""Which items are compared with which, so that real and synthetic images are judged at equal numbers.

Every comparison has a *base* of real items and two sets of equally many items beside it: *judged*, synthetic
ones, and *reference*, other real ones. The distance of the judged from the base means something beside that
of the reference from the same base.

=========== ================================== ========================= ==================================
protocol    base                               reference                 judged
=========== ================================== ========================= ==================================
``heldout`` training items                     held-out items            synthetic items
``halves``  a random half of the real patients the other half            synthetic items
=========== ================================== ========================= ==================================

The larger of reference and judged is cut down by patients, in several random ways of which the median is
reported. Intervals come from smaller draws, half of the patients of every set without replacement, whose
spread is that of whole sets (:mod:`mirage.evaluate.statistics.resampling`). So there is a spread also when
all synthetic items are needed to match the held-out ones; where a set is larger than it need be, the interval
is somewhat too long. Between sets of one kind a distance is a sum of squares, of which half samples see too
little of the spread: logarithms are widened by a quarter, with which 92 to 97 % of the intervals of ratios
hold 1 where both sets are of one normal distribution; where sets differ clearly they are too long by as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from mirage import seeds
from mirage.evaluate.statistics.resampling import rescaled

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
WIDENING = 1.25
"""Of the spread of logarithms, see the module."""
FEWEST_DRAWS = 10
REPEATS = 9
"""Random ways to match numbers whose median is the value."""


@dataclass(frozen=True)
class Draw:
    """Items of one comparison, as numbers into the sides of a :class:`Patients`, ascending."""

    base: Ints
    reference: Ints
    judged: Ints


@dataclass(frozen=True)
class Patients:
    """Patients of the items of the three sides, which are numbered through: training, held-out, synthetic.

    Attributes:
        training, heldout, synthetic: int64 (N,), subject number of every item; ``heldout`` may be empty.
    """

    training: Ints
    heldout: Ints
    synthetic: Ints

    @classmethod
    def of(cls, training: np.ndarray, heldout: np.ndarray, synthetic: np.ndarray) -> Patients:
        """From the subject of every item, of any type."""
        return cls(*(pd.factorize(side)[0].astype(np.int64) for side in (training, heldout, synthetic)))

    @property
    def starts(self) -> tuple[int, int, int]:
        """Number of the first item of each side."""
        return 0, len(self.training), len(self.training) + len(self.heldout)

    @property
    def numbers(self) -> Ints:
        """Patient (N,) of every item, no number on two sides."""
        found, shift = [], 0
        for side in (self.training, self.heldout, self.synthetic):
            found.append(side + shift)
            shift += int(side.max(initial=-1)) + 1
        return np.concatenate(found)

    def capped(self, most: int, seed: int) -> tuple[Patients, tuple[Ints, Ints, Ints]]:
        """At most so many items of each side, whole patients as far as they go, and which of each side."""
        rng = seeds.rng(seed, "fidelity/sample")
        sides = (self.training, self.heldout, self.synthetic)
        training, heldout, synthetic = (pick(rng, side, min(most, len(side))) for side in sides)
        kept = Patients.of(self.training[training], self.heldout[heldout], self.synthetic[synthetic])
        return kept, (training, heldout, synthetic)

    def joined(self, picked: Sequence[Ints]) -> Ints:
        """Items of each side as numbers through all sides."""
        return np.concatenate([start + own for start, own in zip(self.starts, picked, strict=True)])


@dataclass(frozen=True)
class Plan:
    """All draws of one evaluation.

    Attributes:
        protocol: heldout or halves.
        equal: draws whose median is the value, all with ``count`` reference and ``count`` judged items.
        halves: half as large draws, whose spread gives the interval; empty where a set has one patient only.
        count: items a side.
        subjects: patients (or synthetic items) of the judged and of the reference set.
        base_subjects: patients of the base, of whom few make an interval wide, or none, as well.
    """

    protocol: str
    equal: tuple[Draw, ...]
    halves: tuple[Draw, ...]
    count: int
    subjects: tuple[int, int]
    base_subjects: int

    @property
    def fewest(self) -> int:
        """Patients of the smallest of the three sets."""
        return min(*self.subjects, self.base_subjects)

    def fewer(self, draws: int) -> Plan:
        """The same with at most so many half draws."""
        return replace(self, halves=self.halves[:draws])


def plan(patients: Patients, draws: int, seed: int) -> Plan | None:
    """Draw the sets; None where one real patient, or no synthetic item, leaves nothing to compare.

    Args:
        patients: of the items.
        draws: half samples for the interval.
        seed: of the draws.
    """
    if not len(patients.synthetic) or not len(patients.training):
        return None
    if len(patients.heldout):
        return _against_heldout(patients, draws, seed)
    return _in_halves(patients, draws, seed)


def _against_heldout(patients: Patients, draws: int, seed: int) -> Plan:
    start, begin = len(patients.training), patients.starts
    subjects = (patients.training, patients.heldout, patients.synthetic)
    count = min(len(patients.heldout), len(patients.synthetic))

    def draw(rng: np.random.Generator, base: int, others: int) -> Draw:
        sizes = (base, others, others)
        picked = [first + pick(rng, own, n) for first, own, n in zip(begin, subjects, sizes, strict=True)]
        return Draw(*picked)

    repeats = 1 if len(patients.heldout) == len(patients.synthetic) else REPEATS
    rng = seeds.rng(seed, "fidelity/equal")
    equal = tuple(draw(rng, start, count) for _ in range(repeats))
    spread: tuple[Draw, ...] = ()
    if count > 1 and all(len(np.unique(own)) > 1 for own in subjects):
        rng = seeds.rng(seed, "fidelity/spread")
        spread = tuple(draw(rng, start // 2, count // 2) for _ in range(draws))
    people, judged, reference = (len(np.unique(own)) for own in (subjects[0], subjects[2], subjects[1]))
    return Plan("heldout", equal, spread, count, (judged, reference), people)


def _in_halves(patients: Patients, draws: int, seed: int) -> Plan | None:
    real, synthetic = patients.training, patients.synthetic
    people = int(real.max()) + 1
    if people < 2:
        return None

    def split(rng: np.random.Generator) -> tuple[Ints, Ints]:
        second = np.isin(real, rng.permutation(people)[: people // 2])
        return np.flatnonzero(~second), np.flatnonzero(second)

    def draw(rng: np.random.Generator, base: Ints, other: Ints, count: int) -> Draw:
        judged = len(real) + pick(rng, synthetic, count)
        return Draw(base, other[pick(rng, real[other], count)], judged)

    rng = seeds.rng(seed, "fidelity/equal")
    splits = [split(rng) for _ in range(REPEATS)]
    count = min(len(synthetic), *(len(other) for _, other in splits))
    equal = tuple(draw(rng, *parts, count) for parts in splits)
    spread: tuple[Draw, ...] = ()
    if len(np.unique(synthetic)) > 1:
        rng = seeds.rng(seed, "fidelity/spread")
        splits = [split(rng) for _ in range(draws)]
        spread = tuple(draw(rng, *own, min(len(own[1]), len(synthetic) // 2)) for own in splits)
    return Plan("halves", equal, spread, count, (len(np.unique(synthetic)), people), people)


def pick(rng: np.random.Generator, subjects: Ints, count: int) -> Ints:
    """``count`` items of patients in random order, all of a patient before the next one's, ascending."""
    if count == len(subjects):
        return np.arange(count)
    names, place = np.unique(subjects, return_inverse=True)
    order = np.lexsort((rng.random(len(subjects)), rng.permutation(len(names))[place]))
    return np.sort(order[:count])


def spread(rng: np.random.Generator, subjects: Ints, count: int) -> Ints:
    """At most ``count`` items of as many patients as there are, ascending.

    One item of every patient in random order, then a second one of each that has two, and so on.
    """
    if count >= len(subjects):
        return np.arange(len(subjects))
    shuffled = rng.permutation(len(subjects))
    turn = pd.Series(subjects[shuffled]).groupby(subjects[shuffled]).cumcount().to_numpy()
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:count]])


def around(
    value: float, draws: Floats, subjects: int, *, log: bool, bounds: tuple[float, float] | None = None
) -> tuple[float, float]:
    """95 % interval about a value from half samples, see :func:`mirage.evaluate.statistics.m_out_of_n`.

    Args:
        value: what was found on the whole.
        draws: the same of half samples; what is not finite is left out.
        subjects: patients of the smallest set.
        log: of a positive quantity, whose logarithm is taken as what varies.
        bounds: lowest and highest possible value.

    Returns:
        low, high; NaN with fewer than four patients or ten usable draws.
    """
    known = draws[np.isfinite(draws) & ((draws > 0) | (not log))]
    if len(known) < FEWEST_DRAWS or not np.isfinite(value) or (log and value <= 0):
        return float("nan"), float("nan")
    if log:
        middle = float(np.log(value))
        found = rescaled(middle, np.log(known), (subjects,))
        low, high = (float(np.exp(middle + WIDENING * (end - middle))) for end in (found.low, found.high))
    else:
        found = rescaled(value, known, (subjects,))
        low, high = found.low, found.high
    return (low, high) if bounds is None else (max(low, bounds[0]), min(high, bounds[1]))
