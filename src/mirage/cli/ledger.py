"""Publish results, and pull what others have published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mirage.cli.app import Scale, Studies, app, question

if TYPE_CHECKING:
    from mirage.graph import Graph


def _graph(studies: list[str] | None, scale: str | None) -> Graph:
    """The configuration of the working directory, with the studies to be run and the scale replaced."""
    from mirage.graph import Graph
    from mirage.operations.work import configuration, overrides

    return Graph(configuration(overrides(studies or [], scale)))


@app.command()
@question
def publish(
    studies: Studies = None,
    scale: Scale = None,
    push: Annotated[bool, typer.Option(help="send to DVC's default remote, where one is set")] = True,
) -> None:
    """Store what studies have made with DVC, and enter it into the ledger of this commit."""
    from mirage.publish import publish as store

    graph = _graph(studies, scale)
    done = store(graph, graph.config.run, push=push)
    where = f"sent to {done.remote}" if done.remote else "stored in this clone alone"
    typer.echo(f"{len(done.stages)} artefacts published, {where}; {len(done.changed)} changed")
    for name in done.changed:
        typer.echo(f"  {name}")
    names = ", ".join(graph.config.run)
    typer.echo(f"Enter them into history: git add dvc.yaml dvc.lock && git commit -m 'Publish {names}'")


@app.command()
@question
def pull(
    studies: Studies = None,
    scale: Scale = None,
    raw: Annotated[bool, typer.Option(help="also bring back raw data that have a pointer")] = True,
    force: Annotated[bool, typer.Option("--force", help="replace results that are stored nowhere")] = False,
) -> None:
    """Bring back what was published at this commit, so that Snakemake takes it for its own."""
    from mirage.publish import pull as restore

    graph = _graph(studies, scale)
    done = restore(graph, graph.config.run, raw=raw, force=force)
    typer.echo(f"{len(done.stages)} artefacts are as published; {len(done.changed)} were brought back")
    for path in done.removed:
        typer.echo(f"{path}: made with other settings, removed; simulated again when a job needs it")
    for name in done.unpublished:
        typer.echo(f"{name}: not published at this commit")
    _say_pending(graph)


def _say_pending(graph: Graph) -> None:
    from mirage.dry_run import planned_jobs
    from mirage.errors import ConfigError

    try:
        jobs = planned_jobs({"run": graph.config.run, "scale": graph.config.scale})
    except ConfigError as error:
        typer.echo(f"Snakemake cannot plan yet: {error}")
        return
    rules = list(dict.fromkeys(job.rule for job in jobs if job.outputs))
    typer.echo(f"Snakemake would run: {', '.join(rules)}" if rules else "Snakemake has nothing to do")
