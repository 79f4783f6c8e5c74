"""Prepare one shard of a dataset: read, cut, scale and store, one image in memory at a time.

A shard is three files: `shard-0000-of-0008.arrow` with the pixels, `.parquet` with a row per item, failed
ones included, and `.json` with what the dataset's description needs to know of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mirage.config.datasets import DatasetConfig, PrepareOptions
from mirage.data.gather import ShardFacts
from mirage.data.manifest import ABSENT, ItemRow, to_table, write_manifest
from mirage.data.names import shard_name
from mirage.data.shards import ShardWriter, content_hash
from mirage.errors import DataError
from mirage.preprocess import geometry
from mirage.preprocess.fov import derive_fov
from mirage.preprocess.intensity import bounds, stored_type, to_stored
from mirage.provenance import describe
from mirage.sources.base import RawImage, Source, SourceItem

CHUNK = 512
"""Rows that are held as Python objects before they become a compact table."""


@dataclass(frozen=True)
class Prepared:
    """What is stored of one image.

    Attributes:
        image: uint8 or uint16, of ``stored_shape``.
        masks: uint8 (M, ...) of the image's extent, or None when the dataset has no mask channels. A channel
            that this item lacks is filled with 255, ``mirage.data.manifest.ABSENT``.
        has_label: whether channel ``label`` is there.
        spacing_mm: of the stored pixels, (D,) H, W, or None when unknown.
        boxes: in stored pixels, clipped to what is stored.
        boxes_outside: how many boxes lay wholly outside what is stored.
    """

    image: np.ndarray
    masks: np.ndarray | None
    has_label: bool
    spacing_mm: tuple[float, ...] | None
    boxes: list[dict[str, Any]]
    boxes_outside: int


def stored_channels(source: Source, options: PrepareOptions) -> list[str]:
    """Mask channels in the order they are stored: the source's own, then ``fov`` unless it is not wanted."""
    own = [name for name in source.mask_channels if name != "fov"]
    return own if options.fov == "none" else [*own, "fov"]


def stored_shape(source: Source, options: PrepareOptions) -> tuple[int, ...]:
    """Shape (C, H, W) of all stored images."""
    return len(source.channel_names), options.size, options.size


def shard_of(subject_id: str, shards: int) -> int:
    """The shard of all items of a subject."""
    return zlib.crc32(subject_id.encode()) % shards


def prepare_image(raw: RawImage, source: Source, options: PrepareOptions) -> Prepared:
    """Cut, scale and map one image and its masks.

    Raises:
        DataError: a volume, another number of channels than the source's, a field of view with nothing in
            it, or grey values that cannot be mapped as configured.
    """
    _check(raw, source, options)
    fov = _field_of_view(raw, options)
    box, size = _box(raw, fov, options), (options.size, options.size)
    boxes = geometry.boxes_after(raw.boxes, box, size)
    shape = raw.image.shape[1:]
    inside = geometry.inside(shape, box, size)
    native = geometry.resize(raw.image, box, size)
    stored_fov = None if fov is None else geometry.resize_binary(fov, box, size, 0.5)
    counted = inside if stored_fov is None or not stored_fov.any() else inside & (stored_fov > 0)
    low, high = bounds(native, counted, raw.full_range, options.intensity)
    image = to_stored(native, low, high, options.bits)
    image[:, ~inside] = 0
    channels = stored_channels(source, options)
    stored = {
        name: stored_fov if name == "fov" else _mask(raw, name, box, source, options) for name in channels
    }
    return Prepared(
        image=image,
        masks=np.stack([_or_absent(mask, size) for mask in stored.values()]) if stored else None,
        has_label="label" in raw.masks,
        spacing_mm=geometry.spacing_after(raw.spacing_mm, box, size) if raw.spacing_mm else None,
        boxes=boxes,
        boxes_outside=len(raw.boxes) - len(boxes),
    )


def _check(raw: RawImage, source: Source, options: PrepareOptions) -> None:
    if raw.image.ndim != 3:
        raise DataError(
            f"the image is a volume of shape {raw.image.shape}; `prepare` stores 2D images, so give it slices"
        )
    if len(raw.image) != len(source.channel_names):
        raise DataError(
            f"the image has {len(raw.image)} channels, the dataset has {', '.join(source.channel_names)}"
        )
    if options.require_mask and "label" not in raw.masks:
        raise DataError("there is no label mask, and `prepare.require_mask` asks for one")


def _field_of_view(raw: RawImage, options: PrepareOptions) -> np.ndarray | None:
    if options.fov == "none" and options.crop != "fov":
        return None
    if options.fov == "auto" and "fov" in raw.masks:
        return raw.masks["fov"]
    return derive_fov(raw.image)


def _box(raw: RawImage, fov: np.ndarray | None, options: PrepareOptions) -> geometry.Box:
    shape = raw.image.shape[1:]
    if options.crop == "fov" and fov is not None:
        return geometry.bounding_square(fov)
    if options.crop == "centre":
        return geometry.centre_square(shape)
    return geometry.padded_square(shape) if options.fit == "pad" else geometry.whole(shape)


