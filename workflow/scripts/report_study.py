"""Write a study's report. Called by rule report_study."""

from pathlib import Path

from pydantic import TypeAdapter

from mirage import provenance
from mirage.config.evaluations import EvaluationConfig, StudyConfig
from mirage.files import digest
from mirage.log import log_to
from mirage.report import Graph, ReportInputs, build_report

with log_to(snakemake.log[0]):
    options, plan = snakemake.params.options["options"], snakemake.params.plan
    entries = TypeAdapter(dict[str, EvaluationConfig]).validate_python(options["evaluations"])
    inputs = ReportInputs(
        evaluations={
            n: (entries[n], [Path(f) for f in folders]) for n, folders in plan["evaluations"].items()
        },
        datasets={name: Path(folder) for name, folder in plan["datasets"].items()},
        models={name: [Path(f) for f in folders] for name, folders in plan["models"].items()},
        benchmarks=sorted(Path("results/benchmarks").rglob("*.tsv")),
        config_hash=digest(snakemake.params.options),
        commit=provenance.code_version()["commit"] or "",
        graph=Graph(nodes=plan["nodes"], edges=plan["edges"]),
    )
    study = StudyConfig.model_validate(options["study"])
    build_report(study, snakemake.wildcards.study, inputs, Path(snakemake.output.page).parent)
