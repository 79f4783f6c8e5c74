"""One-run audit by canaries (Steinke 2023): marked records, each planted in the training data by a coin.

Planted canaries are drawn like those left out, so all that tells them apart has come through the training.
The score of a canary is minus the distance to its nearest synthetic item, among patterns of images less what
synthetic items share: neither an encoder nor a mean has seen the training data, for that would tell planted
ones too. Metrics of protocol ``canary``, arm ``canaries``, label ``image``:

- ``auc``, ``tpr_at_fpr_1``: as of the attacks, planted canaries against those left out.
- ``exposure`` (Carlini 2019): median rank of planted canaries among those left out, bits; 1 by chance.
- ``guessed``: share of right guesses among the quarter of highest scores, called planted, and the quarter of
  lowest, called left out, with the exact binomial interval; 0.5 by chance.
- ``epsilon_lower``: least epsilon of a pure differential privacy of the training that the lower end of that
  interval allows: a training that claims less does not keep its word. It bounds nothing from above.

They have no say in the gate: a set that was made to be audited is not the one that is released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mirage.data import Dataset, Items
from mirage.evaluate.privacy.attacks import Scores, curve, success, to_nearest
from mirage.evaluate.privacy.rows import UNKNOWN, exact_interval, row
from mirage.evaluate.privacy.spaces import Patterns
from mirage.metrics.membership import epsilon_of_guessing, exposure, guesses, nearness_score
from mirage.recipes.plant_canaries import COLUMN, PLANTED

SHARE = 0.25
"""Of canaries called planted, and of those called left out."""
LEAST = 2
"""Canaries on each side, below which nothing is measured."""


def canaries_of(real: Dataset) -> Items | None:
    """Canaries among the items of a dataset, in the order of their names; None where it has none."""
    if COLUMN not in real.items:
        return None
    marked = real.items[real.items[COLUMN].notna()]
    return real.of_items(marked["item_id"])


def without_canaries(data: Dataset) -> Dataset:
    """The items that are no canaries: those are nobody's, and only the audit looks for them."""
    if COLUMN not in data.items:
        return data
    return data.of_items(data.items["item_id"][data.items[COLUMN].isna()])


@dataclass(frozen=True)
class Audit:
    """What canaries told.

    Attributes:
        canaries: how many were looked at.
        rows: of the metrics.
        curve: ROC (space, attack, fpr, tpr).
    """

    canaries: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    curve: pd.DataFrame = field(default_factory=pd.DataFrame)


def audit(canaries: Items, synthetic: Items, searched: Sequence[int]) -> Audit:
    """Tell planted canaries from those left out; nothing is tried with next to none on a side.

    Args:
        canaries: all, in an order that tells nothing of which were planted.
        synthetic: images like them.
        searched: those of the synthetic items that are looked at.
    """
    planted = canaries.items[COLUMN].eq(PLANTED).to_numpy()
    if min(planted.sum(), (~planted).sum()) < LEAST:
        return Audit()
    space = Patterns({"synthetic": synthetic, "canaries": canaries})
    made = space.table("synthetic", searched)
    scores = nearness_score(to_nearest(space.table("canaries", range(len(canaries))), made, space))
    sides, count, name = (scores[planted], scores[~planted]), len(scores), space.name
    told = Scores.alone(*sides, count)
    right, tried = guesses(scores, planted, SHARE)
    low, high = exact_interval(right, tried)
    shown = float(np.median(exposure(*sides)))
    rows = [
        *success("canaries", name, "canary", told),
        row("canaries", "exposure", name, "canary", shown, UNKNOWN, count, count),
        row("canaries", "guessed", name, "canary", right / tried, (low, high), tried, tried),
        row("canaries", "epsilon_lower", name, "canary", epsilon_of_guessing(low), UNKNOWN, tried, tried),
    ]
    return Audit(count, rows, curve(name, "canary", told))
