"""Evaluations as runs of MLflow: what a job was asked, what it read, and the means of what it measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from mirage import tracking
from mirage.config.evaluations import ArmsEvaluation
from mirage.data import Dataset
from mirage.files import digest
from mirage.tracking import TrackedData

FILES = (".json", ".parquet", ".png", ".csv")
"""Files of ``details/`` that are uploaded; predictions and weights stay where they are."""
MAX_FILE_BYTES = 10_000_000


@contextmanager
def tracked_arm(
    config: ArmsEvaluation,
    evaluation: str,
    arm: str,
    seed: int,
    datasets: Mapping[str, Dataset],
    out: Path,
) -> Iterator[None]:
    """Track the training and scoring of one judge; the parameters are those of :func:`tracked_set`."""
    options = config.model_dump(mode="json", exclude={"arms", "seeds", "baseline", "runtime", "demo"})
    options = {**options, "arm": arm, "seed": seed, "arm_options": config.arms[arm].model_dump(mode="json")}
    name = f"{evaluation}/{arm}/seed-{seed}"
    data = [_described(key, one, "test" if key == config.test else "train") for key, one in datasets.items()]
    tags = {"evaluation": evaluation, "evaluator": config.evaluator, "folder": out}
    with _tracked(name, "judge", options, data, tags, out):
        yield


@contextmanager
def tracked_set(config: Any, evaluation: str, datasets: Mapping[str, Dataset], out: Path) -> Iterator[None]:
    """Track an evaluation of whole datasets.

    Args:
        config: the evaluation.
        evaluation: its name.
        datasets: whole datasets by name.
        out: folder whose tables are uploaded when the block has ended well.
    """
    options = config.model_dump(mode="json", exclude={"runtime", "demo"})
    data = [_described(key, one, "all") for key, one in datasets.items()]
    tags = {"evaluation": evaluation, "evaluator": config.evaluator, "folder": out}
    with _tracked(evaluation, "comparison", options, data, tags, out):
        yield


@contextmanager
def _tracked(
    name: str,
    kind: str,
    options: dict[str, Any],
    data: list[TrackedData],
    tags: Mapping[str, Any],
    out: Path,
) -> Iterator[None]:
    key = digest({"name": name, "options": options, "data": {one.name: one.fingerprint for one in data}})
    with tracking.tracked(name, key, kind=kind, parameters=options, datasets=data, tags=tags) as run:
        yield
        if run.tracks:
            run.metrics(0, means(pd.read_parquet(out / "metrics.parquet")))
            run.files([out / "metrics.parquet"])
            found = [path for path in sorted((out / "details").glob("*")) if path.suffix in FILES]
            run.files([path for path in found if path.stat().st_size <= MAX_FILE_BYTES], "details")


def means(rows: pd.DataFrame) -> dict[str, float]:
    """Mean value of every metric, ``score/<metric>``, with its label where there are several of them.

    Args:
        rows: of ``metrics.parquet``.
    """
    by = ["arm", "metric", "label"] if rows["arm"].nunique() > 1 else ["metric", "label"]
    by = [key for key in by if key != "label" or rows["label"].nunique() > 1]
    found = rows.groupby(by, dropna=False)["value"].mean().dropna()
    keys = [key if isinstance(key, tuple) else (key,) for key in found.index]
    named = ["/".join(["score", *(str(part) for part in key if isinstance(part, str))]) for key in keys]
    return dict(zip(named, map(float, found), strict=True))


def _described(name: str, data: Dataset, part: str) -> TrackedData:
    return TrackedData(name, part, data.info.fingerprint, len(data), len(data.subjects()))
