"""Images that somebody's generator has made: what their rows must say, whatever the files say."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mirage.data.dataset import Dataset
from mirage.data.manifest import CORE
from mirage.errors import DataError, LeakError

DONORS = "donors"
"""Column of a folder's table: subjects of the dataset that the images were made from, separated by ``;``."""


def as_made(table: pa.Table, source: Dataset, name: str) -> tuple[pa.Table, list[str]]:
    """Rows of a manifest as those of synthetic items, which are all for training.

    Args:
        table: rows as prepared, from files that do not know what made them.
        source: the whole dataset whose training split their generator has learnt from.
        name: of the dataset of the rows, for messages.

    Returns:
        The table with ``origin`` and, where there is a label, ``mask_origin`` synthetic, ``split`` train, and
        ``donor_subject_ids`` out of the column ``donors``, which is dropped; and the lineage: every
        namespaced subject that the generator has seen.

    Raises:
        DataError: ``source`` has no training items.
        LeakError: rows that are marked val or test, donors that are no training subjects of ``source``.
    """
    training = source.select("train")
    if not len(training):
        raise DataError(f"dataset {name}: made_from: {source.info.name} has no training items")
    _check_marks(table, name)
    ok = pc.equal(table["status"], "ok")
    donors = _donors(table, training, name)
    changed = {
        "origin": pa.array(["synthetic"] * table.num_rows),
        "split": pc.if_else(ok, "train", pa.scalar(None, pa.string())),
        "mask_origin": pc.if_else(pc.is_valid(table["mask_origin"]), "synthetic", table["mask_origin"]),
        "donor_subject_ids": pa.array(donors, CORE.field("donor_subject_ids").type),
    }
    for column, values in changed.items():
        table = table.set_column(table.column_names.index(column), column, values)
    kept = [column for column in table.column_names if column != DONORS]
    return table.select(kept), sorted(training.learnt_from())


def _check_marks(table: pa.Table, name: str) -> None:
    marked = table.filter(pc.is_in(table["split"], pa.array(["val", "test"])))["item_id"].to_pylist()
    if marked:
        raise LeakError(
            f"dataset {name}: {_some(marked)} are marked val or test in the table, but `made_from` says that "
            "a generator made them; synthetic images are for training only. Mend the column `split`"
        )


def _donors(table: pa.Table, training: Dataset, name: str) -> list[list[str]]:
    """Namespaced donors of every row; empty lists without the column."""
    if DONORS not in table.column_names:
        return [[] for _ in range(table.num_rows)]
    listed = [[part.strip() for part in (text or "").split(";")] for text in table[DONORS].to_pylist()]
    named = [[part for part in parts if part] for parts in listed]
    known = set(training.items["subject_id"])
    unknown = sorted({donor for donors in named for donor in donors} - known)
    if unknown:
        raise LeakError(
            f"dataset {name}: the donors {_some(unknown)} of its table are no training subjects of "
            f"{training.info.name}; images made of held-out subjects cannot be judged against them. Leave "
            "those images out, or mend the column `donors`"
        )
    return [[f"{training.info.namespace}/{donor}" for donor in donors] for donors in named]


def _some(names: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
