"""What Snakemake measured of jobs that have run: the files that rules name under `benchmark`."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = "benchmarks"


@dataclass(frozen=True)
class Measurement:
    """One run of a job.

    Attributes:
        rule: name of the rule.
        entry: the entry of the configuration that the job worked on.
        job: ``rule/entry/...``, as the file's path below the folder ``benchmarks`` has it.
        seconds: wall time.
        cpu_seconds: CPU time of the job and its children; sampled, NaN for a job too short to be seen.
        max_rss_mb: peak resident memory, MB; NaN as above.
        threads: CPU threads it was given; None unless Snakemake ran with ``benchmark-extended``.
        gpus: GPUs it was given; None as above.
    """

    rule: str
    entry: str
    job: str
    seconds: float
    cpu_seconds: float
    max_rss_mb: float
    threads: int | None
    gpus: int | None

    @property
    def core_hours(self) -> float:
        """Hours for which CPU cores were reserved; NaN where that was not recorded."""
        return math.nan if self.threads is None else self.threads * self.seconds / 3600

    @property
    def gpu_hours(self) -> float:
        """Hours for which GPUs were reserved; NaN where that was not recorded."""
        return math.nan if self.gpus is None else self.gpus * self.seconds / 3600


def read_measurements(path: Path) -> list[Measurement]:
    """Every run in one benchmark file; the path below the last folder ``benchmarks`` names the job."""
    job = job_of(path)
    rule, entry = [*job.split("/"), ""][:2]
    head, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    rows = [dict(zip(head.split("\t"), line.split("\t"), strict=False)) for line in lines if line]
    return [
        Measurement(
            rule,
            entry,
            job,
            _number(row, "s"),
            _number(row, "cpu_time"),
            _number(row, "max_rss"),
            int(row["threads"]) if row.get("threads", "").isdecimal() else None,
            _gpus(row),
        )
        for row in rows
    ]


def job_of(path: Path) -> str:
    """``rule/entry/...`` of a benchmark file."""
    parts = path.with_suffix("").parts
    last = max((i for i, part in enumerate(parts) if part == FOLDER), default=len(parts) - 2)
    return "/".join(parts[last + 1 :])


def _number(row: Mapping[str, str], column: str) -> float:
    """A column's value; NaN where Snakemake wrote a dash or nothing."""
    try:
        return float(row.get(column, "nan"))
    except ValueError:
        return math.nan


def _gpus(row: Mapping[str, str]) -> int | None:
    try:
        resources = ast.literal_eval(row.get("resources", ""))
    except (SyntaxError, ValueError):
        return None
    return int(resources.get("gpu", 0))
