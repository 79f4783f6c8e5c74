"""Signal detection theory: how far apart two kinds of cases lie for a reader, and where the reader cuts."""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy import stats

from mirage.evaluate.statistics.hypotheses import LEVEL
from mirage.evaluate.statistics.rates import Interval


class Detectability(NamedTuple):
    """What a reader's yes and no tell.

    Attributes:
        d_prime: distance of the two kinds in standard deviations, with its 95 % interval.
        criterion: c; 0 without bias, below 0 where a reader says yes readily.
    """

    d_prime: Interval
    criterion: float


def detectability(hits: int, signals: int, alarms: int, noises: int) -> Detectability:
    """d' and c of a yes-no task, with the log-linear correction (Hautus 1995), which is always applied.

    Half a case is added to either answer of both kinds, so that a reader without a miss has a finite d'. The
    interval is Gourevitch and Galanter's (1967), a normal approximation.

    Args:
        hits: of ``signals`` cases of the kind sought, those called so.
        alarms: of ``noises`` others, those called so too.

    Raises:
        ValueError: a kind without cases, or more answers than cases.
    """
    for said, cases in ((hits, signals), (alarms, noises)):
        if not 0 <= said <= cases or not cases:
            raise ValueError(f"{said} of {cases} cases: expected at least one case and no more answers")
    shares = [(said + 0.5) / (cases + 1) for said, cases in ((hits, signals), (alarms, noises))]
    places = [float(stats.norm.ppf(share)) for share in shares]
    variance = sum(
        share * (1 - share) / (cases * float(stats.norm.pdf(place)) ** 2)
        for share, place, cases in zip(shares, places, (signals, noises), strict=True)
    )
    distance = places[0] - places[1]
    reach = float(stats.norm.ppf((1 + LEVEL) / 2)) * math.sqrt(variance)
    return Detectability(Interval(distance, distance - reach, distance + reach), -sum(places) / 2 + 0.0)


def forced_choice(hits: int, trials: int) -> float:
    """d' of a two-alternative forced choice, sqrt(2) z(share right), with the log-linear correction.

    Raises:
        ValueError: no trial, or more hits than trials.
    """
    if not 0 <= hits <= trials or not trials:
        raise ValueError(f"{hits} of {trials} trials: expected at least one trial and no more hits")
    return math.sqrt(2) * float(stats.norm.ppf((hits + 0.5) / (trials + 1)))
