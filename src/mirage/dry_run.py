"""The jobs of the workflow and which of them Snakemake would run now, asked of Snakemake itself."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mirage.errors import ConfigError

MANY_CORES = 65536
"""So many that Snakemake leaves each job the threads that it asks for."""


@dataclass(frozen=True, eq=False)
class PlannedJob:
    """A job of the workflow as Snakemake plans it; equal to itself alone.

    Attributes:
        rule: name of the rule.
        stage: name of the rule's file: simulate, prepare, train, synthesise, evaluate or report.
        wildcards: their values.
        inputs, outputs: paths relative to the working directory.
        watched: those inputs whose change makes the job run again: all that are not ``ancient``.
        script: the rule's script, a path as the inputs are, or None.
        log, benchmark: paths, or None.
        threads: CPU threads.
        resources: what it asks for (``mem_mb``, ``gpu``, ``runtime`` in minutes ...).
        params: by name, as they are now.
        needed: whether Snakemake would run it.
        reason: Snakemake's own object of this name: why the job would run.
        recorded: Snakemake's own record of the job that made the first output (``params``, ``input``,
            ``log``, ``endtime`` ...), or None.
        started: whether a run of it began and has not ended; or was broken off together with Snakemake.
        cluster_ids: under which it was submitted to a cluster, while ``started``.
    """

    rule: str
    stage: str
    wildcards: dict[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    watched: tuple[str, ...]
    script: str | None
    log: str | None
    benchmark: str | None
    threads: int
    resources: dict[str, Any]
    params: dict[str, Any]
    needed: bool
    reason: Any
    recorded: Any
    started: bool
    cluster_ids: tuple[str, ...]


def planned_jobs(config: Mapping[str, Any] | None = None, targets: Sequence[str] = ()) -> list[PlannedJob]:
    """Jobs that `snakemake` would run in the working directory, each after those it depends on.

    See :func:`all_jobs` for arguments and errors.
    """
    return [job for job in all_jobs(config, targets) if job.needed]


def all_jobs(config: Mapping[str, Any] | None = None, targets: Sequence[str] = ()) -> list[PlannedJob]:
    """Jobs behind the targets, whether they would run or not, each after those it depends on.

    No lock is taken, so a Snakemake that runs here is not disturbed. Files that a broken-off job has left
    count as not made, as the profiles' ``rerun-incomplete`` has it.

    Args:
        config: keys of the configuration to be replaced, such as ``{"run": ["brain"]}``.
        targets: files or rules; none: the reports of the studies under `run`.

    Raises:
        ConfigError: there is no workflow here, or Snakemake cannot plan: the configuration is wrong, data are
            missing, or a target is unknown. The message is Snakemake's.
    """
    if not Path("Snakefile").exists():
        raise ConfigError(f"{Path.cwd()}: no Snakefile here; call this in the folder of the project")
    from snakemake.api import SnakemakeApi
    from snakemake.exceptions import RuleException, WorkflowError
    from snakemake.settings.types import (
        ConfigSettings,
        DAGSettings,
        OutputSettings,
        Quietness,
        ResourceSettings,
    )

    # These two words of quietness together are what makes Snakemake stop once the plan is made.
    silent = OutputSettings(
        dryrun=True, quiet={Quietness.RULES, Quietness.PROGRESS}, log_level_override=logging.CRITICAL
    )
    with _standard_output_closed(), SnakemakeApi(silent) as api:
        try:
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=MANY_CORES),
                config_settings=ConfigSettings(config=dict(config or {})),
                snakefile=Path("Snakefile"),
            )
            plan = workflow.dag(DAGSettings(targets=frozenset(targets), force_incomplete=True))
            plan.execute_workflow(executor="dryrun")
        except (WorkflowError, RuleException) as error:
            raise ConfigError(str(error).strip()) from None
        dag = workflow._workflow.dag
        layers = [sorted(layer, key=_name) for layer in dag.toposorted()]
        return [_described(job, dag) for layer in layers for job in layer if not job.rule.norun]


def _name(job: Any) -> list[str]:
    """What sorts jobs the same way in every run."""
    return [job.rule.name, *map(str, job.output)]


def _described(job: Any, dag: Any) -> PlannedJob:
    persistence = dag.workflow.persistence
    started = bool(persistence._filter_incomplete_keys(map(str, job.output)))
    return PlannedJob(
        rule=job.rule.name,
        stage=Path(str(job.rule.snakefile)).stem,
        wildcards=dict(job.wildcards_dict),
        inputs=tuple(map(str, job.input)),
        outputs=tuple(map(str, job.output)),
        watched=tuple(str(file) for file in job.input if not file.is_ancient),
        script=_script(job),
        log=str(job.log[0]) if job.log else None,
        benchmark=str(job.benchmark) if job.benchmark else None,
        threads=int(job.threads),
        resources=dict(job.resources.items()),
        params=dict(job.params.items()),
        needed=dag.needrun(job),
        reason=dag.reason(job),
        recorded=persistence.metadata(job.output[0]),
        started=started,
        cluster_ids=tuple(persistence.external_jobids(job)) if started else (),
    )


def _script(job: Any) -> str | None:
    if not job.rule.script:
        return None
    return os.path.relpath(job.rule.basedir.join(job.rule.script).get_path_or_uri(secret_free=True))


@contextmanager
def _standard_output_closed() -> Iterator[None]:
    """Within the block nothing is printed: what Snakemake says of a dry run is not for the reader."""
    kept = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(null)
