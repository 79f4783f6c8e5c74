"""Downstream segmentation: a judge is trained on one arm's images and scored on held-out real ones.

Steps, weights and leaks are as :mod:`mirage.evaluate.judging` says. The operating threshold is the one of
highest mean F1 on the arm's own training images, so that a purely synthetic arm knows nothing of real ones.
The metrics table holds one row an item and metric; means and intervals come later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mirage import seeds
from mirage.config.base import Runtime
from mirage.config.evaluations import OBSERVER_ARM, SegmentationEvaluation
from mirage.config.generators import Augment, SegmenterConfig
from mirage.data import Dataset, Items, ShardWriter
from mirage.data.leaks import check_test_set, check_training
from mirage.data.manifest import ABSENT
from mirage.data.pool import Pool
from mirage.errors import ConfigError, DataError
from mirage.evaluate import judging
from mirage.evaluate.table import COLUMNS, write_table
from mirage.files import write_json
from mirage.generators import create
from mirage.generators.base import Generator, ImageSpec
from mirage.metrics import segmentation as scores
from mirage.provenance import describe

MAX_THRESHOLD_IMAGES = 200
"""Training images that the threshold is chosen on; larger training sets are sampled."""

logger = logging.getLogger(__name__)


def run_arm(
    config: SegmentationEvaluation,
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
        state: folder of the resumable training state.
        runtime: device, threads and workers.
        minutes: wall time, or None for no limit.

    Writes:
        ``metrics.parquet``: evaluation, arm, seed, fold (null), subject_id, item_id, metric, label, value;
        metrics as in :func:`mirage.metrics.segmentation.probability_scores`, inside the field of view
        where the test set stores one. An undefined value is null.
        ``details/predictions.arrow``: uint8 (1, H, W), probability x 255, row = position in the test split.
        ``details/arm.json``: threshold, numbers of images and subjects, times and provenance.

    Raises:
        LeakError: the arm knows test subjects, or the test set is not real.
        DataError: datasets that do not fit together, or fewer images than the arm asks for.
        TimeBudgetReached: training was stopped and can be resumed.
    """
    began = time.monotonic()
    training = config.arms[arm]
    test = _foreground_view([datasets[config.test].select("test")], config.label)
    parts = judging.training_views(training, datasets, seed)
    check_training([*parts["pretrain"], *parts["train"]], test)
    # One judge reads both stages, so both offer the same mask channels.
    shared = {"label", "fov"}.intersection(*(v.info.mask_channels for views in parts.values() for v in views))
    pools = {kind: _foreground_view(views, config.label, shared) for kind, views in parts.items() if views}
    judging.check_test_fits(pools["train"], test)

    decided = judging.decided_by(config, arm, datasets)
    # The pools are binarised already, so a label named among the judge's own options has no meaning here.
    judged = config.judge.model_copy(update={"label": None})
    spec = ImageSpec.of(pools["train"].info)
    judge = create(SegmenterConfig(arch="segmenter", data=config.test, options=judged), spec, seed=seed)
    augment = config.augment if training.augment else Augment()
    judging.train_judge(judge, pools, config, augment, decided, seed, state, runtime, minutes)
    trained = time.monotonic()

    threshold, train_f1, sampled = choose_threshold(judge, pools["train"], seed)
    rows = _score_and_store(judge, test, threshold, out / "details/predictions.arrow")
    named = {"evaluation": evaluation, "arm": arm, "seed": seed, "label": test.info.labels[1]}
    write_json(
        out / "details/arm.json",
        {
            **named,
            "threshold": threshold / 255,
            "threshold_from": f"highest mean F1 on {sampled} training images",
            "train_f1": train_f1,
            "field_of_view": "fov" in test.info.mask_channels,
            "steps": judging.step_budget(config.steps, bool(parts["pretrain"])),
            "train": [judging.describe_view(view) for view in parts["train"]],
            "pretrain": [judging.describe_view(view) for view in parts["pretrain"]],
            "test": judging.describe_view(test),
            "seconds": {"training": trained - began, "scoring": time.monotonic() - trained},
            "provenance": describe(
                "evaluate_segmentation", judging.full_options(config, arm), seed=seed, **decided["data"]
            ),
        },
    )
    write_table(out / "metrics.parquet", pd.DataFrame(rows).assign(fold=None, **named), COLUMNS)


