"""The answer on each axis in plain words: pass or fail only when intervals allow it, else inconclusive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from mirage.config.evaluations import Arm, FidelityEvaluation, SegmentationEvaluation
from mirage.report.chapters.base import words
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
    "each arm with synthetic data is compared with the baseline on F1, paired over test subjects and seeds. Pass: at "
    "least one is better and none worse. Fail: all are worse. “Better” and “worse” need a 95 % interval of the "
    "difference that excludes zero. Otherwise inconclusive."
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


def utility_sentence(evaluation: str, row: "pd.Series", baseline: str) -> str:
    """One arm's comparison in words, with its interval."""
    claim = {"better": "scores higher than", "worse": "scores lower than"}.get(
        row.verdict, "cannot be told apart from"
    )
    numbers = estimate(row.estimate, row.low, row.high, sign=True)
    return (
        f"{words(evaluation)}: “{words(row.arm)}” {claim} “{words(baseline)}”: F1 difference {numbers}, "
        f"{row.n_subjects} test subjects, {row.n_seeds} seeds."
    )


def combine(found: list[str], good: str, bad: str) -> Word:
    """Pass when something is good and nothing bad, fail when all is bad, untested when nothing was found."""
    if not found:
        return "untested"
    if good in found and bad not in found:
        return "pass"
    return "fail" if set(found) == {bad} else "inconclusive"
def fidelity(inputs, summary): return Verdict("Fidelity", "untested", [NO_EVALUATION], "x")
def novelty(inputs, summary): return Verdict("Novelty", "untested", [NO_EVALUATION], "x")
