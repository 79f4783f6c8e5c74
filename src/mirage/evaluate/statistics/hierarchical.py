"""Means of tidy metric rows over subjects and training seeds, their intervals, and paired comparisons.

**What is estimated.** The values of a subject's items (two eyes, several views) are averaged first, then
subjects, then training seeds, each with equal weight. Items are never counted as if they were patients.

**Interval.** A bootstrap that draws seeds and, once for all of them, subjects, both with replacement. The
draws are crossed because every seed is scored on the same test subjects: drawing other subjects for each
seed would average the largest source of error away. The percentiles are then widened about the estimate by

    t(1 - a/2, df) / z(1 - a/2)  x  sqrt(V / V*)

where V is the unbiased variance of the estimate from subjects (n) and seeds (S), V* what a bootstrap of
so few sees of it, (n-1)/n and (S-1)/S, and df the Satterthwaite degrees of freedom. With many subjects
the factor is 1 and this is the percentile interval; with three it is 2.7, as Student's t demands.

**Limits.** With few subjects no method can know the tails: at n = 3 the interval is about as honest as a
t interval, hence right for roughly normal subject means and too short for heavy tails; it may pass 0 or 1.
With one subject there is no interval (NaN), and with one seed it speaks of that trained model only: the
variation of training is not in it. A sign-flip test over n subjects cannot give p below 2 / 2**n, so with
3 subjects nothing can be significant, and the verdict never rests on p.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from mirage import seeds
from mirage.errors import DataError
from mirage.evaluate.statistics.hypotheses import LEVEL, holm, paired_permutation_p

Floats = npt.NDArray[np.float64]
Verdict = Literal["better", "worse", "inconclusive"]
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        estimate: the point estimate.
        low, high: ends of the interval; NaN where there is none (one subject).
        subjects, seeds: how many stand behind it.
    """

    estimate: float
    low: float
    high: float
    subjects: int
    seeds: int


