"""The sensitivity matrix of docs/sensitivity.md: every metric on ladders of known faults.

    python benchmarks/sensitivity.py [encoder ...]

Simulates cells, spoils a fresh sample step by step, judges every step, and prints a Markdown table: the value
of the fresh sample and, at the top of each ladder, what became of it. An arrow marks ladders on which the
metric has to go that way at every step, which tests/unit/test_sensitivity.py checks.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from mirage.evaluate.sensitivity import ENCODER, EXPECTED, LADDERS, measure_ladders

CHECKED = (ENCODER, "grey", "pixels", "image")
"""Labels of the rows that have arrows."""
DIFFERENCES = {
    "kid",
    "frechet_infinity",
    "frd",
    "frd_pca",
    "fld",
    "fld_gap",
    "c_t",
    "exact_copies",
    "near_copies",
}
"""Metrics that may be 0 or below."""
DEFAULT = ["pixpca", "randconv", "radiomics"]


def lines(measured: pd.DataFrame) -> Iterator[str]:
    """Rows of the matrix in Markdown."""
    yield f"| metric | features | fresh | {' | '.join(LADDERS)} |"
    yield f"| --- | --- |{' ---: |' * (1 + len(LADDERS))}"
    table = measured.assign(label=measured["label"].fillna("pixels"))
    for (metric, label), own in table.groupby(["metric", "label"], sort=False):
        fresh = own.loc[own["level"] == 0, "value"].iloc[0]
        cells = []
        for ladder in LADDERS:
            steps = own[own["ladder"] == ladder].sort_values("level")["value"].tolist()
            asked = EXPECTED.get(metric, {}).get(ladder, 0) if label in CHECKED else 0
            mark = {1: " ↑", -1: " ↓"}.get(asked, "")
            cells.append("-" if len(steps) < 2 else f"{change(metric, steps)}{mark}")
        yield f"| {metric} | {label} | {fresh:.3g} | {' | '.join(cells)} |"


def change(metric: str, steps: list[float]) -> str:
    """From the fresh sample to the top of the ladder: a factor, or a difference of what may be 0 or below."""
    first, last = steps[0], steps[-1]
    if metric in DIFFERENCES:
        return f"{last - first:+.2g}"
    return f"x {round(last / first, 9):.2g}" if first else "-"


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        measured = measure_ladders(Path(folder), sys.argv[1:] or DEFAULT)
    for line in lines(measured):
        print(line)


if __name__ == "__main__":
    main()
