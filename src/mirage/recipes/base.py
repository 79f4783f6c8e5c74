"""What all recipes share: items with seeds of their own, written to one shard with its rows and facts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from mirage import provenance, seeds
from mirage.config.base import ModelRef
from mirage.config.recipes import RecipeEntry
from mirage.data import Dataset, ItemRow, ShardWriter
from mirage.data.gather import ShardFacts
from mirage.data.manifest import to_table, write_manifest
from mirage.data.names import shard_name
from mirage.data.shards import content_hash
from mirage.errors import DataError
from mirage.generators.base import Generator, ImageSpec
from mirage.preprocess.fov import derive_fov


@dataclass
class Made:
    """One item of a recipe: its row, and its pixels unless it failed.

    ``image`` is (C, H, W) in the stored type; ``masks`` maps mask channels to uint8 (H, W).
    """

    row: ItemRow
    image: np.ndarray | None = None
    masks: Mapping[str, np.ndarray] | None = None


class Recipe(ABC):
    """A way to make a labelled synthetic dataset.

    Args:
        options: the recipe's entry.
        name: its name in the configuration.
        models: trained generators by (name, seed).
        training: what each has learnt from, the part ``training`` of its ``model.json``.
        datasets: datasets it reads, by name.
        lineage: namespaced subjects that the models, or any model behind the datasets, have learnt from.
        inputs: fingerprints of the models' weights and of the datasets, by name.
        tables: files of the user's that it reads.
    """

    batch: ClassVar[int] = 16

    def __init__(
        self,
        options: Any,
        name: str,
        models: Mapping[tuple[str, int], Generator],
        training: Mapping[tuple[str, int], Mapping[str, Any]],
        datasets: Mapping[str, Dataset],
        lineage: set[str],
        inputs: Mapping[str, str],
        tables: Sequence[Path] = (),
    ) -> None:
        self.options = options
        self.inputs = inputs
        self.tables = tables
        self.name = name
        self.datasets = datasets
        self._models = models
        self._training = training
        self.lineage = lineage

    def model(self, ref: ModelRef) -> Generator:
        """The trained generator that a key of the recipe names."""
        return self._models[ref.generator, ref.seed]

    def learnt(self, ref: ModelRef) -> Mapping[str, Any]:
        """What that generator has learnt from: dataset, items, share of foreground ..."""
        return self._training[ref.generator, ref.seed]

    def seed_of(self, stage: str, *index: int) -> int:
        """Seed of one item (and draw): the same however the items are cut into shards or batches."""
        return seeds.integer(self.options.seed, f"recipe/{stage}", *index)

    @property
    def namespace(self) -> str:
        """What the subjects of the items are unique within."""
        return self.name

    @property
    @abstractmethod
    def count(self) -> int:
        """Items in the whole dataset, over all shards."""

    @property
    @abstractmethod
    def spec(self) -> ImageSpec:
        """Shape, type and labels of the images that are made."""

    @property
    @abstractmethod
    def mask_channels(self) -> list[str]:
        """Channels of the masks that are made."""

    def check(self) -> None:  # noqa: B027 - most recipes have nothing to check
        """Refuse models and datasets that do not fit together.

        Raises:
            DataError: says what differs.
        """

    @abstractmethod
    def make(self, indices: Sequence[int]) -> Iterator[Made]:
        """Make the items with these indices, in this order."""

    def row(self, index: int, **known: Any) -> ItemRow:
        """Row of a synthetic item; a synthetic item is a subject of its own and belongs to training."""
        item = f"{self.name}_{index:06d}"
        return ItemRow(
            **{"item_id": item, "subject_id": item, "origin": "synthetic", "split": "train", **known}
        )

    @cached_property
    def _other_names(self) -> dict[str, set[str]]:
        """Subject of the datasets that are read -> the names that other archives give it."""
        found: dict[str, set[str]] = {}
        for data in self.datasets.values():
            own = f"{data.info.namespace}/" + data.items["subject_id"]
            columns = (own, data.items["donor_subject_ids"], data.items["also_known_as"])
            for subject, donors, names in zip(*columns, strict=True):
                for known in (subject, *donors) if len(names) else ():
                    found.setdefault(known, set()).update(names)
        return found

    def other_names(self, row: ItemRow) -> list[str]:
        """Names that other archives give the subject and the donors of an item."""
        known = [f"{self.namespace}/{row.subject_id}", *row.donor_subject_ids]
        return sorted({name for subject in known for name in self._other_names.get(subject, ())})

    def with_fov(self, image: np.ndarray, masks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Masks with the field of view derived from the made image, where the real data have one."""
        if "fov" in self.mask_channels:
            masks["fov"] = derive_fov(image)
        return masks


def write_shard(recipe: Recipe, shard: int, folder: Path) -> None:
    """Write the items ``shard``, ``shard + shards``, ... of a recipe into one shard of ``folder``."""
    options: RecipeEntry = recipe.options
    indices = list(range(shard, recipe.count, options.shards))
    spec, channels = recipe.spec, recipe.mask_channels
    stem = folder / shard_name(shard, options.shards)
    mask_shape = (len(channels), *spec.image_shape[1:]) if channels else None
    rows: list[ItemRow] = []
    with (
        torch.inference_mode(),
        ShardWriter(
            stem.with_suffix(".arrow"), spec.image_shape, np.dtype(spec.image_dtype), mask_shape
        ) as writer,
    ):
        for start in range(0, len(indices), recipe.batch):
            for made in recipe.make(indices[start : start + recipe.batch]):
                row = made.row
                row.shard = shard
                row.also_known_as = recipe.other_names(row)
                if made.image is not None:
                    row.content_hash = content_hash(made.image)
                    row.row = writer.append(made.image, _stack(made.masks, channels))
                rows.append(row)
    write_manifest(stem.with_suffix(".parquet"), to_table(rows))
    described = options.model_dump(mode="json", exclude={"runtime", "demo"})
    ShardFacts(
        namespace=recipe.namespace,
        modality=spec.modality,
        image_shape=spec.image_shape,
        image_dtype=spec.image_dtype,
        value_range=spec.value_range,
        channel_names=spec.channel_names,
        mask_channels=channels,
        labels=spec.labels,
        spacing_mm=spec.spacing_mm,
        lineage=sorted(recipe.lineage),
        items=sum(row.status == "ok" for row in rows),
        made_by=provenance.describe("synthesise", described, seed=options.seed, **recipe.inputs),
    ).write(stem.with_suffix(".json"))


def _stack(masks: Mapping[str, np.ndarray] | None, channels: Sequence[str]) -> np.ndarray | None:
    if not channels:
        return None
    if masks is None or set(masks) != set(channels):
        raise DataError(f"recipe made the masks {sorted(masks or ())}, its dataset stores {list(channels)}")
    return np.stack([masks[channel] for channel in channels])
