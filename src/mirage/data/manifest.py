"""The manifest: one row per item of a dataset, as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mirage.files import atomic_path

BOX = pa.struct(
    [
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("label", pa.string()),
    ]
)
CORE = pa.schema(
    [
        ("item_id", pa.string()),
        ("subject_id", pa.string()),
        ("split", pa.string()),
        ("origin", pa.string()),
        ("mask_origin", pa.string()),
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("donor_subject_ids", pa.list_(pa.string())),
        ("also_known_as", pa.list_(pa.string())),
        ("boxes", pa.list_(BOX)),
        ("content_hash", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
    ]
)
SPLITS = ("train", "val", "test")
ABSENT = 255
"""Value that fills a mask channel of an item that does not have it, such as a second observer."""
IMAGE_HASH = "image_hash"
"""Attribute of a patch: digest of the whole prepared image that it was cut from."""
ROW_GROUP = 512
"""Rows that are encoded at a time; keeps the peak memory of large manifests flat."""


@dataclass
class ItemRow:
    """One row of a manifest.

    Attributes:
        item_id: unique in the dataset.
        subject_id: patient, child or animal; both eyes and all views share it.
        origin: ``real``, ``simulated`` or ``synthetic``: where the image comes from.
        mask_origin: ``annotated``, ``simulated``, ``synthetic``, ``predicted``, or None without a label.
        split: ``train``, ``val``, ``test``, or None before splits are fixed.
        row: row in its shard; None for a failed item.
        donor_subject_ids: namespaced subjects (``namespace/subject``) whose pixels or labels were used.
        also_known_as: names (``namespace/subject``) that other archives give the subject, or the donors;
            :data:`mirage.config.base.SOMEBODY` of an archive where it is not known which.
        boxes: dicts of x0, y0, x1, y1 (pixels of the stored image, half-open) and label.
        content_hash: digest of the stored image, finds exact duplicates.
        status: ``ok`` or ``failed``; a failed row has a ``reason``.
        attributes: age, sex, view, vendor ...; each becomes a column, None when unknown.
    """

    item_id: str
    subject_id: str
    origin: str
    mask_origin: str | None = None
    split: str | None = None
    shard: int | None = None
    row: int | None = None
    donor_subject_ids: Sequence[str] = ()
    also_known_as: Sequence[str] = ()
    boxes: Sequence[dict[str, Any]] = ()
    content_hash: str | None = None
    status: str = "ok"
    reason: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


def to_table(rows: Sequence[ItemRow]) -> pa.Table:
    """Arrow table of the core columns followed by every attribute that occurs."""
    core = {
        name: pa.array([getattr(row, name) for row in rows], type=CORE.field(name).type)
        for name in CORE.names
    }
    names = dict.fromkeys(name for row in rows for name in row.attributes)
    extra = {name: pa.array([row.attributes.get(name) for row in rows]) for name in names}
    return pa.table({**core, **extra})


def write_manifest(path: Path | str, table: pa.Table) -> None:
    """Write a manifest, atomically."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, row_group_size=ROW_GROUP)
