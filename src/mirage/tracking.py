"""Optional tracking by MLflow: parameters, datasets, metrics over steps and small files of every run.

Nothing depends on it. A job is told where to by its environment, so that turning tracking on or off, or to
another server, remakes nothing. Whatever goes wrong is logged once, and the job goes on without.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mirage.errors import TimeBudgetReached
from mirage.files import digest

URI, EXPERIMENT, WEIGHTS = "MIRAGE_TRACKING_URI", "MIRAGE_TRACKING_EXPERIMENT", "MIRAGE_TRACKING_WEIGHTS"
"""Environment variables: where to, under which experiment, and whether weights are uploaded."""
KEY = "mirage.key"
"""Tag by which a resumed job finds its run again."""
BATCH = 100
"""Parameters that MLflow takes at once."""
LONGEST = 500
"""Characters of a parameter's value that are kept."""
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""A server that is away may not hold up a training for the minutes that MLflow would wait."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrackedData:
    """A dataset that a run reads: its name, part, fingerprint and size."""

    name: str
    part: str
    fingerprint: str
    images: int
    subjects: int


class Run:
    """One run. Every method returns at once, and does nothing, where nothing is tracked.

    Args:
        client: MLflow's client, or None.
        id: of the run.
        continued: whether an earlier job has begun it.
    """

    def __init__(self, client: Any = None, id: str = "", *, continued: bool = False) -> None:
        self._client, self._id, self._continued = client, id, continued
        self._prefix = ""
        self._reached: dict[str, int] = {}

    @property
    def tracks(self) -> bool:
        """Whether anything is written."""
        return self._client is not None

    def _attempt(self, act: Callable[[], None]) -> None:
        if self._client is None:
            return
        try:
            act()
        except Exception as error:  # whatever a server or a driver raises may not end a training
            self._client = None
            logger.warning("tracking stops here, the job goes on: %s", _first_line(error))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Log metrics of a step; of a resumed run only what is not there yet, and numbers alone."""
        self._attempt(lambda: self._log(step, {f"{self._prefix}{name}": v for name, v in values.items()}))

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        new = [
            Metric(_named(name), float(value), now, step)
            for name, value in values.items()
            if math.isfinite(value) and step > self._last_step(_named(name))
        ]
        if new:
            self._client.log_batch(self._id, metrics=new)

    def _last_step(self, name: str) -> int:
        if not self._continued:
            return -1
        if name not in self._reached:
            found = self._client.get_metric_history(self._id, name)
            self._reached[name] = max((metric.step for metric in found), default=-1)
        return self._reached[name]

    def files(self, paths: Iterable[Path], folder: str | None = None) -> None:
        """Upload files that exist; weights where they are wanted."""
        wanted = os.environ.get(WEIGHTS) == "1"
        for path in paths:
            if path.is_file() and (wanted or path.suffix != ".safetensors"):
                self._attempt(partial(self._upload, path, folder))

    def _upload(self, path: Path, folder: str | None) -> None:
        self._client.log_artifact(self._id, str(path), folder)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Within the block names of metrics begin with ``<name>/``."""
        before, self._prefix = self._prefix, f"{self._prefix}{name}/"
        try:
            yield
        finally:
            self._prefix = before

    def _describe(
        self, parameters: Mapping[str, Any], tags: Mapping[str, Any], datasets: Sequence[TrackedData]
    ) -> None:
        from mlflow.entities import Param, RunTag

        flat = [Param(_named(key), text) for key, text in _flat(parameters)]
        for start in range(0, len(flat), BATCH):
            self._client.log_batch(self._id, params=flat[start : start + BATCH])
        self._client.log_batch(self._id, tags=[RunTag(key, str(value)) for key, value in tags.items()])
        self._log_data(datasets)

    def data(self, datasets: Sequence[TrackedData]) -> None:
        """Log datasets that were not known when the run began."""
        self._attempt(lambda: self._log_data(datasets))

    def _log_data(self, datasets: Sequence[TrackedData]) -> None:
        from mlflow.entities import Param

        told = {f"data.{one.part}.{key}": value for one in datasets for key, value in _sizes(one).items()}
        flat = [Param(_named(key), str(value)) for key, value in told.items()]
        for start in range(0, len(flat), BATCH):
            self._client.log_batch(self._id, params=flat[start : start + BATCH])
        if datasets:
            self._client.log_inputs(self._id, [_input(one) for one in datasets])

    def _end(self, status: str) -> None:
        self._attempt(lambda: self._client.set_terminated(self._id, status))


