"""Shards: fixed-shape tensors in Arrow IPC files, one record batch an item, read through a memory map."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from mirage.errors import DataError
from mirage.files import atomic_path


def content_hash(image: np.ndarray) -> str:
    """Digest (16 hex digits) of an array's shape, type and values.

    Of a volume, the CRC-32 of its planes are digested: several times as fast, and sure enough to differ.
    """
    digest = hashlib.blake2b(f"{image.dtype.str}{image.shape}".encode(), digest_size=8)
    values = np.ascontiguousarray(image)
    if values.ndim < 4:
        digest.update(values.data)
    else:
        planes = (plane for volume in values for plane in volume)
        digest.update(np.array([zlib.crc32(plane.data) for plane in planes], np.uint32).tobytes())
    return digest.hexdigest()


def is_blank(item: np.ndarray) -> bool:
    """Whether every channel of an item (C, ...) has one value only: an empty mask, a blank slice. Such items
    are alike without being copies.

    A mask is given one axis more: ``mask[None]``.
    """
    values = item.reshape(len(item), -1)
    return bool((values == values[:, :1]).all())


class ShardWriter:
    """Writes items one by one; memory holds one item, the file appears only when all are written.

    Args:
        path: the ``.arrow`` file.
        image_shape: (C, H, W) or (C, D, H, W).
        image_dtype: NumPy integer or float type.
        mask_shape: (M, H, W) or (M, D, H, W) of uint8 mask channels, or None.

    Raises:
        DataError: an item of another shape or type.
    """

    def __init__(
        self,
        path: Path | str,
        image_shape: tuple[int, ...],
        image_dtype: np.dtype | type,
        mask_shape: tuple[int, ...] | None = None,
    ) -> None:
        self._shapes: dict[str, tuple[tuple[int, ...], np.dtype]] = {
            "image": (tuple(image_shape), np.dtype(image_dtype))
        }
        if mask_shape is not None:
            self._shapes["mask"] = (tuple(mask_shape), np.dtype(np.uint8))
        self._schema = pa.schema(
            [
                pa.field(name, pa.fixed_shape_tensor(pa.from_numpy_dtype(dtype), shape))
                for name, (shape, dtype) in self._shapes.items()
            ]
        )
        self._atomic = atomic_path(path)
        self._rows = 0

    def __enter__(self) -> ShardWriter:
        self._temporary = self._atomic.__enter__()
        self._sink = pa.OSFile(str(self._temporary), "wb")
        self._writer = pa.ipc.new_file(self._sink, self._schema)
        return self

    def append(self, image: np.ndarray, mask: np.ndarray | None = None) -> int:
        """Write one item and return its row."""
        arrays = {"image": image} if mask is None else {"image": image, "mask": mask}
        if arrays.keys() != self._shapes.keys():
            raise DataError(f"shard holds {sorted(self._shapes)}, item has {sorted(arrays)}")
        columns = []
        for name, (shape, dtype) in self._shapes.items():
            array = arrays[name]
            if array.shape != shape or array.dtype != dtype:
                raise DataError(f"{name} is {array.dtype} {array.shape}, the shard stores {dtype} {shape}")
            flat = pa.array(np.ascontiguousarray(array).ravel())
            storage = pa.FixedSizeListArray.from_arrays(flat, len(flat))
            columns.append(pa.ExtensionArray.from_storage(self._schema.field(name).type, storage))
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
        self._rows += 1
        return self._rows - 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()
        self._sink.close()
        self._atomic.__exit__(kind, error, trace)


class ShardReader:
    """Reads items of one shard; each is a read-only view into the mapped file."""

    def __init__(self, path: Path | str) -> None:
        try:
            self._reader = pa.ipc.open_file(pa.memory_map(str(path)))
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(
                f"{path}: not a readable shard ({error}); delete the dataset's folder and run again"
            ) from error

    def __len__(self) -> int:
        return int(self._reader.num_record_batches)

    def tensor(self, row: int, name: str) -> np.ndarray:
        """Array ``image`` or ``mask`` of a row, without copying it."""
        array: np.ndarray = self._reader.get_batch(row).column(name).to_numpy_ndarray()[0]
        return array
