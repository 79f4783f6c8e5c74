"""Recipes: how a labelled synthetic dataset is made of datasets and trained generators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from mirage.config.base import Runtime
from mirage.config.recipes import RecipeEntry
from mirage.config.slices import normalise
from mirage.data import Dataset
from mirage.files import read_json
from mirage.generators.checkpoint import load_generator
from mirage.recipes.base import Recipe, write_shard
from mirage.recipes.mask_then_image import MaskThenImage
from mirage.recipes.pseudo_label import PseudoLabel
from mirage.recipes.unconditional import Unconditional
from mirage.training.device import choose_device

RECIPES: dict[str, type[Recipe]] = {
    "unconditional": Unconditional,
    "mask_then_image": MaskThenImage,
    "pseudo_label": PseudoLabel,
}


def synthesise_shard(options: RecipeEntry, inputs: Sequence[Path], shard: Path, runtime: Runtime) -> None:
    """Make one shard of a synthetic dataset.

    Args:
        options: the recipe's entry.
        inputs: ``weights.safetensors`` of its models (under ``<generator>/seed-<n>/``) and
            ``manifest.parquet`` of the datasets it reads.
        shard: ``<recipe>/shard-0000-of-0001.arrow``; rows and facts are written beside it.
        runtime: device and threads.

    Raises:
        CheckpointError, DataError: a model or dataset is damaged, or does not fit the recipe.
    """
    torch.set_num_threads(runtime.threads)
    device = choose_device(runtime)
    models, datasets, lineage = {}, {}, set()
    for path in inputs:
        folder = path.parent
        if path.name == "manifest.parquet":
            datasets[folder.name] = Dataset(folder)
        else:
            key = (folder.parent.name, int(folder.name.removeprefix("seed-")))
            models[key] = load_generator(folder, device)
            lineage |= set(read_json(folder / "model.json")["training"]["lineage"])
    recipe = RECIPES[options.recipe](options, shard.parent.name, models, datasets, lineage)  # type: ignore[attr-defined]
    index = int(shard.stem.split("-")[1])
    write_shard(recipe, options, normalise(options), index, shard.parent)
