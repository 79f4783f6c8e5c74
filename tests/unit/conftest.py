"""Fixtures shared by the unit tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from mirage.data import Dataset, DatasetInfo, ItemRow, ShardWriter, shard_name
from mirage.data.dataset import write_info
from mirage.data.manifest import to_table, write_manifest
from mirage.data.shards import content_hash
from mirage.files import digest, file_digest

ToyDataset = Callable[..., Dataset]
SPLITS = {"train": 8, "val": 3, "test": 3}


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
        folder = tmp_path / name
        mask_channels = ["label"] * (labels > 0) + ["fov"] * fov + ["observer2"] * observer2
        mask_shape = (len(mask_channels), size, size) if mask_channels else None
        order = [(split, index) for split, count in splits.items() for index in range(count)]
        rows: list[ItemRow] = []
        for shard in range(shards):
            path = folder / f"{shard_name(shard, shards)}.arrow"
            with ShardWriter(path, (channels, size, size), dtype, mask_shape) as writer:
                for number, (split, index) in enumerate(order):
                    if number % shards != shard:
                        continue
                    rng = np.random.default_rng([seed, number])
                    image, label, inside = disc_item(rng, size, channels, dtype, labels)
                    masks = {
                        "label": label,
                        "fov": inside,
                        "observer2": np.roll(label > 0, 1, 1).astype(np.uint8),
                    }
                    stack = np.stack([masks[key] for key in mask_channels]) if mask_channels else None
                    rows.append(
                        ItemRow(
                            item_id=f"{split}_{index}",
                            subject_id=f"{split}_s{index}",
                            origin=origin,
                            mask_origin="simulated" if labels else None,
                            split=split,
                            shard=shard,
                            row=writer.append(image, stack),
                            content_hash=content_hash(image),
                            attributes={"age": 40 + index, "sex": "FM"[index % 2]},
                        )
                    )
        write_manifest(folder / "manifest.parquet", to_table(rows))
        files = [folder / "manifest.parquet", *sorted(folder.glob("*.arrow"))]
        write_info(
            folder,
            DatasetInfo(
                name=name,
                namespace=f"toy:{seed}",
                modality="toy discs",
                image_shape=(channels, size, size),
                image_dtype=np.dtype(dtype).name,
                value_range=(0, float(np.iinfo(dtype).max)),
                channel_names=["red", "green", "blue"] if channels == 3 else ["grey"] * channels,
                mask_channels=mask_channels,
                labels={value: "disc" if labels == 1 else f"disc{value}" for value in range(1, labels + 1)},
                spacing_mm=None,
                shards=shards,
                items=dict(splits),
                lineage=list(lineage),
                fingerprint=digest([file_digest(path) for path in files]),
            ),
        )
        return Dataset(folder)

    return make
