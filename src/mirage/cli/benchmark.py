"""Detectors trained and compared on lists of images and boxes, without a study."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import yaml
from pydantic import ValidationError

from mirage import log
from mirage.cli.app import app, question
from mirage.config.base import Runtime
from mirage.config.datasets import Intensity
from mirage.config.tracking import Tracking
from mirage.errors import ConfigError, TimeBudgetReached

if TYPE_CHECKING:
    import pandas as pd

CONTINUE = 75


@app.command()
@question
def benchmark(
    sources: Annotated[
        list[Path], typer.Option(help="CSVs of training images and boxes, one a method; several may follow")
    ],
    more: Annotated[
        list[str] | None, typer.Argument(help="further CSVs of --sources and names of --benchmarks")
    ] = None,
    benchmarks: Annotated[list[str] | None, typer.Option(help="detectors; default: retinanet")] = None,
    test: Annotated[
        Path | None, typer.Option(help="CSV of real images and boxes that every detector is scored on")
    ] = None,
    accelerator: Annotated[Literal["auto", "cpu", "gpu", "mps"], typer.Option(help="device")] = "cpu",
    num_epochs: Annotated[int, typer.Option(min=1, help="passes over the training images")] = 50,
    pretrained_model_path: Annotated[
        Path | None,
        typer.Option(help="folder of a detector that this command has trained, to begin with its weights"),
    ] = None,
    split: Annotated[
        float, typer.Option(min=0.01, max=0.999, help="share of a list's subjects that is trained on")
    ] = 0.9,
    out: Annotated[Path, typer.Option(help="folder of all that is written")] = Path("mirage-benchmark"),
    size: Annotated[int, typer.Option(min=32, help="side of the images as detectors see them")] = 512,
    intensity: Annotated[
        str | None,
        typer.Option(
            help="`prepare.intensity` of a dataset, as YAML: '{kind: window, low: 0, high: 4095}'; none: "
            "by the files' type"
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="images a step")] = 8,
    labels: Annotated[list[str] | None, typer.Option(help="boxes that are lesions; none: all")] = None,
    iou: Annotated[float, typer.Option(min=0.01, max=1, help="overlap from which a mark is a hit")] = 0.2,
    options: Annotated[
        str | None, typer.Option(help="keys of a detection evaluation, as YAML: 'judge: {width: 16}'")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the training")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; none: all")] = None,
    workers: Annotated[int, typer.Option(min=0, help="processes that load images")] = 0,
    minutes: Annotated[float | None, typer.Option(help="wall time of a training; run again to go on")] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow: sqlite:///<file> or http(s)://<server>; none: untracked")
    ] = None,
) -> None:
    """Train detectors on lists of images and boxes, and compare them on held-out ones."""
    from mirage.evaluate.box_benchmark import Request, run
    from mirage.operations.machine import usable_cores

    log.configure()
    if tracking_uri is not None:
        os.environ |= _tracking(tracking_uri)
    lists = [*sources, *(Path(text) for text in more or () if text.endswith(".csv"))]
    detectors = [*(benchmarks or []), *(text for text in more or () if not text.endswith(".csv"))]
    keys: dict[str, Any] = {"batch_size": batch_size, "hit": {"iou": iou}, "labels": labels or None}
    request = Request(
        sources=lists,
        test=test,
        benchmarks=detectors or ["retinanet"],
        out=out,
        size=size,
        intensity=_intensity(intensity),
        epochs=num_epochs,
        keys=keys | _keys(options, "--options", "judge: {width: 16}"),
        split=split,
        seed=seed,
        pretrained=pretrained_model_path,
        runtime=Runtime(accelerator=accelerator, threads=threads or usable_cores(), workers=workers),
        minutes=minutes,
    )
    try:
        for rows in run(request):
            _show(rows)
    except TimeBudgetReached as stop:
        typer.echo(f"{stop}; run the same command again to go on")
        raise typer.Exit(CONTINUE) from None
    typer.echo(f"The table: {out / 'table.csv'}")


def _tracking(uri: str) -> dict[str, str]:
    """How runs learn where they are tracked."""
    try:
        return Tracking(uri=uri, experiment="benchmark").environment(Path.cwd())
    except ValueError as error:
        raise ConfigError(f"--tracking-uri {uri!r}: {error}") from error


def _intensity(text: str | None) -> Intensity:
    """How grey values are mapped, as YAML."""
    try:
        return Intensity.model_validate(_keys(text, "--intensity", "{kind: window, low: 0, high: 4095}"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"--intensity {text!r}: {where}{': ' * bool(where)}{first['msg']}") from None


def _keys(text: str | None, option: str, such: str) -> dict[str, Any]:
    """Keys given as YAML."""
    try:
        found = yaml.safe_load(text) if text else {}
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"{option} {text!r}: expected keys and values, such as {such!r}")
    return found


def _show(rows: pd.DataFrame) -> None:
    """Print the figures of one list and detector."""
    first = rows.iloc[0]
    typer.echo(
        f"\n{first['source']}, {first['detector']}: {first['train_images']} training images, "
        f"{first['steps']} steps\n{first['hit_rule']}"
    )
    for row in rows.itertuples():
        between = "" if row.low != row.low else f"  [{row.low:.3f}, {row.high:.3f}]"
        typer.echo(f"  {row.column:<10}{row.metric:<14}{row.value:7.3f}{between}")
