"""The whole configuration: registries of named entries, and the studies that use them."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Literal

from pydantic import Field, model_validator

from mirage.config.base import ModelRef, Name, Options, models_of, references
from mirage.config.datasets import DatasetConfig
from mirage.config.evaluations import EvaluationConfig, StudyConfig
from mirage.config.generators import GeneratorConfig
from mirage.config.recipes import RecipeConfig

REGISTRIES = ("datasets", "generators", "recipes", "evaluations", "studies")


class Config(Options):
    """Everything a run needs to know, validated and with all names resolved."""

    run: list[str] = Field(min_length=1, description="studies to run")
    scale: Literal["full", "demo"] = Field(
        "full", description="demo replaces each entry's keys by those under its `demo`: minutes on two cores"
    )
    datasets: dict[Name, DatasetConfig] = Field(default_factory=dict)
    generators: dict[Name, GeneratorConfig] = Field(default_factory=dict)
    recipes: dict[Name, RecipeConfig] = Field(default_factory=dict)
    evaluations: dict[Name, EvaluationConfig] = Field(default_factory=dict)
    studies: dict[Name, StudyConfig] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_resolve(self) -> Config:
        both = sorted(self.datasets.keys() & self.recipes.keys())
        if both:
            raise ValueError(f"recipes.{both[0]}: a dataset has this name too; rename one")
        known = {
            "dataset": [*self.datasets],
            "dataset or recipe": [*self.datasets, *self.recipes],
            "generator": [*self.generators],
            "evaluation": [*self.evaluations],
            "study": [*self.studies],
        }
        for where, registry, name in self._all_references():
            if name not in known[registry]:
                raise ValueError(f"{where}: {name!r} is no {registry}{_suggest(name, known[registry])}")
        return self

    @model_validator(mode="after")
    def _recipes_fit(self) -> Config:
        for name, recipe in self.recipes.items():
            if any(name in self.data_of(data) for data in self._inputs(name)):
                raise ValueError(f"recipes.{name}: it is made, by way of its generators or images, of itself")
            for key, (makes, needs) in recipe.wants.items():
                self._check_generator(f"recipes.{name}.{key}", getattr(recipe, key), makes, needs)
        for name, generator in self.generators.items():
            try:
                generator.check_size(self._size(generator.data))
            except ValueError as error:
                raise ValueError(f"generators.{name}.data: {error}") from error
        return self

    def _all_references(self) -> Iterator[tuple[str, str, str]]:
        """(key, registry, name) of everything that names an entry."""
        for study in self.run:
            yield "run", "study", study
        for registry in REGISTRIES:
            for name, entry in getattr(self, registry).items():
                for key, wanted, value in references(entry):
                    yield f"{registry}.{name}.{key}", wanted, value

    def _check_generator(self, where: str, ref: ModelRef, makes: str | None, needs: str | None) -> None:
        generator = self.generators[ref.generator]
        if generator.needs != needs or makes not in (None, generator.makes):
            wanted = f"a generator of {makes or 'image'}s from {needs or 'noise'}"
            found = f"{generator.arch}: {generator.makes}s from {generator.needs or 'noise'}"
            raise ValueError(f"{where}: expected {wanted}, {ref.generator!r} is {found}")

    def _inputs(self, recipe: str) -> list[str]:
        """Datasets and recipes that a recipe is made of: read by it, or learnt by its generators."""
        entry = self.recipes[recipe]
        learnt = [self.generators[ref.generator].data for ref in models_of(entry)]
        return [*learnt, *data_of(entry)]

    def _size(self, name: str) -> int:
        """Side of the images of a dataset or recipe, pixels."""
        while name in self.recipes:
            read = data_of(self.recipes[name])
            name = read[0] if read else self.generators[models_of(self.recipes[name])[-1].generator].data
        return self.datasets[name].prepare.size

    def data_of(self, name: str) -> set[str]:
        """Every dataset and recipe that one depends on, itself included."""
        found: set[str] = set()
        stack = [name]
        while stack:
            current = stack.pop()
            if current not in found:
                found.add(current)
                stack += self._inputs(current) if current in self.recipes else []
        return found

    def study_data(self, study: str) -> set[str]:
        """Datasets and recipes that a study needs."""
        used = {name for key in self.studies[study].evaluations for name in data_of(self.evaluations[key])}
        return {data for name in used for data in self.data_of(name)}

    def study_models(self, study: str) -> set[tuple[str, int]]:
        """(generator, seed) of every model that a study needs."""
        recipes = [self.recipes[name] for name in self.study_data(study) & self.recipes.keys()]
        return {(ref.generator, ref.seed) for recipe in recipes for ref in models_of(recipe)}


def data_of(entry: Options) -> list[str]:
    """Datasets and recipes that an entry names itself, once each, in order."""
    named = (name for _, registry, name in references(entry) if registry.startswith("dataset"))
    return list(dict.fromkeys(named))


def _suggest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; defined are: {', '.join(sorted(known)) or 'none'}"
