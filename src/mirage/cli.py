"""The `mirage` command: what Snakemake's jobs call, and what a person repeats by hand from a log."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from mirage import log
from mirage.config.base import Runtime
from mirage.errors import MirageError

CONTINUE = 75  # exit status of a training that stopped at its time budget and can be resumed

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
logger = logging.getLogger("mirage")

ConfigFile = Annotated[
    Path, typer.Option("--config", exists=True, dir_okay=False, help="frozen stage options")
]
Accelerator = Annotated[str, typer.Option(help="auto, cpu, gpu or mps")]
Gpus = Annotated[int, typer.Option(min=0, help="devices; above 1 the command starts itself under torchrun")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads")]
Workers = Annotated[int, typer.Option(min=0, help="processes that load training items")]
Minutes = Annotated[float | None, typer.Option(help="wall time; stops before it with status 75, then resume")]


def _job(command: Callable[..., None]) -> Callable[..., None]:
    """Log to standard error, and end with one clear line on an error of the user's."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        from mirage.training.loop import TimeBudgetReached

        log.configure()
        logger.info("mirage %s", shlex.join(sys.argv[1:]))
        try:
            command(*args, **kwargs)
        except TimeBudgetReached as stop:
            logger.warning("%s", stop)
            raise typer.Exit(CONTINUE) from None
        except MirageError as error:
            logger.error("%s", error)
            raise typer.Exit(1) from None

    return run


def _options(path: Path) -> dict[str, Any]:
    """Options of a frozen stage file."""
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["options"])


def _spread_over_gpus(gpus: int) -> bool:
    """Start this very command once per GPU, as torchrun would; False in the processes that do the work."""
    if gpus <= 1 or "LOCAL_RANK" in os.environ:
        return False
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    standalone = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=gpus,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # a free port, so that two jobs of one node do not meet
        run_id=str(os.getpid()),
        max_restarts=0,
    )
    try:
        elastic_launch(standalone, sys.executable)("-m", "mirage.cli", *sys.argv[1:])
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        raise typer.Exit(failure.exitcode if failure.exitcode > 0 else 1) from None
    return True


@app.command()
@_job
def train(
    config: ConfigFile,
    data: Annotated[Path, typer.Option(help="dataset folder")],
    out: Annotated[Path, typer.Option(help="model folder; its `state/` is resumed from")],
    seed: Annotated[int, typer.Option(min=0)] = 0,
    accelerator: Accelerator = "auto",
    gpus: Gpus = 0,
    threads: Threads = 1,
    workers: Workers = 0,
    minutes: Minutes = None,
) -> None:
    """Train a generator on the training split of a dataset, or go on where a killed training stopped."""
    if _spread_over_gpus(gpus):
        return
    from pydantic import TypeAdapter

    from mirage.config.generators import GeneratorConfig
    from mirage.generators.fit import fit

    options: Any = TypeAdapter(GeneratorConfig).validate_python(_options(config))
    runtime = Runtime(accelerator=accelerator, gpus=gpus, threads=threads, workers=workers)
    fit(options, data, out, seed=seed, runtime=runtime, minutes=minutes)


@app.command()
@_job
def synthesise(
    config: ConfigFile,
    inputs: Annotated[list[Path], typer.Argument(help="weights.safetensors and manifest.parquet it reads")],
    shard: Annotated[Path, typer.Option(help="the shard to write: <folder>/shard-0000-of-0001.arrow")],
    accelerator: Accelerator = "auto",
    threads: Threads = 1,
) -> None:
    """Make one shard of a synthetic dataset with the models and datasets that its recipe names."""
    from pydantic import TypeAdapter

    from mirage.config.recipes import RecipeConfig
    from mirage.recipes import synthesise_shard

    options: Any = TypeAdapter(RecipeConfig).validate_python(_options(config))
    runtime = Runtime(accelerator=accelerator, threads=threads)
    synthesise_shard(options, inputs, shard, runtime=runtime)


@app.command()
@_job
def evaluate_arm(
    config: ConfigFile,
    manifests: Annotated[list[Path], typer.Argument(help="manifest.parquet of the test and training sets")],
    out: Annotated[Path, typer.Option(help="result folder; its `state/` is resumed from")],
    evaluation: Annotated[str, typer.Option(help="name of the evaluation")],
    arm: Annotated[str, typer.Option(help="name of the arm")],
    seed: Annotated[int, typer.Option(min=0)] = 0,
    accelerator: Accelerator = "auto",
    threads: Threads = 1,
    workers: Workers = 0,
    minutes: Minutes = None,
) -> None:
    """Train the judge of one arm with one seed and score it on the held-out images."""
    from pydantic import TypeAdapter

    from mirage.config.evaluations import EvaluationConfig
    from mirage.data import Dataset
    from mirage.evaluate import run_arm

    options = _options(config)
    arms = {arm: options.pop("arm")}
    entry: Any = TypeAdapter(EvaluationConfig).validate_python({**options, "arms": arms, "baseline": arm})
    datasets = {path.parent.name: Dataset(path.parent) for path in manifests}
    runtime = Runtime(accelerator=accelerator, threads=threads, workers=workers)
    run_arm(entry, evaluation, arm, seed, datasets, out, out / "state", runtime, minutes)


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
EXPORTED = "exported"
"""What an exported arm is called: its frozen options do not say its name."""


@app.command()
@_job
def export_deepmedic(
    config: ArmFile,
    manifests: ArmManifests,
    out: Annotated[Path, typer.Option(help="folder to write; must not exist, or be empty")],
) -> None:
    """Write an arm for DeepMedic's own program: NIfTI files, its lists, and its configuration."""
    from mirage.evaluate.external.cases import read_arm, read_datasets
    from mirage.evaluate.external.deepmedic_files import export_deepmedic

    export_deepmedic(read_arm(config, EXPORTED), EXPORTED, read_datasets(manifests), out)


@app.command()
@_job
def export_nnunet(
    config: ArmFile,
    manifests: ArmManifests,
    out: Annotated[
        Path,
        typer.Option(help="folder to write, $nnUNet_raw/Dataset<number>_<name>; must not exist, or be empty"),
    ],
) -> None:
    """Write an arm as a raw dataset of nnU-Net v2, with our splits."""
    from mirage.evaluate.external.cases import read_arm, read_datasets
    from mirage.evaluate.external.nnunet import export_nnunet

    export_nnunet(read_arm(config, EXPORTED), EXPORTED, read_datasets(manifests), out)


@app.command()
@_job
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
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Score what another program predicted of the test split, as our own judges are scored."""
    from mirage.evaluate.external.cases import read_arm, read_datasets
    from mirage.evaluate.external.predictions import score_predictions

    datasets = read_datasets(manifests)
    score_predictions(predictions, classes, read_arm(config, arm), evaluation, arm, seed, datasets, out)


@app.command()
def schema() -> None:
    """Write config/schema.json (completion in editors) and docs/configuration.md from the config models."""
    from mirage.config.document import reference, schema_text
    from mirage.files import atomic_path

    for path, text in (("config/schema.json", schema_text()), ("docs/configuration.md", reference())):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    app()
