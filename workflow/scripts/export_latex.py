"""Write a study's tables, numbers and figures for LaTeX. Called by rule export_latex."""

from pathlib import Path

from mirage.log import log_to
from mirage.report.latex import export_latex

with log_to(snakemake.log[0]):
    export_latex(Path(snakemake.input.record).parent, Path(snakemake.output.latex))
