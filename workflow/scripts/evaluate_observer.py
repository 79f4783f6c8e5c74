"""Score the second observer against the first. Called by rule evaluate_observer."""

from pathlib import Path

from mirage.data import Dataset
from mirage.evaluate.segmentation import observer_metrics
from mirage.log import log_to

with log_to(snakemake.log[0]):
    test = Dataset(Path(snakemake.input.manifest).parent).select("test")
    label = snakemake.params.options["options"]["label"]
    observer_metrics(test, snakemake.wildcards.evaluation, label, Path(snakemake.output.metrics).parent)
