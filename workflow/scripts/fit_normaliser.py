"""Fit the normaliser of a dataset. Called by rule fit_normaliser."""

from pathlib import Path

from mirage.config.datasets import DatasetConfig
from mirage.log import log_to
from mirage.prepare import fit_normaliser
from mirage.sources import open_source

with log_to(snakemake.log[0]):
    config = DatasetConfig.model_validate(snakemake.params.options["options"])
    raw = Path(snakemake.input.raw) if config.simulate else None
    fit_normaliser(config, open_source(config.source, raw), Path(snakemake.output.normaliser).parent)
