"""Finished reports, compared."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from mirage.cli.app import app, question

reports = typer.Typer(no_args_is_help=True, help="Finished reports: what changed between two.")
app.add_typer(reports, name="report")

Report = Annotated[str, typer.Argument(help="folder of a report, or a commit that published it")]


@reports.command()
@question
def diff(
    before: Report,
    after: Report,
    study: Annotated[
        Path | None,
        typer.Option(help="folder of the study, such as results/studies/retina; needed for commits"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for machines; docs/printing.md")] = False,
) -> None:
    """What changed: verdicts, numbers beyond their intervals, exhibits, configuration and data."""
    from mirage.operations.display import plain
    from mirage.report.diff import compare, told

    with ExitStack() as held:
        old, new = (_folder(name, study, held) for name in (before, after))
        found = compare(old, new)
    typer.echo(json.dumps(plain(found), indent=2) if as_json else "\n".join(told(found)))


def _folder(name: str, study: Path | None, held: ExitStack) -> Path:
    """The folder of a report; of a commit's, one that is held until the comparison is done."""
    from mirage.errors import ConfigError
    from mirage.publish.past import published_report

    if Path(name).is_dir():
        return Path(name)
    if study is None:
        raise ConfigError(
            f"{name}: no such folder; of a commit the study is wanted too: --study results/studies/<name>"
        )
    return published_report(name, study.as_posix(), Path(held.enter_context(TemporaryDirectory())))
