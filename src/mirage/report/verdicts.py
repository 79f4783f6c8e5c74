"""The answer on each axis in plain words: pass or fail only when intervals allow it, else inconclusive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from mirage.config.evaluations import Arm, FidelityEvaluation, SegmentationEvaluation
from mirage.report.chapters.base import count, words
from mirage.report.inputs import ReportInputs
from mirage.report.numbers import estimate
from mirage.report.summary import HEADLINE, pick

Word = Literal["pass", "fail", "inconclusive", "untested"]


@dataclass(frozen=True)
class Verdict:
    """One axis: a word, the sentences behind it, and the rule that gave it."""

    axis: str
    word: Word
    sentences: list[str]
    rule: str


UTILITY_RULE = (
    "each arm with synthetic data is compared with the baseline on F1, paired over test subjects and seeds. "
    "Pass: at least one is better and none worse. Fail: all are worse. “Better” and “worse” need a 95 % "
    "interval of the difference that excludes zero. Otherwise inconclusive."
)


def utility(inputs: ReportInputs, synthetic: set[str], summary: pd.DataFrame) -> Verdict:
    """Verdict over all segmentation evaluations.

    Args:
        inputs: of the report.
        synthetic: names of synthetic datasets; an arm trained on one is judged, other arms are context.
        summary: from :func:`mirage.report.summary.summarise`.
    """
    sentences, found = [], []
    for name, (config, _) in inputs.evaluations.items():
        if not isinstance(config, SegmentationEvaluation):
            continue
        for row in pick(summary, name, metric=HEADLINE, kind="difference").itertuples():
            if row.arm in config.arms and uses(config.arms[row.arm], synthetic):
                found.append(row.verdict)
                sentences.append(utility_sentence(name, row, config.baseline))
    return Verdict("Utility", combine(found, "better", "worse"), sentences or [NO_EVALUATION], UTILITY_RULE)


NO_EVALUATION = "No evaluation of this study measures it."


def uses(arm: Arm, names: set[str]) -> bool:
    """Whether an arm is trained on any of the datasets."""
    return any(part.data in names for part in (*arm.train, *arm.pretrain))


def utility_sentence(evaluation: str, row: pd.Series, baseline: str) -> str:
    """One arm's comparison in words, with its interval."""
    claim = {"better": "scores higher than", "worse": "scores lower than"}.get(
        row.verdict, "cannot be told apart from"
    )
    numbers = estimate(row.estimate, row.low, row.high, sign=True)
    return (
        f"{words(evaluation)}: “{words(row.arm)}” {claim} “{words(baseline)}”: F1 difference {numbers}, "
        f"{count(int(row.n_subjects), 'test subject')}, {count(int(row.n_seeds), 'seed')}."
    )


def combine(found: Sequence[str], good: str, bad: str) -> Word:
    """Pass when something is good and nothing bad, fail when all is bad, untested when nothing was found."""
    if not found:
        return "untested"
    if good in found and bad not in found:
        return "pass"
    return "fail" if set(found) == {bad} else "inconclusive"


FIDELITY_METRIC = "js_robust"
FIDELITY_RULE = (
    "the Jensen-Shannon divergence of grey values from the real training images is divided by that of other "
    "real images, at equal numbers of images. Fail: the whole 95 % range of the ratio lies above 1; pass: "
    "it lies at or below 1; otherwise inconclusive. Only grey values are judged: shapes and anatomy are for "
    "the reader's eye."
)


def fidelity(inputs: ReportInputs, summary: pd.DataFrame) -> Verdict:
    """Verdict over all fidelity evaluations that compare images."""
    found, sentences = [], []
    for name, (config, _) in inputs.evaluations.items():
        row = fidelity_ratio(summary, name) if isinstance(config, FidelityEvaluation) else None
        if row is not None:
            word = "worse" if row["low"] > 1 else "better" if row["high"] <= 1 else "inconclusive"
            claim = {
                "worse": "lie farther from real training images than other real images do",
                "better": "lie no farther from real training images than other real images do",
            }.get(word, "cannot be told from other real ones by this measure")
            found.append(word)
            sentences.append(
                f"{words(name)}: grey values ({row['label']}) {claim}: ratio "
                f"{estimate(row['estimate'], row['low'], row['high'], 2)}, n = {int(row['n_items'])} a side."
            )
    return Verdict("Fidelity", combine(found, "better", "worse"), sentences or [NO_EVALUATION], FIDELITY_RULE)


def fidelity_ratio(summary: pd.DataFrame, evaluation: str) -> pd.Series | None:
    """The ratio that decides: first channel, against held-out real images, else against random halves."""
    rows = pick(summary, evaluation, metric=FIDELITY_METRIC, kind="ratio")
    for protocol in ("heldout", "halves"):
        chosen = rows[(rows["protocol"] == protocol) & rows["low"].notna()]
        if len(chosen):
            return chosen.iloc[0]
    return None


NOVELTY_RULE = (
    "synthetic items are searched for their nearest training item, and so are held-out real ones. Fail: in "
    "any comparison there is an exact copy, or the whole 95 % interval of the ratio of the two median "
    "distances lies below 1. Pass: in all of them it lies at or above 1 and no item is an exact or near "
    "copy. Otherwise inconclusive. Unrealistic images are also new, so read this with fidelity."
)


def novelty(inputs: ReportInputs, summary: pd.DataFrame) -> Verdict:
    """Verdict over images and masks of all fidelity evaluations."""
    found, sentences = [], []
    for name, (config, _) in inputs.evaluations.items():
        for what in ("image", "mask"):
            own = pick(summary, name, arm="synthetic")
            values = own[own["metric"].str.startswith(f"{what}_")].set_index("metric")
            if isinstance(config, FidelityEvaluation) and f"{what}_exact_copies" in values.index:
                ratio = pick(summary, name, metric=f"{what}_nearest", kind="ratio")
                decided, sentence = _copied(values, ratio, what)
                found.append(decided)
                sentences.append(f"{words(name)}: {sentence}")
    word: Word = "fail" if "worse" in found else "pass" if set(found) == {"better"} else "inconclusive"
    return Verdict("Novelty", word if found else "untested", sentences or [NO_EVALUATION], NOVELTY_RULE)


def _copied(values: pd.DataFrame, ratio: pd.DataFrame, what: str) -> tuple[str, str]:
    """Word and sentence for the images or the masks of one evaluation."""
    exact, near = (values.loc[f"{what}_{kind}_copies"] for kind in ("exact", "near"))
    shares = (
        f"exact copies {estimate(exact['estimate'], exact['low'], exact['high'])}, near copies "
        f"{estimate(near['estimate'], near['low'], near['high'])} of {int(exact['n_items'])} items"
    )
    row = ratio.iloc[0] if len(ratio) else None
    nearer, farther = (False, False) if row is None else (row["high"] < 1, row["low"] >= 1)
    distance = (
        "no held-out items to compare distances with"
        if row is None
        else f"distance to the nearest training {what} over that of held-out ones "
        f"{estimate(row['estimate'], row['low'], row['high'], 2)}"
    )
    copied = exact["estimate"] > 0
    word = "worse" if copied or nearer else "better" if farther and near["estimate"] == 0 else "inconclusive"
    claim = {
        "worse": f"{what}s repeat training {what}s" if copied else f"{what}s lean towards training {what}s",
        "better": f"no sign of copied {what}s",
    }.get(word, f"copying of {what}s is not settled")
    return word, f"{claim}: {distance}; {shares}."
