"""How long jobs take together, on machines of some size."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import count

from mirage.dry_run import PlannedJob
from mirage.operations.work import asked


def critical_path(
    jobs: Sequence[PlannedJob],
    needs: Callable[[PlannedJob], Sequence[PlannedJob]],
    seconds: Mapping[PlannedJob, float],
) -> float:
    """Seconds of the longest chain of jobs that wait for one another: no machine is faster.

    Args:
        jobs: each after those it needs.
        needs: jobs that one waits for; those that are not among ``jobs`` are done.
        seconds: what each takes.
    """
    ends: dict[PlannedJob, float] = {}
    for job in jobs:
        ends[job] = seconds[job] + max((ends.get(one, 0.0) for one in needs(job)), default=0.0)
    return max(ends.values(), default=0.0)


def wall_time(
    jobs: Sequence[PlannedJob],
    needs: Callable[[PlannedJob], Sequence[PlannedJob]],
    seconds: Mapping[PlannedJob, float],
    cores: int,
    gpus: int | None = None,
) -> float:
    """Seconds until the last job ends when each starts as soon as what it needs is done and free.

    As with Snakemake, a job with more threads than there are cores runs with what there is. Of the jobs that
    could start, the longest comes first.

    Args:
        jobs, needs, seconds: see :func:`critical_path`.
        cores: CPU cores.
        gpus: GPUs; None: as many as wanted.
    """
    waits = Counter({job: sum(one in seconds for one in needs(job)) for job in jobs})
    frees: dict[PlannedJob, list[PlannedJob]] = {job: [] for job in jobs}
    for job in jobs:
        for one in needs(job):
            if one in frees:
                frees[one].append(job)
    ready = [job for job in jobs if not waits[job]]
    running: list[tuple[float, int, PlannedJob]] = []
    order, now, free_cores, free_gpus = count(), 0.0, cores, gpus
    while ready or running:
        for job in sorted(ready, key=lambda job: -seconds[job]):
            asked, devices = _asked(job, cores, gpus)
            if asked <= free_cores and (free_gpus is None or devices <= free_gpus):
                ready.remove(job)
                free_cores -= asked
                free_gpus = None if free_gpus is None else free_gpus - devices
                heapq.heappush(running, (now + seconds[job], next(order), job))
        now, _, done = heapq.heappop(running)
        asked, devices = _asked(done, cores, gpus)
        free_cores += asked
        free_gpus = None if free_gpus is None else free_gpus + devices
        for job in frees[done]:
            waits[job] -= 1
            if not waits[job]:
                ready.append(job)
    return now


def _asked(job: PlannedJob, cores: int, gpus: int | None) -> tuple[int, int]:
    """Cores and GPUs that a job takes of what there is."""
    devices = asked(job, "gpu")
    return min(job.threads, cores), devices if gpus is None else min(devices, gpus)
