"""`mirage plan`: what a run would make, and what it would take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mirage.dry_run import PlannedJob
from mirage.operations.estimate import Basis, Estimate, Experience, by_stage, size_of
from mirage.operations.machine import usable_cores
from mirage.operations.schedule import critical_path, wall_time
from mirage.operations.work import Work, asked, overrides


@dataclass(frozen=True)
class Amount:
    """What some jobs will take together.

    Attributes:
        jobs: how many would run.
        of: how many there are, with those that need not run.
        hours: wall time, as if one ran after the other.
        gpu_hours: of it, times the GPUs held.
        core_hours: of it, times the threads held.
        hours_at_most: jobs whose time is only known not to exceed what they ask for, and counted as that.
        hours_by_rule: jobs whose time is that of another entry's jobs of the same rule.
        hours_unknown: jobs of which no time is known; they count as none.
        memory_mb: the largest peak that was measured of such jobs, MB; None: of none.
        memory_asked_mb: the most that one of them asks for, MB.
        bytes: size of what they will write.
        bytes_unknown: jobs of which no size is known; they count as none.
    """

    jobs: int
    of: int
    hours: float
    gpu_hours: float
    core_hours: float
    hours_at_most: int
    hours_by_rule: int
    hours_unknown: int
    memory_mb: float | None
    memory_asked_mb: int
    bytes: float
    bytes_unknown: int


@dataclass(frozen=True)
class StudyPlan:
    """One study: its stages, and all together."""

    study: str
    stages: dict[str, Amount]
    total: Amount


@dataclass(frozen=True)
class Machine:
    """How long it takes on one machine.

    Attributes:
        cores, gpus: what there is; None: as many GPUs as wanted.
        hours: until the last job ends.
        critical_path_hours: the longest chain of jobs that wait for one another; no machine is faster.
    """

    cores: int
    gpus: int | None
    hours: float
    critical_path_hours: float


@dataclass(frozen=True)
class Plan:
    """Everything that would run.

    Attributes:
        scale: full or demo.
        studies: a job that several need counts in each.
        total: every job once.
        bytes_more: how much fuller the disk gets: what replaces nothing that is there.
        machine: the time on it.
        kilowatt_hours, money, currency: from `cost` of the configuration, as far as it says; else None.
    """

    scale: str
    studies: list[StudyPlan]
    total: Amount
    bytes_more: float
    machine: Machine
    kilowatt_hours: float | None
    money: float | None
    currency: str


def plan(
    studies: Sequence[str] = (), scale: str | None = None, cores: int | None = None, gpus: int | None = None
) -> Plan:
    """What Snakemake would run now, and what that will take by what such jobs have taken.

    Args:
        studies: none: those under `run`.
        scale: ``demo`` or ``full``; None: as configured.
        cores: of the machine that the wall time is meant for; None: this one's.
        gpus: the same; None: as many as wanted.

    Raises:
        ConfigError: the configuration is wrong, or Snakemake cannot plan.
    """
    return plan_of(Work.planned(overrides(studies, scale)), cores or usable_cores(), gpus)


def plan_of(work: Work, cores: int, gpus: int | None = None) -> Plan:
    """See :func:`plan`."""
    experience = Experience.of(work)
    needed = [job for job in work.jobs if job.needed]
    estimates = {job: experience.estimate(job) for job in needed}
    seconds = {job: _known(found.seconds) for job, found in estimates.items()}
    total = _amount(work.jobs, estimates)
    longest = critical_path(needed, work.needs, seconds)
    machine = Machine(cores, gpus, wall_time(needed, work.needs, seconds, cores, gpus) / 3600, longest / 3600)
    cost = work.config.cost
    return Plan(
        scale=work.config.scale,
        studies=[_study(work, study, estimates) for study in work.config.run],
        total=total,
        bytes_more=sum(_known(found.bytes) for job, found in estimates.items() if not _there(job)),
        machine=machine,
        kilowatt_hours=cost.kilowatt_hours(total.core_hours, total.gpu_hours),
        money=cost.money(total.core_hours, total.gpu_hours),
        currency=cost.currency,
    )


def _study(work: Work, study: str, estimates: dict[PlannedJob, Estimate]) -> StudyPlan:
    jobs = work.of_study(study)
    stages = {stage: _amount(own, estimates) for stage, own in by_stage(jobs).items()}
    return StudyPlan(study, stages, _amount(jobs, estimates))


def _amount(jobs: Sequence[PlannedJob], estimates: dict[PlannedJob, Estimate]) -> Amount:
    found = {job: estimates[job] for job in jobs if job in estimates}
    hours = {job: _known(one.seconds) / 3600 for job, one in found.items()}
    memory = [one.memory_mb for one in found.values() if not math.isnan(one.memory_mb)]
    return Amount(
        jobs=len(found),
        of=len(jobs),
        hours=sum(hours.values()),
        gpu_hours=sum(asked(job, "gpu") * own for job, own in hours.items()),
        core_hours=sum(job.threads * own for job, own in hours.items()),
        hours_at_most=_count(found.values(), Basis.LIMIT),
        hours_by_rule=_count((one for one in found.values() if one.seconds), Basis.RULE),
        hours_unknown=_count(found.values(), Basis.NOTHING),
        memory_mb=max(memory, default=None),
        memory_asked_mb=max((asked(job, "mem_mb") for job in found), default=0),
        bytes=sum(_known(one.bytes) for one in found.values()),
        bytes_unknown=sum(math.isnan(one.bytes) for one in found.values()),
    )


def _count(estimates: Iterable[Estimate], basis: Basis) -> int:
    return sum(one.seconds_by == basis for one in estimates)


def _known(value: float) -> float:
    """The value, or zero for one that is not known."""
    return 0.0 if math.isnan(value) else value


def _there(job: PlannedJob) -> bool:
    """Whether all that a job makes is there already, if out of date."""
    return size_of(job.outputs) is not None
