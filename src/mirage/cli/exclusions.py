"""Lists of radiographs to leave out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mirage.cli.app import app, question


@app.command()
@question
def exclusions(
    dataset: Annotated[str, typer.Argument(help="name of a dataset of chest radiographs")],
    out: Annotated[Path, typer.Option(help="CSV to write: file, score, reason; must not exist")],
    least: Annotated[float, typer.Option(min=0, help="score from which an image is proposed")] = 0.3,
    limit: Annotated[int | None, typer.Option(min=1, help="look at so many images only")] = None,
    raw: Annotated[Path | None, typer.Option(help="read here instead of the source's path")] = None,
) -> None:
    """Propose radiographs to exclude: pacemakers, cables and other metal; look, and delete what may stay."""
    from mirage.operations.exclusions import proposals, write_proposals
    from mirage.operations.work import configuration

    if out.exists():
        write_proposals(out, [])
    found = list(proposals(configuration({}), dataset, raw, least, limit))
    write_proposals(out, found)
    typer.echo(
        f"{out}: {len(found)} images are proposed. Look at them, delete the rows of those that may stay, and "
        f"name the file as `datasets.{dataset}.source.exclude`"
    )
