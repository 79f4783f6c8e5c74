"""Fixtures shared by the unit tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mirage.data import Dataset, DatasetInfo, ItemRow, ShardWriter, shard_name
from mirage.data.dataset import write_info
from mirage.data.manifest import to_table, write_manifest
from mirage.data.shards import content_hash
from mirage.files import digest, file_digest

ToyDataset = Callable[..., Dataset]
MakeItem = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray | None]]
SPLITS = {"train": 8, "val": 3, "test": 3}
VOLUME_SPLITS = {"train": 3, "val": 1, "test": 2}
TUMOUR = {1: "NCR", 2: "ED", 3: "ET"}
TCGA = {
    "codes": "brats2018",
    "files": {
        "flair": "raw_bet/*_fla_bet.nii.gz",
        "t1": "raw_bet/*_t1_bet.nii.gz",
        "t1ce": "raw_bet/*_t1c_bet.nii.gz",
        "t2": "raw_bet/*_t2_bet.nii.gz",
        "label": "fusion/mav.nii.gz",
    },
}
"""Options of the reader `brats` for the real volumes of TCGA-LGG-brats-space."""


def disc_item(
    rng: np.random.Generator, size: int, channels: int, dtype: type, labels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (C, H, W), label (H, W) and field of view (H, W) of bright discs on a shaded background."""
    y, x = np.mgrid[:size, :size]
    fov = ((x - size / 2 + 0.5) ** 2 + (y - size / 2 + 0.5) ** 2 <= (0.48 * size) ** 2).astype(np.uint8)
    label = np.zeros((size, size), np.uint8)
    for value in range(1, labels + 1):
        cx, cy = rng.uniform(0.3, 0.7, 2) * size
        radius = rng.uniform(0.1, 0.2) * size
        label[(x - cx) ** 2 + (y - cy) ** 2 <= radius**2] = value
    label *= fov
    grey = 0.2 + 0.2 * x / size + 0.5 * label / max(labels, 1) + rng.normal(0, 0.02, (size, size))
    tint = np.linspace(1.0, 0.7, channels)[:, None, None]
    image = np.clip(grey * tint, 0, 1) * fov
    return np.round(image * np.iinfo(dtype).max).astype(dtype), label, fov


