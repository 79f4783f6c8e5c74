"""Turn finished shards into a dataset: fix the splits, check, fingerprint, write manifest and info."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from mirage.config.datasets import SplitOptions
from mirage.data.dataset import Dataset, DatasetInfo, ImageFacts, write_info
from mirage.data.grey_range import LEAST, GreyRange, integer_window, wider
from mirage.data.made import as_made
from mirage.data.manifest import IMAGE_HASH, write_manifest
from mirage.data.names import NORMALISER, shard_name
from mirage.data.normaliser import read_normaliser
from mirage.data.splits import link_subjects, split_subjects
from mirage.errors import DataError
from mirage.files import file_digest, read_json, write_json

logger = logging.getLogger(__name__)


class ShardFacts(ImageFacts):
    """Contents of ``shard-*.json``: what the dataset's description needs to know of one shard."""

    items: int = Field(description="ok items in the shard")
    normaliser: str | None = Field(
        None, description="dataset whose normaliser the grey values were mapped with; none of any"
    )
    used: GreyRange | None = Field(
        None,
        description="grey values of the image that uses most of its type's range, of those of more than 8 "
        "bits that are scaled by it; none without such images",
    )
    doubts: list[str] = Field(
        default_factory=list, description="what may be wrong with how the source is read, as sentences"
    )
    made_by: dict[str, Any] = Field(
        description="provenance (mirage.provenance.describe): stage, code, all options, seed"
    )

    def write(self, path: Path) -> None:
        """Write the facts as JSON, atomically."""
        write_json(path, self.model_dump(mode="json"))


def same_spacing(first: Sequence[float] | None, second: Sequence[float] | None) -> bool:
    """Whether two spacings are one, but for the rounding of headers; an unknown one is like no other."""
    if first is None or second is None:
        return first is second
    return first == second or (
        len(first) == len(second) and bool(np.allclose(first, second, rtol=1e-3, atol=0))
    )


def gather(
    folder: Path,
    *,
    name: str,
    shards: int,
    split: SplitOptions | None,
    max_failed_fraction: float,
    made_from: Dataset | None = None,
) -> DatasetInfo:
    """Write ``manifest.parquet`` and ``dataset.json`` over the shards in ``folder``.

    Args:
        folder: holds ``shard-*.arrow``, ``shard-*.parquet`` (rows) and ``shard-*.json`` (facts).
        name: the dataset's name in the configuration.
        shards: how many shards there must be.
        split: how subjects are split; None keeps the splits that the rows carry (synthetic data).
        max_failed_fraction: share of failed rows that is tolerated.
        made_from: the dataset after whose training split somebody's generator made the images; then ``split``
            is not used. None: the rows say themselves where the images are from.

    Where grey values are normalised by what a dataset's training images have taught, the splits are those
    that this was fitted with, and the subjects that it knows join the lineage.

    Raises:
        DataError: a shard is missing, damaged or differs, item ids repeat, nothing is usable, too many rows
            failed, or grey values of less than an eighth of their type's range are scaled by that.
        LeakError: the splits would put one subject on two sides, or hold out one that the normaliser knows,
            or see ``mirage.data.made``.
    """
    stems = [shard_name(index, shards) for index in range(shards)]
    facts = [_read_facts(folder / f"{stem}.json") for stem in stems]
    shared, made_by = _merge_facts(facts, name)
    _check_range(reduce(wider, (shard.used for shard in facts), None), name)
    lender = facts[0].normaliser
    normaliser = None if lender is None else read_normaliser(folder.parent / lender / NORMALISER)
    tables = [pq.read_table(folder / f"{stem}.parquet") for stem in stems]
    table = pa.concat_tables(tables, promote_options="permissive")
    table = table.sort_by("item_id")
    _check_rows(table.select(["item_id", "status", "reason"]).to_pandas(), name, max_failed_fraction)
    if made_from is not None:
        table, shared["lineage"] = as_made(table, made_from, name)
    elif split is not None:
        table = _with_splits(table, split, name, normaliser.splits if normaliser and lender == name else None)
    if normaliser is not None:
        rows = table.select(["subject_id", "split"]).filter(pa.compute.equal(table["status"], "ok"))
        sides = dict(zip(*(column.to_pylist() for column in rows.columns), strict=True))
        normaliser.check_subjects(sides, shared["namespace"], name)
        shared["lineage"] = sorted({*shared["lineage"], *normaliser.learnt_from()})
    doubts = list(dict.fromkeys(doubt for shard in facts for doubt in shard.doubts))
    for doubt in doubts:
        logger.warning("dataset %s: %s", name, doubt)
    write_manifest(folder / "manifest.parquet", table)
    ok = table.filter(pa.compute.equal(table["status"], "ok"))
    counts = ok["split"].to_pandas().value_counts()
    info = DatasetInfo(
        name=name,
        shards=shards,
        items={str(key): int(value) for key, value in counts.sort_index().items()},
        failed=table.num_rows - ok.num_rows,
        duplicates=ok.num_rows - len(ok["content_hash"].unique()),
        doubts=doubts,
        fingerprint=_fingerprint(folder, stems),
        provenance={
            **made_by,
            "split": None if split is None or made_from else split.model_dump(mode="json"),
            "max_failed_fraction": max_failed_fraction,
            **({"made_from": made_from.info.name} if made_from else {}),
        },
        **shared,
    )
    write_info(folder, info)
    return info


