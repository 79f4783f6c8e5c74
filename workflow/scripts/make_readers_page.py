"""Make the page that readers get. Called by rule make_readers_page."""

from pathlib import Path

from mirage.config.evaluations import ObserverEvaluation
from mirage.data import Dataset
from mirage.evaluate.observer import make
from mirage.log import log_to

with log_to(snakemake.log[0]):
    make(
        ObserverEvaluation.model_validate(snakemake.params.options["options"]),
        snakemake.wildcards.evaluation,
        {Path(path).parent.name: Dataset(Path(path).parent) for path in snakemake.input.manifests},
        Path(snakemake.output.key).parent,
    )
