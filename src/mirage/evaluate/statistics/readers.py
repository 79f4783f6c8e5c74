"""Several readers of the same cases: their mean, for other readers and other cases than these.

The analysis of variance of Obuchowski and Rockette (1995) for one modality, with Hillis' (2007) degrees of
freedom: readers are drawn from those there are, and so are cases. Readers of the same cases err on the same
ones, so the covariance of their estimates is taken into account; the intervals of single readers do not
have it, and their mean would have too short an interval.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from mirage.evaluate.statistics.hypotheses import LEVEL
from mirage.evaluate.statistics.rates import delong_covariance

Floats = npt.NDArray[np.float64]
FEWEST = 3
"""Readers, below which a variance among them says nothing."""


class ReaderMean(NamedTuple):
    """The mean over readers.

    Attributes:
        estimate: mean of the readers' own.
        low, high: 95 % interval for readers and cases like these.
        p: two-sided, of the mean being ``null``.
        freedom: degrees of freedom; infinite where all readers have the same estimate.
        error: standard error of the mean.
        spread: standard deviation of the readers' estimates.
    """

    estimate: float
    low: float
    high: float
    p: float
    freedom: float
    error: float
    spread: float

    def equivalence_p(self, margin: float, null: float = 0.5) -> float:
        """p of the mean lying outside ``null`` +- ``margin``, by two one-sided tests."""
        if self.error == 0:
            return float(abs(self.estimate - null) >= margin)
        return float(_law(self.freedom).sf((margin - abs(self.estimate - null)) / self.error))


def mean_area(scores: npt.ArrayLike, positive: npt.ArrayLike, null: float = 0.5) -> ReaderMean:
    """Mean area under the ROC of several readers of the same cases.

    Args:
        scores: (R, n) ratings, R >= 3, higher for positive cases.
        positive: bool (n,), the truth; at least two cases of either kind.
        null: area that is tested.

    Raises:
        ValueError: fewer readers or cases.
    """
    given, truth = _checked(scores, positive)
    return over_readers(*delong_covariance(given[:, truth], given[:, ~truth]), null)


def mean_share(
    correct: npt.ArrayLike, positive: npt.ArrayLike | None = None, null: float = 0.5
) -> ReaderMean:
    """Mean share of right answers of several readers of the same cases.

    Args:
        correct: bool (R, n), R >= 3.
        positive: bool (n,), the truth, whose kinds are strata; None: cases are of one kind, as pairs are.
        null: share that is tested.

    Raises:
        ValueError: fewer readers, or fewer than two cases of a kind.
    """
    strata = np.zeros(np.shape(correct)[-1], np.bool_) if positive is None else positive
    given, truth = _checked(correct, strata, kinds=1 if positive is None else 2)
    covariance = np.zeros((len(given), len(given)))
    for kind in (truth, ~truth):
        if kind.any():
            covariance += np.cov(given[:, kind]) * kind.sum() / len(truth) ** 2
    return over_readers(given.mean(axis=1), covariance, null)


def over_readers(estimates: npt.ArrayLike, covariance: npt.ArrayLike, null: float) -> ReaderMean:
    """The mean of the estimates (R,) of several readers, whose covariance (R, R) comes from the cases."""
    values, between = np.asarray(estimates, np.float64), np.asarray(covariance, np.float64)
    readers, mean = len(values), float(np.mean(values))
    square = float(values.var(ddof=1))
    shared = max(0.0, float((between.sum() - np.trace(between)) / (readers - 1)))
    total = square + shared
    spread = math.sqrt(square)
    if total <= 0:
        return ReaderMean(mean, mean, mean, 1.0 if mean == null else 0.0, math.inf, 0.0, spread)
    freedom = (readers - 1) * (total / square) ** 2 if square > 0 else math.inf
    law = _law(freedom)
    error = math.sqrt(total / readers)
    reach = float(law.ppf((1 + LEVEL) / 2)) * error
    p = float(2 * law.sf(abs(mean - null) / error))
    return ReaderMean(mean, max(0.0, mean - reach), min(1.0, mean + reach), p, freedom, error, spread)


def _law(freedom: float) -> Any:
    return stats.norm if math.isinf(freedom) else stats.t(freedom)


def _checked(
    values: npt.ArrayLike, positive: npt.ArrayLike, kinds: int = 2
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    given, truth = np.asarray(values, np.float64), np.asarray(positive, np.bool_)
    if given.ndim != 2 or len(given) < FEWEST or given.shape[1:] != truth.shape:
        raise ValueError(
            f"expected {FEWEST} or more readers of the same cases; found {given.shape} for {truth.shape}"
        )
    fewest = min(truth.sum(), (~truth).sum()) if kinds == 2 else len(truth)
    if fewest < 2:
        raise ValueError(f"expected two cases or more of each kind, found {fewest}")
    return given, truth
