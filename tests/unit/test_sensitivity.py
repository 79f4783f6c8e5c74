"""Every metric moves the right way when synthetic images are made worse in a known way."""

from __future__ import annotations

import pandas as pd
import pytest

from mirage.evaluate.sensitivity import ENCODER, EXPECTED, LADDERS, measure_ladders, moves

CASES = [
    (metric, ladder, direction)
    for metric, ladders in EXPECTED.items()
    for ladder, direction in ladders.items()
]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """All metrics on all ladders."""
    return measure_ladders(tmp_path_factory.mktemp("ladders"), [ENCODER])


@pytest.mark.parametrize(("metric", "ladder", "direction"), CASES)
def test_metric_moves_up_its_ladder(measured: pd.DataFrame, metric: str, ladder: str, direction: int) -> None:
    """One way, without a step back that counts, wherever it is measured."""
    rows = measured[(measured["metric"] == metric) & (measured["ladder"] == ladder)].sort_values("level")
    assert len(rows)
    for label, own in rows.groupby("label", dropna=False):
        assert len(own) == 1 + len(LADDERS[ladder][1])
        assert moves(own["value"].tolist(), direction), (label, own["value"].tolist())


@pytest.mark.parametrize(
    ("values", "rises"),
    [
        ([1, 2, 3, 4], True),
        ([1, 2, 1.9, 4], True),
        ([1, 4, 2, 5], False),
        ([2, 2, 2, 2], False),
        ([4, 1], False),
    ],
)
def test_what_counts_as_moving(values: list[float], rises: bool) -> None:
    """A small step back is forgiven, standing still is not."""
    assert moves(values, 1) is rises
