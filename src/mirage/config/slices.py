"""The part of the configuration that changes one stage's result, and nothing else.

A slice is plain JSON with sorted keys and without defaults, so key order, comments, spelled-out defaults
and the way a number is written never remake anything. Runtime facts are left out.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel

from mirage.config.datasets import SimulateOptions
from mirage.config.evaluations import ArmsEvaluation, ObserverEvaluation, SegmentationEvaluation
from mirage.config.model import Config
from mirage.config.publications import Publication
from mirage.files import digest
from mirage.versions import STAGES

_NEVER = {"runtime", "demo"}
_PRESENT = {"overview", "print", "latex"}
"""Stages that show results and change none."""
_NAMED = {"normaliser"}
"""Stages that a study's digest names where they are used only."""


def normalise(options: BaseModel, exclude: set[str] | None = None) -> dict[str, Any]:
    """Sorted plain data of an options object, without its defaults, runtime and demo keys."""
    dumped = options.model_dump(mode="json", exclude_defaults=True, exclude=_NEVER | (exclude or set()))
    return _sorted(dumped)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value


def _versioned(stage: str, options: dict[str, Any]) -> dict[str, Any]:
    return {"stage": stage, "version": STAGES[stage], "options": options}


def simulate_slice(config: Config, dataset: str) -> dict[str, Any]:
    """What decides the simulated raw data of a dataset."""
    entry = config.datasets[dataset]
    simulate = entry.simulate or SimulateOptions()
    return _versioned("simulate", {"reader": entry.source.reader, **normalise(simulate)})


def prepare_slice(config: Config, dataset: str) -> dict[str, Any]:
    """What decides the pixels of a prepared dataset; splits and what made it are seen to later."""
    entry = config.datasets[dataset]
    if entry.simulate:  # the real data are not read
        entry = entry.model_copy(update={"source": entry.source.simulated()})
    return _versioned("prepare", normalise(entry, exclude={"made_from", "split", "max_failed_fraction"}))


def normaliser_slice(config: Config, dataset: str) -> dict[str, Any]:
    """What decides the normaliser of a dataset: its images as they are prepared, and the training split."""
    entry = config.datasets[dataset]
    if entry.simulate:  # the real data are not read
        entry = entry.model_copy(update={"source": entry.source.simulated()})
    options = normalise(entry, exclude={"made_from", "shards", "max_failed_fraction"})
    later = {"patches", "bits", "require_mask"}
    prepare = {key: value for key, value in options["prepare"].items() if key not in later}
    if "size" in prepare and prepare["size"] is None:
        prepare["patches"] = {}  # which ones does not matter, but only with patches the native size is kept
    return _versioned("normaliser", {**options, "prepare": prepare})


def gather_slice(config: Config, name: str) -> dict[str, Any]:
    """What decides the splits and the acceptance of a dataset, real or synthetic."""
    dataset = config.datasets.get(name)
    entry = dataset or config.recipes[name]
    split = normalise(dataset.split) if dataset else None
    made_from = {"made_from": dataset.made_from} if dataset and dataset.made_from else {}
    return _versioned(
        "gather",
        {
            "shards": entry.shards,
            "split": split,
            "max_failed_fraction": entry.max_failed_fraction,
            **made_from,
        },
    )


def train_slice(config: Config, generator: str) -> dict[str, Any]:
    """What decides a generator's weights, beside its seed and its data."""
    return _versioned("train", normalise(config.generators[generator]))


def synthesise_slice(config: Config, recipe: str) -> dict[str, Any]:
    """What decides a synthetic dataset, beside its models and inputs."""
    return _versioned("synthesise", normalise(config.recipes[recipe], exclude={"max_failed_fraction"}))


def lesion_slice() -> dict[str, Any]:
    """What decides the table and the sheet of extracted lesions: no option of the user's."""
    return _versioned("lesions", {})


def arm_options(entry: ArmsEvaluation, arm: str, without: Collection[str] = ()) -> dict[str, Any]:
    """What an evaluation says of one arm: no other arm, no seeds, no augmentation that it does not use."""
    seen = entry if entry.arms[arm].augment else entry.unaugmented()
    options = normalise(seen, exclude={"arms", "seeds", "baseline", *without})
    return {**options, "arm": normalise(entry.arms[arm])}


