"""What the report says of each evaluator; a new one adds a module here and a line to ``EVALUATORS``.

Such a module offers

- ``summarise(name, config, folders) -> DataFrame``: its rows of the summary, columns as in
  :data:`mirage.report.summary.COLUMNS`;
- ``chapters(own, inputs, data, summary, book) -> list[Chapter]``;
- ``verdicts(own, synthetic, summary) -> list[Verdict]``: the answers on its axes, given the names of the
  synthetic datasets;
- ``limits(own, summary) -> list[str]``: what its numbers cannot bear;
- ``TITLES``: metric -> what it is called in print.

``own`` is name -> :class:`mirage.report.inputs.Finished` of the study's evaluations by this evaluator, at
least one. What a measure is called, which one decides and which scores are shares, the module knows alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mirage.registry import resolve
from mirage.report.chapters.base import words
from mirage.report.inputs import Finished, ReportInputs

EVALUATORS = {
    "classification": "mirage.report.evaluators.classification",
    "detection": "mirage.report.evaluators.detection",
    "fidelity": "mirage.report.evaluators.fidelity",
    "observer": "mirage.report.evaluators.observer",
    "privacy": "mirage.report.evaluators.privacy",
    "segmentation": "mirage.report.evaluators.segmentation",
    "volume_segmentation": "mirage.report.evaluators.volume_segmentation",
}
"""Evaluator -> module, in the order of the page."""


def evaluator(name: str) -> Any:
    """Module of an evaluator.

    Raises:
        ConfigError: the report knows no such evaluator.
    """
    return resolve(EVALUATORS, name, "evaluator with a chapter in the report")


def term(metric: str) -> str:
    """What a metric of the summary is called where several evaluators' numbers stand side by side.

    Args:
        metric: its name, of volumes ``<metric>/<region or label>``.
    """
    measure, _, part = metric.partition("/")
    found = (evaluator(name).TITLES.get(measure) for name in EVALUATORS)
    title = next(filter(None, found), words(measure))
    return f"{title} of {part}" if part else title


def present(inputs: ReportInputs) -> Iterator[tuple[Any, Mapping[str, Finished]]]:
    """Module of each evaluator that the study uses, and its evaluations."""
    for name in EVALUATORS:
        own = {key: done for key, done in inputs.evaluations.items() if done.config.evaluator == name}
        if own:
            yield evaluator(name), own
