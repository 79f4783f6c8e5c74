"""Evaluations: what is measured on arms or on whole datasets, looked up by the name of the evaluator."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from mirage.config.base import Runtime
from mirage.config.evaluations import ArmsEvaluation, EvaluationConfig
from mirage.data import Dataset
from mirage.evaluate.features.bank import FeatureBank
from mirage.evaluate.tracked import tracked_arm, tracked_set
from mirage.registry import resolve

EVALUATORS = {
    "classification": "mirage.evaluate.classification:run_arm",
    "detection": "mirage.evaluate.detection:run_arm",
    "segmentation": "mirage.evaluate.segmentation:run_arm",
    "volume_segmentation": "mirage.evaluate.volume_segmentation:run_arm",
    "fidelity": "mirage.evaluate.fidelity:run",
    "privacy": "mirage.evaluate.privacy:run",
    "observer": "mirage.evaluate.observer:run",
}
"""Evaluator -> its function: with the signature of :func:`run_arm` where it judges arms, else of
:func:`run_set`."""
ATTACKS_MODELS = frozenset({"privacy"})
"""Evaluators of whole datasets that are given the folders of the generators too."""
READS_ANSWERS = frozenset({"observer"})
"""Evaluators of whole datasets that are given the files of a study by people: its key, and their answers."""


def run_arm(
    config: ArmsEvaluation,
    evaluation: str,
    arm: str,
    seed: int,
    datasets: Mapping[str, Dataset],
    out: Path,
    state: Path,
    runtime: Runtime,
    minutes: float | None = None,
) -> None:
    """Train one judge on one arm and score it on the test split.

    Args:
        config: the evaluation; only ``arm`` of its arms is looked at.
        evaluation: its name.
        arm: which arm.
        seed: training seed of the judge.
        datasets: whole datasets by name: the test set and all that the arm names.
        out: folder that gets ``details/`` and, last, ``metrics.parquet``.
        state: folder of the resumable training state; removed at the end, unless the evaluation has keys that
            leave its judges as they are.
        runtime: device, threads and workers.
        minutes: wall time, or None for no limit.

    Raises:
        ConfigError: no such evaluator.
    """
    run = resolve(EVALUATORS, config.evaluator, "evaluator")
    with tracked_arm(config, evaluation, arm, seed, datasets, out):
        run(config, evaluation, arm, seed, datasets, out, state, runtime, minutes)
    if not config.scoring_keys:  # else an edit of one of these scores the finished judge anew
        shutil.rmtree(state, ignore_errors=True)


def run_set(
    config: EvaluationConfig,
    evaluation: str,
    datasets: Mapping[str, Dataset],
    bank: FeatureBank,
    out: Path,
    models: Sequence[Path] = (),
    files: Sequence[Path] = (),
) -> None:
    """Measure whole datasets.

    Args:
        config: the evaluation.
        evaluation: its name.
        datasets: whole datasets by name, all that the evaluation names.
        bank: features of their images by the evaluation's encoders.
        out: folder that gets ``details/`` and, last, ``metrics.parquet``.
        models: folders of the generators behind the synthetic set, which only ``ATTACKS_MODELS`` are given.
        files: key and answers, which only ``READS_ANSWERS`` are given.

    Raises:
        ConfigError: no such evaluator.
    """
    run = resolve(EVALUATORS, config.evaluator, "evaluator")
    given = [models] if config.evaluator in ATTACKS_MODELS else []
    given += [files] if config.evaluator in READS_ANSWERS else []
    with tracked_set(config, evaluation, datasets, out):
        run(config, evaluation, datasets, bank, out, *given)
