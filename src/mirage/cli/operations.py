"""Questions about a run: is all in place, what would it take, how far is it, why again."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from mirage.cli.app import Scale, Studies, app, question

Json = Annotated[bool, typer.Option("--json", help="for machines; docs/operations.md lists the keys")]


@app.command()
@question
def doctor(scale: Scale = None, as_json: Json = False) -> None:
    """Check software, devices, data, profiles, disk and cluster; status 1 when a run would fail."""
    from mirage.operations import display
    from mirage.operations.doctor import doctor

    found = doctor(scale)
    display.show(found, as_json)
    if found.worst == "problem":
        raise typer.Exit(1)


@app.command()
@question
def plan(
    studies: Studies = None,
    scale: Scale = None,
    cores: Annotated[int | None, typer.Option(min=1, help="of the machine; none: this one's")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="of the machine; none: as many as wanted")] = None,
    as_json: Json = False,
) -> None:
    """What would run now, and the time, memory and disk it will take by past runs."""
    from mirage.operations import display
    from mirage.operations.plan import plan

    display.show(plan(studies or [], scale, cores, gpus), as_json)


@app.command()
@question
def status(
    studies: Studies = None,
    scale: Scale = None,
    watch: Annotated[float | None, typer.Option(min=1, help="ask again every so many seconds")] = None,
    as_json: Json = False,
) -> None:
    """What is done, running, failed or waiting; of a running training its step, losses and time left."""
    from mirage.operations import display
    from mirage.operations.status import status

    display.show(status(studies or [], scale), as_json)
    while watch is not None:
        time.sleep(watch)
        display.show(status(studies or [], scale), as_json, afresh=True)


@app.command()
@question
def why(
    target: Annotated[list[str], typer.Argument(help="files, rules, configured entries or studies")],
    scale: Scale = None,
    as_json: Json = False,
) -> None:
    """Why targets would be made again, from the root cause on."""
    from mirage.operations import display
    from mirage.operations.why import why

    display.show([why(one, scale) for one in target], as_json)
