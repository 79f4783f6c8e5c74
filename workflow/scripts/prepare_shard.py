"""Prepare one shard of a dataset. Called by rule prepare_shard."""

from pathlib import Path

from mirage.config.datasets import DatasetConfig
from mirage.log import log_to
from mirage.prepare import prepare_shard
from mirage.sources import open_source

with log_to(snakemake.log[0]):
    config = DatasetConfig.model_validate(snakemake.params.options["options"])
    folder = Path(snakemake.input.raw) if config.simulate else None
    prepare_shard(
        config,
        open_source(config.source, folder),
        int(snakemake.wildcards.shard.split("-")[1]),
        Path(snakemake.output.tensors).parent,
    )
