"""Downstream detection: a detector is trained on one arm's boxes and scored on held-out images.

Steps, weights and leaks are as :mod:`mirage.evaluate.judging` says. Two test columns are scored: the
``benchmark``, real images that no arm has seen, and ``own``, a held-out part of what the arm learns from, of
other donors (:mod:`mirage.evaluate.holdout`). The second tells how well a detector knows its own kind of
images; of a synthetic arm it says nothing about real ones.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mirage.config.base import Runtime
from mirage.config.evaluations import DetectionEvaluation, HitOptions
from mirage.config.generators import Augment
from mirage.data import Dataset, Items
from mirage.data.leaks import check_training
from mirage.data.pool import Pool
from mirage.detectors import build, detector_class
from mirage.detectors.base import Detector
from mirage.errors import CheckpointError, DataError
from mirage.evaluate import judging
from mirage.evaluate.holdout import hold_out
from mirage.evaluate.marks import CORNERS, Tables, corners, lesions_of, tables_of
from mirage.evaluate.table import COLUMNS, write_table
from mirage.files import atomic_path, write_json
from mirage.generators.base import ImageSpec
from mirage.metrics import detection as scores
from mirage.metrics.average_precision import coco_scores
from mirage.metrics.hits import NODE21, Floats, HitRule
from mirage.provenance import describe
from mirage.training.learner import load_weights, sampling_weights

INSTEAD = {"afroc": "afroc1", "wafroc": "wafroc1"}
"""Figures that need normal images -> those that are given where there are none."""

logger = logging.getLogger(__name__)


def run_arm(
    config: DetectionEvaluation,
    evaluation: str,
    arm: str,
    seed: int,
    datasets: Mapping[str, Dataset],
    out: Path,
    state: Path,
    runtime: Runtime,
    minutes: float | None = None,
) -> None:
    """Train one detector on one arm and score it on both test columns.

    Args:
        config: the evaluation; only ``arm`` of its arms is looked at.
        evaluation: its name.
        arm: which arm.
        seed: training seed of the detector.
        datasets: whole datasets by name: the test set and all that the arm names.
        out: folder that gets ``details/`` and, last, ``metrics.parquet``.
        state: folder of the resumable training state.
        runtime: device, threads and workers.
        minutes: wall time, or None for no limit.

    Writes:
        ``metrics.parquet``: evaluation, arm, seed, fold (null), subject_id, item_id, metric, label, value;
        ``label`` is the test column. Figures of a whole column have null subject and item; ``image_score``,
        ``image_lesions``, ``image_found`` and ``image_false`` are of single images.
        ``details/marks.parquet``, ``truths.parquet``, ``items.parquet``: :mod:`mirage.evaluate.marks`.
        ``details/arm.json``: the hit rule in words, figures that were refused and why, anchors, numbers of
        images and subjects, times and provenance.

    Raises:
        LeakError: the arm knows test subjects, or the test set is not real.
        DataError: no boxes, datasets that do not fit together, or fewer images than the arm asks for.
        TimeBudgetReached: training was stopped and can be resumed.
    """
    test = Pool([datasets[config.test].select("test")], mask_channels=())
    parts = judging.training_views(config.arms[arm], datasets, seed)
    decided = judging.decided_by(config, arm, datasets)
    job = Job(evaluation, arm, seed, decided, out, state, runtime, minutes)
    judge_arm(config, job, parts, test)


@dataclass(frozen=True)
class Job:
    """One detector that is trained and scored.

    Attributes:
        evaluation, arm, seed: as in the tables.
        decided: what decides the weights, beside the seed: ``options`` and ``data``, fingerprints by name.
        out: folder that gets ``details/`` and, last, ``metrics.parquet``.
        state: folder of the resumable training state.
        runtime: device, threads and workers.
        minutes: wall time, or None for no limit.
    """

    evaluation: str
    arm: str
    seed: int
    decided: dict[str, Any]
    out: Path
    state: Path
    runtime: Runtime
    minutes: float | None = None


def judge_arm(
    config: DetectionEvaluation,
    job: Job,
    parts: Mapping[str, Sequence[Dataset]],
    test: Items | None,
    begin_with: Path | None = None,
) -> Detector:
    """Train one detector and score it on both test columns; writes what :func:`run_arm` does.

    Args:
        config: the evaluation; of its arms only the one of ``job`` is looked at.
        job: names, folders and runtime.
        parts: training sets by stage.
        test: held-out real images; None: there is only the ``own`` column.
        begin_with: ``weights.safetensors`` of an equal detector to begin with, not random ones.

    Raises:
        LeakError, DataError, TimeBudgetReached: as for :func:`run_arm`.
        CheckpointError: the weights to begin with are not this detector's.
    """
    began, training = time.monotonic(), config.arms[job.arm]
    if test is not None:
        check_training([*parts["pretrain"], *parts["train"]], test)
    held = hold_out(parts, config.own_share)
    pools = {stage: Pool(views, mask_channels=()) for stage, views in held.kept.items() if views}
    if test is not None:
        judging.check_test_fits(pools["train"], test)
        check_boxes(test, config.labels)

    augment = config.augment if training.augment else Augment()
    detector = detector_for(config, pools, job.seed)
    if begin_with is not None:
        load_detector_weights(detector, begin_with)
    judging.train_judge(
        detector,
        pools,
        config,
        augment,
        job.decided,
        job.seed,
        job.state,
        job.runtime,
        job.minutes,
        config.precision,
    )
    trained = time.monotonic()

    columns = {"benchmark": test, "own": held.own}
    judged = judge_columns(
        detector, {name: data for name, data in columns.items() if data is not None}, config
    )
    judged.tables.write(job.out / "details")
    named = {"evaluation": job.evaluation, "arm": job.arm, "seed": job.seed}
    write_json(
        job.out / "details/arm.json",
        {
            **named,
            "judge": config.judge.arch,
            "hit_rule": rule_of(config.hit).words(),
            "labels": config.labels,
            "refused": judged.refused,
            "judge_options": detector.options.model_dump(mode="json"),
            "columns": describe_columns(judged.tables),
            "own": {
                "donor_groups": held.groups[0],
                "held_out": held.groups[1],
                "why_none": held.why_none,
            },
            "steps": judging.step_budget(config.steps, "pretrain" in pools),
            "train": [_describe(view, config.labels) for view in held.kept["train"]],
            "pretrain": [_describe(view, config.labels) for view in held.kept["pretrain"]],
            "held_out": [_describe(view, config.labels) for view in (held.own.parts if held.own else ())],
            "test": None if test is None else _describe(test, config.labels),
            "seconds": {"training": trained - began, "scoring": time.monotonic() - trained},
            "provenance": describe(
                "evaluate_detection",
                judging.full_options(config, job.arm),
                seed=job.seed,
                **job.decided["data"],
            ),
        },
    )
    write_table(job.out / "metrics.parquet", judged.rows.assign(fold=None, **named), COLUMNS)
    return detector


def load_detector_weights(detector: Detector, path: Path) -> None:
    """Weights of an equal detector from ``weights.safetensors``; the file cannot hold code.

    Raises:
        CheckpointError: not readable, or not the weights of this architecture and its options.
    """
    try:
        load_weights(sampling_weights(detector), load_file(path))
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: cannot be begun with ({error}); name a `weights.safetensors` that this command wrote "
            "for the same detector and options. Checkpoints of other programs, which may hold code, are not "
            "read"
        ) from error


def save_detector_weights(detector: Detector, path: Path) -> None:
    """Write what :func:`load_detector_weights` reads."""
    weights = sampling_weights(detector)
    with atomic_path(path) as temporary:
        save_file({key: value.detach().cpu().contiguous() for key, value in weights.items()}, temporary)


@dataclass(frozen=True)
class Judged:
    """What a detector scored.

    Attributes:
        tables: its marks, with the lesions and images of all columns.
        rows: metric rows: subject_id, item_id, metric, label (the column), value.
        refused: column -> figure -> why it is not given.
    """

    tables: Tables
    rows: pd.DataFrame
    refused: dict[str, dict[str, str]]


def rule_of(options: HitOptions) -> HitRule:
    """The hit rule of the configuration."""
    limit = options.distance if options.rule == "centre_distance" else options.iou
    return HitRule(options.rule, limit, options.extra)


def check_boxes(data: Items, labels: Sequence[str] | None) -> Floats:
    """All lesions of a dataset (N, 4).

    Raises:
        DataError: there are none, so that nothing could be learnt or found.
    """
    found = [box for index in range(len(data)) for box in lesions_of(data, index, labels)]
    if not found:
        named = "boxes" if labels is None else f"boxes named {', '.join(labels)}"
        there = sorted({str(box["label"]) for boxes in data.items["boxes"] for box in boxes})
        raise DataError(
            f"{data.info.name}: none of the {len(data)} images has {named}"
            + (f"; its boxes are named {', '.join(there)}. Name these under `labels`" if there else "")
            + "; use a dataset whose source has boxes, images without any may be among them"
        )
    return np.array([[box[key] for key in CORNERS] for box in found], np.float64)


def detector_for(config: DetectionEvaluation, pools: Mapping[str, Items], seed: int) -> Detector:
    """An untrained detector for the training sets by stage.

    Raises:
        DataError: the stage ``train`` has no boxes.
    """
    boxes = [check_boxes(pools["train"], config.labels)]
    counts = [len(found) for pool in pools.values() for found in pool.items["boxes"]]
    options = detector_class(config.judge.arch).fitted(config.judge, np.concatenate(boxes))
    spec = ImageSpec.of(pools["train"].info)
    return build(config.judge.arch, options, spec, config.labels, max(counts), seed)


def judge_columns(detector: Detector, columns: Mapping[str, Items], config: DetectionEvaluation) -> Judged:
    """Mark the images of every test column and score the marks."""
    found = {test: (data, detector.mark(data)) for test, data in columns.items() if len(data)}
    tables = tables_of(found, config.labels, rule_of(config.hit))
    rows, refused = [], {}
    for test in found:
        own = tables.of_test(test)
        values, refused[test] = figures(own, config.shown_from)
        rows += [{"metric": name, "label": test, "value": value} for name, value in values.items()]
        rows += [{**row, "label": test} for row in image_rows(own)]
        for name, why in refused[test].items():
            logger.info("%s: %s is not given: %s", test, name, why)
    return Judged(tables, pd.DataFrame(rows), refused)


def figures(tables: Tables, shown_from: float) -> tuple[dict[str, float], dict[str, str]]:
    """Figures of merit of one test column.

    Args:
        tables: of one column, matched by the configured rule; the rank of NODE21 has its own.
        shown_from: score from which marks count for ``hit_fraction``.

    Returns:
        Figure -> value, and figure -> why it is not given. AFROC1 and wAFROC1 are given only where there are
        no normal images.
    """
    data, ranked = tables.free_response(), tables.rematched(NODE21).free_response()
    values: dict[str, float] = {}
    refused: dict[str, str] = {}
    for name, figure in scores.FIGURES.items():
        if name in INSTEAD.values():
            continue
        try:
            values[name] = float(figure(ranked if name == "node21" else data, None)[0])
        except DataError as error:
            refused[name] = str(error)
            if name in INSTEAD and len(data.lesion_image):
                other = INSTEAD[name]
                values[other] = float(scores.FIGURES[other](data, None)[0])
    if len(data.lesion_image):
        values["hit_fraction"] = float((data.lesion_score >= shown_from).mean())
        values["shown_false_positives"] = float((data.false_score >= shown_from).sum() / data.images)
        values |= coco_scores(*_by_image(tables))
    return values, refused


def _by_image(tables: Tables) -> tuple[list[Floats], list[Floats], list[Floats]]:
    """Boxes and scores of the marks, and boxes of the lesions, of every image."""
    ids = tables.items["item_id"]
    marks, truths = (dict(iter(table.groupby("item_id"))) for table in (tables.marks, tables.truths))
    nothing = tables.marks.iloc[:0]
    own = [marks.get(name, nothing) for name in ids]
    return (
        [corners(table) for table in own],
        [table["score"].to_numpy(np.float64) for table in own],
        [corners(truths.get(name, nothing)) for name in ids],
    )


def image_rows(tables: Tables) -> Iterator[dict[str, Any]]:
    """Metric rows of every image: highest score (0 without a mark), lesions, lesions found, false marks."""
    marks = tables.marks
    counts = {
        "image_score": marks.groupby("item_id")["score"].max(),
        "image_lesions": tables.truths.groupby("item_id").size(),
        "image_found": marks[marks["outcome"] == "hit"].groupby("item_id").size(),
        "image_false": marks[marks["outcome"] == "false"].groupby("item_id").size(),
    }
    for item in tables.items.itertuples():
        values = {name: float(found.get(item.item_id, 0.0)) for name, found in counts.items()}
        yield from judging.item_rows(item, values)


def describe_columns(tables: Tables) -> dict[str, dict[str, int]]:
    """Numbers of images, normal images, subjects, lesions and marks of every test column."""
    return {
        str(test): {
            "images": len(items),
            "normal": int((~items["diseased"]).sum()),
            "subjects": int(items["subject_id"].nunique()),
            "lesions": int((tables.truths["test"] == test).sum()),
            "marks": int((tables.marks["test"] == test).sum()),
        }
        for test, items in tables.items.groupby("test", sort=False)
    }


def _describe(view: Items, labels: Sequence[str] | None) -> dict[str, Any]:
    """Numbers of one training or test set, lesions and normal images among them."""
    counts = [len(lesions_of(view, index, labels)) for index in range(len(view))]
    return {
        **judging.describe_view(view),
        "lesions": sum(counts),
        "normal": sum(count == 0 for count in counts),
    }
