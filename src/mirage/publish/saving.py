"""Publishing: what studies have made is stored by DVC and entered into the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mirage.dry_run import PlannedJob, all_jobs
from mirage.errors import LedgerError
from mirage.graph import Graph
from mirage.publish.cards import JobCard, card_of, lineage, write_cards
from mirage.publish.commit import refuse_uncommitted
from mirage.publish.damage import refuse_damaged
from mirage.publish.dvc import Dvc
from mirage.publish.knowledge import Knowledge
from mirage.publish.ledger import Stage, published, write_ledger
from mirage.publish.objects import Objects
from mirage.publish.places import card_path, stage_of, stored_for


@dataclass(frozen=True)
class Published:
    """What was published.

    Attributes:
        stages: stages of the ledger.
        changed: those that are new or have other contents than before.
        remote: where they were sent, or None.
    """

    stages: list[str]
    changed: list[str]
    remote: str | None


def publish(graph: Graph, studies: Sequence[str], *, push: bool = True) -> Published:
    """Store every artefact behind the studies, write dvc.yaml and dvc.lock, and send all to the remote.

    Raises:
        LedgerError: DVC or its repository is missing; jobs are pending; files are not committed; an
            artefact or Snakemake's record of it is missing; a stored object is damaged; the remote refuses.
        ConfigError: Snakemake cannot plan.
    """
    dvc, knowledge = Dvc(), Knowledge()
    refuse_uncommitted()
    jobs = all_jobs({"run": list(studies), "scale": graph.config.scale})
    _refuse_pending(jobs)
    stages = _write_stages(graph, [job for job in jobs if job.outputs], knowledge)
    names = [stage.name for stage in stages]
    before = set(published(names))
    write_ledger(stages, graph.config.scale)
    dvc.do("commit", "--quiet", "--force", *names)
    now = published(names)
    refuse_damaged(Objects(dvc.cache_folder()), now)
    remote = dvc.remote() if push else None
    if remote is not None:
        dvc.do("push", *names)
    changed = {item.target for item in set(now) - before}
    return Published(names, [name for name in names if name in changed], remote)


def _refuse_pending(jobs: Sequence[PlannedJob]) -> None:
    pending = list(dict.fromkeys(job.rule for job in jobs if job.needed and job.outputs))
    if pending:
        listed = ", ".join(pending[:4]) + (", ..." if len(pending) > 4 else "")
        raise LedgerError(
            f"the results are not what the configuration says: Snakemake would run {listed}; run it to the "
            "end, then publish"
        )


def _write_stages(graph: Graph, jobs: Sequence[PlannedJob], knowledge: Knowledge) -> list[Stage]:
    """Write the card of every stage; the stages in the order of their jobs."""
    grouped: dict[str, list[PlannedJob]] = {}
    for job in jobs:
        grouped.setdefault(stage_of(graph, job.outputs[0]), []).append(job)
    cards: dict[str, list[JobCard]] = {}
    lineages: dict[str, str] = {}
    for job in jobs:
        card = card_of(job, lineages, knowledge)
        lineages |= dict.fromkeys(job.outputs, lineage(card))
        cards.setdefault(stage_of(graph, job.outputs[0]), []).append(card)
    stages = []
    for name, members in grouped.items():
        stored = stored_for(graph, [output for job in members for output in job.outputs])
        _refuse_missing(members, stored)
        write_cards(card_path(graph, name), cards[name])
        used = {path for job in members for path in job.inputs}
        makes = [job.outputs[0] for job in members if not used.intersection(job.outputs)]
        stages.append(Stage(name, makes, [*stored, card_path(graph, name)]))
    return stages


def _refuse_missing(jobs: Sequence[PlannedJob], stored: Sequence[str]) -> None:
    """Refuse where an output that is to be stored is gone; Snakemake does not miss what nothing needs now."""
    for output in (output for job in jobs for output in job.outputs):
        if not Path(output).exists() and any(Path(output).is_relative_to(kept) for kept in stored):
            raise LedgerError(
                f"{output}: not there, so it cannot be published; `snakemake --cores all -- {output}`"
            )
