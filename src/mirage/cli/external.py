"""Judges that are programs of others: exports for them, and scores of what they predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mirage.cli.app import app, job

ArmFile = Annotated[
    Path,
    typer.Option(
        "--config",
        exists=True,
        dir_okay=False,
        help="frozen arm: results/evaluations/<evaluation>/<arm>/config.yaml",
    ),
]
ArmManifests = Annotated[
    list[Path],
    typer.Argument(exists=True, dir_okay=False, help="manifest.parquet of the test and training sets"),
]
Seed = Annotated[int, typer.Option(min=0, help="of our own judge beside it; it decides `images` and `share`")]
EXPORTED = "exported"
"""What an exported arm is called: its frozen options do not say its name."""


@app.command()
@job
def export_deepmedic(
    config: ArmFile,
    manifests: ArmManifests,
    out: Annotated[Path, typer.Option(help="folder to write; must not exist, or be empty")],
    seed: Seed = 0,
) -> None:
    """Write an arm for DeepMedic's own program: NIfTI files, its lists, and its configuration."""
    from mirage.evaluate.external.cases import read_arm, read_datasets
    from mirage.evaluate.external.deepmedic_files import export_deepmedic

    export_deepmedic(read_arm(config, EXPORTED), EXPORTED, read_datasets(manifests), out, seed)


@app.command()
@job
def export_nnunet(
    config: ArmFile,
    manifests: ArmManifests,
    out: Annotated[
        Path,
        typer.Option(help="folder to write, $nnUNet_raw/Dataset<number>_<name>; must not exist, or be empty"),
    ],
    seed: Seed = 0,
) -> None:
    """Write an arm as a raw dataset of nnU-Net v2, with our splits."""
    from mirage.evaluate.external.cases import read_arm, read_datasets
    from mirage.evaluate.external.nnunet import export_nnunet

    export_nnunet(read_arm(config, EXPORTED), EXPORTED, read_datasets(manifests), out, seed)


@app.command()
@job
def score_predictions(
    config: ArmFile,
    manifests: ArmManifests,
    predictions: Annotated[
        Path,
        typer.Option(
            exists=True, file_okay=False, help="folder of the label volumes another program predicted"
        ),
    ],
    classes: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="classes.json of the export")],
    out: Annotated[Path, typer.Option(help="result folder")],
    evaluation: Annotated[str, typer.Option(help="name of the evaluation")],
    arm: Annotated[str, typer.Option(help="name to give the scores, such as nnunet_<arm>")],
    seed: Seed = 0,
) -> None:
    """Score what another program predicted of the test split, as our own judges are scored."""
    from mirage.evaluate.external.cases import read_arm, read_datasets
    from mirage.evaluate.external.predictions import score_predictions

    datasets = read_datasets(manifests)
    score_predictions(predictions, classes, read_arm(config, arm), evaluation, arm, seed, datasets, out)