def subject_matrix(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one metric of one arm as a table seeds x subjects, items averaged within a subject.

    Args:
        rows: columns ``seed`` (null: not trained, one row of the table), ``subject_id``, ``value``.
            NaN values (undefined scores) are left out.

    Returns:
        float64 table; NaN where a seed has no defined value for a subject. Subjects without any are dropped.

    Raises:
        DataError: no value at all.
    """
    kept = rows[rows["value"].notna()]
    if kept.empty:
        raise DataError("no defined value to average: the metric is NaN for every item")
    # Not groupby and unstack, which take ten times as long; a report asks for hundreds of tables.
    seed, seeds_there = pd.factorize(kept["seed"].astype("float64").fillna(-1), sort=True)
    subject, subjects = pd.factorize(kept["subject_id"], sort=True)
    shape = len(seeds_there), len(subjects)
    place = np.ravel_multi_index((seed, subject), shape)
    sums = np.bincount(place, kept["value"].to_numpy("float64"), minlength=shape[0] * shape[1])
    counts = np.bincount(place, minlength=shape[0] * shape[1])
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return pd.DataFrame(means.reshape(shape), pd.Index(seeds_there), pd.Index(subjects))


@lru_cache(maxsize=4)
def _weights(shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """How often each seed (B, S) and each subject (B, n) is drawn in each resample; always the same draws."""
    rng = seeds.rng(0, "bootstrap")
    draws = [rng.multinomial(k, np.full(k, 1 / k), size=RESAMPLES).astype(np.float64) for k in shape]
    return draws[0], draws[1]


def _resampled_means(values: Floats, by_seed: Floats, by_subject: Floats) -> Floats:
    """Mean (B,) of every resample: over the drawn subjects of a seed, then over the drawn seeds."""
    known = ~np.isnan(values)
    sums = by_subject @ np.where(known, values, 0.0).T
    counts = by_subject @ known.T.astype(np.float64)
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    weight = by_seed * ~np.isnan(means)
    total = weight.sum(axis=1)
    top = (weight * np.nan_to_num(means)).sum(axis=1)
    return np.divide(top, total, out=np.full_like(top, np.nan), where=total > 0)


def _mean(values: Floats) -> float:
    return float(np.nanmean(np.nanmean(values, axis=1)))


def _widening(values: Floats) -> float:
    """Factor by which bootstrap percentiles fall short with few subjects or seeds; see the module."""
    parts = []
    for means in (np.nanmean(values, axis=0), np.nanmean(values, axis=1)):
        n = len(means)
        parts.append((float(np.var(means, ddof=1)) / n if n > 1 else 0.0, n))
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return 1.0
    seen = sum(variance * (n - 1) / n for variance, n in parts)
    freedom = total**2 / sum(variance**2 / (n - 1) for variance, n in parts if variance)
    tail = (1 + LEVEL) / 2
    return float(stats.t.ppf(tail, freedom) / stats.norm.ppf(tail) * np.sqrt(total / seen))


def _interval(estimate: float, resampled: Floats, influence: Floats) -> tuple[float, float]:
    """Percentiles of the resamples, widened about the estimate; NaN with one subject."""
    if influence.shape[1] < 2:
        return float("nan"), float("nan")
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    factor = _widening(influence)
    return float(estimate + (low - estimate) * factor), float(estimate + (high - estimate) * factor)


def mean_interval(rows: pd.DataFrame) -> Estimate:
    """Mean of one metric of one arm, with its 95 % interval over seeds and subjects.

    Args:
        rows: tidy rows of one metric and one arm, see :func:`subject_matrix`. The same rows in any order
            always give the same interval.
    """
    return _mean_interval(subject_matrix(rows))


def _mean_interval(table: pd.DataFrame) -> Estimate:
    values = table.to_numpy()
    estimate = _mean(values)
    resampled = _resampled_means(values, *_weights(values.shape))
    low, high = _interval(estimate, resampled, values)
    return Estimate(estimate, low, high, values.shape[1], values.shape[0])


def paired_matrices(rows: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of two arms on the same subjects and seeds.

    An arm without seeds (a human observer) is repeated for every seed of the other.

    Raises:
        DataError: the arms were trained with different seeds, or share no subject.
    """
    return _paired(subject_matrix(rows), subject_matrix(other))


def _paired(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    if list(a.index) == [-1]:
        a = a.loc[np.repeat(-1, len(b))].set_index(b.index)
    elif list(b.index) == [-1]:
        b = b.loc[np.repeat(-1, len(a))].set_index(a.index)
    if list(a.index) != list(b.index):
        raise DataError(
            f"arms with seeds {list(a.index)} and {list(b.index)} cannot be paired; "
            "run both with the same `seeds`"
        )
    subjects = a.columns.intersection(b.columns)
    if subjects.empty:
        raise DataError("the two arms were scored on different subjects; they must share one test set")
    return a[subjects], b[subjects]


def paired_difference(rows: pd.DataFrame, baseline: pd.DataFrame) -> Estimate:
    """Mean of one metric of an arm minus that of the baseline, on the same subjects and seeds."""
    return _difference(*paired_matrices(rows, baseline))


def _difference(a: pd.DataFrame, b: pd.DataFrame) -> Estimate:
    values = (a - b).to_numpy()
    estimate = _mean(values)
    resampled = _resampled_means(values, *_weights(values.shape))
    low, high = _interval(estimate, resampled, values)
    return Estimate(estimate, low, high, values.shape[1], values.shape[0])


def paired_ratio(rows: pd.DataFrame, baseline: pd.DataFrame) -> Estimate:
    """Mean of an arm divided by the mean of the baseline ("synthetic reaches 97 % of real").

    The interval is that of the logarithm. NaN unless both means are positive.
    """
    return _ratio(*paired_matrices(rows, baseline))


def _ratio(arm: pd.DataFrame, baseline: pd.DataFrame) -> Estimate:
    a, b = arm.to_numpy(), baseline.to_numpy()
    top, bottom = _mean(a), _mean(b)
    nan = float("nan")
    if top <= 0 or bottom <= 0:
        return Estimate(nan, nan, nan, a.shape[1], a.shape[0])
    weights = _weights(a.shape)
    tops, bottoms = (_resampled_means(values, *weights) for values in (a, b))
    good = (tops > 0) & (bottoms > 0)
    resampled = np.log(tops[good] / bottoms[good])
    low, high = _interval(np.log(top / bottom), resampled, a / top - b / bottom)
    return Estimate(top / bottom, float(np.exp(low)), float(np.exp(high)), a.shape[1], a.shape[0])


def verdict(difference: Estimate, *, higher_is_better: bool = True) -> Verdict:
    """Whether an arm beats the baseline: inconclusive when the interval holds zero or does not exist."""
    if difference.low > 0:
        return "better" if higher_is_better else "worse"
    if difference.high < 0:
        return "worse" if higher_is_better else "better"
    return "inconclusive"


def sign_flip_p(rows: pd.DataFrame, baseline: pd.DataFrame) -> float:
    """Two-sided p of no difference, by flipping the signs of the subjects' differences.

    Differences are averaged over seeds first; see :func:`paired_permutation_p`.
    """
    return _sign_flip_p(*paired_matrices(rows, baseline))


def _sign_flip_p(a: pd.DataFrame, b: pd.DataFrame) -> float:
    return paired_permutation_p(np.nanmean((a - b).to_numpy(), axis=0))


def compare_arms(
    rows: pd.DataFrame,
    metric: str,
    baseline: str,
    *,
    higher_is_better: bool = True,
) -> pd.DataFrame:
    """Every arm of one evaluation on one metric, and its paired comparison with the baseline.

    Args:
        rows: tidy rows of the evaluation, all arms, seeds and metrics.
        metric: the metric compared.
        baseline: arm that the others are compared with.
        higher_is_better: whether a larger value of the metric is the better one.

    Returns:
        One row an arm, the baseline first: ``arm, subjects, seeds, estimate, low, high`` and, NaN or None
        for the baseline, ``difference, difference_low, difference_high, ratio, ratio_low, ratio_high,
        p, p_holm, verdict``. An arm whose scores are all undefined has NaN throughout and no verdict.

    Raises:
        DataError: the baseline has no row of the metric.
    """
    chosen = rows[rows["metric"] == metric]
    arms = dict(tuple(chosen.groupby("arm", sort=False)))
    if baseline not in arms or arms[baseline]["value"].isna().all():
        raise DataError(
            f"baseline arm {baseline!r} has no value of {metric!r}; arms with one: {sorted(arms)}"
        )
    names = [baseline, *(name for name in arms if name != baseline)]
    base = subject_matrix(arms[baseline])
    table = pd.DataFrame([_row(name, arms[name], base, compared=name != baseline) for name in names])
    table["p_holm"] = holm(table["p"].tolist())
    table["verdict"] = pd.Series(
        [_verdict(row, higher_is_better) for row in table.itertuples()], dtype=object
    )
    return table


def _row(name: str, rows: pd.DataFrame, base: pd.DataFrame, *, compared: bool) -> dict[str, Any]:
    """One arm's row; ``base`` is the baseline's table of seeds x subjects."""
    nothing = Estimate(float("nan"), float("nan"), float("nan"), 0, 0)
    table = subject_matrix(rows) if rows["value"].notna().any() else None
    own = nothing if table is None else _mean_interval(table)
    pair = None if table is None or not compared else _paired(table, base)
    row: dict[str, Any] = {
        "arm": name,
        "subjects": own.subjects,
        "seeds": own.seeds,
        "estimate": own.estimate,
        "low": own.low,
        "high": own.high,
    }
    for column, call in (("difference", _difference), ("ratio", _ratio)):
        found = nothing if pair is None else call(*pair)
        row |= {column: found.estimate, f"{column}_low": found.low, f"{column}_high": found.high}
    row["p"] = float("nan") if pair is None else _sign_flip_p(*pair)
    return row


def _verdict(row: Any, higher_is_better: bool) -> Verdict | None:
    if np.isnan(row.difference):
        return None
    found = Estimate(row.difference, row.difference_low, row.difference_high, row.subjects, row.seeds)
    return verdict(found, higher_is_better=higher_is_better)
