"""The key of a study: which case is what. It stays with those who run the study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mirage.errors import DataError
from mirage.evaluate.observer.tables import read_table
from mirage.files import atomic_path

KINDS = ("real", "synthetic")
PLACES = ("left", "right")
COLUMNS = (
    "study",
    "mode",
    "scale",
    "phase",
    "case",
    "truth",
    "dataset",
    "item_id",
    "subject_id",
    "other_dataset",
    "other_item_id",
    "other_subject_id",
)
SINGLE, FORCED = "single", "2afc"


@dataclass(frozen=True)
class Key:
    """The truth of a study.

    Attributes:
        study: its id, which the page and every answer carry; empty where the file does not say.
        mode: ``single`` or ``2afc``.
        scale: steps of the ratings, 100 of a slider; 0 where there are none, None where nothing is said.
        cases: columns ``case`` (unique), ``truth`` and, where known, where the image is from: ``dataset``,
            ``item_id``, ``subject_id``; in a pair those of the synthetic image, and ``other_...`` those of
            the real one. Truth is real or synthetic, in a pair left or right: where the synthetic image is.
    """

    study: str
    mode: str
    scale: int | None
    cases: pd.DataFrame

    @property
    def synthetic(self) -> pd.Series:
        """Whether each case is synthetic, by case; of pairs: whether the right one is."""
        sought = "synthetic" if self.mode == SINGLE else "right"
        return self.cases.set_index("case")["truth"] == sought


def write_key(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write a key as CSV, atomically."""
    with atomic_path(path) as temporary:
        pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(temporary, index=False)


def read_key(path: Path | str) -> Key:
    """Read a key: a CSV with columns ``case`` and ``truth`` at least, as a spreadsheet may have left it.

    A table of answers with the truth beside them, ``reader, case, truth, rating``, is a key too.

    Raises:
        DataError: no such file, no such columns, a case twice, unknown truths.
    """
    table = read_table(path).cells
    missing = [name for name in ("case", "truth") if name not in table.columns]
    if missing:
        raise DataError(
            f"{path}: has no column {missing[0]!r}; a key has `case` and `truth`, and the page of a study is "
            f"made with one. Found: {', '.join(table.columns)}"
        )
    table["truth"] = table["truth"].str.lower()
    if "phase" in table.columns:
        table = table[table["phase"] != "practice"].reset_index(drop=True)
    if not len(table):
        raise DataError(f"{path}: holds no case")
    if "reader" in table.columns:
        table = table[["case", "truth"]].drop_duplicates(ignore_index=True)
    twice = table["case"][table["case"].duplicated()]
    if len(twice):
        raise DataError(f"{path}: case {twice.iloc[0]!r} stands there twice")
    truths = set(table["truth"])
    mode = next((mode for mode, known in ((SINGLE, KINDS), (FORCED, PLACES)) if truths <= set(known)), None)
    if mode is None:
        raise DataError(
            f"{path}: truths are {sorted(truths)}; expected real and synthetic, or for pairs left and right"
        )
    studies = set(table.get("study", pd.Series(dtype=str))) - {""}
    if len(studies) > 1:
        raise DataError(f"{path}: is of several studies: {sorted(studies)}; give the key of one")
    scales = set(table.get("scale", pd.Series(dtype=str))) - {""}
    if len(scales) > 1 or not all(scale.isdigit() for scale in scales):
        raise DataError(f"{path}: column `scale` holds {sorted(scales)}; expected one number")
    return Key(next(iter(studies), ""), mode, int(scales.pop()) if scales else None, table)
