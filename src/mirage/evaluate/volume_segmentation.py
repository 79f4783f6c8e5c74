"""Downstream segmentation of volumes: a 3D judge is trained on one arm and scored on held-out real subjects.

Steps, weights and leaks are as :mod:`mirage.evaluate.judging` says; what is scored, and the rules for empty
regions and for lesions, as :mod:`mirage.metrics.volumes` says. A judge labels every voxel with its most
probable class, so there is no threshold to choose.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mirage.config.base import Runtime
from mirage.config.evaluations import VolumeSegmentationEvaluation
from mirage.config.generators import Augment
from mirage.data import Dataset, Items, ShardWriter
from mirage.data.leaks import check_training
from mirage.data.pool import Pool
from mirage.data.tumour_labels import REGIONS
from mirage.errors import ConfigError, DataError
from mirage.evaluate import judging
from mirage.evaluate.table import COLUMNS, write_table
from mirage.files import write_json
from mirage.generators import build
from mirage.generators.base import ImageSpec
from mirage.generators.volume_segmenter import VolumeSegmenter
from mirage.metrics import volumes as scores
from mirage.provenance import describe

CHANNELS = ("label", "brain")
UNIT_MM = (1.0, 1.0, 1.0)

logger = logging.getLogger(__name__)


def run_arm(
    config: VolumeSegmentationEvaluation,
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
        datasets: whole datasets by name: the test set and all that the arm and ``label_fidelity`` name.
        out: folder that gets ``details/`` and, last, ``metrics.parquet``.
        state: folder of the resumable training state.
        runtime: device, threads and workers.
        minutes: wall time, or None for no limit.

    Writes:
        ``metrics.parquet``: evaluation, arm, seed, fold (null), subject_id, item_id, metric, label, value;
        ``label`` is a label or a region, metrics are those of :func:`mirage.metrics.volumes.volume_scores`.
        An undefined value is null. For the baseline arm also ``condition_dice`` of the volumes of
        ``label_fidelity``, under the arm ``condition:<recipe>``.
        ``details/predictions.arrow``: uint8 (1, D, H, W), labels as stored, row = position in the test split.
        ``details/arm.json``: mean Dice by region and whether its order is plausible, numbers of volumes and
        subjects, times and provenance.

    Raises:
        LeakError: the arm, or a recipe of ``label_fidelity``, knows test subjects, or the test set is not
            real.
        DataError: datasets that do not fit together, or fewer volumes than the arm asks for.
        ConfigError: a region of labels that the data do not have.
        TimeBudgetReached: training was stopped and can be resumed.
    """
    began = time.monotonic()
    training = config.arms[arm]
    held_out = datasets[config.test].select("test")
    check_volumes(held_out)
    regions = regions_of(config, held_out.info.labels)
    parts = judging.training_views(training, datasets, seed)
    check_training([*parts["pretrain"], *parts["train"]], held_out)
    looked_for = judging.views(config.label_fidelity, datasets) if arm == config.baseline else []
    check_training(looked_for, held_out)
    every = [*parts["pretrain"], *parts["train"], held_out, *looked_for]
    shared = shared_channels(every)
    pools = {stage: pool_volumes(views, shared) for stage, views in parts.items() if views}
    test, conditions = pool_volumes([held_out], shared), [pool_volumes([view], shared) for view in looked_for]
    for others in (test, *conditions):
        judging.check_test_fits(pools["train"], others)

    decided = judging.decided_by(config, arm, datasets)
    options = config.judge if training.augment else config.judge.model_copy(update={"augment": None})
    judge = build(config.judge.arch, options, ImageSpec.of(pools["train"].info), seed=seed)
    assert isinstance(judge, VolumeSegmenter)
    judging.train_judge(
        judge, pools, config, Augment(), decided, seed, state, runtime, minutes, config.precision
    )
    trained = time.monotonic()

    predictions = (judge.predict(test.item(index)) for index in range(len(test)))
    rows = list(score_and_store(test, predictions, regions, config, out / "details/predictions.arrow"))
    dice = mean_dice(rows)
    warning = warn_of_order(dice, evaluation, arm, seed)
    table = pd.DataFrame(rows).assign(arm=arm)
    if conditions:
        found = [row for view in conditions for row in condition_dice(judge, view, regions)]
        table = pd.concat([table, pd.DataFrame(found)], ignore_index=True)
    read = {view.info.name: view.info.fingerprint for view in looked_for} | decided["data"]
    write_json(
        out / "details/arm.json",
        {
            "evaluation": evaluation,
            "arm": arm,
            "seed": seed,
            "judge": config.judge.arch,
            "regions": {name: _names(values, test.info.labels) for name, values in regions.items()},
            "mean_dice": dice,
            "implausible_order": warning,
            "spacing_unknown": sum(test.spacing_mm(index) is None for index in range(len(test))),
            "steps": judging.step_budget(config.steps, bool(parts["pretrain"])),
            "train": [judging.describe_view(view) for view in parts["train"]],
            "pretrain": [judging.describe_view(view) for view in parts["pretrain"]],
            "test": judging.describe_view(test),
            "label_fidelity": [_describe_condition(view, parts) for view in looked_for],
            "seconds": {"training": trained - began, "scoring": time.monotonic() - trained},
            "provenance": describe(
                "evaluate_volume_segmentation", judging.full_options(config, arm), seed=seed, **read
            ),
        },
    )
    write_table(out / "metrics.parquet", table.assign(evaluation=evaluation, seed=seed, fold=None), COLUMNS)


