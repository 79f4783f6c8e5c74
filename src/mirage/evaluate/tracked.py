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
from mirage.files import digest, read_json
from mirage.tracking import Run, TrackedData

FILES = (".json", ".parquet", ".png", ".csv")
"""Files of ``details/`` that are uploaded; predictions and weights stay where they are."""
MAX_FILE_BYTES = 10_000_000
SIZES = ("images", "subjects")


@contextmanager
def tracked_arm(
    config: ArmsEvaluation,
    evaluation: str,
    arm: str,
    seed: int,
    datasets: Mapping[str, Dataset],
    out: Path,
) -> Iterator[None]:
    """Track the training and scoring of one judge.

    Its data are logged when the block has ended well, as ``details/arm.json`` tells them: the views that were
    trained on, each dataset's part that was held out of them, and the test set.

    Args:
        config, evaluation, out: as for :func:`tracked_set`.
        arm, seed: which judge.
        datasets: whole datasets by name, all that the arm reads.
    """
    options = config.model_dump(mode="json", exclude={"arms", "seeds", "baseline", "runtime", "demo"})
    options = {**options, "arm": arm, "seed": seed, "arm_options": config.arms[arm].model_dump(mode="json")}
    name = f"{evaluation}/{arm}/seed-{seed}"
    tags = {"evaluation": evaluation, "evaluator": config.evaluator, "folder": out}
    with _tracked(name, "judge", options, datasets, tags, out, arm) as run:
        yield
        if run.tracks:
            run.data(data_of(read_json(out / "details/arm.json")))


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
    tags = {"evaluation": evaluation, "evaluator": config.evaluator, "folder": out}
    with _tracked(evaluation, "comparison", options, datasets, tags, out):
        yield


@contextmanager
def _tracked(
    name: str,
    kind: str,
    options: dict[str, Any],
    datasets: Mapping[str, Dataset],
    tags: Mapping[str, Any],
    out: Path,
    arm: str | None = None,
) -> Iterator[Run]:
    prints = {key: one.info.fingerprint for key, one in datasets.items()}
    key = digest({"name": name, "options": options, "data": prints})
    data = [_whole(key, one) for key, one in datasets.items()] if arm is None else []
    with tracking.tracked(name, key, kind=kind, parameters=options, datasets=data, tags=tags) as run:
        yield run
        if run.tracks:
            run.metrics(0, means(pd.read_parquet(out / "metrics.parquet"), arm))
            run.files([out / "metrics.parquet"])
            found = [path for path in sorted((out / "details").glob("*")) if path.suffix in FILES]
            run.files([path for path in found if path.stat().st_size <= MAX_FILE_BYTES], "details")


def means(rows: pd.DataFrame, arm: str | None = None) -> dict[str, float]:
    """Mean value of every metric: ``score/<metric>/<label>``, without a label ``score/<metric>``.

    Names depend on nothing else that is in the table, so that columns of different runs line up. Other arms
    than the run's own stand before the metric.

    Args:
        rows: of ``metrics.parquet``.
        arm: the run's own; None: it has none.
    """
    found = rows.groupby(["arm", "metric", "label"], dropna=False)["value"].mean().dropna()
    named = [
        "/".join(["score", *(part for part in (None if of == arm else of, *key) if isinstance(part, str))])
        for of, *key in found.index
    ]
    return dict(zip(named, map(float, found), strict=True))


def data_of(facts: Mapping[str, Any]) -> list[TrackedData]:
    """What ``arm.json`` says was read, by part: ``train``, ``pretrain``, ``held_out`` and ``test``.

    A dataset may be of several parts. One that was asked for twice in a part counts with the sum.
    """
    found: dict[tuple[str, str], TrackedData] = {}
    for part in ("train", "pretrain", "held_out", "test"):
        told = facts.get(part) or []
        for one in [told] if isinstance(told, Mapping) else told:
            before = found.get((part, one["data"]))
            images, subjects = (one[key] + (getattr(before, key) if before else 0) for key in SIZES)
            found[part, one["data"]] = TrackedData(one["data"], part, one["fingerprint"], images, subjects)
    return list(found.values())


def _whole(name: str, data: Dataset) -> TrackedData:
    return TrackedData(name, "all", data.info.fingerprint, len(data), len(data.subjects()))
