"""Write a study's report. Called by rule report_study."""

from pathlib import Path

from pydantic import TypeAdapter

from mirage import provenance
from mirage.config.cost import Cost
from mirage.config.evaluations import EvaluationConfig, StudyConfig
from mirage.log import log_to
from mirage.report import ReportInputs, build_report

with log_to(snakemake.log[0]):
    options = snakemake.params.options["options"]
    inputs = ReportInputs.from_plan(
        snakemake.params.plan,
        TypeAdapter(dict[str, EvaluationConfig]).validate_python(options["evaluations"]),
        config_hash=snakemake.params.digest,
        commit=provenance.code_version()["commit"] or "",
        scale=options["scale"],
        cost=Cost.model_validate(snakemake.params.cost),
    )
    study = StudyConfig.model_validate(options["study"])
    build_report(study, snakemake.wildcards.study, inputs, Path(snakemake.output.page).parent)
