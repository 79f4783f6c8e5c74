"""Evaluate whole datasets. Called by rule evaluate_set."""

from pathlib import Path

from pydantic import TypeAdapter

from mirage.config.evaluations import EvaluationConfig
from mirage.data import Dataset
from mirage.evaluate import run_set
from mirage.evaluate.features.bank import FeatureBank
from mirage.log import log_to

runtime = {
    "threads": snakemake.threads,
    "gpus": snakemake.resources.gpu,
    "accelerator": snakemake.resources.accelerator,
}
options = {**snakemake.params.options["options"], "runtime": runtime}

with log_to(snakemake.log[0]):
    run_set(
        TypeAdapter(EvaluationConfig).validate_python(options),
        snakemake.wildcards.evaluation,
        {Path(path).parent.name: Dataset(Path(path).parent) for path in snakemake.input.manifests},
        FeatureBank(snakemake.input.features, snakemake.input.encoders),
        Path(snakemake.output.metrics).parent,
        [Path(path).parent for path in snakemake.input.discriminators],
        [Path(path) for path in snakemake.input.readers],
    )