def _read_facts(path: Path) -> ShardFacts:
    try:
        return ShardFacts.model_validate(read_json(path))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: not readable ({error}); delete the dataset's folder and run again"
        ) from error


def _merge_facts(shards: Sequence[ShardFacts], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Facts that all shards with items agree on, and what made the first of them.

    Spacing becomes None where images differ in it.
    """
    first, *others = [shard for shard in shards if shard.items] or shards[:1]
    merged = {key: getattr(first, key) for key in ImageFacts.model_fields}
    for shard in others:
        for key in merged:
            found = getattr(shard, key)
            if merged[key] == found or (key == "spacing_mm" and same_spacing(merged[key], found)):
                continue
            if key != "spacing_mm":
                raise DataError(
                    f"dataset {name}: shards disagree on {key}: {merged[key]!r} and {found!r}; "
                    "delete the dataset's folder and run again"
                )
            merged[key] = None
    return merged, first.made_by


def _check_range(used: GreyRange | None, name: str) -> None:
    """Refuse 12 bits in files of 16 that are scaled by the range of 16: they would be nearly black."""
    if used is None or not used.narrow:
        return
    low, high = integer_window(used.low, used.high)
    raise DataError(
        f"dataset {name}: its images of more than 8 bits hold grey values of {used.low:g} to {used.high:g} "
        f"at most, and their type has room for {used.lowest:g} to {used.highest:g}; scaled by that "
        "(`prepare.intensity`, kind: dtype_range) they would be stored nearly black, so at least "
        f"{LEAST:.1%} of it has to be used. Set `prepare.intensity: {{kind: window, low: {low:g}, high: "
        f"{high:g}}}`, or `{{kind: percentile, low: 0.1, high: 99.9}}`; of images that are meant to be so "
        "dark, a window of the whole range. `mirage benchmark` takes it as --intensity. Where its other "
        "images have 8 bits, no window fits both: save all as one type"
    )


def _check_rows(rows: pd.DataFrame, name: str, max_failed_fraction: float) -> None:
    if not len(rows):
        raise DataError(
            f"dataset {name}: no image of its source gives an item; patches of lesions need images with "
            "boxes (`source.lesions`), normal ones need room in the field of view"
        )
    repeated = rows["item_id"][rows["item_id"].duplicated()]
    if len(repeated):
        raise DataError(
            f"dataset {name}: item ids occur twice: {', '.join(sorted(set(repeated))[:8])}; "
            "files of the same name need different folders or a `subject` pattern"
        )
    failed = rows[rows["status"] != "ok"]
    if len(failed) == len(rows) or len(failed) > max_failed_fraction * len(rows):
        shown = "\n".join(f"  {row.item_id}: {row.reason}" for row in failed.head(10).itertuples())
        raise DataError(
            f"dataset {name}: {len(failed)} of {len(rows)} items failed, at most "
            f"{max_failed_fraction:.1%} may (max_failed_fraction). Mend or remove them, or raise the limit. "
            f"The first:\n{shown}"
        )


def _with_splits(
    table: pa.Table, options: SplitOptions, name: str, planned: Mapping[str, str] | None
) -> pa.Table:
    """Fix the splits, or keep those ``planned`` before pixels were read, but for subjects that are one."""
    # Patches of two subjects may be alike (black corners); it is whole images that show one filed twice.
    image = IMAGE_HASH if IMAGE_HASH in table.column_names else "content_hash"
    rows = table.select(["subject_id", "split", "status", image]).to_pandas()
    usable = rows[rows["status"] == "ok"]
    groups = link_subjects(usable["subject_id"], usable[image])
    if planned is None:
        given = zip(usable["subject_id"], usable["split"], strict=True)
        assigned = split_subjects(given, options, name, groups)
    else:
        assigned = {subject: planned[group] for subject, group in groups.items()}
    splits = pa.array(
        [
            assigned[subject] if status == "ok" else None
            for subject, status in zip(rows["subject_id"], rows["status"], strict=True)
        ],
        type=pa.string(),
    )
    return table.set_column(table.column_names.index("split"), "split", splits)


def _fingerprint(folder: Path, stems: Sequence[str]) -> str:
    digest = hashlib.sha256(file_digest(folder / "manifest.parquet").encode())
    for stem in stems:
        digest.update(file_digest(folder / f"{stem}.arrow").encode())
    return digest.hexdigest()[:16]
