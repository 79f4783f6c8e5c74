"""Rows of ``metrics.parquet`` of an evaluation of privacy, and the exact interval of a share."""

from __future__ import annotations

from typing import Any

from mirage.evaluate.statistics import clopper_pearson

UNKNOWN = (float("nan"), float("nan"))


def row(
    arm: str,
    metric: str,
    space: str | None,
    protocol: str,
    value: float,
    ends: tuple[float, float],
    items: int,
    subjects: int,
    kind: str = "absolute",
) -> dict[str, Any]:
    """One row; ``label`` is the space. One subject has no interval."""
    low, high = ends if subjects > 1 else UNKNOWN
    return {
        "arm": arm,
        "metric": metric,
        "label": space,
        "kind": kind,
        "protocol": protocol,
        "value": value,
        "low": low,
        "high": high,
        "n_items": items,
        "n_subjects": subjects,
    }


def exact_interval(hits: int, total: int) -> tuple[float, float]:
    """Clopper-Pearson 95 % interval of a share; NaN of nothing."""
    return clopper_pearson(hits, total)[1:] if total else UNKNOWN
