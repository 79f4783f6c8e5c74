"""The copy detector: its threshold, what it flags, and whether it finds copies put in on purpose.

An item is flagged when one training subject stands out as near to it: when the ratio of its distances to the
nearest training item and to the nearest one of another subject is as low as it is for at most 5 % of held-out
items (``false_positives``). Noise on a copy lengthens both distances, so the ratio outlasts it where a bound
on the distance itself does not. Training items that two subjects share are not told apart by it: such items
are found by the bound of near copies (:mod:`mirage.evaluate.privacy.search`).

Metrics, protocol ``detector``:

- ``flagged``: share of items, of arm ``synthetic``, and of arm ``reference`` (held-out items, each half
  judged by the threshold of the other: the negative control). The synthetic interval counts in that the
  threshold is estimated.
- ``excess``, arm ``synthetic``: by how much that share exceeds what the threshold takes of new items on
  average, which the rank of the threshold among the held-out ones fixes. Its exact interval holds the errors
  of threshold and share (:func:`mirage.evaluate.statistics.exceedance`); subjects of several items make the
  threshold's error that of as many subjects. None without held-out items.
- ``rate_bound``: what share of new items the threshold surely (97.5 %) does not exceed, given how few set it.
- ``memorised``: share of training subjects that some flagged synthetic item is nearest to.
- ``threshold``: ratio at or below which an item is flagged.
- ``recall``, arm ``control``, ``protocol`` ``injected_<share>``: share of the injected copies, all of which
  are searched, that are flagged, with the exact binomial interval; ``named``: that have their original as
  nearest training item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mirage import seeds
from mirage.evaluate.privacy.control import InjectedCopies
from mirage.evaluate.privacy.rows import UNKNOWN, exact_interval, row
from mirage.evaluate.privacy.search import Found
from mirage.evaluate.statistics import bootstrap_weights, exceedance, halves, limits


@dataclass(frozen=True)
class Detection:
    """What the detector says in one space.

    Attributes:
        threshold: ratio of distances at or below which an item is flagged.
        flagged: bool, a value an item of the side ``synthetic``.
        rows: of the metrics.
    """

    threshold: float
    flagged: np.ndarray
    rows: list[dict[str, Any]]


def detect(
    found: Found, injected: Sequence[int], shares: Sequence[float], rate: float, draws: int, seed: int
) -> Detection | None:
    """Flag copies; None with one training subject, where nothing can stand out.

    Args:
        found: with the sides ``synthetic`` and, where copies can be placed in the space, ``copies``.
        injected: numbers of copies, one a share.
        shares: what they are called by.
        rate: of false positives, 0 ... 1.
        draws: bootstrap resamples.
        seed: of the resampling.
    """
    table, name = found.tables["synthetic"], found.space.name
    ratios, reference = table["nndr"].to_numpy(np.float64), found.reference["nndr"].to_numpy(np.float64)
    if not len(reference) or not np.isfinite(ratios).all():
        return None
    subjects = pd.factorize(found.reference["subject_id"])[0].astype(np.int64)
    people = int(subjects.max()) + 1
    threshold = float(thresholds(reference, np.ones((1, len(reference))), rate)[0])
    flagged = _flags(ratios, threshold)
    count = len(table)
    rows = [
        row(
            "synthetic",
            "threshold",
            name,
            "detector",
            threshold,
            UNKNOWN,
            len(reference),
            people,
        ),
        row(
            "synthetic",
            "flagged",
            name,
            "detector",
            float(flagged.mean()),
            _flagged_interval(ratios, reference, subjects, rate, draws, seed),
            count,
            count,
        ),
        row(
            "reference",
            "rate_bound",
            name,
            "detector",
            rate_bound(people, rate),
            UNKNOWN,
            len(reference),
            people,
        ),
        _memorised(found, flagged),
    ]
    if "heldout" in found.tables and subjects.max() > 0:
        rows.append(_negative_control(name, reference, subjects, rate, seed))
        rows.append(_excess(name, flagged, len(reference), people, rate))
    if "copies" in found.tables:
        rows += _positive_control(found, threshold, injected, shares)
    return Detection(threshold, flagged, rows)


def thresholds(reference: np.ndarray, weights: np.ndarray, rate: float) -> np.ndarray:
    """Ratio (draws,) that a new real item undercuts with a probability of at most ``rate``.

    The k-th smallest of n with k = rate (n + 1), which holds for any distribution. Fewer than 1 / rate - 1
    items cannot give such a bound: then it is the smallest, and the true rate may be 1 / (n + 1).

    Args:
        reference: (n,), ratios of items that are real and new.
        weights: (draws, n), how often each counts.
        rate: of false positives.
    """
    order = np.argsort(reference)
    cumulative = np.cumsum(weights[:, order], axis=1)
    wanted = np.maximum(np.floor(rate * (cumulative[:, -1:] + 1)), 1)
    return reference[order][np.argmax(cumulative >= wanted, axis=1)]


def rate_bound(count: int, rate: float) -> float:
    """Upper 97.5 % bound of the rate of false positives of a threshold that ``count`` subjects set.

    The share of a continuous distribution below its k-th smallest of n draws is Beta(k, n + 1 - k).
    """
    k = max(int(rate * (count + 1)), 1)
    return float(stats.beta.ppf(0.975, k, count + 1 - k))


def _flags(ratios: np.ndarray, threshold: float) -> np.ndarray:
    """At a ratio of 1 two subjects are alike, and neither stands out."""
    return (ratios <= threshold) & (ratios < 1)


def _flagged_interval(
    ratios: np.ndarray, reference: np.ndarray, subjects: np.ndarray, rate: float, draws: int, seed: int
) -> tuple[float, float]:
    """Of the share flagged: both sides resampled, or exact binomial where that is wider."""
    rng = seeds.rng(seed, "privacy/flagged")
    drawn = thresholds(reference, bootstrap_weights(rng, subjects, draws), rate)
    share = np.searchsorted(np.sort(ratios), np.minimum(drawn, np.nextafter(1, 0)), side="right") / len(
        ratios
    )
    low, high = limits(rng.binomial(len(ratios), share) / len(ratios))
    threshold = thresholds(reference, np.ones((1, len(reference))), rate)[0]
    least, most = exact_interval(int(_flags(ratios, threshold).sum()), len(ratios))
    return min(low, least), max(high, most)


def _excess(name: str, flagged: np.ndarray, reference: int, people: int, rate: float) -> dict[str, Any]:
    """Row of what is flagged beyond the share of new items that the threshold takes."""
    weight = people / reference  # of an item, where a subject has several
    rank, count = max(int(rate * (reference + 1)), 1) * weight, len(flagged)
    found = exceedance(int(flagged.sum()), count, rank, (reference + 1) * weight - 1)
    ends = found.low, found.high
    return row("synthetic", "excess", name, "detector", found.estimate, ends, count, count)


def _memorised(found: Found, flagged: np.ndarray) -> dict[str, Any]:
    everyone = found.space.sides["training"].items["subject_id"].nunique()
    named = found.tables["synthetic"]["neighbour_subject_id"][flagged].nunique()
    interval = exact_interval(named, everyone)
    return row(
        "synthetic", "memorised", found.space.name, "detector", named / everyone, interval, everyone, everyone
    )


def _negative_control(
    name: str, reference: np.ndarray, subjects: np.ndarray, rate: float, seed: int
) -> dict[str, Any]:
    """Held-out items, each half of the subjects judged by the threshold of the other."""
    flagged = np.zeros(len(reference), dtype=bool)
    for half in halves(seeds.rng(seed, "privacy/negative"), subjects, 1):
        judged = half[0]
        limit = thresholds(reference[~judged], np.ones((1, int((~judged).sum()))), rate)[0]
        flagged[judged] = _flags(reference[judged], limit)
    people = int(subjects.max()) + 1
    interval = exact_interval(round(float(flagged.mean()) * people), people)
    return row(
        "reference", "flagged", name, "detector", float(flagged.mean()), interval, len(reference), people
    )


def _positive_control(
    found: Found, threshold: float, injected: Sequence[int], shares: Sequence[float]
) -> list[dict[str, Any]]:
    table, copies = found.tables["copies"], found.space.sides["copies"]
    assert isinstance(copies, InjectedCopies)
    name, flagged = found.space.name, _flags(table["nndr"].to_numpy(np.float64), threshold)
    named = table["neighbour"].to_numpy() == copies.chosen
    rows = []
    for count, share in zip(injected, shares, strict=True):
        people = copies.items["subject_id"].iloc[:count].nunique()
        for metric, hits in (("recall", flagged), ("named", named)):
            found_of = int(hits[:count].sum())
            interval = exact_interval(found_of, count)
            rows.append(
                row(
                    "control",
                    metric,
                    name,
                    f"injected_{share:g}",
                    found_of / count,
                    interval,
                    count,
                    people,
                )
            )
    return rows
