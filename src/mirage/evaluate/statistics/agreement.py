"""Agreement of readers with one another and with the truth, on two categories, beyond chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from statsmodels.stats import contingency_tables, inter_rater

from mirage import seeds
from mirage.evaluate.statistics.resampling import bootstrap_interval, bootstrap_weights

Answers = npt.NDArray[np.bool_]
DRAWS = 1000


class Kappa(NamedTuple):
    """Cohen's kappa of two readers.

    Attributes:
        estimate: NaN where both give one and the same answer throughout.
        low, high: 95 % interval from the asymptotic variance (Fleiss, Cohen, Everitt 1969).
        largest: kappa_max, what is possible at all with these shares of each answer.
        pabak: prevalence- and bias-adjusted kappa (Byrt 1993), 2 x agreement - 1.
        agreement: share of cases with the same answer.
    """

    estimate: float
    low: float
    high: float
    largest: float
    pabak: float
    agreement: float


class Discordance(NamedTuple):
    """McNemar's exact test of two readers.

    Attributes:
        first, second: cases that this reader alone has right.
        p: two-sided, of both being right equally often.
    """

    first: int
    second: int
    p: float


def cohen_kappa(first: npt.ArrayLike, second: npt.ArrayLike) -> Kappa:
    """Agreement of two readers, or of one with the truth.

    Args:
        first, second: bool (n,), of the same cases, n >= 1.

    Raises:
        ValueError: different numbers of cases, or none.
    """
    one, other = _pair(first, second)
    agreement = float(np.mean(one == other))
    if one.all() == one.any() and other.all() == other.any() and one[0] == other[0]:
        nan = float("nan")
        return Kappa(nan, nan, nan, nan, 2 * agreement - 1, agreement)
    with np.errstate(invalid="ignore", divide="ignore"):  # its z is not used, and has no variance at the ends
        found = inter_rater.cohens_kappa(_crossed(one, other))
    # The variance is that at kappa itself; the bounds of kappa are those of its interval.
    low, high = max(-1.0, float(found.kappa_low)), min(1.0, float(found.kappa_upp))
    return Kappa(float(found.kappa), low, high, float(found.kappa_max), 2 * agreement - 1, agreement)


def fleiss_kappa(answers: npt.ArrayLike) -> tuple[float, float, float]:
    """Fleiss' kappa (1971) of several readers, with a 95 % interval by a bootstrap over cases.

    Args:
        answers: bool (R, n), R >= 2 readers of the same n cases.

    Returns:
        estimate, low, high; NaN where all answers are the same; no interval with fewer than four cases.

    Raises:
        ValueError: fewer than two readers, or no case.
    """
    given = np.asarray(answers, np.bool_)
    if given.ndim != 2 or len(given) < 2 or not given.shape[1]:
        raise ValueError(f"Fleiss' kappa needs two readers of the same cases; found shape {given.shape}")
    readers, cases = given.shape
    nan = float("nan")
    if given.all() or not given.any():
        return nan, nan, nan
    said = given.sum(axis=0)
    table = np.stack([readers - said, said], axis=1)
    estimate = float(inter_rater.fleiss_kappa(table))
    weights = bootstrap_weights(seeds.rng(0, "fleiss"), np.arange(cases), DRAWS)
    same = weights @ ((table**2).sum(axis=1) - readers) / (cases * readers * (readers - 1))
    expected = ((weights @ table / (cases * readers)) ** 2).sum(axis=1)
    draws = np.divide(same - expected, 1 - expected, out=np.full(DRAWS, nan), where=expected < 1)
    low, high = bootstrap_interval(estimate, draws, cases)
    return estimate, low, min(high, 1.0)


def mcnemar(first: npt.ArrayLike, second: npt.ArrayLike) -> Discordance:
    """Whether one of two readers of the same cases is right more often; exact.

    Args:
        first, second: bool (n,), whether the answer was right.

    Raises:
        ValueError: different numbers of cases, or none.
    """
    table = _crossed(*_pair(first, second))
    alone, other = int(table[1, 0]), int(table[0, 1])
    p = float(contingency_tables.mcnemar(table, exact=True).pvalue) if alone + other else 1.0
    return Discordance(alone, other, min(p, 1.0))


def _pair(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Answers, Answers]:
    one, other = np.asarray(first, np.bool_), np.asarray(second, np.bool_)
    if one.shape != other.shape or one.ndim != 1 or not len(one):
        raise ValueError(
            f"two readers must have answered the same cases; found {one.shape} and {other.shape}"
        )
    return one, other


def _crossed(one: Answers, other: Answers) -> npt.NDArray[np.int64]:
    """(2, 2) counts, by the first's answer (no, yes) and the second's."""
    return np.bincount(2 * one + other, minlength=4).reshape(2, 2)
