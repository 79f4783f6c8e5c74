"""Tests of differences, and p values of many of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from mirage import seeds

Floats = npt.NDArray[np.float64]
LEVEL = 0.95
"""Of all intervals."""
SIGN_FLIPS = 10_000
EXACT_SUBJECTS = 14


def paired_permutation_p(differences: npt.ArrayLike) -> float:
    """Two-sided p of no difference between pairs, by flipping the signs of their differences.

    All 2**n sign patterns are tried up to 14 pairs, else 10,000 random ones with the observed one counted in
    (Phipson and Smyth 2010). The smallest possible p is 2 / 2**n: 0.25 with 3 subjects.

    Args:
        differences: (n,), one a subject.
    """
    values = np.asarray(differences, np.float64)
    n = len(values)
    if n <= EXACT_SUBJECTS:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        extra = 0
    else:
        signs = 1 - 2 * seeds.rng(0, "sign-flip").integers(0, 2, size=(SIGN_FLIPS, n))
        extra = 1
    observed = abs(values.sum())
    reached = np.count_nonzero(np.abs(signs @ values) >= observed * (1 - 1e-12) - 1e-300)
    return float((reached + extra) / (len(signs) + extra))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjustment of p values, in the order given.

    The smallest of n is multiplied by n, the next by n - 1 and so on; none falls below one before it, or
    rises above 1. A NaN stays NaN and is not counted.
    """
    p = np.array(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(p))
    ascending = known[np.argsort(p[known])]
    raised = p[ascending] * np.arange(len(ascending), 0, -1)
    p[ascending] = np.minimum(np.maximum.accumulate(raised), 1)
    return [float(value) for value in p]


class Difference(NamedTuple):
    """A difference with its 95 % interval and the two-sided p of none."""

    estimate: float
    low: float
    high: float
    p: float


def nadeau_bengio(differences: npt.ArrayLike, test_share: float) -> Difference:
    """Mean difference of two methods over the folds of (repeated) cross-validation, by a corrected t.

    Training sets of folds overlap, so their scores are not independent and a plain t interval is too short.
    Nadeau and Bengio (2003) put 1 / J + test / training in place of 1 / J. It speaks of training sets of
    this size from this population; where there are scores of single subjects, the bootstrap over subjects
    is the better one.

    Args:
        differences: (J,), one a fold and repetition, J >= 2.
        test_share: test items over training items of a fold, 1 / (k - 1) for k folds.

    Returns:
        NaN for the interval and p with one fold; without any spread, the difference itself and p of 0 or 1.
    """
    values = np.asarray(differences, np.float64)
    mean, folds, nan = float(values.mean()), len(values), float("nan")
    if folds < 2:
        return Difference(mean, nan, nan, nan)
    error = math.sqrt(float(values.var(ddof=1)) * (1 / folds + test_share))
    if error == 0:
        return Difference(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, folds - 1)) * error
    return Difference(mean, mean - reach, mean + reach, float(2 * stats.t.sf(abs(mean) / error, folds - 1)))
