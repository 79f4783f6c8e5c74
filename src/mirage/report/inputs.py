"""What a report is made from: folders of results, and a few facts about the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mirage.config.cost import Cost
from mirage.config.publications import Publication

KINDS = ("dataset", "simulated", "generator", "recipe", "evaluation", "study")


@dataclass(frozen=True)
class Drawing:
    """The study as a directed acyclic graph, for the picture of its pipeline.

    Attributes:
        nodes: (id, kind), kind one of ``KINDS``. Ids are unique; where two registries share a name, write
            ``generator:retina`` and ``recipe:retina``: what follows the first colon is shown.
        edges: (id of what is used, id of what uses it).
    """

    nodes: Sequence[tuple[str, str]] = ()
    edges: Sequence[tuple[str, str]] = ()


class Finished(NamedTuple):
    """One evaluation with its results.

    Attributes:
        config: its entry of ``evaluations``, a model of :mod:`mirage.config.evaluations`.
        folders: folders with ``metrics.parquet`` and ``details/``. An evaluation of arms: one an arm and seed
            (``<evaluation>/<arm>/seed-<n>``) and, where there is one, ``<evaluation>/observer2``. An
            evaluation of whole datasets: one.
    """

    config: Any
    folders: Sequence[Path]


@dataclass(frozen=True)
class ReportInputs:
    """Everything a report reads. All but ``evaluations`` and ``datasets`` may be empty.

    Attributes:
        evaluations: name -> its configuration and result folders.
        datasets: name -> dataset folder, in the order they should be listed; every dataset and recipe that
            an evaluation names must be among them for its pictures to be shown.
        models: generator name -> model folders, one a training seed.
        curations: recipe that inserts lesions -> the table that says which of them it may insert.
        benchmarks: Snakemake benchmark files of the study's jobs (tab-separated ``s``, ``h:m:s``,
            ``max_rss`` ...); the path below the last folder named ``benchmarks`` names the job.
        config_hash: digest of the study's slice of the configuration.
        commit: version-control commit of the code, empty when unknown.
        scale: ``full``, or ``demo`` for a run whose numbers mean nothing.
        cost: prices and powers; what is not given is not reckoned.
        drawing: the pipeline.
        publications: name -> what the study follows, with the figures and tables to be regenerated.
    """

    evaluations: Mapping[str, Finished]
    datasets: Mapping[str, Path]
    models: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    curations: Mapping[str, Path] = field(default_factory=dict)
    benchmarks: Sequence[Path] = ()
    config_hash: str = ""
    commit: str = ""
    scale: str = "full"
    cost: Cost = field(default_factory=Cost)
    drawing: Drawing = field(default_factory=Drawing)
    publications: Mapping[str, Publication] = field(default_factory=dict)

    @classmethod
    def from_plan(
        cls,
        plan: Mapping[str, Any],
        evaluations: Mapping[str, Any],
        *,
        config_hash: str,
        commit: str,
        scale: str,
        cost: Cost,
        publications: Mapping[str, Publication],
    ) -> ReportInputs:
        """Inputs of one study.

        Args:
            plan: what :meth:`mirage.graph.Graph.report_plan` gives.
            evaluations: name -> configuration of the plan's evaluations.
            config_hash, commit, scale, cost, publications: see the attributes.
        """
        return cls(
            evaluations={
                name: Finished(evaluations[name], [Path(folder) for folder in folders])
                for name, folders in plan["evaluations"].items()
            },
            datasets={name: Path(folder) for name, folder in plan["datasets"].items()},
            models={name: [Path(folder) for folder in folders] for name, folders in plan["models"].items()},
            curations={name: Path(table) for name, table in plan["curations"].items()},
            benchmarks=[path for file in plan["benchmarks"] if (path := Path(file)).is_file()],
            config_hash=config_hash,
            commit=commit,
            scale=scale,
            cost=cost,
            drawing=Drawing(nodes=plan["nodes"], edges=plan["edges"]),
            publications=publications,
        )
