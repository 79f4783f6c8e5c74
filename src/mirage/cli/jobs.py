"""The jobs of a workflow: training, synthesis, and the judging of an arm."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
import yaml

from mirage.cli.app import ConfigFile, app, job, logger
from mirage.config.base import Runtime
from mirage.errors import ConfigError, TimeBudgetReached

CONTINUE = 75  # exit status of a training that stopped at its time budget and can be resumed

Accelerator = Annotated[str, typer.Option(help="auto, cpu, gpu or mps")]
Gpus = Annotated[int, typer.Option(min=0, help="GPUs to wait for, where no scheduler has chosen them")]
Ranks = Annotated[int, typer.Option("--gpus", min=0, help="as elsewhere; above 1 it runs under torchrun")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads")]
Workers = Annotated[int, typer.Option(min=0, help="processes that load training items")]
Minutes = Annotated[float | None, typer.Option(help="wall time; stops before it with status 75, then resume")]


def _resumable(command: Callable[..., None]) -> Callable[..., None]:
    """A job that ends with status 75 when it stopped at its time budget."""

    @job
    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except TimeBudgetReached as stop:
            logger.warning("%s", stop)
            raise typer.Exit(CONTINUE) from None

    return run


def _options(path: Path) -> dict[str, Any]:
    """Options of a frozen stage file."""
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["options"])


def _left(minutes: float | None) -> float | None:
    """What is left of a job's wall time, minutes.

    Under Slurm it began with the process, not with the training; elsewhere a job may have waited for a GPU.
    """
    if minutes is None or "SLURM_JOB_ID" not in os.environ:
        return minutes
    return minutes - (time.time() - psutil.Process().create_time()) / 60


def _spread_over_gpus(gpus: int) -> bool:
    """Start this very command once per GPU, as torchrun would; False in the processes that do the work."""
    if gpus <= 1 or "LOCAL_RANK" in os.environ:
        return False
    from torch.distributed.elastic.multiprocessing.api import SignalException
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
    except SignalException as stop:
        logger.warning("%s; every rank was asked to save and stop", stop)
        raise typer.Exit(CONTINUE) from None
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            name = signal.Signals(-failure.exitcode).name
            logger.error("rank %d was killed by %s; run again to go on from the saved state", rank, name)
        raise typer.Exit(failure.exitcode if failure.exitcode > 0 else 1) from None
    return True


@app.command()
@_resumable
def train(
    config: ConfigFile,
    data: Annotated[Path, typer.Option(help="dataset folder")],
    out: Annotated[Path, typer.Option(help="model folder; its `state/` is resumed from")],
    encoder: Annotated[
        Path | None, typer.Argument(help="encoder.json of the fitted encoder that `training.frechet` names")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    accelerator: Accelerator = "auto",
    gpus: Ranks = 0,
    threads: Threads = 1,
    workers: Workers = 0,
    minutes: Minutes = None,
) -> None:
    """Train a generator on the training split of a dataset, or go on where a killed training stopped."""
    from pydantic import TypeAdapter

    from mirage.config.generators import GeneratorConfig
    from mirage.generators.fit import fit
    from mirage.training.gpus import own_gpus

    options: Any = TypeAdapter(GeneratorConfig).validate_python(_options(config))
    runtime = Runtime(accelerator=accelerator, gpus=gpus, threads=threads, workers=workers)
    criterion = None
    if encoder is not None:
        from mirage.evaluate.features.choice import FrechetCriterion

        if encoder.parent.name != options.choosing_encoder:
            raise ConfigError(
                f"{encoder}: `training.frechet` of {config} names the encoder {options.choosing_encoder!r}; "
                "give its encoder.json, or none where it names none"
            )
        criterion = partial(FrechetCriterion, encoder.parent, options.training.frechet, runtime)
    with own_gpus(accelerator, gpus):
        if not _spread_over_gpus(gpus):
            fit(options, data, out, seed=seed, runtime=runtime, minutes=_left(minutes), criterion=criterion)


@app.command()
@job
def synthesise(
    config: ConfigFile,
    inputs: Annotated[
        list[Path], typer.Argument(help="weights.safetensors, manifest.parquet and table it reads")
    ],
    shard: Annotated[Path, typer.Option(help="the shard to write: <folder>/shard-0000-of-0001.arrow")],
    accelerator: Accelerator = "auto",
    gpus: Gpus = 0,
    threads: Threads = 1,
) -> None:
    """Make one shard of a synthetic dataset with the models and datasets that its recipe names."""
    from pydantic import TypeAdapter

    from mirage.config.recipes import RecipeConfig
    from mirage.recipes import synthesise_shard
    from mirage.training.gpus import own_gpus

    options: Any = TypeAdapter(RecipeConfig).validate_python(_options(config))
    runtime = Runtime(accelerator=accelerator, gpus=gpus, threads=threads)
    with own_gpus(accelerator, min(gpus, 1)):
        synthesise_shard(options, inputs, shard, runtime=runtime)


@app.command()
@_resumable
def fit_encoder(
    config: ConfigFile,
    data: Annotated[Path, typer.Option(help="folder of the real dataset")],
    out: Annotated[Path, typer.Option(help="folder of the encoder; a `state/` in it is resumed from")],
    features: Annotated[Path, typer.Option(help="table of the real dataset's features to write")],
    accelerator: Accelerator = "auto",
    gpus: Gpus = 0,
    threads: Threads = 1,
    workers: Workers = 0,
    minutes: Minutes = None,
) -> None:
    """Fit an encoder on the training split of a real dataset, and extract that dataset's features."""
    from pydantic import TypeAdapter

    from mirage.config.encoders import EncoderConfig
    from mirage.evaluate.features import jobs

    entry: Any = TypeAdapter(EncoderConfig).validate_python(_options(config))
    runtime = Runtime(accelerator=accelerator, gpus=gpus, threads=threads, workers=workers)
    jobs.fit_encoder(entry, data, out, features, runtime=runtime, minutes=_left(minutes))


