"""What every command shares: the program itself, its options, and how it ends on an error."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mirage import log
from mirage.errors import MirageError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
logger = logging.getLogger("mirage")

ConfigFile = Annotated[
    Path, typer.Option("--config", exists=True, dir_okay=False, help="frozen stage options")
]

Studies = Annotated[list[str] | None, typer.Argument(help="names of studies; none: those under `run`")]
Scale = Annotated[Literal["full", "demo"] | None, typer.Option(help="instead of the configured one")]


def job(command: Callable[..., None]) -> Callable[..., None]:
    """A command that Snakemake runs: its log says how to repeat it; an error of the user's is one line.

    SIGTERM unwinds it, so that it leaves no temporary file, unless it handles the signal itself (training).
    """

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        log.configure()
        logger.info("mirage %s", shlex.join(sys.argv[1:]))
        try:
            with log.unwound_on_sigterm():
                command(*args, **kwargs)
        except MirageError as error:
            logger.error("%s", error)
            raise typer.Exit(1) from None

    return run


def question(command: Callable[..., None]) -> Callable[..., None]:
    """A command that a person types: an error of the user's is printed as its message alone."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except MirageError as error:
            typer.echo(f"mirage: {error}", err=True)
            raise typer.Exit(1) from None

    return run
