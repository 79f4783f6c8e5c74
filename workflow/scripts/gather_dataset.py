"""Gather the shards of a dataset, real or synthetic. Called by rules gather_dataset and gather_synthetic."""

from pathlib import Path

from mirage.config.datasets import SplitOptions
from mirage.data import Dataset
from mirage.data.gather import gather
from mirage.log import log_to

with log_to(snakemake.log[0]):
    options = snakemake.params.options["options"]
    split = options["split"]
    folder = Path(snakemake.output.manifest).parent
    made_from = snakemake.input.get("made_from")
    gather(
        folder,
        name=folder.name,
        shards=options["shards"],
        split=None if split is None else SplitOptions.model_validate(split),
        max_failed_fraction=options["max_failed_fraction"],
        made_from=Dataset(Path(made_from).parent) if made_from else None,
    )