_NOTHING = Run()
_current = _NOTHING


def current() -> Run:
    """The run of the job at hand; one that does nothing where none is open."""
    return _current


@contextmanager
def tracked(
    name: str,
    key: str,
    *,
    kind: str,
    parameters: Mapping[str, Any],
    datasets: Sequence[TrackedData] = (),
    tags: Mapping[str, Any] | None = None,
) -> Iterator[Run]:
    """Track a block as one run, which :func:`current` gives within it.

    An unfinished run of the same key is continued, so that a resumed training stays one line. On ranks other
    than the first, and where no server is named, nothing is tracked.

    Args:
        name: as the run is shown.
        key: digest of what decides the result.
        kind: ``generator``, ``judge``, ``encoder`` or ``comparison``; a tag to filter by.
        parameters: nested options.
        datasets: what it reads.
        tags: further tags.
    """
    global _current
    first = int(os.environ.get("RANK", "0")) == 0
    told = {**(tags or {}), KEY: key, "kind": kind}
    run = _open(name, key, parameters, told, datasets) if os.environ.get(URI) and first else _NOTHING
    before, _current = _current, run
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except TimeBudgetReached:
        status = "KILLED"  # goes on in the next job
        raise
    finally:
        _current = before
        run._end(status)


def _open(
    name: str,
    key: str,
    parameters: Mapping[str, Any],
    tags: Mapping[str, Any],
    datasets: Sequence[TrackedData],
) -> Run:
    """A run that is begun or continued; one that does nothing where that fails."""
    for variable, value in PATIENCE.items():
        os.environ.setdefault(variable, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    uri = os.environ[URI]
    try:
        from mlflow.tracking import MlflowClient

        with _alone(uri):  # two jobs that begin together would both make the tables
            client = MlflowClient(uri)
            experiment = _experiment(client, uri)
        found = client.search_runs(
            [experiment], f"tags.`{KEY}` = '{key}' and attributes.status != 'FINISHED'", max_results=1
        )
        if found:
            client.update_run(found[0].info.run_id, "RUNNING")
            return Run(client, found[0].info.run_id, continued=True)
        made = client.create_run(experiment, run_name=name)
        run = Run(client, made.info.run_id)
        run._attempt(lambda: run._describe(parameters, tags, datasets))
        return run
    except ImportError as error:
        logger.warning("tracking is asked for and not possible (%s): pip install '.[tracking]'", error)
    except Exception as error:
        logger.warning("tracking at %s is not possible, the job goes on: %s", uri, _first_line(error))
    return _NOTHING


def _experiment(client: Any, uri: str) -> str:
    """Id of the experiment, made when it is new; beside an SQLite file lie the files of its runs."""
    name = os.environ.get(EXPERIMENT) or "mirage"
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    path = _database(uri)
    files = None if path is None else (path.parent / f"{path.stem}-files" / _named(name)).resolve().as_uri()
    return str(client.create_experiment(name, artifact_location=files))


def _database(uri: str) -> Path | None:
    """File of an SQLite store; None for any other."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Hold the lock beside an SQLite file; nothing for a server."""
    path = _database(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f"{path.name}.lock"), "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _input(data: TrackedData) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    profile = json.dumps({"images": data.images, "subjects": data.subjects})
    # MLflow takes a name and digest once a run, and a dataset may be both trained and tested on.
    part = digest([data.fingerprint, data.part, profile])[:36]
    dataset = Dataset(data.name, part, "mirage", data.name, profile=profile)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", data.part)])


def _sizes(data: TrackedData) -> dict[str, Any]:
    return {
        data.name: data.fingerprint,
        f"{data.name}.images": data.images,
        f"{data.name}.subjects": data.subjects,
    }


def _flat(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested options as dotted keys and texts."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)[:LONGEST]


def _named(name: str) -> str:
    """A name that MLflow accepts."""
    return re.sub(r"[^\w\-. /]", "_", name)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
