"""Write simulated raw data. Called by rule simulate_raw."""

from pathlib import Path

from mirage import seeds
from mirage.config.datasets import SimulateOptions
from mirage.log import log_to
from mirage.simulate import simulate

with log_to(snakemake.log[0]):
    options = dict(snakemake.params.options["options"])
    reader = options.pop("reader")
    given = SimulateOptions.model_validate(options)
    # Two simulated datasets never share a phantom, so their subjects are different people.
    own = seeds.integer(given.seed, f"simulate/{snakemake.wildcards.dataset}")
    simulate(given.model_copy(update={"seed": own}), reader, Path(snakemake.output.raw))
