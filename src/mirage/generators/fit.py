"""The training job: from a dataset folder and an entry of the configuration to a model folder."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from mirage import provenance, tracking
from mirage.config.base import Runtime
from mirage.config.generators import GeneratorEntry, NoiseTraining
from mirage.config.slices import normalise
from mirage.data import Dataset, Items
from mirage.data.criteria import matching
from mirage.data.folds import in_fold
from mirage.errors import ConfigError, DataError
from mirage.files import digest
from mirage.generators import create, generator_class
from mirage.generators.checkpoint import save_model
from mirage.tracking import TrackedData
from mirage.training.device import is_first_rank, threads_of_rank
from mirage.training.loop import train
from mirage.training.trainable import Criterion
from mirage.versions import STAGES

MODEL_FILES = ("model.json", "history.parquet", "provenance.json", "weights.safetensors")
logger = logging.getLogger(__name__)


def fit(
    entry: GeneratorEntry,
    folder: Path,
    out: Path,
    *,
    seed: int,
    runtime: Runtime,
    minutes: float | None = None,
    criterion: Callable[[Items, Items | None], Criterion] | None = None,
) -> None:
    """Train a generator on the training split of a dataset and write its model folder.

    Args:
        entry: the generator's entry; its ``runtime`` is not looked at.
        folder: the dataset folder.
        out: the model folder; ``out/state`` is resumed from when it holds the same training, and removed
            when the model is written.
        seed: training seed.
        runtime: device, threads, workers.
        minutes: wall time, or None for no limit.
        criterion: makes what weights are chosen by, where the entry asks for more than the generator's own
            metric: of the validation items and, of a fold, the training items that decide scales.

    Raises:
        DataError: the dataset has no training items.
        ConfigError: the entry asks for an encoder's features, and none was given.
        TimeBudgetReached: training stopped early; call again to go on.
    """
    frechet = entry.training.frechet if isinstance(entry.training, NoiseTraining) else None
    if frechet is not None and criterion is None:
        raise ConfigError(
            f"training.frechet: the encoder {frechet.encoder!r} is needed; name the `encoder.json` of its "
            "fitted folder as last argument of `mirage train`"
        )
    torch.set_num_threads(threads_of_rank(runtime))
    data = chosen(Dataset(folder), entry)
    asked, validation = data.training_part(entry), data.select("val")
    training = asked
    if "mask" in (entry.makes, entry.needs):
        training, validation = asked.labelled(), validation.labelled()
    if len(training) < len(asked):
        logger.warning(
            "%s: %d training items without a label mask are left out", folder, len(asked) - len(training)
        )
    if not len(training):
        raise DataError(f"{folder}: none of the {len(asked)} training items has a label mask")
    kind = generator_class(entry.arch)
    known = kind.usable(entry.options, training)
    if len(known) < len(training):
        logger.warning(
            "%s: %d training items without a value of every condition are left out",
            folder,
            len(training) - len(known),
        )
    if not len(known):
        raise DataError(
            f"{folder}: none of the {len(training)} training items has a value of every condition; say "
            "`unknown: level`, or name other `conditions`"
        )
    training, validation = known, kind.usable(entry.options, validation)
    options = normalise(entry)
    decided_by = {"options": options, "data": data.info.fingerprint, "seed": seed, "version": STAGES["train"]}
    generator = create(entry, kind.spec_of(entry.options, training), seed=seed)
    # An encoder's scales are those of the dataset's own training split, which other folds test on.
    scaled_on = None if entry.fold is None else training
    chosen_by = None if criterion is None else criterion(validation, scaled_on)
    if chosen_by is not None:
        decided_by["criterion"] = chosen_by.fingerprint
    key = digest(decided_by)
    with tracking.tracked(
        f"{out.parent.name}/{out.name}",
        key,
        kind="generator",
        parameters={**entry.model_dump(mode="json", exclude={"runtime", "demo"}), "seed": seed},
        datasets=[_tracked(training, "train"), _tracked(validation, "val")],
        tags={"generator": out.parent.name, "arch": entry.arch, "folder": out},
    ) as run:
        result = train(
            generator,
            training,
            validation,
            entry.training,
            runtime,
            seed=seed,
            state_dir=out / "state",
            fingerprint=key,
            previews=out / "previews",
            minutes=minutes,
            criterion=chosen_by,
        )
        if is_first_rank():
            described = provenance.describe("train", options, seed=seed, data=data.info.fingerprint)
            device = {"device": str(generator.device), "seconds": result.seconds}
            save_model(out, generator, result, training, seed=seed, provenance={**described, **device})
            shutil.rmtree(out / "state")
            run.metrics(
                result.step, {} if result.metric is None else {f"kept/{result.metric_name}": result.metric}
            )
            run.files([out / name for name in MODEL_FILES])
            run.files(sorted((out / "previews").glob("*.png")), "previews")


def chosen(data: Dataset, entry: GeneratorEntry) -> Dataset:
    """The items of a dataset that a generator may see, split as its fold says where it has one.

    Raises:
        DataError: none are left, or what the entry names is not there.
    """
    if entry.fold is not None:
        data = in_fold(data, entry.fold)
    return data if entry.only is None else matching(data, entry.only)


def _tracked(items: Dataset, part: str) -> TrackedData:
    return TrackedData(items.info.name, part, items.info.fingerprint, len(items), len(items.subjects()))
