"""The table every printed number comes from: estimates and intervals of all evaluations of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mirage.config.evaluations import SegmentationEvaluation
from mirage.errors import DataError
from mirage.evaluate.statistics import compare_arms, mean_interval
from mirage.report.inputs import ReportInputs

COLUMNS = (
    "evaluation", "arm", "metric", "label", "protocol", "kind", "estimate", "low", "high",
    "n_items", "n_subjects", "n_seeds", "verdict",
)  # fmt: skip
OBSERVER = "observer2"
HEADLINE = "f1"
KINDS = ("absolute", "difference", "ratio")


def summarise(inputs: ReportInputs) -> pd.DataFrame:
    """All evaluations, tidy.

    Returns:
        Columns ``COLUMNS``. ``label`` is the channel and ``protocol`` how a fidelity metric was measured
        (see :mod:`mirage.evaluate.intensity`), both null where there is none. ``kind`` is absolute,
        difference (to the baseline arm) or ratio (to the baseline arm; of a fidelity metric, to its
        real-against-real reference). ``low`` and ``high`` are ends of the 95 % interval, NaN where there is
        none. ``verdict`` is better, worse or inconclusive on differences, else null.
    """
    tables = []
    for name, (config, folders) in inputs.evaluations.items():
        rows = read_metrics(folders)
        if isinstance(config, SegmentationEvaluation):
            tables.append(segmentation_summary(name, config, rows))
        else:
            tables.append(fidelity_summary(name, rows))
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


def segmentation_summary(name: str, config: SegmentationEvaluation, rows: pd.DataFrame) -> pd.DataFrame:
    """Arms, their differences and ratios to the baseline, and the second observer, for every metric."""
    judged, human = rows[rows["arm"] != OBSERVER], rows[rows["arm"] == OBSERVER]
    records: list[dict[str, Any]] = []
    for metric in dict.fromkeys(judged["metric"]):
        if (
            judged.loc[(judged["metric"] == metric) & (judged["arm"] == config.baseline), "value"]
            .notna()
            .any()
        ):
            for row in compare_arms(judged, metric, config.baseline).to_dict("records"):
                records += _arm_records(row, metric)
    for metric, part in human.groupby("metric", sort=False):
        if part["value"].notna().any():
            found = mean_interval(part)
            records.append(
                {
                    "arm": OBSERVER, "metric": metric, "kind": "absolute", "estimate": found.estimate,
                    "low": found.low, "high": found.high, "n_subjects": found.subjects, "n_seeds": 0,
                }
            )  # fmt: skip
    table = pd.DataFrame(records).assign(evaluation=name).reindex(columns=list(COLUMNS))
    absolute = table["kind"] == "absolute"  # all scores are shares; a widened interval may pass 0 or 1
    table.loc[absolute, ["low", "high"]] = table.loc[absolute, ["low", "high"]].clip(0, 1)
    return table


def fidelity_summary(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a fidelity evaluation, which come with their intervals, under the summary's columns."""
    renamed = rows.rename(columns={"value": "estimate"}).assign(evaluation=name)
    return renamed.reindex(columns=list(COLUMNS))


def _arm_records(row: dict[str, Any], metric: str) -> list[dict[str, Any]]:
    shared = {"arm": row["arm"], "metric": metric, "n_subjects": row["subjects"], "n_seeds": row["seeds"]}
    records = []
    for kind, column in (("absolute", ""), ("difference", "difference"), ("ratio", "ratio")):
        estimate = row[column or "estimate"]
        if kind == "absolute" or not np.isnan(estimate):
            ends = {end: row[f"{column}_{end}" if column else end] for end in ("low", "high")}
            verdict = row["verdict"] if kind == "difference" else None
            records.append({**shared, "kind": kind, "estimate": estimate, **ends, "verdict": verdict})
    return records


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
            metric = ".".join(
                [
                    row.metric,
                    *(
                        part
                        for part in (row.label, row.protocol)
                        if isinstance(part, str) and isinstance(row.protocol, str)
                    ),
                ]
            )
            arm.setdefault(metric, {})[row.kind] = finite
    return tree
