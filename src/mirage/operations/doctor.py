"""`mirage doctor`: whether everything that a run needs is in place, and how to mend what is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mirage.errors import MirageError
from mirage.operations import machine, project, slurm
from mirage.operations.finding import Finding
from mirage.operations.plan import plan_of
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
    findings = [*machine.software()]
    config, plan = None, None
    try:
        config = configuration(replaced)
        findings += [project.studies(config), *project.data(config)]
        if all(finding.level == "ok" for finding in findings if finding.topic.startswith("data")):
            plan = plan_of(Work.planned(replaced), machine.usable_cores())
            findings.append(project.workflow(plan))
    except MirageError as error:
        topic = "configuration" if config is None else "workflow"
        findings.append(Finding(topic, "problem", str(error), "mend what is named, then ask again"))
    findings += machine.hardware(config)
    findings += [project.disk(plan), project.writable(), project.locks(), *project.versioning()]
    return Diagnosis([*findings, *slurm.cluster()])
