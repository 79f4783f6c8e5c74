"""Answers against guessing: exact tests of a share against one half, of equivalence to it, and plans.

That a share does not differ significantly from one half says nothing of whether it is one half. Equivalence
has a test of its own, by two one-sided tests against a margin (TOST; Schuirmann 1987), and takes more cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

CHANCE = 0.5
ALPHA = 0.05
POWER = 0.8


class Plan(NamedTuple):
    """Cases for an aim.

    Attributes:
        normal: by the normal approximation, as most tables are.
        exact: least number from which on the exact test has the power.
    """

    normal: int
    exact: int


def chance_p(hits: int, trials: int) -> float:
    """Exact two-sided binomial p of ``hits`` of ``trials`` where every trial is a guess.

    Raises:
        ValueError: no trial, or more hits than trials.
    """
    return float(stats.binomtest(hits, trials, CHANCE).pvalue)


def equivalence_p(hits: int, trials: int, margin: float) -> float:
    """Exact p of the true share lying outside one half +- ``margin``: small values show equivalence.

    The larger of two one-sided exact binomial tests, at the two ends of the margin.

    Args:
        hits: right answers.
        trials: answers, 1 or more.
        margin: share, 0 to 0.5, fixed before the answers are seen.
    """
    above = stats.binom.sf(hits - 1, trials, CHANCE - margin)
    below = stats.binom.cdf(hits, trials, CHANCE + margin)
    return float(max(above, below))


def plan_detection(share: float) -> Plan:
    """Cases that a two-sided 5 % test against one half needs for 80 % power at a true share.

    Args:
        share: of right answers, not one half.
    """
    reach = stats.norm.ppf(1 - ALPHA / 2) * 0.5 + stats.norm.ppf(POWER) * math.sqrt(share * (1 - share))
    normal = math.ceil((reach / (share - CHANCE)) ** 2)
    return Plan(normal, _least(normal, lambda trials: detection_power(trials, share)))


def plan_equivalence(margin: float) -> Plan:
    """Cases that the test of equivalence at 5 % needs for 80 % power where the true share is one half.

    Args:
        margin: share above and below one half, above 0 and below 0.5.
    """
    reach = stats.norm.ppf(1 - ALPHA) + stats.norm.ppf((1 + POWER) / 2)
    normal = math.ceil((0.5 * reach / margin) ** 2)
    return Plan(normal, _least(normal, lambda trials: equivalence_power(trials, margin)))


def detection_power(trials: int, share: float) -> float:
    """Probability that the exact test (:func:`chance_p`) of so many cases has p below 5 % at a true share."""
    # The distribution at one half is symmetric, so the two tails are alike and the test is both of them.
    hits = np.arange(trials + 1)
    tail = stats.binom.cdf(np.minimum(hits, trials - hits), trials, CHANCE)
    return float(stats.binom.pmf(hits[2 * tail < ALPHA], trials, share).sum())


def equivalence_power(trials: int, margin: float) -> float:
    """Probability that the exact test of equivalence has p below 5 % where the true share is one half."""
    hits = np.arange(trials + 1)
    above = stats.binom.sf(hits - 1, trials, CHANCE - margin) < ALPHA
    below = stats.binom.cdf(hits, trials, CHANCE + margin) < ALPHA
    return float(stats.binom.pmf(hits[above & below], trials, CHANCE).sum())


def _least(normal: int, power: Callable[[int], float]) -> int:
    """Least number of cases from which on the power is there; that of exact tests goes up in saw teeth.

    It lies a little above the normal approximation, so the search comes down from a quarter above that.
    """
    trials = normal + normal // 4 + 30
    while trials > 1 and power(trials - 1) >= POWER:
        trials -= 1
    return trials