def arm_slice(config: Config, evaluation: str, arm: str) -> dict[str, Any]:
    """What decides one arm of an evaluation, beside its seed: no other arm, no list of seeds."""
    entry = config.evaluations[evaluation]
    assert isinstance(entry, ArmsEvaluation)
    others = frozenset() if arm == entry.baseline else entry.baseline_keys
    return _versioned(f"evaluate_{entry.evaluator}", arm_options(entry, arm, others))


def observer_slice(config: Config, evaluation: str) -> dict[str, Any]:
    """What decides the scores of a second observer: no arm, no training."""
    entry = config.evaluations[evaluation]
    assert isinstance(entry, SegmentationEvaluation)
    return _versioned(f"evaluate_{entry.evaluator}", {"label": entry.label})


def readers_page_slice(config: Config, evaluation: str) -> dict[str, Any]:
    """What decides the page that readers get, and its key: nothing of their answers."""
    entry = config.evaluations[evaluation]
    assert isinstance(entry, ObserverEvaluation)
    return _versioned("observer_page", normalise(entry, exclude={"answers", "margin"}))


def encoder_slice(config: Config, encoder: str) -> dict[str, Any]:
    """What decides an encoder and its features, beside the data."""
    entry = config.encoders[encoder]
    return _versioned(f"encode_{entry.encoder}", normalise(entry))


def set_slice(config: Config, evaluation: str) -> dict[str, Any]:
    """What decides an evaluation of whole datasets; readers' answers are inputs, whatever finds them."""
    entry = config.evaluations[evaluation]
    return _versioned(f"evaluate_{entry.evaluator}", normalise(entry, exclude={"answers"}))


def report_slice(config: Config, study: str) -> dict[str, Any]:
    """What a report prints that is not in the results it reads."""
    entry = config.studies[study]
    evaluations = {name: normalise(config.evaluations[name]) for name in sorted(entry.evaluations)}
    followed = {name: _published(config.publications[name]) for name in entry.follows}
    return _versioned(
        "report",
        {
            "study": normalise(entry, exclude={"print"}),
            "evaluations": evaluations,
            "publications": followed,
            "scale": config.scale,
        },
    )


def print_slice(config: Config, study: str) -> dict[str, Any]:
    """What a study's print says that is not in its report; which templates are made, targets tell."""
    return _versioned("print", normalise(config.studies[study].print, exclude={"templates"}))


def latex_slice() -> dict[str, Any]:
    """What decides the LaTeX files, beside the report."""
    return _versioned("latex", {})


def overview_slice(config: Config) -> dict[str, Any]:
    """What the overview prints that is in no study's report."""
    published = {name: _published(one) for name, one in config.publications.items()}
    return _versioned("overview", {"publications": published, "scale": config.scale})


def _published(publication: Publication) -> dict[str, Any]:
    """A publication with its items in their own order, which is printed."""
    return publication.model_dump(mode="json", exclude_defaults=True)


def study_digest(config: Config, study: str) -> str:
    """Digest of everything that decides a study's results: print it, and runs can be told apart."""
    data = sorted(config.study_data(study))
    entries = {
        "datasets": {name: normalise(config.datasets[name]) for name in data if name in config.datasets},
        "recipes": {name: normalise(config.recipes[name]) for name in data if name in config.recipes},
        "generators": {name: train_slice(config, name) for name, _ in sorted(config.study_models(study))},
        "encoders": {name: encoder_slice(config, name) for _, name in sorted(config.study_encoders(study))},
        "report": report_slice(config, study),
    }
    fits = [name for name in entries["datasets"] if config.datasets[name].fits_normaliser]
    if fits:
        entries["normalisers"] = {name: normaliser_slice(config, name) for name in fits}
    stages = {stage: version for stage, version in STAGES.items() if stage not in _PRESENT | _NAMED}
    return digest({**entries, "stages": stages})
