"""The jobs of the chosen studies, and how they hang together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mirage.config import load_config
from mirage.config.load import merge, read_yaml
from mirage.config.model import Config
from mirage.dry_run import PlannedJob, all_jobs
from mirage.graph import Graph

ENTRY_KINDS = ("dataset", "generator", "recipe", "encoder", "evaluation", "study")
"""Wildcards that name an entry of the configuration."""


def overrides(studies: Sequence[str], scale: str | None) -> dict[str, Any]:
    """Keys of the configuration that a command's arguments replace."""
    return {**({"run": list(studies)} if studies else {}), **({"scale": scale} if scale else {})}


def configuration(replaced: Mapping[str, Any]) -> Config:
    """The configuration of the project in the working directory.

    Raises:
        ConfigError: it is not there, or wrong.
    """
    folder = Path("config")
    return load_config(merge(read_yaml(folder / "config.yaml"), replaced), folder)


class Work:
    """All jobs of the studies to be run.

    Args:
        config: the configuration they are planned from.
        jobs: from :func:`mirage.dry_run.all_jobs`, each after those it depends on.
    """

    def __init__(self, config: Config, jobs: Sequence[PlannedJob]) -> None:
        self.config, self.graph, self.jobs = config, Graph(config), list(jobs)

    @classmethod
    def planned(cls, replaced: Mapping[str, Any], targets: Sequence[str] = ()) -> Work:
        """The jobs behind ``targets``, or behind the reports of the studies under `run`.

        Raises:
            ConfigError: the configuration is wrong, or Snakemake cannot plan.
        """
        config = configuration(replaced)
        return cls(config, all_jobs(replaced, targets))

    @cached_property
    def makers(self) -> dict[str, PlannedJob]:
        """Output file -> the job that makes it."""
        return {path: job for job in self.jobs for path in job.outputs}

    def needs(self, job: PlannedJob) -> list[PlannedJob]:
        """Jobs whose outputs a job reads, once each."""
        return list(dict.fromkeys(self.makers[path] for path in job.inputs if path in self.makers))

    def behind(self, jobs: Iterable[PlannedJob]) -> list[PlannedJob]:
        """Jobs and everything they depend on, each after those it depends on."""
        seen: set[PlannedJob] = set()
        stack = list(jobs)
        while stack:
            job = stack.pop()
            if job not in seen:
                seen.add(job)
                stack += self.needs(job)
        return [job for job in self.jobs if job in seen]

    def of_study(self, study: str) -> list[PlannedJob]:
        """Jobs that a study's report depends on, its own among them, and those that print it."""
        prints = [self.makers[path] for path in self.graph.prints(study) if path in self.makers]
        return self.behind([self.makers[self.graph.report(study)], *prints])


def asked(job: PlannedJob, resource: str) -> int:
    """How much of a resource a job asks for; 0 where it leaves that to the profile."""
    value = job.resources.get(resource, 0)
    return value if isinstance(value, int) else 0


def entry_of(job: PlannedJob) -> str:
    """Name of the configuration's entry that a job works on."""
    return next((job.wildcards[kind] for kind in ENTRY_KINDS if kind in job.wildcards), "")


def label(job: PlannedJob) -> str:
    """A job in words: ``train_generator quick_masks seed 0``."""
    named = [
        f"{key} {value}" if key == "seed" else value
        for key, value in job.wildcards.items()
        if key in (*ENTRY_KINDS, "real", "data", "arm", "seed", "shard")
    ]
    return " ".join([job.rule, *named])
