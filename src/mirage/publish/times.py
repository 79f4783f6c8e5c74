"""Times of outputs that were brought back, so that Snakemake judges them as it did where they were made.

Git and DVC write files at the time of the checkout, in any order, while Snakemake compares times. Only the
times of outputs are set, never those of scripts or raw data: what else lies in the clone keeps its standing.

- An output whose script and raw data are those it was made with is newer than all it was made of.
- An output with another script, other raw data or another input than those here is older than
  these, so that Snakemake notices, as it would have where it was made.
- An output that was here already and stands in order keeps its time, and so does what was made of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence, Set
from graphlib import TopologicalSorter

from mirage.publish.cards import JobCard, lineage, source_digest
from mirage.publish.knowledge import set_time, time_of

OLDER = 1.0
"""How much older than a changed source its output is made, seconds."""


def restore_times(cards: Sequence[JobCard], unchanged: Set[str]) -> None:
    """Set the times of the outputs of all cards.

    Args:
        cards: every job behind what was brought back.
        unchanged: outputs whose content was here already.
    """
    now = _now(cards)
    standing: dict[str, float] = {}
    lineages: dict[str, str] = {}
    for card in _in_order(cards):
        lineages |= dict.fromkeys(card.records, lineage(card))
        present = {output: found for output in card.records if (found := time_of(output)) is not None}
        decided = _decide(card, _changed(card, lineages), present, standing, unchanged, now)
        for output, found in present.items():
            if decided is not None:
                set_time(output, decided)
            standing[output] = found if decided is None else decided


def _decide(
    card: JobCard,
    changed: Sequence[str],
    present: Mapping[str, float],
    standing: Mapping[str, float],
    unchanged: Set[str],
    now: float,
) -> float | None:
    """The time that the outputs of a job get, or None where they keep theirs."""
    newer = [found for path in changed if (found := time_of(path)) is not None]
    if newer:
        return min(newer) - OLDER
    oldest = min(present.values(), default=math.inf)
    in_order = all(standing.get(path, -math.inf) <= oldest for path in card.inputs) and all(
        found < oldest for path in card.sources if (found := time_of(path)) is not None
    )
    return None if in_order and present.keys() <= unchanged else now


def _changed(card: JobCard, lineages: Mapping[str, str]) -> list[str]:
    """What a job was made of and is another now, or is not known to be the same."""
    inputs = [path for path in card.inputs if path not in card.sources]
    others = [path for path in inputs if path not in lineages or lineages[path] != card.lineages.get(path)]
    return [path for path, made_with in card.sources.items() if source_digest(path) != made_with] + others


def _now(cards: Sequence[JobCard]) -> float:
    """A time that is newer than every script and all raw data, even where clocks differ."""
    sources = {path for card in cards for path in card.sources}
    return max([time.time(), *(found + 0.01 for path in sources if (found := time_of(path)) is not None)])


def _in_order(cards: Sequence[JobCard]) -> list[JobCard]:
    """The cards, each after those of the jobs whose outputs it was made of."""
    makers = {output: index for index, card in enumerate(cards) for output in card.records}
    graph = {
        index: {makers[path] for path in card.inputs if path in makers} for index, card in enumerate(cards)
    }
    return [cards[index] for index in TopologicalSorter(graph).static_order()]
