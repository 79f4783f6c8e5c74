"""Evaluation of folders of images, without training a generator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mirage.cli.app import app, question


@app.command()
@question
def evaluate(
    real_train: Annotated[
        str, typer.Option(help="folder of the real images that the generator has learnt from")
    ],
    synthetic: Annotated[str, typer.Option(help="folder of the images that it made")],
    real_holdout: Annotated[
        str | None,
        typer.Option(help="folder of real images that it has not seen; none: a share of --real-train"),
    ] = None,
    masks: Annotated[
        list[str] | None,
        typer.Option(
            help="label masks: a pattern such as 'masks/{stem}.png' once, or a folder for each folder of "
            "images, in the order train, holdout, synthetic"
        ),
    ] = None,
    utility: Annotated[bool, typer.Option(help="also train segmenters on real and synthetic masks")] = False,
    size: Annotated[
        int | None, typer.Option(min=8, help="side of the compared images; none: as small as the smallest")
    ] = None,
    window: Annotated[
        tuple[float, float] | None, typer.Option(help="native values that become black and white")
    ] = None,
    subjects: Annotated[
        str | None,
        typer.Option(help=r"regular expression on a real file's path; its group is the patient: '(p\d+)_'"),
    ] = None,
    encoder: Annotated[
        list[str] | None, typer.Option(help="of the features; may be given several times")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder for the study, its results and its reports")] = Path(
        "mirage-evaluation"
    ),
    cores: Annotated[int | None, typer.Option(min=1, help="none: all of this machine")] = None,
    name: Annotated[str, typer.Option(help="of the study")] = "judged",
) -> None:
    """Judge synthetic against real images: fidelity, diversity, novelty, privacy, utility; and report."""
    from mirage.folders.project import check_free, run_project, write_project
    from mirage.folders.study import Request, make_study
    from mirage.operations.machine import usable_cores

    request = Request(
        real_train=real_train,
        synthetic=synthetic,
        real_holdout=real_holdout,
        masks=masks or [],
        subjects=subjects,
        size=size,
        window=window,
        encoders=encoder or [],
        utility=utility,
        name=name,
    )
    check_free(out, list(request.folders.values()))
    study = make_study(request)
    write_project(out, study, name, ["mirage", *sys.argv[1:]])
    for remark in study.remarks:
        typer.echo(f"note: {remark}")
    reports = run_project(out, name, cores or usable_cores(), typer.echo)
    typer.echo(f"The study: {out / 'config' / 'studies' / f'{name}.yaml'}")
    for report in reports:
        typer.echo(f"The report: {report}")
