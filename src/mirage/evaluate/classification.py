"""Downstream classification: classifiers are trained on few and many positives and scored on real images.

Steps, weights and leaks are as :mod:`mirage.evaluate.judging` says. A job trains all sizes of all folds of
one arm and seed; each is resumed by itself. The operating threshold is the one of highest F1 on the real
validation images of the fold, which no arm trains on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.config.base import Runtime
from mirage.config.classifiers import OVERSAMPLED
from mirage.config.evaluations import ClassificationEvaluation
from mirage.config.generators import Augment
from mirage.data import Dataset
from mirage.evaluate import judging
from mirage.evaluate.cases import Cases, Sides, pooled, sides_of, training_set
from mirage.evaluate.classifier import build
from mirage.evaluate.oversampling import oversample
from mirage.evaluate.table import COLUMNS, COUNT, FLAG, NUMBER, TEXT, write_table
from mirage.files import write_json
from mirage.generators.base import ImageSpec
from mirage.metrics import classification as scores
from mirage.provenance import describe

SCORES = {
    "fold": COUNT,
    "k": COUNT,
    "split": TEXT,
    "item_id": TEXT,
    "subject_id": TEXT,
    "positive": FLAG,
    "score": NUMBER,
}
"""Columns of ``scores.parquet``: every validation and test image under every classifier."""


def run_arm(
    config: ClassificationEvaluation,
    evaluation: str,
    arm: str,
    seed: int,
    datasets: Mapping[str, Dataset],
    out: Path,
    state: Path,
    runtime: Runtime,
    minutes: float | None = None,
) -> None:
    """Train one classifier for every fold and number of positives of one arm, and score them.

    Args:
        config: the evaluation; only ``arm`` of its arms is looked at.
        evaluation: its name.
        arm: which arm.
        seed: training seed of the classifiers.
        datasets: whole datasets by name: the test set and all that the arm names.
        out: folder that gets ``details/`` and, last, ``metrics.parquet``.
        state: folder of the resumable training states.
        runtime: device, threads and workers.
        minutes: wall time, or None for no limit.

    Writes:
        ``metrics.parquet``: evaluation, arm, seed, fold, metric, label (``k=100``), value; subject and item
        are null. ``threshold`` is the one chosen on the validation images, ``image_f1`` that of the test
        images at it and ``image_f1_half`` at one half.
        ``details/scores.parquet``: ``SCORES``; all figures and their intervals come from it.
        ``details/arm.json``: numbers of images and subjects of every fold and k, times and provenance.

    Raises:
        LeakError: the arm knows test or validation subjects of a fold, or the test set is not real.
        DataError: classes that are missing, or fewer images than are asked for.
        TimeBudgetReached: training was stopped and can be resumed.
    """
    began = time.monotonic()
    folds: list[int | None] = [None] if config.folds is None else list(range(config.folds.count))
    sides = [sides_of(config, arm, datasets, fold) for fold in folds]
    decided = judging.decided_by(config, arm, datasets)
    tables, rows, sets = [], [], []
    for own in sides:
        for k in config.positives:
            left = None if minutes is None else minutes - (time.monotonic() - began) / 60
            judged = _judge(config, arm, own, k, seed, Job(decided, state, runtime, left))
            tables.append(judged.table)
            rows += [
                {"fold": own.fold, "metric": name, "label": f"k={k}", "value": value}
                for name, value in judged.values.items()
            ]
            sets.append(judged.facts)
    named = {"evaluation": evaluation, "arm": arm, "seed": seed}
    write_table(out / "details/scores.parquet", pd.concat(tables, ignore_index=True), SCORES)
    parts = {data.info.name: data for own in sides for data in [own.train, *own.added]}
    write_json(
        out / "details/arm.json",
        {
            **named,
            "judge": config.judge.arch,
            "steps": config.steps,
            "train": [judging.describe_view(view) for view in parts.values()],
            "pretrain": [],
            "test": {
                "data": config.test,
                "images": sum(len(own.test) for own in sides),
                "subjects": sum(len(own.test.subjects()) for own in sides),
                "fingerprint": datasets[config.test].info.fingerprint,
            },
            "sets": sets,
            "seconds": {"all": time.monotonic() - began},
            "provenance": describe(
                "evaluate_classification",
                judging.full_options(config, arm),
                seed=seed,
                **decided["data"],
            ),
        },
    )
    write_table(out / "metrics.parquet", pd.DataFrame(rows).assign(**named), COLUMNS)


@dataclass(frozen=True)
class Job:
    """What all classifiers of an arm share: what decides them, their folder of states, device and time."""

    decided: Mapping[str, Any]
    state: Path
    runtime: Runtime
    minutes: float | None


@dataclass(frozen=True)
class Judged:
    """One classifier: its scores, its figures, and the numbers of images behind it."""

    table: pd.DataFrame
    values: dict[str, float]
    facts: dict[str, Any]


def _judge(config: ClassificationEvaluation, arm: str, sides: Sides, k: int, seed: int, job: Job) -> Judged:
    """Train one classifier and score the validation and test images of its fold."""
    training = config.arms[arm]
    cases = training_cases(config, arm, sides, k, seed)
    numbers = cases.counts()
    classifier = build(
        config.judge,
        ImageSpec.of(cases.info),
        training.balance,
        numbers["negatives"] / numbers["positives"],
        seeds.integer(seed, f"classifier/{sides.fold}/{k}"),
    )
    name = f"k-{k}" if sides.fold is None else f"fold-{sides.fold}/k-{k}"
    judging.train_judge(
        classifier,
        {"train": cases},
        config,
        config.augment if training.augment else Augment(),
        {
            **job.decided,
            "k": k,
            "fold": None if config.folds is None else config.folds.at(sides.fold or 0).model_dump(),
        },
        seed,
        job.state / name,
        job.runtime,
        job.minutes,
        config.precision,
    )
    found = {
        split: (held, classifier.scores(held)) for split, held in (("val", sides.val), ("test", sides.test))
    }
    threshold = scores.best_threshold(sides.val.positive, found["val"][1])
    table = pd.concat([_rows(held, values, split) for split, (held, values) in found.items()])
    facts = {
        "fold": sides.fold,
        "k": k,
        **numbers,
        "synthetic": sum(map(len, training_set(config, sides, k)[2])),
        "subjects": len(sides.train.of_items(set(cases.items["item_id"])).subjects()),
        "val": sides.val.counts(),
        "test": {**sides.test.counts(), "subjects": len(sides.test.subjects())},
    }
    values = figures(sides.test.positive, found["test"][1], threshold)
    return Judged(table.assign(fold=sides.fold, k=k), {"threshold": threshold, **values}, facts)


def training_cases(config: ClassificationEvaluation, arm: str, sides: Sides, k: int, seed: int) -> Cases:
    """Training images of one arm with k real positives."""
    real, positive, added = training_set(config, sides, k)
    balance, made = config.arms[arm].balance, None
    if balance in OVERSAMPLED:
        made = oversample(
            balance, real, positive, config.added_to(k), config.oversampling, seeds.integer(seed, f"made/{k}")
        )
    return pooled(real, positive, added, made)


def figures(positive: np.ndarray, score: np.ndarray, threshold: float) -> dict[str, float]:
    """Figures of one classifier on the test images of one fold."""
    at = {
        name: scores.counts(positive, score >= limit)
        for name, limit in (("image_f1", threshold), ("image_f1_half", 0.5))
    }
    return {
        **{name: float(scores.f1_of(found)[0]) for name, found in at.items()},
        "image_auc": float(scores.roc_auc(positive, score)[0]),
        "average_precision": float(scores.average_precision(positive, score)[0]),
        "brier": float(scores.brier(positive, score)[0]),
        "calibration_error": float(scores.calibration_error(positive, score)[0]),
    }


def _rows(held: Cases, values: np.ndarray, split: str) -> pd.DataFrame:
    named = held.items[["item_id", "subject_id"]].reset_index(drop=True)
    return named.assign(split=split, positive=held.positive, score=values)
