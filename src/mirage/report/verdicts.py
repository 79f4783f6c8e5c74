"""The answer on each axis in plain words: pass or fail only when intervals allow it, else inconclusive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Word = Literal["pass", "fail", "inconclusive", "untested"]
AXES = ("Utility", "Fidelity", "Diversity", "Novelty", "Privacy")
"""What every study is asked, in the order of the page; an axis that nothing measures is untested."""


@dataclass(frozen=True)
class Verdict:
    """One axis: a word, the sentences behind it, and the rule that gave it.

    Attributes:
        axis: one of ``AXES``, or another one that an evaluator answers.
        word: the answer.
        sentences: what was found.
        rule: how the word follows from numbers; a line a rule where several evaluators answer.
        decided_by: keys (:func:`mirage.report.summary.row_key`) of the numbers that the rule looks at.
    """

    axis: str
    word: Word
    sentences: Sequence[str]
    rule: str = ""
    decided_by: Sequence[str] = ()


COMBINED = (
    "Where several evaluations answer on one axis the worst answer stands: fail before inconclusive before "
    "pass; an evaluation that did not test it has no say."
)
"""How :func:`worst` combines evaluations, in words that every report prints."""


def worst(words: Iterable[Word]) -> Word:
    """The answer of several evaluations on one axis; untested where none of them tested it."""
    found = set(words)
    order: Sequence[Word] = ("fail", "inconclusive", "pass")
    return next((word for word in order if word in found), "untested")


def in_order(found: Sequence[Verdict]) -> list[Verdict]:
    """One verdict an axis, in their order: untested where nothing measures it."""
    axes: dict[str, list[Verdict]] = {axis: [] for axis in AXES}
    for verdict in found:
        axes.setdefault(verdict.axis, []).append(verdict)
    nothing = ["No evaluation of this study measures it."]
    return [merged(own) if own else Verdict(axis, "untested", nothing) for axis, own in axes.items()]


def merged(found: Sequence[Verdict]) -> Verdict:
    """Verdicts of several evaluators on one axis as one, see :func:`worst`."""
    return Verdict(
        found[0].axis,
        worst(verdict.word for verdict in found),
        [sentence for verdict in found for sentence in verdict.sentences],
        "\n".join(dict.fromkeys(verdict.rule for verdict in found if verdict.rule)),
        [key for verdict in found for key in verdict.decided_by],
    )
