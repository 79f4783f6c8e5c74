"""Compare synthetic with real images. Called by rule evaluate_fidelity."""

from pathlib import Path

from mirage.config.evaluations import FidelityEvaluation
from mirage.data import Dataset
from mirage.evaluate.fidelity import run
from mirage.log import log_to

with log_to(snakemake.log[0]):
    run(
        FidelityEvaluation.model_validate(snakemake.params.options["options"]),
        snakemake.wildcards.evaluation,
        Dataset(Path(snakemake.input.real).parent),
        Dataset(Path(snakemake.input.synthetic).parent),
        Path(snakemake.output.metrics).parent,
    )
