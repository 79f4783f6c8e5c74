"""What all evaluations of arms share: training sets, leak checks, the judge's training, the facts of an arm.

Every arm gets the same number of optimiser steps and the same batch size, whatever it is trained on, and its
judge keeps its last weights: choosing a checkpoint on real validation images would give a purely synthetic
arm real knowledge.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mirage import seeds, tracking
from mirage.config.base import Runtime
from mirage.config.evaluations import (
    Arm,
    ArmsEvaluation,
    ClassificationEvaluation,
    DetectionEvaluation,
    SegmentationEvaluation,
    TrainingSet,
    VolumeSegmentationEvaluation,
)
from mirage.config.generators import Augment, Precision, TrainingOptions
from mirage.config.slices import arm_options
from mirage.data import Dataset, Items
from mirage.data.pool import Pool
from mirage.errors import DataError
from mirage.files import digest
from mirage.training.loop import train
from mirage.training.trainable import Trainable
from mirage.versions import STAGES

STAGES_OF_TRAINING = ("pretrain", "train")


def training_views(training: Arm, datasets: Mapping[str, Dataset], seed: int) -> dict[str, list[Dataset]]:
    """Training split of every set of an arm, by stage of training, cut to the images asked for.

    Which images these are is the judge's ``seed``'s choice, unless the set is ``draw: fixed``.

    Raises:
        DataError: there are fewer, or none.
    """
    return {stage: views(getattr(training, stage), datasets, seed) for stage in STAGES_OF_TRAINING}


def views(
    sets: Sequence[TrainingSet], datasets: Mapping[str, Dataset], seed: int | None = None
) -> list[Dataset]:
    """Training split of every set, cut to the images asked for; without a seed all are ``draw: fixed``.

    Raises:
        DataError: there are fewer, or none.
    """
    return [
        datasets[wanted.data].training_part(wanted, seed if wanted.draw == "seed" else None)
        for wanted in sets
    ]


def check_labelled(parts: Sequence[Items]) -> None:
    """Refuse items without a label mask: they would teach that there is nothing in them.

    Raises:
        DataError: names the first.
    """
    for part in parts:
        unlabelled = part.items["item_id"][part.items["mask_origin"].isna()]
        if len(unlabelled):
            raise DataError(
                f"{part.info.name}: {len(unlabelled)} lack a label mask, the first {unlabelled.iloc[0]}; "
                "set prepare.require_mask: true to leave them out"
            )


def check_test_fits(train_set: Items, test: Items) -> None:
    """Refuse an empty test split, or one that is not prepared like the training set.

    Raises:
        DataError: says what differs.
    """
    if len(test) == 0:
        raise DataError(f"{test.info.name}: the test split is empty; give `split.test` a share")
    Pool([train_set, test])


def decided_by(config: ArmsEvaluation, arm: str, datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """What decides the weights of an arm's judge, beside its seed: ``options``, and ``data``, fingerprints.

    Args:
        config: the evaluation.
        arm: which arm.
        datasets: whole datasets by name.
    """
    training = config.arms[arm]
    named = sorted({config.test, *(part.data for part in [*training.pretrain, *training.train])})
    return {
        "options": arm_options(config, arm, config.scoring_keys),
        "data": {name: datasets[name].info.fingerprint for name in named},
    }


def step_budget(steps: int, pretrained: bool) -> dict[str, int]:
    """Optimiser steps of each stage; pretraining takes the first half of the same total."""
    first = steps // 2 if pretrained else 0
    return {"pretrain": first, "train": steps - first}


def train_judge(
    judge: Trainable,
    pools: Mapping[str, Items],
    config: SegmentationEvaluation
    | VolumeSegmentationEvaluation
    | DetectionEvaluation
    | ClassificationEvaluation,
    augment: Augment,
    decided: Mapping[str, Any],
    seed: int,
    state: Path,
    runtime: Runtime,
    minutes: float | None,
    precision: Precision = "32-true",
) -> None:
    """Train (or finish training) a judge through its stages, on the generators' own loop.

    Args:
        judge: untrained; holds the last weights afterwards.
        pools: training items by stage, without a stage that has none.
        config: the evaluation.
        augment: how the loop augments.
        decided: from ``decided_by``.
        seed: training seed of the judge.
        state: folder of the resumable training state.
        runtime: device, threads and workers.
        minutes: wall time, or None for no limit.
        precision: number format of the forward pass.

    Raises:
        TimeBudgetReached: training was stopped and can be resumed.
    """
    torch.set_num_threads(runtime.threads)
    began = time.monotonic()
    version = STAGES[f"evaluate_{config.evaluator}"]
    budget = step_budget(config.steps, "pretrain" in pools)
    for stage in STAGES_OF_TRAINING:
        if stage not in pools:
            continue
        options = TrainingOptions(
            steps=budget[stage],
            batch_size=config.batch_size,
            precision=precision,
            augment=augment,
            select="last",
        )
        with tracking.current().part(stage):
            train(
                judge,
                pools[stage],
                None,
                options,
                runtime,
                seed=seeds.integer(seed, f"judge/{stage}"),
                state_dir=state / stage,
                fingerprint=digest({**decided, "stage": stage, "seed": seed, "version": version}),
                minutes=None if minutes is None else minutes - (time.monotonic() - began) / 60,
            )


def full_options(config: ArmsEvaluation, arm: str) -> dict[str, Any]:
    """What decided an arm, defaults spelled out."""
    shared = config.model_dump(mode="json", exclude={"arms", "seeds", "baseline", "runtime", "demo"})
    return {**shared, "arm": config.arms[arm].model_dump(mode="json")}


def item_rows(item: Any, values: Mapping[str, float]) -> list[dict[str, Any]]:
    """Metric rows of one item of a manifest."""
    named = {"subject_id": item.subject_id, "item_id": item.item_id}
    return [{**named, "metric": metric, "value": value} for metric, value in values.items()]


def describe_view(view: Items) -> dict[str, Any]:
    """Numbers of one training or test set; ``learnt_from`` adds donors and the generators' subjects."""
    return {
        "data": view.info.name,
        "images": len(view),
        "subjects": len(view.subjects()),
        "learnt_from": len(view.learnt_from() - view.other_names()),
        "origins": {str(k): int(v) for k, v in view.items["origin"].value_counts().sort_index().items()},
        "fingerprint": view.info.fingerprint,
    }
