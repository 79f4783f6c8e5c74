"""The whole configuration: registries of named entries, and the studies that use them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from math import lcm
from typing import Any, Literal

from pydantic import Field, model_validator

from mirage.config.base import ModelRef, Name, Options, models_of, references
from mirage.config.by_fold import write_out
from mirage.config.cost import Cost
from mirage.config.datasets import TUMOUR_LABELS, DatasetConfig, VolumePrepareOptions
from mirage.config.encoders import EncoderConfig, PretrainedEncoder, RandomConvEncoder
from mirage.config.evaluations import (
    ArmsEvaluation,
    ClassificationEvaluation,
    DetectionEvaluation,
    EvaluationConfig,
    SetEvaluation,
    StudyConfig,
    TrainingSet,
    VolumeSegmentationEvaluation,
)
from mirage.config.generators import (
    ConditionalDCGANConfig,
    GeneratorConfig,
    GeneratorEntry,
    LabelToBrainConfig,
    PairTraining,
)
from mirage.config.publications import Publication
from mirage.config.recipes import (
    DonorRecipe,
    ExtractAndInsertRecipe,
    ExtractLesionsRecipe,
    PlantCanariesRecipe,
    ProjectAndInsertRecipe,
    RecipeConfig,
    UnconditionalRecipe,
)
from mirage.config.tracking import Tracking

REGISTRIES = (
    "datasets",
    "generators",
    "recipes",
    "encoders",
    "evaluations",
    "studies",
    "publications",
)


class Config(Options):
    """Everything a run needs to know, validated and with all names resolved."""

    run: list[str] = Field(min_length=1, description="studies to run")
    scale: Literal["full", "demo"] = Field(
        "full", description="demo replaces each entry's keys by those under its `demo`: minutes on two cores"
    )
    cost: Cost = Field(default_factory=Cost, description="what computing costs; changes reports alone")
    tracking: Tracking | None = Field(
        None, description="MLflow, to which runs are logged; none: not at all. Never remakes anything"
    )
    datasets: dict[Name, DatasetConfig] = Field(default_factory=dict)
    generators: dict[Name, GeneratorConfig] = Field(default_factory=dict)
    recipes: dict[Name, RecipeConfig] = Field(default_factory=dict)
    encoders: dict[Name, EncoderConfig] = Field(default_factory=dict)
    evaluations: dict[Name, EvaluationConfig] = Field(default_factory=dict)
    studies: dict[Name, StudyConfig] = Field(default_factory=dict)
    publications: dict[Name, Publication] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _folds_written_out(cls, raw: Any) -> Any:
        return write_out(raw) if isinstance(raw, Mapping) else raw

    @model_validator(mode="after")
    def _names_resolve(self) -> Config:
        both = sorted(self.datasets.keys() & self.recipes.keys())
        if both:
            raise ValueError(f"recipes.{both[0]}: a dataset has this name too; rename one")
        known = {
            "dataset": [*self.datasets],
            "dataset or recipe": [*self.datasets, *self.recipes],
            "generator": [*self.generators],
            "encoder": [*self.encoders],
            "evaluation": [*self.evaluations],
            "study": [*self.studies],
            "publication": [*self.publications],
        }
        for where, registry, name in self._all_references():
            if name not in known[registry]:
                raise ValueError(f"{where}: {name!r} is no {registry}{suggest(name, known[registry])}")
            if registry == "dataset" and self._is_made(name):
                raise ValueError(
                    f"{where}: {name!r} holds images that a generator has made (`made_from`); name a dataset "
                    "of real ones"
                )
        return self

    @model_validator(mode="after")
    def _recipes_fit(self) -> Config:
        for name, recipe in self.recipes.items():
            if any(name in self.data_of(data) for data in self._inputs(name)):
                raise ValueError(f"recipes.{name}: it is made, by way of its generators or images, of itself")
            for key, (makes, needs) in recipe.wants.items():
                if getattr(recipe, key) is not None:
                    self._check_generator(f"recipes.{name}.{key}", getattr(recipe, key), makes, needs)
            if isinstance(recipe, ExtractAndInsertRecipe):
                self._check_lesions(f"recipes.{name}.lesions", recipe.lesions)
            if isinstance(recipe, ProjectAndInsertRecipe):
                self._check_projection(f"recipes.{name}", recipe)
            if isinstance(recipe, UnconditionalRecipe) and recipe.conditions:
                self._check_conditions(f"recipes.{name}.conditions", recipe)
        for name, generator in self.generators.items():
            try:
                generator.check_size(self._size(generator.data))
            except ValueError as error:
                raise ValueError(f"generators.{name}.data: {error}") from error
            self._check_choice(f"generators.{name}.training.frechet", generator)
        return self

    @model_validator(mode="after")
    def _volumes_stay_apart(self) -> Config:
        for registry in ("recipes", "evaluations"):
            for name, entry in getattr(self, registry).items():
                learnt = [self.generators[ref.generator].data for ref in models_of(entry)]
                volumes = {data: self._holds_volumes(data) for data in [*data_of(entry), *learnt]}
                for data, found in volumes.items():
                    if found != (found if entry.volumes is None else entry.volumes):
                        raise ValueError(
                            f"{registry}.{name}: is for {_kind(not found)}, {data!r} holds {_kind(found)}; "
                            "name another dataset, or change its `prepare.kind`"
                        )
                if len(set(volumes.values())) > 1 and not getattr(entry, "mixes", False):
                    listed = ", ".join(f"{data!r} {_kind(found)}" for data, found in volumes.items())
                    raise ValueError(f"{registry}.{name}: cannot mix volumes and 2D images: {listed}")
        return self

    @model_validator(mode="after")
    def _encoders_fit(self) -> Config:
        for name, entry in self.evaluations.items():
            if not isinstance(entry, SetEvaluation):
                continue
            for encoder in entry.encoders:
                if self.encoders[encoder].only_volumes and not self._holds_volumes(entry.real):
                    raise ValueError(
                        f"evaluations.{name}.encoders: {encoder!r} is for volumes, {entry.real!r} holds 2D "
                        "images; name another encoder"
                    )
        return self

    @model_validator(mode="after")
    def _masks_are_there(self) -> Config:
        for name, generator in self.generators.items():
            wanted = {"label"} if "mask" in (generator.needs, generator.makes) else set()
            wanted |= {"brain"} if isinstance(generator, LabelToBrainConfig) else set()
            self._check_masks(f"generators.{name}.data", generator.data, wanted)
        for name, recipe in self.recipes.items():
            if isinstance(recipe, DonorRecipe):
                self._check_masks(f"recipes.{name}.data", recipe.data, {"label", "brain"})
        for name, entry in self.evaluations.items():
            unmasked = isinstance(entry, DetectionEvaluation | ClassificationEvaluation)
            if isinstance(entry, ArmsEvaluation) and not unmasked:
                self._check_masks(f"evaluations.{name}.test", entry.test, {"label"})
                for arm, training in entry.arms.items():
                    for data in data_of(training):
                        self._check_masks(f"evaluations.{name}.arms.{arm}", data, {"label"})
        return self

    @model_validator(mode="after")
    def _judges_fit(self) -> Config:
        for name, entry in self.evaluations.items():
            if not isinstance(
                entry, VolumeSegmentationEvaluation | DetectionEvaluation | ClassificationEvaluation
            ):
                continue
            size = self._size(entry.test)
            try:
                if not isinstance(entry, VolumeSegmentationEvaluation) and isinstance(size, int):
                    entry.judge.check_size(size)
                if isinstance(entry, VolumeSegmentationEvaluation) and isinstance(size, tuple):
                    entry.judge.check_size(size)
            except ValueError as error:
                raise ValueError(f"evaluations.{name}.judge: {error}") from error
            if not isinstance(entry, VolumeSegmentationEvaluation):
                continue
            self._check_regions(f"evaluations.{name}.regions", entry)
            for part in entry.label_fidelity:
                if part.data not in self.recipes:
                    raise ValueError(
                        f"evaluations.{name}.label_fidelity: {part.data!r} is a dataset; its volumes are "
                        "not made from its labels, name a recipe"
                    )
        return self

    @model_validator(mode="after")
    def _folds_fit(self) -> Config:
        for name, generator in self.generators.items():
            encoder = generator.choosing_encoder if generator.fold else None
            fixed = RandomConvEncoder | PretrainedEncoder
            if encoder is not None and not isinstance(self.encoders[encoder], fixed):
                raise ValueError(
                    f"generators.{name}.training.frechet.encoder: {encoder!r} is fitted on the training "
                    f"split of {generator.data!r}, some of which this fold tests on; name one whose weights "
                    "are fixed, such as 'randconv'"
                )
        for name, entry in self.evaluations.items():
            if isinstance(entry, ClassificationEvaluation):
                if entry.folds is not None and self.datasets[entry.test].fitted is not None:
                    raise ValueError(
                        f"evaluations.{name}.folds: the grey values of {entry.test!r} are normalised by what "
                        "was fitted on its training split, some of which every fold tests on; normalise each "
                        "image by itself (`prepare.normalise`), or leave out `folds`"
                    )
                for arm, training in entry.arms.items():
                    for part in training.added(entry.test):
                        self._check_fold(f"evaluations.{name}.arms.{arm}", entry, part)
        return self

    @model_validator(mode="after")
    def _data_are_stored_alike(self) -> Config:
        for name, recipe in self.recipes.items():
            if not recipe.one_size:
                continue
            learnt = [self.generators[ref.generator].data for ref in models_of(recipe)]
            same = ("prepare.size", "labels", "number of channels")
            self._check_alike(f"recipes.{name}", [*data_of(recipe), *learnt], same)
        for name, entry in self.evaluations.items():
            if isinstance(entry, ArmsEvaluation):
                read = {f"arms.{arm}": data_of(training) for arm, training in entry.arms.items()}
                read["label_fidelity"] = entry.also_read(entry.baseline)
                for key, data in read.items():
                    keys = ("prepare.size", "prepare.bits", "labels", "channels")
                    self._check_alike(f"evaluations.{name}.{key}", [entry.test, *data], keys)
        return self

    @model_validator(mode="after")
    def _published_items_can_be_made(self) -> Config:
        for name, publication in self.publications.items():
            for title, item in publication.items.items():
                for study, exhibit in item.by.items():
                    where = f"publications.{name}.items.{title}.by.{study}"
                    _, about, entry = exhibit.rpartition("/")
                    if about and entry not in (own := self._entries_of(study)):
                        raise ValueError(f"{where}: {entry!r} is nothing of this study{suggest(entry, own)}")
        return self

    @model_validator(mode="after")
    def _sides_are_what_they_say(self) -> Config:
        for name, entry in self.evaluations.items():
            if not isinstance(entry, SetEvaluation):
                continue
            if self._is_made(entry.real):
                raise ValueError(
                    f"evaluations.{name}.real: {entry.real!r} holds images that a generator has made "
                    "(`made_from`); name a dataset of real ones"
                )
            if entry.synthetic in self.datasets and not self._is_made(entry.synthetic):
                raise ValueError(
                    f"evaluations.{name}.synthetic: {entry.synthetic!r} is a dataset of real images; name a "
                    "recipe, or say after which dataset a generator made them (`made_from`)"
                )
            stored = [data for data in data_of(entry) if data in self.datasets]
            keys = ("prepare.size", "prepare.bits", "channels")
            self._check_alike(f"evaluations.{name}", stored, keys)
        return self

    @model_validator(mode="after")
    def _normalisers_can_be_shared(self) -> Config:
        for name, dataset in self.datasets.items():
            options = dataset.fitted
            if options is None or options.fitted_on is None:
                continue
            where, lender = f"datasets.{name}.prepare.normalise.fitted_on", self.datasets[options.fitted_on]
            own = options.model_copy(update={"fitted_on": None})
            if lender.fitted != own:
                raise ValueError(
                    f"{where}: {options.fitted_on!r} has no normaliser of its own with the same options; "
                    f"give it `normalise` {own.model_dump(mode='json', exclude={'fitted_on'})}"
                )
            if dataset.made_from is None and (dataset.split != lender.split or dataset.split.by != "hash"):
                raise ValueError(
                    f"{where}: {name!r} and {options.fitted_on!r} must put every subject on one side; give "
                    "both the same `split` with `by: hash`"
                )
        return self

    @model_validator(mode="after")
    def _batches_can_be_cut(self) -> Config:
        for name, generator in self.generators.items():
            training, gpus = generator.training, max(1, generator.runtime.gpus)
            pieces = lcm(gpus, training.accumulate)
            least = 2 * pieces if isinstance(training, PairTraining) else pieces
            if training.batch_size % least:
                pairs = ", of whole pairs" if least > pieces else ""
                raise ValueError(
                    f"generators.{name}.training.batch_size: {training.batch_size} cannot be cut into equal "
                    f"parts{pairs} for runtime.gpus {generator.runtime.gpus} and "
                    f"training.accumulate {training.accumulate}; use a multiple of {least}"
                )
        return self

    @model_validator(mode="after")
    def _several_gpus_are_for_generators(self) -> Config:
        for registry in ("datasets", "recipes", "encoders", "evaluations"):
            for name, entry in getattr(self, registry).items():
                if entry.runtime.gpus > 1:
                    raise ValueError(
                        f"{registry}.{name}.runtime.gpus: {entry.runtime.gpus}; only generators use several "
                        "GPUs, all but one would lie idle here; use 1"
                    )
        return self

    def _check_fold(self, where: str, entry: ClassificationEvaluation, part: TrainingSet) -> None:
        """Synthetic positives must come from generators that learn by the folds of the evaluation, if any."""
        if part.data in self.datasets and not self._is_made(part.data):
            raise ValueError(
                f"{where}: {part.data!r} is another dataset of real images; name recipes, whose images are "
                "added to the positives"
            )
        behind = self.data_of(part.data)
        learnt = {
            ref.generator
            for data in behind
            for ref in models_of(self.recipes.get(data) or self.datasets[data])
        }
        generators = {name: self.generators[name] for name in sorted(learnt)}
        if entry.folds is None:
            split = [name for name, generator in generators.items() if generator.fold is not None]
            if split:
                raise ValueError(
                    f"{where}: {part.data!r} is made by generator {split[0]!r}, which learns by fold, and "
                    "the evaluation has no `folds`; give it the same ones"
                )
        else:
            wanted = None if part.fold is None else entry.folds.at(part.fold)
            other = [name for name, one in generators.items() if one.fold != wanted or one.data != entry.test]
            if wanted is None or other or not generators:
                named = f"generator {other[0]!r}" if other else repr(part.data)
                raise ValueError(
                    f"{where}: {named} has not learnt from the training subjects of one fold alone, so it "
                    f"knows subjects that are tested on; write `folds: {entry.folds.count}` (and val "
                    f"{entry.folds.val}, seed {entry.folds.seed}) at a generator whose `data` is "
                    f"{entry.test!r}, and name the recipe that samples it"
                )
        recipe = self.recipes.get(part.data)
        if isinstance(recipe, UnconditionalRecipe):
            generator = self.generators[recipe.generator.generator]
            if generator.data == entry.test and generator.only is None and not recipe.conditions:
                raise ValueError(
                    f"{where}: generator {recipe.generator.generator!r} learns all of {entry.test!r}, and "
                    "its images are to be positives; write the positives' criterion as its `only`"
                )

    def _check_regions(self, where: str, entry: VolumeSegmentationEvaluation) -> None:
        known = list((self.datasets[entry.test].labels or {}).values())
        default = {"WT, TC and ET, which are meant where none are given": [*TUMOUR_LABELS.values()]}
        for region, names in (entry.regions or default).items():
            unknown = [name for name in names if name not in known]
            if unknown or not names:
                raise ValueError(
                    f"{where}: {region}: no label {', '.join(unknown) or 'is named'}; the labels of "
                    f"{entry.test!r} are {', '.join(known)}"
                )
            if region in known and set(names) != {region}:
                raise ValueError(
                    f"{where}: {region}: a label of this name is something else; rename the region"
                )

    def _check_alike(self, where: str, data: Iterable[str], keys: Iterable[str]) -> None:
        """Refuse datasets and recipes of which one is stored in another way than the first."""
        names = list(dict.fromkeys(data))
        for other in names[1:]:
            first = names[0]
            expected, found = self._stored(first), self._stored(other)
            for key in keys:
                if expected.get(key) != found.get(key):
                    raise ValueError(
                        f"{where}: {self._named(other)} has `{key}` {found.get(key)}, {self._named(first)} "
                        f"{expected.get(key)}; prepare both alike, or name other data"
                    )

    def _named(self, name: str) -> str:
        """A dataset or recipe, and what the latter is stored like."""
        origin = self.stored_as(name)
        return repr(name) if name == origin else f"{name!r} (stored as {origin!r} is)"

    def _stored(self, name: str) -> dict[str, Any]:
        """How the items of a dataset or recipe are stored."""
        dataset = self.datasets[self.stored_as(name)]
        prepare, channels = dataset.prepare, dataset.source.channels_stored
        side = prepare.stored_side
        size = side if isinstance(side, int) else list(side)
        stored: dict[str, Any] = {
            "prepare.size": size,
            "prepare.bits": prepare.bits,
            "channels": channels,
        }
        if prepare.kind == "volume":
            stored |= {"number of channels": len(channels), "labels": dataset.labels}
        return stored

    def _check_masks(self, where: str, data: str, wanted: set[str]) -> None:
        missing = wanted - self._mask_channels(data)
        if "brain" in missing:
            raise ValueError(
                f"{where}: {data!r} stores no brain masks, which are needed here; prepare it with "
                "`brain: auto`"
            )
        if missing:
            raise ValueError(
                f"{where}: {data!r} has no label masks, which are needed here; name them in its `source`, or "
                "name other data"
            )

    def _mask_channels(self, name: str) -> set[str]:
        """Which of the mask channels ``label`` and ``brain`` a dataset or recipe has."""
        recipe = self.recipes.get(name)
        if recipe is None:
            return self.datasets[name].mask_channels
        if isinstance(recipe, DonorRecipe):
            return {"label", "brain"}
        if isinstance(recipe, UnconditionalRecipe):
            return {"label"} if self.generators[recipe.generator.generator].makes == "mask" else set()
        if isinstance(recipe, PlantCanariesRecipe):
            return self._mask_channels(recipe.data)
        if isinstance(recipe, ExtractLesionsRecipe):
            return set()
        return {"label"}

    def _holds_volumes(self, name: str) -> bool:
        """Whether a dataset or recipe is of volumes."""
        return isinstance(self._size(name), tuple)

    def _all_references(self) -> Iterator[tuple[str, str, str]]:
        """(key, registry, name) of everything that names an entry."""
        for study in self.run:
            yield "run", "study", study
        for registry in REGISTRIES:
            for name, entry in getattr(self, registry).items():
                for key, wanted, value in references(entry):
                    yield f"{registry}.{name}.{key}", wanted, value
        for name, publication in self.publications.items():
            for title, item in publication.items.items():
                for study in item.by:
                    yield f"publications.{name}.items.{title}.by", "study", study

    def _check_lesions(self, where: str, name: str) -> None:
        if not isinstance(self.recipes.get(name), ExtractLesionsRecipe):
            known = [key for key, recipe in self.recipes.items() if isinstance(recipe, ExtractLesionsRecipe)]
            raise ValueError(f"{where}: {name!r} is no recipe `extract_lesions`{suggest(name, known)}")

    def _check_projection(self, where: str, recipe: ProjectAndInsertRecipe) -> None:
        """Hosts are 2D; nodules are volumes in Hounsfield units, with their label."""
        if self._holds_volumes(recipe.hosts):
            raise ValueError(f"{where}.hosts: {recipe.hosts!r} holds volumes, expected radiographs")
        prepare = self.datasets[recipe.nodules].prepare
        if not isinstance(prepare, VolumePrepareOptions) or prepare.intensity.kind != "window":
            raise ValueError(
                f"{where}.nodules: {recipe.nodules!r} must hold CT volumes whose Hounsfield units are known; "
                "write `prepare: {kind: volume, intensity: {kind: window, low: -1024, high: 1000}, ...}`"
            )
        if not self.datasets[recipe.nodules].labels:
            raise ValueError(f"{where}.nodules: {recipe.nodules!r} has no labels of nodules")

    def _check_choice(self, where: str, generator: GeneratorEntry) -> None:
        """The encoder that chooses a generator's weights must be for images, and fitted on real ones."""
        encoder = generator.choosing_encoder
        if encoder is None:
            return
        if generator.data not in self.datasets or self._is_made(generator.data):
            raise ValueError(
                f"{where}: an encoder is fitted on real images, {generator.data!r} holds others; leave the "
                "key out"
            )
        if self.encoders[encoder].only_volumes:
            raise ValueError(f"{where}.encoder: {encoder!r} is for volumes; name another")

    def _check_conditions(self, where: str, recipe: UnconditionalRecipe) -> None:
        generator = self.generators[recipe.generator.generator]
        if not isinstance(generator, ConditionalDCGANConfig):
            raise ValueError(
                f"{where}: {recipe.generator.generator!r} ({generator.arch}) is not conditioned on "
                "attributes; name a `conditional_dcgan`, or leave the key out"
            )
        try:
            generator.check_conditions(recipe.conditions)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    def _check_generator(self, where: str, ref: ModelRef, makes: str | None, needs: str | None) -> None:
        generator = self.generators[ref.generator]
        if generator.needs != needs or makes not in (None, generator.makes):
            wanted = f"a generator of {makes or 'image'}s from {needs or 'noise'}"
            found = f"{generator.arch}: {generator.makes}s from {generator.needs or 'noise'}"
            raise ValueError(f"{where}: expected {wanted}, {ref.generator!r} is {found}")

    def _is_made(self, name: str) -> bool:
        """Whether a name is that of a dataset whose images a generator has made."""
        return name in self.datasets and self.datasets[name].made_from is not None

    def _inputs(self, name: str) -> list[str]:
        """Datasets and recipes that one is made of: read by it, or learnt by its generators."""
        entry = self.recipes.get(name) or self.datasets[name]
        learnt = [self.generators[ref.generator].data for ref in models_of(entry)]
        return [*learnt, *data_of(entry)]

    def stored_as(self, name: str) -> str:
        """Dataset as which the items of a dataset or recipe are stored.

        A recipe's are stored as what its generator of images has learnt, else as the data it reads.
        """
        while name in self.recipes:
            recipe = self.recipes[name]
            draw = [getattr(recipe, key) for key, (makes, _) in recipe.wants.items() if makes != "mask"]
            name = self.generators[draw[0].generator].data if draw else data_of(recipe)[0]
        return name

    def _size(self, name: str) -> int | tuple[int, int, int]:
        """Side of the images of a dataset or recipe, pixels; (D, H, W) of volumes."""
        return self.datasets[self.stored_as(name)].prepare.stored_side

    def data_of(self, name: str) -> set[str]:
        """Every dataset and recipe that one depends on, itself included."""
        found: set[str] = set()
        stack = [name]
        while stack:
            current = stack.pop()
            if current not in found:
                found.add(current)
                stack += self._inputs(current)
        return found

    def encoders_of(self, evaluation: str) -> list[str]:
        """Encoders whose features an evaluation reads; none where only masks can be compared."""
        entry = self.evaluations[evaluation]
        if not isinstance(entry, SetEvaluation) or not entry.compares_images:
            return []
        return [] if self._draws_masks_alone(entry.synthetic) else entry.encoders

    def _draws_masks_alone(self, name: str) -> bool:
        """Whether what a recipe makes are masks without images."""
        recipe = self.recipes.get(name)
        return (
            isinstance(recipe, UnconditionalRecipe)
            and self.generators[recipe.generator.generator].makes == "mask"
        )

    def study_encoders(self, study: str) -> set[tuple[str, str]]:
        """(real dataset, encoder) of every encoder that a study needs, also to choose weights by."""
        evaluations = {name: self.evaluations[name] for name in self.studies[study].evaluations}
        judging = {
            (entry.real, encoder)
            for name, entry in evaluations.items()
            if isinstance(entry, SetEvaluation)
            for encoder in self.encoders_of(name)
        }
        models = [self.generators[name] for name, _ in self.study_models(study)]
        return judging | {(one.data, one.choosing_encoder) for one in models if one.choosing_encoder}

    def study_data(self, study: str) -> set[str]:
        """Datasets and recipes that a study needs."""
        used = {name for key in self.studies[study].evaluations for name in data_of(self.evaluations[key])}
        return {data for name in used for data in self.data_of(name)}

    def _entries_of(self, study: str) -> list[str]:
        """Names of all entries that a study is made of."""
        models = {generator for generator, _ in self.study_models(study)}
        return sorted({*self.studies[study].evaluations, *self.study_data(study), *models})

    def study_models(self, study: str) -> set[tuple[str, int]]:
        """(generator, seed) of every model that a study needs."""
        recipes = [self.recipes[name] for name in self.study_data(study) & self.recipes.keys()]
        return {(ref.generator, ref.seed) for recipe in recipes for ref in models_of(recipe)}


def data_of(entry: Options) -> list[str]:
    """Datasets and recipes that an entry names itself, once each, in order."""
    named = (name for _, registry, name in references(entry) if registry.startswith("dataset"))
    return list(dict.fromkeys(named))


def _kind(volumes: bool) -> str:
    return "volumes" if volumes else "2D images"


def suggest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; defined are: {', '.join(sorted(known)) or 'none'}"
