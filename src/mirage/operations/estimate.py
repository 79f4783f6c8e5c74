"""What a job will take, by what jobs like it have taken: time, memory, disk."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from statistics import median

from mirage.benchmarks import Measurement, job_of, read_measurements
from mirage.dry_run import PlannedJob
from mirage.operations.work import Work, asked, entry_of


class Basis(IntEnum):
    """What an estimate rests on, best first."""

    JOB = 1  # this very job has run before
    ENTRY = 2  # another job of the same entry: another seed, shard or arm
    CONFIG = 3  # bytes only: number and size of the items
    RULE = 4  # another entry's job of the same rule
    LIMIT = 5  # time only: what the job may take at most
    NOTHING = 6


@dataclass(frozen=True)
class Estimate:
    """What one job will take.

    Attributes:
        seconds: wall time; NaN where nothing is known.
        seconds_by: what that rests on; ``LIMIT`` makes it an upper bound.
        memory_mb: peak resident memory, MB; NaN where no such job has been measured.
        bytes: size of its outputs; NaN where nothing is known.
        bytes_by: what that rests on.
    """

    seconds: float
    seconds_by: Basis
    memory_mb: float
    bytes: float
    bytes_by: Basis


class Experience:
    """What jobs of this project have taken so far.

    Args:
        work: the jobs; sizes are taken from their outputs that are there.
        measurements: of earlier jobs at the same scale.
    """

    def __init__(self, work: Work, measurements: Iterable[Measurement]) -> None:
        self.work = work
        self._measured = list(measurements)
        self._sizes = {job: size for job in work.jobs if (size := size_of(job.outputs)) is not None}

    @classmethod
    def of(cls, work: Work) -> Experience:
        """What the benchmark files of the project's results tell."""
        files = sorted(Path(work.graph.root, "benchmarks").rglob("*.tsv"))
        return cls(work, [found for file in files for found in read_measurements(file)])

    def estimate(self, job: PlannedJob) -> Estimate:
        """What a job will take; nothing for the rules that Snakemake does not measure, which are quick."""
        size, size_by = self._bytes(job)
        if job.benchmark is None:
            return Estimate(0.0, Basis.RULE, math.nan, size, size_by)
        name, entry = job_of(Path(job.benchmark)), entry_of(job)
        alike: list[tuple[Basis, Callable[[Measurement], bool]]] = [
            (Basis.JOB, lambda found: found.job == name),
            (Basis.ENTRY, lambda found: (found.rule, found.entry) == (job.rule, entry)),
            (Basis.RULE, lambda found: found.rule == job.rule),
        ]
        for basis, fits in alike:
            runs = [found for found in self._measured if fits(found)]
            if runs:
                memory = max((run.max_rss_mb for run in runs if run.max_rss_mb > 0), default=math.nan)
                return Estimate(median(run.seconds for run in runs), basis, memory, size, size_by)
        minutes = asked(job, "runtime")
        limit = (60.0 * minutes, Basis.LIMIT) if minutes else (math.nan, Basis.NOTHING)
        return Estimate(*limit, math.nan, size, size_by)

    def _bytes(self, job: PlannedJob) -> tuple[float, Basis]:
        if job in self._sizes:
            return self._sizes[job], Basis.JOB
        same_rule = {other: size for other, size in self._sizes.items() if other.rule == job.rule}
        same_entry = [size for other, size in same_rule.items() if entry_of(other) == entry_of(job)]
        if same_entry:
            return median(same_entry), Basis.ENTRY
        if "shard" in job.wildcards:
            items = self.work.graph.items_expected(entry_of(job))
            if items is not None:
                shards = len(self.work.graph.shards(entry_of(job)))
                return self.work.graph.item_bytes(entry_of(job)) * items / shards, Basis.CONFIG
        return (median(same_rule.values()), Basis.RULE) if same_rule else (math.nan, Basis.NOTHING)


def size_of(paths: Sequence[str]) -> int | None:
    """Bytes of files and folders together; None when one is missing."""
    try:
        return sum(_tree_size(Path(path)) for path in paths)
    except FileNotFoundError:
        return None


def _tree_size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(
        os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names
    )


def by_stage(jobs: Iterable[PlannedJob]) -> dict[str, list[PlannedJob]]:
    """Jobs, each after those it depends on, by stage; first the stage whose last job comes first."""
    found: dict[str, list[PlannedJob]] = {}
    for job in jobs:
        found[job.stage] = [*found.pop(job.stage, []), job]
    return found
