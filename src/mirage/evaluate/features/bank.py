"""The feature bank: one Parquet file a dataset and encoder, with everything that decided its numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mirage.data import Items
from mirage.errors import DataError
from mirage.files import atomic_path

Floats = npt.NDArray[np.float32]
KEYS = ("item_id", "subject_id", "split", "origin")
METADATA = b"mirage"


@dataclass(frozen=True)
class FeatureTable:
    """Features of the items of one dataset by one encoder.

    Attributes:
        items: item_id, subject_id, split and origin of each, in the order of the manifest.
        values: float32 (N, D), finite.
        names: of the D features.
        info: encoder, options, version, weights_sha256, fitted_on, protocol (range, size, resize kernel,
            region, scaling), and the dataset's name, fingerprint, value range and image shape.
    """

    items: pd.DataFrame
    values: Floats
    names: tuple[str, ...]
    info: Mapping[str, Any]

    def rows(self, items: Items) -> Floats:
        """Features (len(items), D) of a view of the dataset, in its order.

        Raises:
            DataError: items that have no features here, or a dataset that has changed since.
        """
        known = self.info["dataset"]
        if items.info.fingerprint != known["fingerprint"]:
            raise DataError(
                f"the features of {known['name']} by {self.info['encoder']} are of another version of it "
                f"than {items.info.name}; run Snakemake, which makes them again"
            )
        places = pd.Index(self.items["item_id"]).get_indexer(items.items["item_id"])
        if (places < 0).any():
            missing = items.items["item_id"].to_numpy()[places < 0]
            raise DataError(
                f"no features of {len(missing)} items of {items.info.name}, such as {missing[0]}, by "
                f"{self.info['encoder']}; delete its table and run again"
            )
        return self.values[places]


class FeatureBank:
    """The tables that an evaluation may read; each is read from disk when it is asked for.

    Args:
        files: ``.../{encoder}/{dataset}.parquet``.
        encoders: ``.../{encoder}/encoder.json`` of those that the evaluation applies itself.

    Attributes:
        encoders: folder of each of these encoders, by its name.
    """

    def __init__(self, files: Iterable[Path | str] = (), encoders: Iterable[Path | str] = ()) -> None:
        self._files = {(Path(file).parent.name, Path(file).stem): Path(file) for file in files}
        self.encoders = {Path(file).parent.name: Path(file).parent for file in encoders}

    def __call__(self, encoder: str, dataset: str) -> FeatureTable:
        """Features of a dataset by an encoder.

        Raises:
            DataError: there is no such table.
        """
        if (encoder, dataset) not in self._files:
            held = ", ".join(sorted(f"{data} by {name}" for name, data in self._files)) or "none"
            raise DataError(f"no features of {dataset} by {encoder}; there are: {held}")
        return read_features(self._files[encoder, dataset])


def write_features(
    path: Path, data: Items, values: Floats, names: Iterable[str], info: Mapping[str, Any]
) -> None:
    """Write a table of features, atomically.

    Args:
        path: the Parquet file.
        data: the dataset; all its items.
        values: (len(data), D).
        names: of the D features.
        info: see :class:`FeatureTable`; the dataset's own facts are added.

    Raises:
        DataError: features that are no finite numbers; names some items.
    """
    odd = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(odd):
        shown = ", ".join(data.items["item_id"].iloc[odd[:5]])
        raise DataError(
            f"{data.info.name}: the features of {len(odd)} items are not finite, such as {shown}; look at "
            "these images, and leave out or mend them"
        )
    known = {
        "name": data.info.name,
        "fingerprint": data.info.fingerprint,
        "value_range": list(data.info.value_range),
        "image_shape": list(data.info.image_shape),
    }
    described = {**info, "dataset": known, "names": list(names)}
    columns: dict[str, Any] = {key: pa.array(data.items[key], pa.string()) for key in KEYS}
    flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1))
    columns["features"] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    table = pa.table(columns).replace_schema_metadata({METADATA: json.dumps(described)})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def read_features(path: Path) -> FeatureTable:
    """Read a table that :func:`write_features` wrote.

    Raises:
        DataError: the file is missing or is no such table.
    """
    try:
        table = pq.read_table(path)
        info = json.loads(table.schema.metadata[METADATA])
        column = table["features"].combine_chunks()
        values = column.flatten().to_numpy(zero_copy_only=True).reshape(len(table), -1)
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path}: no table of features ({type(error).__name__}: {error})") from error
    return FeatureTable(table.select(KEYS).to_pandas(), values, tuple(info["names"]), info)
