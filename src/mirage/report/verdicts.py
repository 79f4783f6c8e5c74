"""The answer on each axis in plain words: pass or fail only when intervals allow it, else inconclusive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Word = Literal["pass", "fail", "inconclusive", "untested"]
AXES = ("Utility", "Fidelity", "Diversity", "Novelty", "Privacy")
"""What every study is asked, in the order of the page; an axis that nothing measures is untested."""


@dataclass(frozen=True)
class Verdict:
    """One axis: a word, the sentences behind it, and the rule that gave it."""

    axis: str
    word: Word
    sentences: Sequence[str]
    rule: str = ""


def combine(found: Sequence[str], good: str, bad: str) -> Word:
    """Pass when something is good and nothing bad, fail when all is bad, untested when nothing was found."""
    if not found:
        return "untested"
    if good in found and bad not in found:
        return "pass"
    return "fail" if set(found) == {bad} else "inconclusive"


def in_order(found: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts by axis, with a card for every axis that nothing measures."""
    measured = {verdict.axis for verdict in found}
    missing = [
        Verdict(axis, "untested", ["No evaluation of this study measures it."])
        for axis in AXES
        if axis not in measured
    ]
    place = {axis: number for number, axis in enumerate(AXES)}
    return sorted([*found, *missing], key=lambda verdict: place.get(verdict.axis, len(AXES)))
