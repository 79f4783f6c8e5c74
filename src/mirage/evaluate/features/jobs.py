"""The two jobs of the feature bank: fit an encoder on a real dataset, and extract a dataset's features."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from mirage.config.base import Runtime
from mirage.config.encoders import EncoderConfig
from mirage.config.slices import normalise
from mirage.data import Dataset, Items
from mirage.errors import DataError, LeakError
from mirage.evaluate.features import ENCODERS
from mirage.evaluate.features.bank import Floats, write_features
from mirage.evaluate.features.encoder import Encoder, Job, Scaling, read_folder, save_encoder
from mirage.provenance import describe
from mirage.registry import resolve
from mirage.versions import STAGES

BATCH = 32
"""Items encoded at a time; fixed, since sums of a batch of another size may be rounded in another way."""
CENTRE, SPREAD = "scale.centre", "scale.spread"

logger = logging.getLogger(__name__)


def fit_encoder(
    entry: EncoderConfig,
    folder: Path,
    out: Path,
    features: Path,
    *,
    runtime: Runtime,
    minutes: float | None = None,
) -> None:
    """Fit an encoder on the training split of a real dataset, and extract the features of all of it.

    Args:
        entry: the encoder's entry; its ``runtime`` is not looked at.
        folder: the real dataset.
        out: gets ``weights.safetensors`` and ``encoder.json``; its name is the encoder's.
        features: the Parquet file that gets the real dataset's features.
        runtime: device, threads and workers.
        minutes: wall time, or None for no limit.

    Raises:
        DataError: the training split is empty, or a feature is not finite.
        LeakError: the training split has synthetic images.
        TimeBudgetReached: a training stopped early; call again to go on.
    """
    data = Dataset(folder)
    training = data.select("train")
    if not len(training):
        raise DataError(f"{folder}: no training items; an encoder is fitted on the training split alone")
    synthetic = training.items["item_id"][training.items["origin"] == "synthetic"]
    if len(synthetic):
        raise LeakError(
            f"{folder}: {len(synthetic)} of {len(training)} training items are synthetic, such as "
            f"{synthetic.iloc[0]}; an encoder that judges synthetic images must not be fitted on any. Name a "
            "real dataset as `real`"
        )
    kind = resolve(ENCODERS, entry.encoder, "encoder")
    with _device(kind, runtime):
        logger.info("fitting %s on %d training items of %s", entry.encoder, len(training), data.info.name)
        encoder = kind.fit(entry, training, Job(runtime, out / "state", data.select("val"), minutes))
        values = _encode(encoder, data, runtime)
    train_rows = (data.items["split"] == "train").to_numpy()
    encoder.weights |= _scale(encoder.scaling, values[train_rows])
    logger.info("%s: %d items, %d features each", data.info.name, *values.shape)
    values = _scaled(encoder, values)
    stage = f"encode_{entry.encoder}"
    save_encoder(
        out,
        encoder,
        {
            "version": STAGES[stage],
            "fitted_on": {
                "dataset": data.info.name,
                "fingerprint": data.info.fingerprint,
                "split": "train",
                "items": len(training),
            },
            "provenance": describe(stage, normalise(entry), data=data.info.fingerprint),
        },
    )
    write_features(features, data, values, encoder.names, _info(out))
    shutil.rmtree(out / "state", ignore_errors=True)


def extract_features(encoder: Path, folder: Path, features: Path, *, runtime: Runtime) -> None:
    """Extract the features of all items of a dataset with a fitted encoder.

    Args:
        encoder: folder that :func:`fit_encoder` wrote.
        folder: the dataset.
        features: the Parquet file.
        runtime: device and threads.

    Raises:
        CheckpointError: the encoder's folder is damaged.
        DataError: images of another kind than the encoder was fitted on, or a feature is not finite.
    """
    data = Dataset(folder)
    values, names = encode_items(encoder, data, runtime)
    logger.info("%s: %d items, %d features each", data.info.name, *values.shape)
    write_features(features, data, values, names, _info(encoder))


def encode_items(encoder: Path, data: Items, runtime: Runtime) -> tuple[Floats, tuple[str, ...]]:
    """Features (len(data), D) of items by a fitted encoder, and their names.

    Raises:
        CheckpointError: the encoder's folder is damaged.
        DataError: images of another kind than the encoder was fitted on.
    """
    fitted = open_encoder(encoder)
    fitted.check(data)
    with _device(type(fitted), runtime):
        return features_of(fitted, data, runtime), fitted.names


def open_encoder(folder: Path) -> Encoder:
    """A fitted encoder.

    Raises:
        CheckpointError: its folder is damaged.
    """
    facts, space, weights = read_folder(folder)
    entry: Any = TypeAdapter(EncoderConfig).validate_python(facts["options"])
    fitted: Encoder = resolve(ENCODERS, entry.encoder, "encoder")(entry, space, weights)
    return fitted


def features_of(encoder: Encoder, data: Items, runtime: Runtime) -> Floats:
    """Features (len(data), D) of items like those that the encoder was fitted on, on the device there is."""
    return _scaled(encoder, _encode(encoder, data, runtime))


def rescale(encoder: Encoder, training: Items, runtime: Runtime) -> None:
    """Let other images than those that an encoder was fitted on decide the scales of its features."""
    encoder.weights |= _scale(encoder.scaling, _encode(encoder, training, runtime))


@contextmanager
def _device(kind: type[Encoder], runtime: Runtime) -> Iterator[None]:
    """A GPU of its own for an encoder that can use one; others do not even load PyTorch."""
    if not kind.on_device:
        yield
        return
    import torch

    from mirage.training.gpus import own_gpus

    torch.set_num_threads(runtime.threads)
    with own_gpus(runtime.accelerator, min(runtime.gpus, 1)):
        yield


def _encode(encoder: Encoder, data: Items, runtime: Runtime) -> Floats:
    values = np.empty((len(data), len(encoder.names)), np.float32)
    batches = [range(start, min(start + BATCH, len(data))) for start in range(0, len(data), BATCH)]
    encode = partial(encoder.encode, data, runtime=runtime)
    with ExitStack() as stack:
        found: Iterator[Floats] = map(encode, batches)
        if encoder.parallel and runtime.threads > 1:
            pool = stack.enter_context(ProcessPoolExecutor(min(runtime.threads, len(batches))))
            found = pool.map(encode, batches)
        for batch, features in zip(batches, found, strict=True):
            values[batch.start : batch.stop] = features
    return values


def _scale(scaling: Scaling, training: Floats) -> dict[str, np.ndarray]:
    """What is taken from features and what they are divided by, float32 (D,) each."""
    width = training.shape[1]
    if scaling == "none":
        return {CENTRE: np.zeros(width, np.float32), SPREAD: np.ones(width, np.float32)}
    values = training.astype(np.float64)
    spread = values.std(axis=0)
    if scaling == "all":
        spread = np.full(width, np.sqrt(np.square(spread).mean()))
    flat = spread <= 1e-6 * np.abs(values).max(axis=0)  # a constant, but for rounding
    return {
        CENTRE: values.mean(axis=0).astype(np.float32),
        SPREAD: np.where(flat, 1.0, spread).astype(np.float32),
    }


def _scaled(encoder: Encoder, values: Floats) -> Floats:
    return (values - encoder.weights[CENTRE]) / encoder.weights[SPREAD]


def _info(folder: Path) -> dict[str, Any]:
    """What a table of features says of its encoder."""
    facts = read_folder(folder)[0]
    kept = ("encoder", "options", "version", "protocol", "fitted_on", "weights_sha256")
    return {key: facts[key] for key in kept}
