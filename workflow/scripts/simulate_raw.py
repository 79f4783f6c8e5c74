"""Write simulated raw data. Called by rule simulate_raw."""

from pathlib import Path

from mirage.config.datasets import SimulateOptions
from mirage.log import log_to
from mirage.simulate import simulate

with log_to(snakemake.log[0]):
    options = dict(snakemake.params.options["options"])
    reader = options.pop("reader")
    simulate(SimulateOptions.model_validate(options), reader, Path(snakemake.output.raw))
