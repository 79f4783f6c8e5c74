"""A dataset folder: `manifest.parquet`, `dataset.json` and memory-mapped shards.

Real, simulated, synthetic and mixed data are all the same kind of folder, so whatever reads one reads all.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mirage.config.base import SOMEBODY, Part
from mirage.data.items import Items
from mirage.data.names import shard_name
from mirage.data.shards import ShardReader
from mirage.errors import DataError
from mirage.files import digest, read_json, write_json


class ImageFacts(BaseModel):
    """What the images of a shard, and of a whole dataset, have in common."""

    model_config = ConfigDict(extra="forbid")

    namespace: str = Field(description="what subject ids are unique within, e.g. the source and its path")
    modality: str
    image_shape: tuple[int, ...] = Field(description="(C, H, W) or (C, D, H, W)")
    image_dtype: str = Field(description="NumPy type of the stored image")
    value_range: tuple[float, float] = Field(description="lowest and highest possible stored value")
    channel_names: list[str]
    mask_channels: list[str] = Field(
        description="`label`, `fov`, `observer2` ... ; empty without masks. Each is uint8"
    )
    labels: dict[int, str] = Field(description="value of mask channel `label` -> name; 0 is background")
    spacing_mm: tuple[float, ...] | None = Field(None, description="of the stored image, (D,) H, W")
    lineage: list[str] = Field(
        default_factory=list,
        description="namespaced subjects that any model behind these images has learnt from",
    )


class DatasetInfo(ImageFacts):
    """Contents of ``dataset.json``."""

    name: str
    shards: int
    items: dict[str, int] = Field(default_factory=dict, description="ok items per split")
    failed: int = 0
    duplicates: int = Field(0, description="ok items whose stored image occurs earlier in the dataset")
    doubts: list[str] = Field(
        default_factory=list, description="what may be wrong with how the source is read, as sentences"
    )
    fingerprint: str = Field("", description="hash over manifest and shards")
    provenance: dict[str, Any] = Field(
        default_factory=dict, description="stage, code, options and seed that made the shards, and the split"
    )


class Dataset(Items):
    """Read access to a dataset folder, or to some of its items.

    Items are those with status ``ok``; their order is the manifest's. Cheap to pickle: shards are
    opened on first use in each process.

    Args:
        folder: the dataset folder.

    Raises:
        DataError: the folder is no dataset, or its parts do not fit together.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        try:
            self.info = DatasetInfo.model_validate(read_json(self.folder / "dataset.json"))
            table = pq.read_table(self.folder / "manifest.parquet")
        except (OSError, ValueError, ValidationError) as error:
            raise DataError(f"{self.folder}: not a readable dataset ({error})") from error
        manifest = table.to_pandas()
        if "also_known_as" not in manifest:  # made before there was such a column
            manifest["also_known_as"] = [[]] * len(manifest)
        self.failures = manifest[manifest["status"] != "ok"].reset_index(drop=True)
        self.items = manifest[manifest["status"] == "ok"].reset_index(drop=True)
        self._readers: dict[int, ShardReader] = {}

    def select(
        self,
        split: Literal["train", "val", "test"] | None = None,
        images: int | None = None,
        seed: int | None = None,
    ) -> Dataset:
        """The same dataset restricted to a split, and to its first ``images`` items.

        Subjects are taken in the order of a hash of their id, which a seed keys where one is given, so that
        n < m gives nested subsets (of one seed) and no subject is preferred by its name.
        """
        items = self.items if split is None else self.items[self.items["split"] == split]
        if images is not None:
            keyed = {} if seed is None else {"hash_key": digest(["part", seed])[:16]}
            order = pd.util.hash_pandas_object(items["subject_id"], index=False, **keyed).to_numpy()
            items = items.iloc[np.sort(np.argsort(order, kind="stable")[:images])]
        return self._view(items)

    def training_part(self, part: Part, seed: int | None = None) -> Dataset:
        """The training split, cut to the images that ``part`` asks for.

        Args:
            part: how many.
            seed: of the choice; None: the one that all who give none have in common.

        Raises:
            DataError: there are fewer, or none.
        """
        whole = self.select("train")
        images = part.images_of(len(whole))
        if not 0 < images <= len(whole):
            raise DataError(
                f"{self.info.name}: {images or 'some'} training images are asked for, its training split "
                f"has {len(whole)}"
            )
        return self.select("train", images, seed)

    def labelled(self) -> Dataset:
        """The same dataset without the items that have no label mask."""
        return self._view(self.items[self.items["mask_origin"].notna()])

    def of_subjects(self, subjects: Collection[str]) -> Dataset:
        """The same dataset restricted to some namespaced subjects, by any of their names."""
        own = f"{self.info.namespace}/" + self.items["subject_id"]
        named = {name for name in subjects if not name.endswith(f"/{SOMEBODY}")}
        other = self.items["also_known_as"].map(lambda names: not named.isdisjoint(names)).astype(bool)
        return self._view(self.items[own.isin(named) | other])

    def of_items(self, item_ids: Collection[str]) -> Dataset:
        """The same dataset restricted to some items."""
        return self._view(self.items[self.items["item_id"].isin(item_ids)])

    def _view(self, items: pd.DataFrame) -> Dataset:
        view = object.__new__(Dataset)
        view.folder, view.info, view.failures = self.folder, self.info, self.failures
        view._readers = {}
        view.items = items.reset_index(drop=True)
        return view

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_readers": {}}

    def _tensor(self, index: int, name: str) -> np.ndarray:
        shard, row = int(self._columns["shard"][index]), int(self._columns["row"][index])
        if shard not in self._readers:
            path = self.folder / f"{shard_name(shard, self.info.shards)}.arrow"
            self._readers[shard] = ShardReader(path)
        return self._readers[shard].tensor(row, name)

    def image(self, index: int) -> np.ndarray:
        return self._tensor(index, "image")

    def masks(self, index: int) -> np.ndarray:
        if not self.info.mask_channels:
            raise DataError(f"dataset {self.info.name} has no masks")
        return self._tensor(index, "mask")

    def subjects(self) -> set[str]:
        return {f"{self.info.namespace}/{subject}" for subject in self.items["subject_id"]}

    def learnt_from(self) -> set[str]:
        donors = {donor for donors in self.items["donor_subject_ids"] for donor in donors}
        return self.subjects() | donors | self.other_names() | set(self.info.lineage)


def write_info(folder: Path | str, info: DatasetInfo) -> None:
    """Write ``dataset.json``, atomically."""
    write_json(Path(folder) / "dataset.json", info.model_dump(mode="json"))
