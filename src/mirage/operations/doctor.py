"""`mirage doctor`: whether everything that a run needs is in place, and how to mend what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from mirage.config.model import Config
from mirage.errors import MirageError
from mirage.operations import machine, project, slurm
from mirage.operations.finding import Finding
from mirage.operations.plan import Plan, plan_of
from mirage.operations.work import Work, configuration, overrides


@dataclass(frozen=True)
class Diagnosis:
    """All findings, in the order of a run; ``worst`` of them decides the exit status."""

    findings: list[Finding]

    @property
    def worst(self) -> Literal["ok", "warning", "problem"]:
        """The gravest level among the findings."""
        levels = [finding.level for finding in self.findings]
        return "problem" if "problem" in levels else "warning" if "warning" in levels else "ok"


def doctor(scale: str | None = None) -> Diagnosis:
    """Look at the machine, the project and the cluster.

    Args:
        scale: ``demo`` or ``full``; None: as configured.
    """
    replaced = overrides((), scale)
    config = _or_finding("configuration", lambda: configuration(replaced))
    if not isinstance(config, Config):
        return Diagnosis([*machine.software(), config, *_whatever_the_studies(None, None)])
    plan = _or_finding("workflow", lambda: plan_of(Work.planned(replaced), machine.cores()))
    planned = plan if isinstance(plan, Plan) else None
    told = project.workflow(planned) if planned else plan
    findings = [*machine.software(), project.studies(config), *project.data(config), told]
    return Diagnosis([*findings, *_whatever_the_studies(config, planned)])


def _whatever_the_studies(config: Config | None, plan: Plan | None) -> Iterator[Finding]:
    yield from machine.hardware(config)
    yield project.disk(plan)
    yield project.writable()
    yield project.locks()
    yield from project.versioning()
    yield from slurm.cluster()


def _or_finding(topic: str, question: Callable[[], Config | Plan]) -> Config | Plan | Finding:
    """What was asked for; where an error of the user's forbids it, the error as a problem."""
    try:
        return question()
    except MirageError as error:
        return Finding(topic, "problem", str(error), "mend what is named, then ask again")
