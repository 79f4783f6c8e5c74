"""The whole configuration: registries of named entries, and the studies that use them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Literal

from pydantic import Field, model_validator

from mirage.config.base import Entry, Options
from mirage.config.datasets import DatasetConfig
from mirage.config.evaluations import (
    EvaluationConfig,
    FidelityEvaluation,
    SegmentationEvaluation,
    StudyConfig,
)
from mirage.config.generators import GeneratorConfig
from mirage.config.recipes import ModelRef, PseudoLabelRecipe, RecipeConfig

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Config(Options):
    """Everything a run needs to know, validated and with all names resolved."""

    run: list[str] = Field(min_length=1, description="studies to run")
    scale: Literal["full", "demo"] = Field(
        "full", description="demo replaces each entry's keys by those under its `demo`: minutes on two cores"
    )
    datasets: dict[str, DatasetConfig] = Field(default_factory=dict)
    generators: dict[str, GeneratorConfig] = Field(default_factory=dict)
    recipes: dict[str, RecipeConfig] = Field(default_factory=dict)
    evaluations: dict[str, EvaluationConfig] = Field(default_factory=dict)
    studies: dict[str, StudyConfig] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_names(self) -> Config:
        for registry in ("datasets", "generators", "recipes", "evaluations", "studies"):
            for name in getattr(self, registry):
                if not NAME.fullmatch(name):
                    raise ValueError(f"{registry}.{name}: names are lower case letters, digits, _ and -")
        both = sorted(self.datasets.keys() & self.recipes.keys())
        if both:
            raise ValueError(f"{both[0]!r} is both a dataset and a recipe; give one of them another name")
        for where, registry, name in self._references():
            known = self._known(registry)
            if name not in known:
                raise ValueError(f"{where}: {name!r} is no {registry}{_suggest(name, known)}")
        self._check_cycles()
        return self

    def _known(self, registry: str) -> list[str]:
        if registry == "dataset or recipe":
            return [*self.datasets, *self.recipes]
        return list(getattr(self, {"study": "studies"}.get(registry, f"{registry}s")))

    def _references(self) -> Iterator[tuple[str, str, str]]:
        """(key, registry, name) of everything that refers to another entry."""
        for study in self.run:
            yield "run", "study", study
        for name, entry in self.generators.items():
            yield f"generators.{name}.data", "dataset or recipe", entry.data
        for name, recipe in self.recipes.items():
            for key, ref in model_refs(recipe).items():
                yield f"recipes.{name}.{key}", "generator", ref.generator
            if isinstance(recipe, PseudoLabelRecipe):
                yield f"recipes.{name}.images", "dataset or recipe", recipe.images
        for name, evaluation in self.evaluations.items():
            for key, data in evaluation_data(evaluation).items():
                yield f"evaluations.{name}.{key}", "dataset or recipe", data
        for name, study_entry in self.studies.items():
            for evaluation_name in study_entry.evaluations:
                yield f"studies.{name}.evaluations", "evaluation", evaluation_name

    def data_of(self, name: str) -> set[str]:
        """Every dataset and recipe that one depends on, itself included."""
        found: set[str] = set()
        stack = [name]
        while stack:
            current = stack.pop()
            if current in found:
                continue
            found.add(current)
            if current in self.recipes:
                recipe = self.recipes[current]
                stack += [self.generators[ref.generator].data for ref in model_refs(recipe).values()]
                if isinstance(recipe, PseudoLabelRecipe):
                    stack.append(recipe.images)
        return found

    def _check_cycles(self) -> None:
        for name, recipe in self.recipes.items():
            inputs = [self.generators[ref.generator].data for ref in model_refs(recipe).values()]
            if any(name in self.data_of(data) for data in inputs):
                raise ValueError(f"recipes.{name}: its generators are trained on what it makes")

    def study_data(self, study: str) -> set[str]:
        """Datasets and recipes that a study needs."""
        return {
            data
            for evaluation in self.studies[study].evaluations
            for name in evaluation_data(self.evaluations[evaluation]).values()
            for data in self.data_of(name)
        }

    def study_models(self, study: str) -> set[tuple[str, int]]:
        """(generator, seed) of every model that a study needs."""
        return {
            (ref.generator, ref.seed)
            for name in self.study_data(study) & self.recipes.keys()
            for ref in model_refs(self.recipes[name]).values()
        }


def model_refs(recipe: Entry) -> dict[str, ModelRef]:
    """Key -> trained generator that a recipe uses."""
    return {
        key: value for key in type(recipe).model_fields if isinstance(value := getattr(recipe, key), ModelRef)
    }


def evaluation_data(evaluation: Entry) -> dict[str, str]:
    """Key -> dataset or recipe that an evaluation reads."""
    if isinstance(evaluation, FidelityEvaluation):
        return {"real": evaluation.real, "synthetic": evaluation.synthetic}
    assert isinstance(evaluation, SegmentationEvaluation)
    found = {"test": evaluation.test}
    for arm, training in evaluation.arms.items():
        for key in ("train", "pretrain"):
            for index, part in enumerate(getattr(training, key)):
                found[f"arms.{arm}.{key}[{index}]"] = part.data
    return found


def _suggest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; defined are: {', '.join(sorted(known)) or 'none'}"
