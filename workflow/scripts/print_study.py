"""Typeset a study's report. Called by rule print_study."""

from pathlib import Path

from mirage.config.printing import PrintOptions
from mirage.log import log_to
from mirage.report.printing import print_study

with log_to(snakemake.log[0]):
    print_study(
        Path(snakemake.input.record).parent,
        snakemake.wildcards.template,
        PrintOptions.model_validate(snakemake.params.options["options"]),
        Path(snakemake.output.pdf),
    )
