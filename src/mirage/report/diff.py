"""What two reports of a study say differently: verdicts, numbers, exhibits, configuration, data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mirage.report.numbers import estimate, significant
from mirage.report.quotes import read_summary
from mirage.report.record import Record, read_record
from mirage.report.summary import row_key

MANY = 40
"""Names that are listed for people; figures and tables come before numbers."""
SAME = 1e-9
"""Relative difference up to which two numbers are the same."""


@dataclass(frozen=True)
class Change:
    """Something that both reports have and that is not the same; a value is empty where one has none.

    Attributes:
        what: an axis, the key of a number, a fact, or the name of what has a fingerprint.
        before, after: as printed.
    """

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """What changed from one report to another.

    Attributes:
        run: commit, configuration, version, scale.
        fingerprints: data and models whose contents changed, came or went.
        verdicts: axes whose word changed.
        moved: numbers of which either estimate lies outside the other's interval.
        shifted: numbers that changed within their intervals, or that have none.
        appeared, vanished: numbers and exhibits (``figure pipeline``) that only one of the reports has.
    """

    run: Sequence[Change]
    fingerprints: Sequence[Change]
    verdicts: Sequence[Change]
    moved: Sequence[Change]
    shifted: Sequence[Change]
    appeared: Sequence[str]
    vanished: Sequence[str]

    @property
    def same(self) -> bool:
        """Whether both reports say the same; they may have been made by different commits."""
        return not (self.verdicts or self.moved or self.shifted or self.appeared or self.vanished)


def compare(before: Path, after: Path) -> Comparison:
    """Compare two reports.

    Args:
        before, after: folders with ``report.json`` and ``summary.csv``.

    Raises:
        DataError: a folder holds no report.
    """
    old, new = read_record(before), read_record(after)
    numbers = _numbers(before), _numbers(after)
    moved, shifted = _moves(*numbers)
    had, have = (_things(record, found) for record, found in zip((old, new), numbers, strict=True))
    return Comparison(
        run=_changes(_run(old), _run(new)),
        fingerprints=_changes(old.fingerprints, new.fingerprints),
        verdicts=_changes(_words(old), _words(new)),
        moved=moved,
        shifted=shifted,
        appeared=[one for one in have if one not in set(had)],
        vanished=[one for one in had if one not in set(have)],
    )


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    names = dict.fromkeys([*before, *after])
    pairs = ((name, before.get(name, ""), after.get(name, "")) for name in names)
    return [Change(*pair) for pair in pairs if pair[1] != pair[2]]


def _run(record: Record) -> dict[str, str]:
    names = ("study", "scale", "commit", "configuration", "version")
    return {name: str(getattr(record, name)) for name in names}


def _words(record: Record) -> dict[str, str]:
    return {verdict.axis: verdict.word for verdict in record.verdicts}


def _things(record: Record, numbers: Mapping[str, Any]) -> list[str]:
    """Everything that a report shows, by name."""
    exhibits = [f"{exhibit['kind'].lower()} {id}" for id, exhibit in record.exhibits.items()]
    return [*exhibits, *(f"number {key}" for key in numbers)]


def _numbers(report: Path) -> dict[str, Any]:
    summary = read_summary(report)
    return {row_key(row): row for row in summary.itertuples()}


def _moves(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[Change], list[Change]]:
    moved: list[Change] = []
    shifted: list[Change] = []
    for key in (key for key in before if key in after):
        old, new = before[key], after[key]
        if not _close(old.estimate, new.estimate):
            change = Change(key, _printed(old), _printed(new))
            (moved if _outside(old, new) or _outside(new, old) else shifted).append(change)
    return moved, shifted


def _close(first: float, second: float) -> bool:
    if math.isnan(first) or math.isnan(second):
        return math.isnan(first) and math.isnan(second)
    return math.isclose(first, second, rel_tol=SAME, abs_tol=0.0)


def _outside(row: Any, other: Any) -> bool:
    """Whether an estimate lies outside the interval of the other; False where there is no interval."""
    return bool(row.estimate < other.low or row.estimate > other.high)


def _printed(row: Any) -> str:
    if pd.isna(row.low) or pd.isna(row.high):
        return significant(row.estimate)
    return estimate(row.estimate, row.low, row.high)


def told(comparison: Comparison) -> Iterator[str]:
    """The comparison in lines of text."""
    titles = {
        "run": "Made by",
        "fingerprints": "Data and models",
        "verdicts": "Verdicts",
        "moved": "Numbers beyond their intervals",
        "shifted": "Numbers within their intervals, or without one",
    }
    for name, title in titles.items():
        changes: Sequence[Change] = getattr(comparison, name)
        if changes:
            yield f"{title} ({len(changes)})"
            yield from (f"  {one.what}: {one.before or 'none'} -> {one.after or 'none'}" for one in changes)
    for title, names in (("Appeared", comparison.appeared), ("Vanished", comparison.vanished)):
        if names:
            yield f"{title} ({len(names)})"
            yield from (f"  {name}" for name in names[:MANY])
            if len(names) > MANY:
                yield f"  and {len(names) - MANY} more, which --json lists"
    if comparison.same:
        yield "Both reports say the same."