def regions_of(config: VolumeSegmentationEvaluation, labels: Mapping[int, str]) -> dict[str, list[int]]:
    """Name -> label values of every label and every region that is scored.

    Args:
        config: the evaluation.
        labels: value -> name of the test set's labels.

    Raises:
        ConfigError: a region of a label that the data do not have, or that is named like another label.
    """
    values = {name: value for value, name in labels.items()}
    scored = {name: [value] for name, value in values.items()}
    for region, names in (config.regions or REGIONS).items():
        unknown = sorted(set(names) - values.keys())
        if unknown or not names:
            raise ConfigError(
                f"regions.{region}: no label {', '.join(unknown) or 'is named'}; the data have the labels "
                f"{sorted(values)}. Name labels of the data under `regions`"
            )
        found = sorted(values[name] for name in names)
        if scored.setdefault(region, found) != found:
            raise ConfigError(f"regions.{region}: a label of this name is something else; rename the region")
    return scored


def mean_dice(rows: Collection[Mapping[str, Any]]) -> dict[str, float]:
    """Mean Dice over subjects by label and region, of metric rows."""
    table = pd.DataFrame(rows)
    means = table[table["metric"] == "dice"].groupby("label", sort=False)["value"].mean()
    return {str(name): float(value) for name, value in means.items()}


def warn_of_order(dice: Mapping[str, float], evaluation: str, arm: str, seed: int) -> str | None:
    """Log that the order of the regions' mean Dice is implausible, and return why; None where it is not."""
    warning = scores.implausible_order(dice)
    if warning:
        logger.warning("%s/%s/seed-%d: IMPLAUSIBLE ORDER OF REGIONS: %s", evaluation, arm, seed, warning)
    return warning


def condition_dice(
    judge: VolumeSegmenter, view: Items, regions: Mapping[str, Collection[int]]
) -> Iterator[dict[str, Any]]:
    """Dice between the labels that synthetic volumes were made from and those that a judge finds in them.

    Args:
        judge: trained on real volumes.
        view: labelled synthetic volumes.
        regions: name -> label values.

    Yields:
        Metric rows ``condition_dice`` under the arm ``condition:<name of the dataset>``.
    """
    for index, item in enumerate(view.items.itertuples()):
        truth, found = view.mask(index), judge.predict(view.item(index))
        for name, values in regions.items():
            t, p = np.isin(truth, list(values)), np.isin(found, list(values))
            value = scores.dice(t, p)
            (row,) = judging.item_rows(item, {"condition_dice": value})
            yield {**row, "arm": f"condition:{view.info.name}", "label": name}


def check_volumes(data: Items) -> None:
    """Refuse images.

    Raises:
        DataError: the items are no volumes.
    """
    if len(data.info.image_shape) != 4:
        raise DataError(
            f"{data.info.name}: images {data.info.image_shape}, volumes (C, D, H, W) are judged here; use "
            "`evaluator: segmentation`, or prepare with `kind: volume`"
        )


def shared_channels(parts: Sequence[Items]) -> list[str]:
    """Mask channels that all parts offer: one judge reads all of them."""
    return [name for name in CHANNELS if all(name in part.info.mask_channels for part in parts)]


def pool_volumes(parts: Sequence[Items], channels: Sequence[str]) -> Pool:
    """The parts as one dataset of volumes with the given mask channels.

    Raises:
        DataError: items without a label, no label at all, or mask channels in another order.
    """
    judging.check_labelled(parts)
    pool = Pool(parts, mask_channels=channels)
    if "label" not in channels or pool.info.mask_channels != list(channels):
        raise DataError(
            f"{pool.info.name}: mask channels {pool.info.mask_channels}, expected {list(channels)} with "
            "`label` first; prepare the data again"
        )
    return pool


def score_and_store(
    test: Items,
    predictions: Iterable[np.ndarray],
    regions: Mapping[str, Collection[int]],
    config: VolumeSegmentationEvaluation,
    path: Path,
) -> Iterator[dict[str, Any]]:
    """Score predicted labels one by one, writing each as it is made.

    Args:
        test: the test items.
        predictions: label mask (D, H, W), uint8, of each.
        regions: from ``regions_of``.
        config: the evaluation.
        path: the Arrow file that gets the predictions.

    Yields:
        Metric rows without the arm.
    """
    rules = scores.LesionRules(**config.lesions.model_dump())
    by_lesion = (config.regions or REGIONS).keys()
    with ShardWriter(path, (1, *test.info.image_shape[1:]), np.uint8) as writer:
        for index, (item, found) in enumerate(zip(test.items.itertuples(), predictions, strict=True)):
            writer.append(found[None])
            for name, metric, value in scores.volume_scores(
                test.mask(index),
                found,
                regions,
                by_lesion,
                test.spacing_mm(index) or UNIT_MM,
                rules,
                config.penalty_mm,
            ):
                (row,) = judging.item_rows(item, {metric: value})
                yield {**row, "label": name}


def _names(values: Collection[int], labels: Mapping[int, str]) -> list[str]:
    return [labels[value] for value in values]


def _describe_condition(view: Items, parts: Mapping[str, list[Dataset]]) -> dict[str, Any]:
    """Numbers of one set of ``label_fidelity``; subjects that the judge knows as well make it look easier."""
    known = {subject for views in parts.values() for part in views for subject in part.learnt_from()}
    return {**judging.describe_view(view), "also_learnt_by_the_judge": len(view.learnt_from() & known)}
