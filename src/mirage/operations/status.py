"""`mirage status`: what is made, what is being made, what failed, what waits."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mirage.dry_run import PlannedJob
from mirage.files import existing_folder
from mirage.operations.controller import Controller
from mirage.operations.estimate import by_stage
from mirage.operations.logs import last_error, stopped
from mirage.operations.trainings import Training, file_system_time, training_at
from mirage.operations.work import Work, label, overrides

State = Literal["done", "running", "failed", "waiting"]
STATES: tuple[State, ...] = ("done", "running", "failed", "waiting")


@dataclass(frozen=True)
class JobStatus:
    """One job.

    Attributes:
        job: its rule and what it works on.
        state: ``done``: made and up to date. ``running``: begun, by Snakemake's or its own account.
            ``failed``: not made, and its log or its state folder tells why. ``waiting``: anything else.
        note: what there is to say, in words.
        log: path, or None.
        training: of a job that trains and has begun to.
    """

    job: str
    state: State
    note: str = ""
    log: str | None = None
    training: Training | None = None


@dataclass(frozen=True)
class StudyStatus:
    """Jobs of a study by stage and state."""

    study: str
    stages: dict[str, dict[State, int]]


@dataclass(frozen=True)
class Status:
    """How far the studies are.

    Attributes:
        scale: full or demo.
        studies: a job that several need counts in each.
        jobs: those that run or failed, and those that wait with something to say; each once.
        controller: the Snakemake that works here.
    """

    scale: str
    studies: list[StudyStatus]
    jobs: list[JobStatus]
    controller: Controller


def status(studies: Sequence[str] = (), scale: str | None = None) -> Status:
    """How far the studies are, without disturbing a Snakemake that runs.

    Args:
        studies: none: those under `run`.
        scale: ``demo`` or ``full``; None: as configured.

    Raises:
        ConfigError: the configuration is wrong, or Snakemake cannot plan.
    """
    return status_of(Work.planned(overrides(studies, scale)), Controller.here())


def status_of(work: Work, controller: Controller) -> Status:
    """See :func:`status`."""
    now = file_system_time(existing_folder(Path(work.graph.root)))
    queue = _queue({id for job in work.jobs for id in job.cluster_ids})
    states = {job: job_status(job, controller, now, queue) for job in work.jobs}
    return Status(
        scale=work.config.scale,
        studies=[StudyStatus(study, _count(work.of_study(study), states)) for study in work.config.run],
        jobs=[found for found in states.values() if found.state in ("running", "failed") or found.note],
        controller=controller,
    )


def _count(jobs: Iterable[PlannedJob], states: Mapping[PlannedJob, JobStatus]) -> dict[str, dict[State, int]]:
    counted: dict[str, dict[State, int]] = {}
    for stage, own in by_stage(jobs).items():
        found = Counter(states[job].state for job in own)
        counted[stage] = {state: found[state] for state in STATES}
    return counted


def job_status(job: PlannedJob, controller: Controller, now: float, queue: Mapping[str, str]) -> JobStatus:
    """What is known of one job.

    Args:
        job: as planned.
        controller: the Snakemake that works here.
        now: from :func:`~mirage.operations.trainings.file_system_time`.
        queue: state of each cluster job that is still known, by id.
    """
    name, log = label(job), job.log
    path = Path(log) if log else None
    missing = not all(Path(output).exists() for output in job.outputs)
    error = last_error(path) if missing and path is not None else None
    if not job.needed and error is None:  # what is missing, if anything, nothing needs any more
        return JobStatus(name, "done", log=log)
    training = training_at(Path(job.outputs[0]).parent / "state", now)
    if training is not None and training.alive:
        return JobStatus(name, "running", log=log, training=training)
    if job.started and job.cluster_ids and (controller.locked or job.cluster_ids[-1] in queue):
        state, note = _on_cluster(job.cluster_ids[-1], queue)
        return JobStatus(name, state, note, log, training)
    abandoned = training is not None and training.killed and not controller.processes
    if job.started and controller.locked and not abandoned:
        return JobStatus(name, "running", log=log, training=training)
    if error is not None:
        return JobStatus(name, "failed", error, log, training)
    if job.started or (training is not None and training.killed):
        return JobStatus(name, "failed", _killed(training), log, training)
    pause = stopped(path) if missing and path is not None else None
    return JobStatus(name, "waiting", f"{pause}; goes on from there" if pause else "", log, training)


def _killed(training: Training | None) -> str:
    if training is None or training.step is None:
        return "was killed, or its Snakemake was; will be made from the start"
    if training.saved_seconds_ago is None:
        return f"was killed at step {training.step} of {training.steps}, before it saved its state"
    return f"was killed at step {training.step} of {training.steps}; will go on from its saved state"


def _on_cluster(id: str, queue: Mapping[str, str]) -> tuple[State, str]:
    if queue.get(id) == "PENDING":
        return "waiting", f"queued as job {id}"
    return "running", f"job {id}" + (f", {queue[id].lower()}" if id in queue else " of the cluster")


def _queue(ids: set[str]) -> dict[str, str]:
    """Slurm's state of its jobs, as far as there is a Slurm here to ask."""
    if not ids or shutil.which("squeue") is None:
        return {}
    command = ["squeue", "--noheader", "--format=%i %T", f"--jobs={','.join(sorted(ids))}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return {}
    pairs = (line.split(maxsplit=1) for line in done.stdout.splitlines())
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
