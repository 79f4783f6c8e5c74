"""Model folders: `weights.safetensors`, `discriminator.safetensors`, `model.json`, `history.parquet`,
`provenance.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mirage.data import Dataset
from mirage.errors import CheckpointError, MirageError
from mirage.files import atomic_path, file_digest, read_json, write_json
from mirage.generators import build, generator_class
from mirage.generators.base import Generator, ImageSpec
from mirage.training.learner import discriminator_weights, load_weights, sampling_weights

if TYPE_CHECKING:
    from mirage.training.loop import TrainingResult

FORMAT_VERSION = 1


def save_model(
    folder: Path,
    generator: Generator,
    result: TrainingResult,
    data: Dataset,
    *,
    seed: int,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a model folder; ``model.json``, written last, makes it whole.

    Args:
        folder: made when absent.
        generator: its sampling modules are stored with the chosen weights, and, in a file of their own,
            its discriminators with their last ones, which is how an attack on membership would find them.
            Nobody needs that file to sample, and whoever has it can tell who was trained on.
        result: of the training.
        data: the training view, from which name, fingerprint and lineage are taken.
        seed: the training seed.
        provenance: versions, machine and times; free form.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, weights in (
        ("discriminator", discriminator_weights(generator)),
        ("weights", sampling_weights(generator)),
    ):
        stored = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
        with atomic_path(folder / f"{name}.safetensors") as temporary:
            save_file(stored, temporary)
    steps, metrics, values = zip(*result.history, strict=True) if result.history else ((), (), ())
    history = {
        "step": pa.array(steps, pa.int64()),
        "metric": pa.array(metrics, pa.string()),
        "value": pa.array(values, pa.float64()),
    }
    with atomic_path(folder / "history.parquet") as temporary:
        pq.write_table(pa.table(history), temporary)
    write_json(folder / "provenance.json", dict(provenance or {}))
    write_json(
        folder / "model.json",
        {
            "format_version": FORMAT_VERSION,
            "arch": generator.arch,
            "options": generator.options.model_dump(mode="json"),
            "spec": generator.spec.to_json(),
            "model_range": list(generator.model_range),
            "notes": generator.notes,
            "seed": seed,
            "step": result.step,
            "chosen_because": result.chosen_because,
            "metric": {
                "name": result.metric_name,
                "mode": result.metric_mode,
                "value": result.metric,
                "window": result.window,
                "words": result.metric_words,
            },
            "training": {
                "dataset": data.info.name,
                "fingerprint": data.info.fingerprint,
                "items": len(data),
                "lineage": sorted(data.learnt_from()),
                "foreground": _foreground(data),
            },
            "weights_sha256": file_digest(folder / "weights.safetensors"),
        },
    )


def _foreground(data: Dataset) -> float | None:
    """Mean share of labelled pixels in the training masks; None without labels."""
    if "label" not in data.info.mask_channels or data.items["mask_origin"].isna().any():
        return None
    return float(np.mean([np.count_nonzero(data.mask(i)) / data.mask(i).size for i in range(len(data))]))


def load_generator(folder: Path | str, device: torch.device | str = "cpu") -> Generator:
    """A trained generator in evaluation mode, without the networks that only training needs.

    Reads ``model.json`` and ``weights.safetensors``; neither can hold code.

    Raises:
        CheckpointError: a file is missing, damaged, or of another version.
    """
    folder = Path(folder)
    with _readable(folder):
        generator = _described(folder)
        if file_digest(folder / "weights.safetensors") != read_json(folder / "model.json")["weights_sha256"]:
            raise CheckpointError(
                f"{folder / 'weights.safetensors'}: not the weights that model.json describes"
            )
        for name in generator.discriminators:
            delattr(generator, name)
        load_weights(sampling_weights(generator), load_file(folder / "weights.safetensors"))
    generator.requires_grad_(False)
    return generator.to(device).eval()


def load_discriminator(folder: Path | str, device: torch.device | str = "cpu") -> Generator:
    """A model in evaluation mode with its discriminators, and without what only sampling needs.

    Reads ``model.json`` and ``discriminator.safetensors``.

    Raises:
        CheckpointError: a file is missing, damaged, or of another version.
    """
    folder = Path(folder)
    with _readable(folder):
        generator = _described(folder)
        load_weights(discriminator_weights(generator), load_file(folder / "discriminator.safetensors"))
        for name in generator.sampling_modules:
            delattr(generator, name)
    generator.requires_grad_(False)
    return generator.to(device).eval()


def _described(folder: Path) -> Generator:
    """The generator that ``model.json`` describes, untrained."""
    model = read_json(folder / "model.json")
    if model["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder / 'model.json'}: format version {model['format_version']}, this Mirage reads "
            f"{FORMAT_VERSION}; train the model again or use the Mirage that wrote it"
        )
    options = generator_class(model["arch"]).options_class.model_validate(model["options"])
    return build(model["arch"], options, ImageSpec.from_json(model["spec"]))


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Whatever goes wrong while a model folder is read says which folder, and how to mend it."""
    try:
        yield
    except CheckpointError:
        raise
    except (OSError, KeyError, TypeError, ValueError, ValidationError, SafetensorError, MirageError) as error:
        raise CheckpointError(
            f"{folder}: not a readable model ({type(error).__name__}: {error}); "
            "delete the folder and train again, or restore it"
        ) from error