def ball_item(
    rng: np.random.Generator, extent: tuple[int, int, int], channels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (C, D, H, W), uint16, label and brain (D, H, W) of an egg-shaped brain with a ball in shells.

    The ball holds necrosis (1) inside an enhancing shell (3) inside oedema (2). Channel c is bright where
    label c % 3 + 1 is; everything outside the brain is 0.
    """
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in extent), indexing="ij")
    brain = sum(axis**2 for axis in axes) <= 0.81
    centre = rng.uniform(-0.25, 0.25, 3)
    distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)))
    size = rng.uniform(0.45, 0.55)
    label = np.select([distance < size * part for part in (0.4, 0.7, 1.0)], [1, 3, 2], 0).astype(np.uint8)
    label *= brain
    bright = np.stack([label == channel % 3 + 1 for channel in range(channels)])
    grey = 0.3 + 0.1 * axes[2] + 0.4 * bright + rng.normal(0, 0.02, (channels, *extent))
    image = np.clip(grey, 0.01, 1) * brain
    return np.round(image * 65535).astype(np.uint16), label, brain.astype(np.uint8)


def write_dataset(
    folder: Path,
    make: MakeItem,
    *,
    splits: Mapping[str, int],
    shards: int,
    seed: int,
    origin: str,
    mask_origin: str | None,
    **facts: Any,
) -> Dataset:
    """Write a small dataset folder.

    Args:
        folder: made; its name is the dataset's.
        make: image and masks (M, ...) of an item from its random numbers.
        splits: name -> number of items, each item a subject of its own.
        shards: files that items are dealt to in turn.
        seed: of the items, and part of the namespace of the subjects.
        origin, mask_origin: of every item.
        facts: of ``DatasetInfo``.
    """
    order = [(split, index) for split, count in splits.items() for index in range(count)]
    dtype = np.dtype(facts["image_dtype"])
    channels, shape = len(facts["mask_channels"]), facts["image_shape"]
    rows: list[ItemRow] = []
    for shard in range(shards):
        path = folder / f"{shard_name(shard, shards)}.arrow"
        with ShardWriter(path, shape, dtype, (channels, *shape[1:]) if channels else None) as writer:
            for number, (split, index) in enumerate(order):
                if number % shards != shard:
                    continue
                image, masks = make(np.random.default_rng([seed, number]))
                rows.append(
                    ItemRow(
                        item_id=f"{split}_{index}",
                        subject_id=f"{split}_s{index}",
                        origin=origin,
                        mask_origin=mask_origin,
                        split=split,
                        shard=shard,
                        row=writer.append(image, masks),
                        content_hash=content_hash(image),
                        attributes={"age": 40 + index, "sex": "FM"[index % 2]},
                    )
                )
    write_manifest(folder / "manifest.parquet", to_table(rows))
    files = [folder / "manifest.parquet", *sorted(folder.glob("*.arrow"))]
    described = {
        "name": folder.name,
        "namespace": f"toy:{seed}",
        "value_range": (0, float(np.iinfo(dtype).max)),
        "shards": shards,
        "items": dict(splits),
        "fingerprint": digest([file_digest(path) for path in files]),
    }
    write_info(folder, DatasetInfo(**described, **facts))
    return Dataset(folder)


@pytest.fixture
def toy_dataset(tmp_path: Path) -> ToyDataset:
    """Factory of small real dataset folders: discs on a shaded background, their label masks and the fov.

    Keyword arguments of the factory: ``name``; ``size`` of the side in pixels; ``channels`` 1 or 3;
    ``splits`` name -> number of items, each item a subject of its own; ``origin`` real or simulated;
    ``dtype`` uint8 or uint16; ``labels`` number of label values, 0 for a dataset without label channel;
    ``fov`` and ``observer2`` for these mask channels; ``shards``; ``seed``; ``lineage``.
    Returns the Dataset; its folder is ``tmp_path / name``.
    """

    def make(
        name: str = "toy",
        *,
        size: int = 32,
        channels: int = 3,
        splits: Mapping[str, int] = SPLITS,
        origin: str = "simulated",
        dtype: type = np.uint8,
        labels: int = 1,
        fov: bool = True,
        observer2: bool = False,
        shards: int = 1,
        seed: int = 0,
        lineage: tuple[str, ...] = (),
    ) -> Dataset:
        mask_channels = ["label"] * (labels > 0) + ["fov"] * fov + ["observer2"] * observer2

        def item(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
            image, label, inside = disc_item(rng, size, channels, dtype, labels)
            masks = {"label": label, "fov": inside, "observer2": np.roll(label > 0, 1, 1).astype(np.uint8)}
            return image, np.stack([masks[key] for key in mask_channels]) if mask_channels else None

        return write_dataset(
            tmp_path / name,
            item,
            splits=splits,
            shards=shards,
            seed=seed,
            origin=origin,
            mask_origin="simulated" if labels else None,
            modality="toy discs",
            image_shape=(channels, size, size),
            image_dtype=np.dtype(dtype).name,
            channel_names=["red", "green", "blue"] if channels == 3 else ["grey"] * channels,
            mask_channels=mask_channels,
            labels={value: "disc" if labels == 1 else f"disc{value}" for value in range(1, labels + 1)},
            spacing_mm=None,
            lineage=list(lineage),
        )

    return make


@pytest.fixture
def toy_volumes(tmp_path: Path) -> ToyDataset:
    """Factory of small dataset folders of volumes: see ``ball_item``; 16 bit, labels NCR, ED and ET.

    Keyword arguments of the factory: ``name``; ``extent`` (D, H, W) in voxels; ``channels``; ``splits`` name
    -> number of items, each item a subject of its own; ``origin`` real, simulated or synthetic; ``brain`` for
    this mask channel beside the label; ``labels`` value -> name; ``spacing_mm``; ``shards``; ``seed``;
    ``lineage``. Returns the Dataset; its folder is ``tmp_path / name``.
    """

    def make(
        name: str = "toy",
        *,
        extent: tuple[int, int, int] = (24, 28, 26),
        channels: int = 4,
        splits: Mapping[str, int] = VOLUME_SPLITS,
        origin: str = "simulated",
        brain: bool = True,
        labels: Mapping[int, str] = TUMOUR,
        spacing_mm: tuple[float, float, float] = (2.0, 1.5, 1.5),
        shards: int = 1,
        seed: int = 0,
        lineage: tuple[str, ...] = (),
    ) -> Dataset:
        def item(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            image, label, inside = ball_item(rng, extent, channels)
            return image, np.stack([label, inside] if brain else [label])

        return write_dataset(
            tmp_path / name,
            item,
            splits=splits,
            shards=shards,
            seed=seed,
            origin=origin,
            mask_origin="synthetic" if origin == "synthetic" else "simulated",
            modality="toy brains",
            image_shape=(channels, *extent),
            image_dtype="uint16",
            channel_names=["flair", "t1", "t1ce", "t2"][:channels],
            mask_channels=["label", "brain"] if brain else ["label"],
            labels=dict(labels),
            spacing_mm=spacing_mm,
            lineage=list(lineage),
        )

    return make


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One CPU thread, so that sums are added in one order and bits can be compared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
