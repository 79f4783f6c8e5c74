"""Numbers of the summary in a user's own words: ``\\res{key}`` becomes the number as the report prints it."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from mirage.errors import ConfigError, DataError
from mirage.report.numbers import grouped, range_of, significant
from mirage.report.summary import row_key

QUOTE = re.compile(r"\\res\{([^{}]*)\}")
COUNTS = ("n_items", "n_subjects", "n_seeds")


def read_summary(report: Path) -> pd.DataFrame:
    """``summary.csv`` of a report.

    Raises:
        DataError: it is not there or not readable.
    """
    path = report / "summary.csv"
    try:
        return pd.read_csv(path, dtype={"label": "object", "protocol": "object", "verdict": "object"})
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no readable summary ({error}); make the report again") from error


def quotable(summary: pd.DataFrame) -> dict[str, str]:
    """Every number of the summary as it is printed, by key.

    ``evaluation/arm/metric/kind`` and, where given, label and protocol, is the estimate; the same with
    ``:ci`` its interval, with ``:low``, ``:high``, ``:p``, ``:p_holm``, ``:n_items``, ``:n_subjects`` or
    ``:n_seeds`` what the summary has under these names. What is undefined is left out.
    """
    return {
        f"{row_key(row)}{suffix}": text for row in summary.itertuples() for suffix, text in _numbers_of(row)
    }


def _numbers_of(row: Any) -> Iterator[tuple[str, str]]:
    forms: dict[str, Callable[[float], str]] = {
        "estimate": significant,
        "low": significant,
        "high": significant,
        "p": significant,
        "p_holm": significant,
        **dict.fromkeys(COUNTS, lambda value: grouped(int(value))),
    }
    for column, form in forms.items():
        value = float(getattr(row, column))
        if math.isfinite(value):
            yield "" if column == "estimate" else f":{column}", form(value)
    if math.isfinite(row.low) and math.isfinite(row.high):
        yield ":ci", range_of(row.low, row.high)


def quoted(text: str, numbers: dict[str, str]) -> str:
    """The text with every ``\\res{key}`` replaced by its number.

    Raises:
        ConfigError: names a key that the summary has not, and the nearest that it has.
    """

    def number(found: re.Match[str]) -> str:
        key = found[1].strip()
        if key in numbers:
            return numbers[key]
        near = difflib.get_close_matches(key, numbers, n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{found[0]}: the summary has no such number{hint}")

    return QUOTE.sub(number, text)
