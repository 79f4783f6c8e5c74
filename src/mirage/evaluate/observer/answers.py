"""What readers sent back: CSV files of the page, or tables of the same columns from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mirage.config.observer import SLIDER
from mirage.errors import DataError
from mirage.evaluate.observer.key import KINDS, PLACES, SINGLE, Key
from mirage.evaluate.observer.tables import read_table

PLAUSIBILITY = "plausibility: "
"""Before the name of a finding, in the heading of its column."""
KEPT = ("readers", "real", "synthetic", "left", "right")
"""Arms of the results that are no reader."""
NUMBERS = ("rating", "seconds", "order", "years")


def read_answers(paths: Sequence[Path | str], key: Key, scale: int | None = None) -> pd.DataFrame:
    """All answers to one study.

    Tables are as spreadsheets leave them, see :mod:`mirage.evaluate.observer.tables`; beside semicolons and
    tabs numbers may have a decimal comma.

    Args:
        paths: CSV files with columns ``reader``, ``case`` and ``rating`` or ``answer``.
        key: of the study.
        scale: steps of the ratings, where the key does not say.

    Returns:
        Columns ``reader, case, answer, rating, seconds, order, years, comment`` and those of findings;
        ``answer`` is real or synthetic, of pairs left or right, and empty where a rating in the middle of
        the scale decides nothing.

    Raises:
        DataError: a file that is none, of another study, with unknown cases or values, or with a case that
            a reader has answered already.
    """
    tables = [_read(path, key) for path in paths]
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True)
    twice = table[table.duplicated(["reader", "case"])]
    if len(twice):
        first = twice.iloc[0]
        raise DataError(
            f"{first['file']}: reader {first['reader']!r} has answered case {first['case']!r} already; two "
            "people with one name need different ones in the column `reader`, a file is given once"
        )
    _decide(table, key, key.scale if scale is None else scale)
    return table


def _read(path: Path | str, key: Key) -> pd.DataFrame:
    read = read_table(path)
    table = read.cells
    missing = [name for name in ("reader", "case") if name not in table.columns]
    if missing or not {"rating", "answer"} & set(table.columns):
        raise DataError(
            f"{path}: expected columns `reader`, `case` and `rating` or `answer`; found "
            f"{', '.join(table.columns)}"
        )
    if not len(table):
        raise DataError(f"{path}: holds no answers; take it away until its reader has given some")
    studies = set(table.get("study", pd.Series(dtype=str))) - {""}
    if key.study and studies - {key.study}:
        raise DataError(
            f"{path}: answers study {', '.join(sorted(studies))}, the key is that of {key.study}; give the "
            "key that was made with this reader's page"
        )
    unknown = sorted(set(table["case"]) - set(key.cases["case"]))
    if unknown:
        raise DataError(f"{path}: case {unknown[0]!r} is not in the key, nor are {len(unknown) - 1} others")
    if "truth" in table.columns:
        _check_truth(path, table, key)
    unnamed = ~table["reader"].str.fullmatch(r"\w[\w .-]{0,39}") | table["reader"].isin(KEPT)
    if unnamed.any():
        raise DataError(
            f"{path}: {table['reader'][unnamed].iloc[0]!r} is no name of a reader; expected up to 40 "
            f"letters, digits, blanks, - and _, and none of {', '.join(KEPT)}"
        )
    plausible = [name for name in table.columns if name.startswith(PLAUSIBILITY)]
    for name in (*NUMBERS, *plausible):
        table[name] = _numbers(path, table, name, decimal_comma=read.decimal_comma)
    table["answer"] = table["answer"].str.lower() if "answer" in table.columns else ""
    if "comment" not in table.columns:
        table["comment"] = ""
    kept = ["reader", "case", "answer", "comment", *NUMBERS, *plausible]
    return table[kept].assign(file=str(path))


def _check_truth(path: Path | str, table: pd.DataFrame, key: Key) -> None:
    truth, said = table["case"].map(key.cases.set_index("case")["truth"]), table["truth"].str.lower()
    wrong = table["case"][(said != "") & (said != truth)]
    if len(wrong):
        raise DataError(f"{path}: the truth of case {wrong.iloc[0]!r} is another one in the key")


def _numbers(path: Path | str, table: pd.DataFrame, name: str, *, decimal_comma: bool) -> pd.Series:
    if name not in table.columns:
        return pd.Series(np.nan, index=table.index)
    text = table[name]
    if decimal_comma:
        text = text.str.replace(",", ".")
    values = pd.to_numeric(text, errors="coerce")
    wrong = text[values.isna() & (text != "")]
    if len(wrong):
        raise DataError(f"{path}: {wrong.iloc[0]!r} in column {name!r} is no number")
    return values.astype(np.float64)


def _decide(table: pd.DataFrame, key: Key, scale: int | None) -> None:
    """Fill in answers that follow from ratings, and check what is there."""
    known = KINDS if key.mode == SINGLE else PLACES
    said = table["answer"]
    wrong = table[(said != "") & ~said.isin(known)]
    if len(wrong):
        first = wrong.iloc[0]
        raise DataError(f"{first['file']}: answer {first['answer']!r} is neither {known[0]} nor {known[1]}")
    rated = table["rating"].notna()
    empty = table[(said == "") & ~(rated & (key.mode == SINGLE))]
    if len(empty):
        first = empty.iloc[0]
        raise DataError(f"{first['file']}: case {first['case']!r} has neither an answer nor a rating")
    if not rated.any() or key.mode != SINGLE:
        return
    if not scale:
        raise DataError(
            "the key does not say on which scale ratings are; give `--scale`, the number of its steps, or "
            "100 for ratings from 0 to 100"
        )
    low = 0 if scale == SLIDER else 1
    outside = table[rated & ~table["rating"].between(low, scale)]
    if len(outside):
        first = outside.iloc[0]
        raise DataError(f"{first['file']}: rating {first['rating']:g} does not lie in {low} to {scale}")
    middle = (low + scale) / 2
    follows = rated & (said == "") & (table["rating"] != middle)
    table.loc[follows, "answer"] = np.where(table["rating"][follows] > middle, KINDS[1], KINDS[0])
