"""Mirage: from real medical images to trained generators, synthetic datasets, their evaluation and a report.

Choose studies in config/config.yaml, then `snakemake --cores 2` or `snakemake --profile slurm`.
"""

from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


container: "envs/mirage.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/hooks.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/synthesise.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/print.smk"


report: "workflow/report/workflow.rst"


rule all:
    """Make the report of every study under `run`, for the screen and for print, and an overview of several."""
    default_target: True
    input:
        study_reports(),
        study_prints(),
        overview_pages(),
