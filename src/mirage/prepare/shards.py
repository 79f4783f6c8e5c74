"""Write one shard of a dataset, one image or volume in memory at a time.

A shard is three files: `shard-0000-of-0008.arrow` with the pixels, `.parquet` with a row per item, failed
ones included, and `.json` with what the dataset's description needs to know of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mirage.config.datasets import DatasetConfig, PrepareOptions, VolumePrepareOptions
from mirage.data.gather import ShardFacts, same_spacing
from mirage.data.grey_range import GreyRange, ends_of, wider
from mirage.data.manifest import ItemRow, to_table, write_manifest
from mirage.data.names import shard_name
from mirage.data.shards import ShardWriter, content_hash
from mirage.errors import DataError
from mirage.prepare import images, patches, volumes
from mirage.prepare.normaliser import normaliser_of
from mirage.prepare.stored import Prepared
from mirage.preprocess.intensity import stored_type
from mirage.provenance import describe
from mirage.sources.base import RawImage, Source, SourceItem

CHUNK = 512
"""Rows that are held as Python objects before they become a compact table."""


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
        elif not same_spacing(spacing, self.common):
            self.varies = True
        self._count += 1


@dataclass(frozen=True)
class _Plan:
    """What is stored of every item, and how.

    Attributes:
        channels: mask channels in the order they are stored.
        shape: (C, H, W) or (C, D, H, W) of all stored images.
        prepare: from an item's pixels and name to what is stored of it, each with its own name.
        names: from the name of an item that cannot be read to the names of its failed rows.
    """

    channels: list[str]
    shape: tuple[int, ...]
    prepare: Callable[[RawImage, str], list[tuple[str, Prepared]]]
    names: Callable[[str], list[str]]


def _plan(
    source: Source, options: PrepareOptions | VolumePrepareOptions, standard: Sequence[float] | None
) -> _Plan:
    if isinstance(options, VolumePrepareOptions):
        return _Plan(
            volumes.stored_channels(source, options),
            volumes.stored_shape(source, options),
            lambda raw, name: [(name, volumes.prepare_volume(raw, source, options))],
            lambda name: [name],
        )
    cut = options.patches
    return _Plan(
        images.stored_channels(source, options),
        images.stored_shape(source, options),
        lambda raw, name: patches.cut(images.prepare_image(raw, source, options, standard), cut, name),
        lambda name: patches.names(cut, name),
    )


def shard_of(subject_id: str, shards: int) -> int:
    """The shard of all items of a subject."""
    return zlib.crc32(subject_id.encode()) % shards


def prepare_shard(config: DatasetConfig, source: Source, shard: int, folder: Path) -> None:
    """Write one shard of a dataset: ``.arrow``, ``.parquet`` and ``.json``, each whole or absent.

    A subject's items are all in the shard ``crc32(subject_id) % config.shards``. An item that cannot be read
    or processed becomes a failed row with the reason; the shard goes on, and may end with no item at all.
    Where grey values are normalised by what training images have taught, ``normaliser.json`` must be there.

    Args:
        config: the dataset's entry.
        source: an open source, of real or of simulated data.
        shard: 0 ... config.shards - 1.
        folder: where the three files go; datasets lie beside one another.
    """
    normaliser = normaliser_of(config, folder)
    standard = None if normaliser is None else normaliser.standard
    plan, dtype = _plan(source, config.prepare, standard), stored_type(config.prepare.bits)
    stem, rows, spacing = folder / shard_name(shard, config.shards), _Rows(), _Spacing()
    used: GreyRange | None = None
    mask_shape = (len(plan.channels), *plan.shape[1:]) if plan.channels else None
    with ShardWriter(stem.with_suffix(".arrow"), plan.shape, dtype, mask_shape) as writer:
        for item in _items(source, shard, config.shards):
            try:
                raw = item.load()
                own = _used(raw, config.prepare)
                prepared = plan.prepare(raw, item.item_id)
            except (DataError, OSError, ValueError, ArithmeticError, MemoryError) as error:
                for name in plan.names(item.item_id):
                    row = _row(item, name, config)
                    row.status, row.reason = "failed", _reason(error)
                    rows.append(row)
                continue
            used = wider(used, own)
            for name, part in prepared:
                row = _row(item, name, config)
                _store(part, row, writer, shard, config)
                spacing.add(part.spacing_mm)
                rows.append(row)
    write_manifest(stem.with_suffix(".parquet"), rows.table())
    # What runs where, how subjects are split and what made the images, changes nothing here.
    later = {"runtime", "demo", "made_from", "split", "max_failed_fraction"}
    decided_by = config.model_dump(mode="json", exclude=later)
    known: dict[str, Any] = {} if normaliser is None else {"normaliser": normaliser.fingerprint}
    ShardFacts(
        namespace=source.namespace,
        modality=source.modality,
        image_shape=plan.shape,
        image_dtype=dtype.name,
        value_range=(0, int(np.iinfo(dtype).max)),
        channel_names=source.channel_names,
        mask_channels=plan.channels,
        labels=source.labels,
        spacing_mm=None if spacing.varies else spacing.common,
        items=rows.ok,
        normaliser=None if normaliser is None else normaliser.dataset,
        used=used,
        doubts=[] if config.made_from else source.doubts(),
        made_by=describe("prepare", decided_by, **known),
    ).write(stem.with_suffix(".json"))


def _items(source: Source, shard: int, shards: int) -> Iterator[SourceItem]:
    return source.items_of(lambda subject_id: shard_of(subject_id, shards) == shard)


def _used(raw: RawImage, options: PrepareOptions | VolumePrepareOptions) -> GreyRange | None:
    """Grey values of an image of more than 8 bits that is scaled by the range of its type."""
    scaled = isinstance(options, PrepareOptions) and options.scaled_by_type
    if not scaled or raw.full_range is None or raw.full_range[1] - raw.full_range[0] <= 255:
        return None
    (low, high), (lowest, highest) = ends_of(raw.image), raw.full_range
    return GreyRange(low=low, high=high, lowest=lowest, highest=highest)


def _row(item: SourceItem, name: str, config: DatasetConfig) -> ItemRow:
    return ItemRow(
        item_id=name,
        subject_id=item.subject_id,
        origin="real" if config.simulate is None else "simulated",
        split=item.split,
        also_known_as=item.also_known_as,
        attributes=dict(item.attributes),
    )


def _store(prepared: Prepared, row: ItemRow, writer: ShardWriter, shard: int, config: DatasetConfig) -> None:
    row.shard, row.row = shard, writer.append(prepared.image, prepared.masks)
    row.content_hash = content_hash(prepared.image)
    if prepared.has_label:
        row.mask_origin = "annotated" if config.simulate is None else "simulated"
    row.boxes = prepared.boxes
    row.attributes.update(prepared.attributes)
    if prepared.boxes_outside:
        row.attributes["boxes_outside"] = prepared.boxes_outside
    if prepared.spacing_mm:
        axes = "dhw"[-len(prepared.spacing_mm) :]
        row.attributes.update(
            {f"spacing_{axis}_mm": value for axis, value in zip(axes, prepared.spacing_mm, strict=True)}
        )


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
