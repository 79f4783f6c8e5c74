"""Write the overview of all studies and the catalogue. Called by rule report_overview."""

from pathlib import Path

from pydantic import TypeAdapter

from mirage import provenance
from mirage.config.publications import Publication
from mirage.log import log_to
from mirage.report import build_overview

with log_to(snakemake.log[0]):
    options = snakemake.params.options["options"]
    build_overview(
        [Path(record).parent for record in snakemake.input.records],
        TypeAdapter(dict[str, Publication]).validate_python(options["publications"]),
        Path(snakemake.output.page).parent,
        scale=options["scale"],
        commit=provenance.code_version()["commit"] or "",
    )
