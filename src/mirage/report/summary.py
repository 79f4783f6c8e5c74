"""The table every printed number comes from: estimates and intervals of all evaluations of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mirage.errors import DataError
from mirage.report.evaluators import evaluator
from mirage.report.inputs import ReportInputs

COLUMNS = (
    "evaluation",
    "arm",
    "metric",
    "label",
    "protocol",
    "kind",
    "estimate",
    "low",
    "high",
    "n_items",
    "n_subjects",
    "n_seeds",
    "p",
    "p_holm",
    "verdict",
)


def summarise(inputs: ReportInputs) -> pd.DataFrame:
    """All evaluations, tidy.

    Returns:
        Columns ``COLUMNS``. ``label`` is the channel and ``protocol`` how a fidelity metric was measured
        (see :mod:`mirage.evaluate.fidelity.intensity`), both null where there is none. ``kind`` is absolute,
        difference (to the baseline arm), added (difference to the arm that is alike but for the datasets
        added to the real ones, where that is another than the baseline) or ratio (to the baseline arm; of a
        fidelity metric, to its real-against-real reference). ``low`` and ``high`` are ends of the 95 %
        interval, NaN where there is none. On both differences ``p`` is the two-sided sign-flip p value,
        ``p_holm`` the same adjusted over the arms of its metric, and ``verdict`` better, worse or
        inconclusive; else they are null.
    """
    tables = [
        evaluator(done.config.evaluator).summarise(name, done.config, done.folders)
        for name, done in inputs.evaluations.items()
    ]
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def read_metrics(folders: Sequence[Path]) -> pd.DataFrame:
    """Rows of ``metrics.parquet`` of several result folders, one below the other.

    Raises:
        DataError: no folder, or one without a readable table.
    """
    if not folders:
        raise DataError("an evaluation has no result folder; run its jobs first")
    tables = []
    for folder in folders:
        try:
            tables.append(pd.read_parquet(folder / "metrics.parquet"))
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: no readable metrics.parquet ({error})") from error
    filled = [table for table in tables if len(table)]
    if not filled:
        raise DataError(f"{folders[0].parent}: every metrics.parquet is empty; nothing was scored")
    return pd.concat(filled, ignore_index=True)


def pick(
    summary: pd.DataFrame,
    evaluation: str,
    *,
    metric: str | None = None,
    kind: str = "absolute",
    arm: str | None = None,
) -> pd.DataFrame:
    """Rows of the summary of one evaluation and kind, in their order."""
    keep = (summary["evaluation"] == evaluation) & (summary["kind"] == kind)
    if metric is not None:
        keep &= summary["metric"] == metric
    if arm is not None:
        keep &= summary["arm"] == arm
    return summary[keep].reset_index(drop=True)


def row_key(row: Any) -> str:
    """Where a number stands: ``evaluation/arm/metric/kind`` and, where given, label and protocol."""
    parts = (row.evaluation, row.arm, row.metric, row.kind, row.label, row.protocol)
    return "/".join(str(part) for part in parts if isinstance(part, str))


def nested(summary: pd.DataFrame) -> dict[str, Any]:
    """The summary as ``evaluation -> arm -> metric -> kind -> estimate, low, high``; undefined ends left out.

    A fidelity metric is ``metric.channel.protocol``.
    """
    tree: dict[str, Any] = {}
    for row in summary.itertuples():
        numbers = {"estimate": row.estimate, "low": row.low, "high": row.high}
        finite = {name: float(value) for name, value in numbers.items() if np.isfinite(value)}
        if finite:
            arm = tree.setdefault(row.evaluation, {}).setdefault(row.arm, {})
            arm.setdefault(_dotted(row), {})[row.kind] = finite
    return tree


def _dotted(row: Any) -> str:
    parts = (row.metric, row.label, row.protocol) if isinstance(row.protocol, str) else (row.metric,)
    return ".".join(part for part in parts if isinstance(part, str))
