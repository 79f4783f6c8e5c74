"""What Snakemake would run now, and all that a result is made by, asked of Snakemake itself."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mirage.errors import ConfigError


@dataclass(frozen=True)
class PlannedJob:
    """A job of the workflow.

    Attributes:
        rule: name of the rule.
        wildcards: their values.
        inputs, outputs: paths relative to the working directory.
        watched: those inputs whose change makes the job run again: all that are not ``ancient``.
        script: the rule's script, a path as the inputs are, or None.
        log, benchmark: paths, or None.
        threads: CPU threads.
        resources: what it asks for (``mem_mb``, ``gpu``, ``runtime`` in minutes ...).
        pending: whether Snakemake would run it now.
        reason: Snakemake's own object of this name: why the job would run.
    """

    rule: str
    wildcards: dict[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    watched: tuple[str, ...]
    script: str | None
    log: str | None
    benchmark: str | None
    threads: int
    resources: dict[str, Any]
    pending: bool
    reason: Any


def planned_jobs(config: Mapping[str, Any] | None = None, targets: Sequence[str] = ()) -> list[PlannedJob]:
    """Jobs that `snakemake` would run in the working directory, each after those it depends on.

    Args:
        config: keys of the configuration to be replaced, such as ``{"run": ["brain"]}``.
        targets: files or rules; none: the reports of the studies under `run`.

    Raises:
        ConfigError: there is no workflow here, or Snakemake cannot plan: the configuration is wrong, data are
            missing, or a target is unknown. The message is Snakemake's.
    """
    return [job for job in workflow_jobs(config, targets) if job.pending]


def workflow_jobs(config: Mapping[str, Any] | None = None, targets: Sequence[str] = ()) -> list[PlannedJob]:
    """Every job behind the targets, made or not; arguments, order and errors of :func:`planned_jobs`."""
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
                resource_settings=ResourceSettings(cores=os.cpu_count()),
                config_settings=ConfigSettings(config=dict(config or {})),
                snakefile=Path("Snakefile"),
            )
            plan = workflow.dag(DAGSettings(targets=frozenset(targets)))
            plan.execute_workflow(executor="dryrun")
        except (WorkflowError, RuleException) as error:
            raise ConfigError(str(error).strip()) from None
        dag = workflow._workflow.dag
        return [_described(job, dag) for layer in dag.toposorted() for job in sorted(layer, key=str)]


def _described(job: Any, dag: Any) -> PlannedJob:
    return PlannedJob(
        rule=job.rule.name,
        wildcards=dict(job.wildcards_dict),
        inputs=tuple(map(str, job.input)),
        outputs=tuple(map(str, job.output)),
        watched=tuple(str(file) for file in job.input if not file.is_ancient),
        script=_script(job),
        log=str(job.log[0]) if job.log else None,
        benchmark=str(job.benchmark) if job.benchmark else None,
        threads=int(job.threads),
        resources=dict(job.resources.items()),
        pending=dag.needrun(job),
        reason=dag.reason(job),
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
