"""Which stage of the ledger a file of the results tree belongs to, and what is stored for it.

A stage of dvc.yaml is one artefact: a dataset, a synthetic dataset, a model with its seed, an encoder, a
table of features, an evaluation or a study. Pure functions of paths and configuration.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from mirage.graph import Graph

KINDS = {
    "datasets": "dataset",
    "simulated": "dataset",
    "synthetic": "synthetic",
    "models": "model",
    "evaluations": "evaluation",
    "studies": "study",
}
"""Folder of the results tree -> first word of its stages. Simulated raw data belong to their dataset."""


def stage_of(graph: Graph, output: str) -> str:
    """Stage that an output of a job belongs to, such as ``model-brain_gan-seed-0``.

    Names are lower case, so that no two stages of encoders or features are called alike.
    """
    folder, name, *rest = PurePosixPath(output).relative_to(graph.root).parts
    if folder == "features" and rest[1] != f"{name}.parquet":
        return f"{_prefix(graph)}features-{PurePosixPath(rest[1]).stem}-BY-{rest[0]}-OF-{name}"
    if folder in ("encoders", "features"):  # with its encoder go the features of the dataset it is fitted on
        fitted = f"{rest[0]}-OF-{name}" if rest else PurePosixPath(name).stem
        return f"{_prefix(graph)}encoder-{fitted}"
    seed = f"-{rest[0]}" if folder == "models" and rest[0].startswith("seed-") else ""
    return f"{_prefix(graph)}{KINDS[folder]}-{name}{seed}"


def stored_for(graph: Graph, outputs: Iterable[str]) -> list[str]:
    """Files and folders that are stored for the outputs of one stage.

    Beside frozen options and tables of features these are whole folders, since a model's previews are no
    outputs of a job. Simulated raw data are not stored: they are made again, the same, when they are needed.
    """
    kept = {
        _kept(graph, PurePosixPath(path))
        for path in outputs
        if not path.startswith(f"{graph.root}/simulated/")
    }
    return sorted(str(path) for path in kept if not kept.intersection(path.parents))


def _kept(graph: Graph, output: PurePosixPath) -> PurePosixPath:
    alone = output.suffix == ".yaml" or output.is_relative_to(f"{graph.root}/features")
    return output if alone else output.parent


def stages_of(graph: Graph, study: str) -> list[str]:
    """Every stage that a study is made of, as the configuration is now."""
    data = sorted(graph.config.study_data(study))
    models = sorted(graph.config.study_models(study))
    named = [stage_of(graph, graph.manifest(name)) for name in data]
    named += [f"{_prefix(graph)}model-{name}" for name in sorted({name for name, _ in models})]
    named += [f"{_prefix(graph)}model-{name}-seed-{seed}" for name, seed in models]
    evaluations = graph.config.studies[study].evaluations
    encoders = sorted(graph.config.study_encoders(study))
    named += [f"{_prefix(graph)}encoder-{name}" for name in sorted({name for _, name in encoders})]
    named += [stage_of(graph, graph.encoder_folder(real, name)) for real, name in encoders]
    tables = [table for name in evaluations for table in graph.set_features(name)]
    named += [stage_of(graph, table) for table in tables]
    named += [f"{_prefix(graph)}evaluation-{name}" for name in evaluations]
    return [*dict.fromkeys(named), stage_of(graph, graph.report(study))]


def card_path(graph: Graph, stage: str) -> str:
    """File that tells how the outputs of a stage were made."""
    return f"{graph.root}/ledger/{stage}.json"


def _prefix(graph: Graph) -> str:
    return "" if graph.config.scale == "full" else f"{graph.config.scale}-"