def observer_metrics(test: Items, evaluation: str, label: str | None, out: Path) -> None:
    """Score the second observer's masks against the first's, as if they were an arm's predictions.

    The estimate of what a human reaches. Items that the second observer has not drawn are left out, and
    their number is logged; the table is empty where none is drawn, as in copies without those files.

    Args:
        test: the test split, with mask channels ``label`` and ``observer2``.
        evaluation: name of the evaluation.
        label: name of the label scored; None: all foreground.
        out: folder that gets ``metrics.parquet``, with arm ``observer2`` and null seed.

    Raises:
        LeakError: the items are not real.
        DataError: the dataset has no mask channel of a second observer.
    """
    check_test_set(test)
    if OBSERVER_ARM not in test.info.mask_channels:
        raise DataError(
            f"{test.info.name}: no mask channel `{OBSERVER_ARM}`; it has {test.info.mask_channels}"
        )
    view = _foreground_view([test], label)
    rows: list[dict[str, Any]] = []
    missing = 0
    for index, item in enumerate(view.items.itertuples()):
        second = view.mask(index, OBSERVER_ARM)
        if (second == ABSENT).all():
            missing += 1
            continue
        rows += judging.item_rows(item, scores.mask_scores(view.mask(index), second, _fov(view, index)))
    if missing:
        logger.warning("%s: %d of %d test items have no second observer", test.info.name, missing, len(view))
    named = {"evaluation": evaluation, "arm": OBSERVER_ARM, "seed": None, "fold": None}
    table = pd.DataFrame(rows).assign(label=view.info.labels[1], **named)
    write_table(out / "metrics.parquet", table, COLUMNS)


def _foreground_view(
    parts: Sequence[Items], label: str | None, channels: Collection[str] | None = None
) -> Pool:
    """The parts as one dataset whose label is 1 on the scored label and 0 elsewhere."""
    judging.check_labelled(parts)
    labels = parts[0].info.labels
    values = [value for value, name in labels.items() if value and label in (None, name)]
    if not values:
        raise ConfigError(
            f"label: {parts[0].info.name} has no label {label!r}; it has {sorted(labels.values())}"
        )
    only = [labels[value] for value in values]
    return Pool(parts, values, only[0] if len(only) == 1 else "foreground", channels)


def predict(judge: Generator, data: Items, indices: Collection[int]) -> Iterator[np.ndarray]:
    """Foreground probability of items, uint8 (H, W), probability x 255 rounded; one item in memory."""
    for index in indices:
        condition = judge.condition(data.item(index))
        probability = judge.sample(condition[None], [0])[0, 0].cpu().numpy()
        yield np.rint(np.clip(probability, 0, 1) * 255).astype(np.uint8)


def choose_threshold(judge: Generator, data: Items, seed: int) -> tuple[int, float, int]:
    """Threshold (uint8) of highest mean F1 on the arm's own training images.

    Returns:
        threshold, its mean F1, and the number of images it was chosen on: all, or a sample of 200.
    """
    count = min(len(data), MAX_THRESHOLD_IMAGES)
    chosen = np.sort(seeds.rng(seed, "threshold").permutation(len(data))[:count])
    counts = [
        scores.class_counts(data.mask(int(index)), probability, _fov(data, int(index)))
        for index, probability in zip(chosen, predict(judge, data, chosen.tolist()), strict=True)
    ]
    threshold, f1 = scores.best_threshold(counts)
    return threshold, f1, count


def _score_and_store(judge: Generator, test: Items, threshold: int, path: Path) -> list[dict[str, Any]]:
    """Predict and score the test items one by one, writing each prediction as it is made."""
    rows: list[dict[str, Any]] = []
    with ShardWriter(path, (1, *test.info.image_shape[1:]), np.uint8) as writer:
        predictions = predict(judge, test, range(len(test)))
        for index, (item, probability) in enumerate(zip(test.items.itertuples(), predictions, strict=True)):
            writer.append(probability[None])
            truth, fov = test.mask(index), _fov(test, index)
            rows += judging.item_rows(item, scores.probability_scores(truth, probability, threshold, fov))
    return rows


def _fov(data: Items, index: int) -> np.ndarray | None:
    return data.mask(index, "fov") if "fov" in data.info.mask_channels else None
