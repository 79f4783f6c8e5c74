"""Write a rule's options to YAML. Called by the freeze rules."""

import yaml

from mirage.files import atomic_path
from mirage.log import log_to

with log_to(snakemake.log[0]), atomic_path(snakemake.output.config) as path:
    path.write_text(yaml.safe_dump(snakemake.params.options, sort_keys=True), encoding="utf-8")