def _mask(
    raw: RawImage, name: str, box: geometry.Box, source: Source, options: PrepareOptions
) -> np.ndarray | None:
    mask, size = raw.masks.get(name), (options.size, options.size)
    if mask is None:
        return None
    if len(source.labels) > 1 and name != "fov":
        return geometry.resize_labels(mask, box, size)
    value = np.uint8(mask.max())
    return geometry.resize_binary(mask > 0, box, size, options.mask_threshold) * value


def _or_absent(mask: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    return np.full(size, ABSENT, np.uint8) if mask is None else mask


class _Rows:
    """Manifest rows, kept as compact tables so that memory hardly grows with their number."""

    def __init__(self) -> None:
        self._recent: list[ItemRow] = []
        self._tables: list[pa.Table] = []
        self.ok = 0

    def append(self, row: ItemRow) -> None:
        self._recent.append(row)
        self.ok += row.status == "ok"
        if len(self._recent) == CHUNK:
            self._tables.append(to_table(self._recent))
            self._recent = []

    def table(self) -> pa.Table:
        return pa.concat_tables([*self._tables, to_table(self._recent)], promote_options="permissive")


class _Spacing:
    """Whether all images of a shard share one spacing."""

    def __init__(self) -> None:
        self.common: tuple[float, ...] | None = None
        self.varies = False
        self._count = 0

    def add(self, spacing: tuple[float, ...] | None) -> None:
        if self._count == 0:
            self.common = spacing
        elif (spacing is None) != (self.common is None) or (
            spacing and self.common and not np.allclose(spacing, self.common, rtol=1e-3)
        ):
            self.varies = True
        self._count += 1


def prepare_shard(config: DatasetConfig, source: Source, shard: int, folder: Path) -> None:
    """Write one shard of a dataset: ``.arrow``, ``.parquet`` and ``.json``, each whole or absent.

    A subject's items are all in the shard ``crc32(subject_id) % config.shards``. An item that cannot be read
    or processed becomes a failed row with the reason; the shard goes on, and may end with no item at all.

    Args:
        config: the dataset's entry.
        source: an open source, of real or of simulated data.
        shard: 0 ... config.shards - 1.
        folder: where the three files go.
    """
    options, channels = config.prepare, stored_channels(source, config.prepare)
    shape, dtype = stored_shape(source, options), stored_type(options.bits)
    stem, rows, spacing = folder / shard_name(shard, config.shards), _Rows(), _Spacing()
    mask_shape = (len(channels), *shape[1:]) if channels else None
    with ShardWriter(stem.with_suffix(".arrow"), shape, dtype, mask_shape) as writer:
        for item in _items(source, shard, config.shards):
            row = _row(item, config)
            try:
                prepared = prepare_image(item.load(), source, options)
            except (DataError, OSError, ValueError, ArithmeticError, MemoryError) as error:
                row.status, row.reason = "failed", _reason(error)
            else:
                _store(prepared, row, writer, shard, config)
                spacing.add(prepared.spacing_mm)
            rows.append(row)
    write_manifest(stem.with_suffix(".parquet"), rows.table())
    # What runs where, and how subjects are split later, changes nothing here.
    decided_by = config.model_dump(mode="json", exclude={"runtime", "demo", "split", "max_failed_fraction"})
    ShardFacts(
        namespace=source.namespace,
        modality=source.modality,
        image_shape=shape,
        image_dtype=dtype.name,
        value_range=(0, int(np.iinfo(dtype).max)),
        channel_names=source.channel_names,
        mask_channels=channels,
        labels=source.labels,
        spacing_mm=None if spacing.varies else spacing.common,
        items=rows.ok,
        made_by=describe("prepare", decided_by),
    ).write(stem.with_suffix(".json"))


def _items(source: Source, shard: int, shards: int) -> Iterator[SourceItem]:
    return (item for item in source.items() if shard_of(item.subject_id, shards) == shard)


def _row(item: SourceItem, config: DatasetConfig) -> ItemRow:
    return ItemRow(
        item_id=item.item_id,
        subject_id=item.subject_id,
        origin="real" if config.simulate is None else "simulated",
        split=item.split,
        attributes=dict(item.attributes),
    )


def _store(prepared: Prepared, row: ItemRow, writer: ShardWriter, shard: int, config: DatasetConfig) -> None:
    row.shard, row.row = shard, writer.append(prepared.image, prepared.masks)
    row.content_hash = content_hash(prepared.image)
    if prepared.has_label:
        row.mask_origin = "annotated" if config.simulate is None else "simulated"
    row.boxes = prepared.boxes
    if prepared.boxes_outside:
        row.attributes["boxes_outside"] = prepared.boxes_outside
    if prepared.spacing_mm:
        axes = "dhw"[-len(prepared.spacing_mm) :]
        row.attributes.update(
            {f"spacing_{axis}_mm": value for axis, value in zip(axes, prepared.spacing_mm, strict=True)}
        )


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