@app.command()
@job
def extract_features(
    encoder: Annotated[Path, typer.Option(help="folder of a fitted encoder")],
    data: Annotated[Path, typer.Option(help="dataset folder")],
    features: Annotated[Path, typer.Option(help="table to write")],
    accelerator: Accelerator = "auto",
    gpus: Gpus = 0,
    threads: Threads = 1,
) -> None:
    """Extract the features of a dataset's images with a fitted encoder."""
    from mirage.evaluate.features import jobs

    runtime = Runtime(accelerator=accelerator, gpus=gpus, threads=threads)
    jobs.extract_features(encoder, data, features, runtime=runtime)


@app.command()
@_resumable
def evaluate_arm(
    config: ConfigFile,
    manifests: Annotated[list[Path], typer.Argument(help="manifest.parquet of the test and training sets")],
    out: Annotated[Path, typer.Option(help="result folder; its `state/` is resumed from")],
    evaluation: Annotated[str, typer.Option(help="name of the evaluation")],
    arm: Annotated[str, typer.Option(help="name of the arm")],
    seed: Annotated[int, typer.Option(min=0)] = 0,
    accelerator: Accelerator = "auto",
    gpus: Gpus = 0,
    threads: Threads = 1,
    workers: Workers = 0,
    minutes: Minutes = None,
) -> None:
    """Train the judge of one arm with one seed and score it on the held-out images."""
    from pydantic import TypeAdapter

    from mirage.config.evaluations import EvaluationConfig
    from mirage.data import Dataset
    from mirage.evaluate import run_arm
    from mirage.training.gpus import own_gpus

    options = _options(config)
    arms = {arm: options.pop("arm")}
    entry: Any = TypeAdapter(EvaluationConfig).validate_python({**options, "arms": arms, "baseline": arm})
    datasets = {path.parent.name: Dataset(path.parent) for path in manifests}
    runtime = Runtime(accelerator=accelerator, gpus=gpus, threads=threads, workers=workers)
    with own_gpus(accelerator, min(gpus, 1)):
        run_arm(entry, evaluation, arm, seed, datasets, out, out / "state", runtime, _left(minutes))
