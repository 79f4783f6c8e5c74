"""Small datasets of discs with boxes around them, and of empty images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conftest import write_dataset
from mirage.data import Dataset
from mirage.data.manifest import CORE, write_manifest

SPLITS = {"train": 12, "val": 2, "test": 6}


def boxed_dataset(
    folder: Path,
    *,
    size: int = 32,
    normal: float = 0.4,
    splits: Mapping[str, int] = SPLITS,
    seed: int = 0,
    origin: str = "simulated",
    label: str = "Nodule",
    lineage: tuple[str, ...] = (),
    columns: Mapping[str, Any] | None = None,
) -> Dataset:
    """Noise with bright discs, each in a box; a share ``normal`` of the images, every so many, has none.

    Args:
        folder: made; its name is the dataset's.
        columns: of the manifest, set on every item, such as ``donor_subject_ids``.
    """
    boxes: list[list[dict[str, Any]]] = []
    due = iter(np.floor(np.arange(1, 1000) * normal) > np.floor(np.arange(999) * normal))

    def item(rng: np.random.Generator) -> tuple[np.ndarray, None]:
        grey = rng.normal(80, 12, (size, size))
        own = []
        y, x = np.mgrid[:size, :size] + 0.5
        for _ in range(0 if next(due) else rng.integers(1, 3)):
            radius = rng.uniform(0.09, 0.14) * size
            cx, cy = rng.uniform(radius, size - radius, 2)
            grey[(x - cx) ** 2 + (y - cy) ** 2 <= radius**2] += 90
            corners = zip(
                ("x0", "y0", "x1", "y1"), (cx - radius, cy - radius, cx + radius, cy + radius), strict=True
            )
            own.append({**{key: float(value) for key, value in corners}, "label": label})
        boxes.append(own)
        return np.clip(grey, 0, 255).astype(np.uint8)[None], None

    data = write_dataset(
        folder,
        item,
        splits=splits,
        shards=1,
        seed=seed,
        origin=origin,
        mask_origin=None,
        modality="toy discs",
        image_shape=(1, size, size),
        image_dtype="uint8",
        channel_names=["grey"],
        mask_channels=[],
        labels={},
        lineage=list(lineage),
    )
    table = pq.read_table(folder / "manifest.parquet").to_pandas()
    table["boxes"] = boxes
    for name, values in (columns or {}).items():
        table[name] = values
    schema = pa.schema([CORE.field(name) for name in CORE.names])
    extra = [name for name in table.columns if name not in CORE.names]
    core = pa.Table.from_pandas(table[CORE.names], schema=schema, preserve_index=False)
    for name in extra:
        core = core.append_column(name, pa.array(table[name].tolist()))
    write_manifest(folder / "manifest.parquet", core)
    return Dataset(data.folder)
