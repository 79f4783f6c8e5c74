"""Verdicts on fidelity and diversity: many measures vote, and none decides alone.

A measure votes by its ratio to the same measure of other real images: *worse* when the ratio is beyond what
is tolerated and its whole interval beyond 1; *good* when the whole interval is within what is tolerated;
else it abstains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from mirage.evaluate.statistics.resampling import LEAST_SUBJECTS
from mirage.report.chapters.base import count, words
from mirage.report.inputs import Finished
from mirage.report.numbers import estimate, number
from mirage.report.summary import pick, row_key
from mirage.report.verdicts import Verdict, Word, worst

ENOUGH = 50
"""Images a side from which an axis can pass."""
FEWEST = 20
"""Images a side below which nothing is decided."""
DISTANCES = ("frechet", "frechet_pca", "kid", "sliced_wasserstein")
SUSPICIOUS = 0.5
"""Ratio of distances below which a set lies closer to its training images than new images can."""
Vote = Literal["worse", "better", "inconclusive"]
ANSWERS: Mapping[Vote, Word] = {"worse": "fail", "better": "pass", "inconclusive": "inconclusive"}


@dataclass(frozen=True)
class Criterion:
    """What is tolerated of a measure.

    Attributes:
        name: in words.
        tolerated: ratio to other real images; above 1 where more is worse, below 1 where less is.
        kind: ``ratio``, or ``difference``: how far above other real images.
    """

    name: str
    tolerated: float
    kind: Literal["ratio", "difference"] = "ratio"


FIDELITY = {
    "frechet": Criterion("Fréchet distance", 1.5),
    "frechet_pca": Criterion("Fréchet distance", 1.5),
    "kid": Criterion("kernel distance", 1.5),
    "sliced_wasserstein": Criterion("sliced Wasserstein distance", 1.25),
    "precision": Criterion("precision", 0.9),
    "density": Criterion("density", 0.8),
    "c2st": Criterion("separability by a classifier", 0.1, "difference"),
    "js_robust": Criterion("grey values", 1.5),
}
DIVERSITY = {
    "recall": Criterion("recall", 0.9),
    "coverage": Criterion("coverage", 0.9),
    "vendi": Criterion("Vendi score", 0.9),
    "ms_ssim": Criterion("likeness of pairs", 1.25),
}
CRITERIA = {"Fidelity": FIDELITY, "Diversity": DIVERSITY}
NOTHING = {
    "Fidelity": "No evaluation of this study compares images.",
    "Diversity": "No evaluation of this study compares how images vary.",
}


def rule(axis: str) -> str:
    """The rule of an axis in words."""
    told = dict.fromkeys(
        f"{one.name} {number(one.tolerated, 2)}{' above' if one.kind == 'difference' else ''}"
        for one in CRITERIA[axis].values()
    )
    return (
        "every measure, in every feature space, is divided by the same of other real images at equal "
        "numbers; of a classifier the reference is taken off instead, and 0 stands for 1. Worse: this "
        "ratio is beyond the tolerated one and its 95 % interval beyond 1. Good: the "
        "whole interval is within the tolerated ratio; a ratio without an interval says neither, and of "
        f"fewer than {LEAST_SUBJECTS} patients a side there is none. Tolerated: {', '.join(told)}. Fail: "
        "in any one feature space half of the measures or more, of two kinds at least, are worse. Pass: more "
        f"than half of all are good, none is worse, and n is {ENOUGH} a side or more. Otherwise, and always "
        f"when n is below {FEWEST}, inconclusive; grey values alone never decide."
        if axis == "Fidelity"
        else "as for fidelity, by measures of variety. Tolerated ratios: " + ", ".join(told) + "."
    )


def axis_verdict(axis: str, own: Mapping[str, Finished], summary: pd.DataFrame) -> Verdict:
    """Verdict on an axis over all fidelity evaluations that compare images."""
    found, sentences, keys = list[Word](), [], list[str]()
    for name in own:
        votes = ballot(axis, summary[summary["evaluation"] == name])
        if len(votes):
            found.append(ANSWERS[decide(votes)])
            keys += [row_key(row) for row in votes.itertuples()]
            sentences.append(f"{words(name)}: {_sentence(axis, votes)}")
        elif pick(summary, name)["metric"].isin(CRITERIA[axis]).any():
            found.append("inconclusive")
            sentences.append(f"{words(name)}: measured, but no measure has a ratio to other real images.")
        if axis == "Fidelity":
            sentences += [f"{words(name)}: {told}" for told in suspicions(pick(summary, name, kind="ratio"))]
    return Verdict(axis, worst(found), sentences or [NOTHING[axis]], rule(axis), keys)


def ballot(axis: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The ratios and differences that vote on an axis, with their ``vote`` and how far they are ``off``."""
    criteria = CRITERIA[axis]
    kinds = rows["metric"].map({metric: one.kind for metric, one in criteria.items()})
    kept = rows[(rows["kind"] == kinds) & rows["estimate"].notna()]
    if "heldout" in set(kept["protocol"]):
        kept = kept[kept["protocol"] != "halves"]
    grey = kept["metric"] == "js_robust"
    kept = kept[~grey | (kept["label"] == kept.loc[grey, "label"].iloc[0] if grey.any() else ~grey)]
    tolerated = kept["metric"].map({metric: one.tolerated for metric, one in criteria.items()}).astype(float)
    votes = [vote(row.estimate, row.low, row.high, criteria[row.metric]) for row in kept.itertuples()]
    more = (tolerated > 1) | (kept["kind"] == "difference")
    off = (kept["estimate"] / tolerated).where(more, tolerated / kept["estimate"].clip(lower=1e-9))
    return kept.assign(vote=votes, off=off)


