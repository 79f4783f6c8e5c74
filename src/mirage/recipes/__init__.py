"""Recipes: how a labelled synthetic dataset is made of datasets and trained generators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from mirage.config.base import Runtime
from mirage.config.recipes import ExtractAndInsertRecipe, RecipeEntry
from mirage.data import Dataset
from mirage.errors import DataError
from mirage.files import file_digest, read_json
from mirage.generators.checkpoint import load_generator
from mirage.recipes.base import Recipe, write_shard
from mirage.registry import resolve
from mirage.training.device import choose_device

RECIPES = {
    "unconditional": "mirage.recipes.unconditional:Unconditional",
    "mask_then_image": "mirage.recipes.mask_then_image:MaskThenImage",
    "pseudo_label": "mirage.recipes.pseudo_label:PseudoLabel",
    "plant_canaries": "mirage.recipes.plant_canaries:PlantCanaries",
    "mix_labels": "mirage.recipes.mix_labels:MixLabels",
    "carve_mix": "mirage.recipes.carve_mix:CarveMixed",
    "copy_paste": "mirage.recipes.copy_paste:CopyPasted",
    "extract_lesions": "mirage.recipes.extract_lesions:ExtractLesions",
    "extract_and_insert": "mirage.recipes.extract_and_insert:ExtractAndInsert",
    "project_and_insert": "mirage.recipes.project_and_insert:ProjectAndInsert",
}
WEIGHTS, MANIFEST = "weights.safetensors", "manifest.parquet"
"""Files by which models and datasets are named."""


def synthesise_shard(options: RecipeEntry, inputs: Sequence[Path], shard: Path, runtime: Runtime) -> None:
    """Make one shard of a synthetic dataset.

    Args:
        options: the recipe's entry.
        inputs: ``weights.safetensors`` of its models (under ``<generator>/seed-<n>/``) and
            ``manifest.parquet`` of the datasets it reads; where lesions are inserted, the table of those that
            are accepted, under any other name.
        shard: ``<recipe>/shard-0000-of-0001.arrow``; rows and facts are written beside it.
        runtime: device and threads.

    Raises:
        CheckpointError, DataError: a model or dataset is damaged, or does not fit the recipe; a file is none
            of these.
    """
    torch.set_num_threads(runtime.threads)
    device = choose_device(runtime)
    models, datasets, training = {}, {}, {}
    tables = [path for path in inputs if path.name not in (WEIGHTS, MANIFEST)]
    if tables and not isinstance(options, ExtractAndInsertRecipe):
        raise DataError(
            f"{tables[0]}: expected {WEIGHTS} of a model or {MANIFEST} of a dataset; only the recipe "
            f"`extract_and_insert` reads a table, and this one is `{options.recipe}`"
        )
    lineage: set[str] = set()
    prints: dict[str, str] = {}
    for path in inputs:
        folder = path.parent
        if path in tables:
            prints[path.name] = file_digest(path)[:16]
            continue
        if path.name == MANIFEST:
            data = datasets[folder.name] = Dataset(folder)
            lineage |= set(data.info.lineage)
            prints[folder.name] = data.info.fingerprint
        else:
            name, seed = folder.parent.name, int(folder.name.removeprefix("seed-"))
            models[name, seed] = load_generator(folder, device)
            model = read_json(folder / "model.json")
            training[name, seed] = model["training"]
            lineage |= set(model["training"]["lineage"])
            prints[f"{name} (seed {seed})"] = model["weights_sha256"][:16]
    recipe: Recipe = resolve(RECIPES, options.recipe, "recipe")(
        options, shard.parent.name, models, training, datasets, lineage, prints, tables
    )
    recipe.check()
    write_shard(recipe, int(shard.stem.split("-")[1]), shard.parent)