def suspicions(ratios: pd.DataFrame) -> list[str]:
    """Whether distances are so small, and surely below those of other images, that images were repeated."""
    small = (ratios["estimate"] < SUSPICIOUS) & (ratios["high"] < 1)
    close = ratios[ratios["metric"].isin(DISTANCES) & small]
    if close.empty:
        return []
    return [
        "synthetic images are far nearer to the training images than other real images are "
        f"({', '.join(dict.fromkeys(close['label'].astype(str)))}): look for copies under novelty."
    ]


def vote(value: float, low: float, high: float, criterion: Criterion) -> Vote:
    """What one ratio or difference says; without an interval it abstains."""
    tolerated, equal = criterion.tolerated, 1.0 if criterion.kind == "ratio" else 0.0
    if tolerated < equal:
        value, low, high, tolerated = (1 / max(end, 1e-9) for end in (value, high, low, tolerated))
    if low > equal and value > tolerated:
        return "worse"
    return "better" if high <= tolerated else "inconclusive"


def decide(votes: pd.DataFrame) -> Vote:
    """The word of one evaluation."""
    cast, items = votes["vote"], votes["n_items"].min()
    if items < FEWEST or set(votes["metric"]) == {"js_robust"}:
        return "inconclusive"
    if any(_fails(space) for _, space in votes.groupby("label", dropna=False)):
        return "worse"
    if (cast == "better").mean() > 0.5 and not (cast == "worse").any() and items >= ENOUGH:
        return "better"
    return "inconclusive"


def _fails(space: pd.DataFrame) -> bool:
    """Whether half or more of the measures in one feature space vote worse, of two kinds at least."""
    worse = space[space["vote"] == "worse"]
    return len(worse) * 2 >= len(space) and worse["metric"].nunique() > 1


def _sentence(axis: str, votes: pd.DataFrame) -> str:
    cast = votes["vote"]
    worst: Any = votes.loc[votes["off"].idxmax()]
    criterion = CRITERIA[axis][worst["metric"]]
    name = criterion.name
    beside = "times that" if criterion.kind == "ratio" else "above that"
    space = f", {worst['label']}" if isinstance(worst["label"], str) else ""
    open_ended = int(votes["low"].isna().sum())
    without = f" ({open_ended} of them without an interval, for want of patients)" if open_ended else ""
    known = pd.notna(worst["low"])
    quoted = (
        estimate(worst["estimate"], worst["low"], worst["high"], 2) if known else number(worst["estimate"], 2)
    )
    return (
        f"of {count(len(votes), 'measure')} {(cast == 'worse').sum()} say worse than other real images, "
        f"{(cast == 'better').sum()} as good, {(cast == 'inconclusive').sum()} cannot tell{without}. "
        f"Farthest off: {name}{space}, {quoted} {beside} of other real images"
        f"{'' if known else ' (no interval)'}; "
        f"n = {int(votes['n_items'].min())} a side."
    )
