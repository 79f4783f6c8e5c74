"""The results tree: where every artefact lies and what it is made of. Imports nothing heavy.

Paths are relative to the working directory and always name, then seed, then file, so that studies which
name the same dataset or model share it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import Any

from mirage.benchmarks import FOLDER
from mirage.config.base import ModelRef, models_of
from mirage.config.encoders import PretrainedEncoder
from mirage.config.evaluations import (
    OBSERVER_ARM,
    ArmsEvaluation,
    ObserverEvaluation,
    PrivacyEvaluation,
    SegmentationEvaluation,
    SetEvaluation,
)
from mirage.config.generators import AOTGANOptions
from mirage.config.model import Config, data_of
from mirage.config.recipes import ExtractAndInsertRecipe, ExtractLesionsRecipe
from mirage.data.names import NORMALISER, shard_name
from mirage.errors import LayoutError
from mirage.sources import open_source
from mirage.sources.base import Source
from mirage.sources.contents import contents_digest


class Graph:
    """Paths and edges of one configuration.

    Attributes:
        root: where results lie: ``results``, or ``results/demo`` at demo scale, so that trying a study in
            small never replaces what took days.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._contents: dict[str, str] = {}
        self.root = "results" if config.scale == "full" else f"results/{config.scale}"

    def model_folder(self, ref: ModelRef) -> str:
        """Folder of one trained generator."""
        return f"{self.root}/models/{ref.generator}/seed-{ref.seed}"

    def source(self, dataset: str) -> Source:
        """Reader of a dataset, on its simulated or its real raw data."""
        entry = self.config.datasets[dataset]
        folder = Path(self.raw_path(dataset)) if entry.simulate else None
        return open_source(entry.source, folder)

    def raw_path(self, dataset: str) -> str:
        """Folder of the raw data of a dataset."""
        entry = self.config.datasets[dataset]
        return f"{self.root}/simulated/{dataset}" if entry.simulate else entry.source.path

    def raw_contents(self, dataset: str) -> str | None:
        """Digest of the names and sizes of a dataset's raw files; None where something else stands for them.

        That is the job that simulates them, or a DVC pointer ``<path>.dvc`` beside their folder.
        """
        path = self.raw_path(dataset)
        if self.config.datasets[dataset].simulate or self.raw_pointer(dataset):
            return None
        if path not in self._contents:
            self._contents[path] = contents_digest(Path(path))
        return self._contents[path]

    def raw_inputs(self, dataset: str) -> dict[str, str]:
        """What a dataset's preparation reads, by name; ``raw`` is the folder.

        An edit of the table of attributes often leaves its size as it was, so the table is named too.
        """
        path = self.raw_path(dataset)
        if self.config.datasets[dataset].simulate:
            return {"raw": path}
        pointer, table = (
            self.raw_pointer(dataset),
            getattr(self.config.datasets[dataset].source, "table", None),
        )
        beside = self.config.datasets[dataset].source.beside
        named = {"raw": path, "table": table and os.path.join(path, table), "version": pointer, **beside}
        return {name: found for name, found in named.items() if found}

    def raw_pointer(self, dataset: str) -> str | None:
        """The DVC pointer that stands for the version of a dataset's raw data, where there is one."""
        pointer = f"{self.raw_path(dataset)}.dvc"
        return pointer if os.path.exists(pointer) else None

    def data_folder(self, name: str) -> str:
        """Folder of a dataset or of what a recipe makes."""
        return f"{self.root}/{'datasets' if name in self.config.datasets else 'synthetic'}/{name}"

    def manifest(self, name: str) -> str:
        """The file of a dataset that its consumers depend on."""
        return f"{self.data_folder(name)}/manifest.parquet"

    def normaliser(self, dataset: str) -> str | None:
        """File of what a dataset's grey values are normalised by; None where no training images decide it."""
        options = self.config.datasets[dataset].fitted
        if options is None:
            return None
        return f"{self.data_folder(options.fitted_on or dataset)}/{NORMALISER}"

    def shards(self, name: str) -> list[str]:
        """Paths of a dataset's shards, without suffix."""
        registry = self.config.datasets if name in self.config.datasets else self.config.recipes
        total = registry[name].shards
        return [f"{self.data_folder(name)}/{shard_name(index, total)}" for index in range(total)]

    def item_bytes(self, name: str) -> int:
        """Bytes of one stored item of a dataset or recipe: its pixels or voxels and its masks."""
        dataset = self.config.stored_as(name)
        prepare, source = self.config.datasets[dataset].prepare, self.source(dataset)
        side = prepare.stored_side
        places = side**2 if isinstance(side, int) else math.prod(side)
        return places * (len(source.channel_names) * prepare.bits // 8 + len(source.mask_channels))

    def items_expected(self, name: str) -> int | None:
        """Items of a dataset or recipe as far as the configuration says; at least one a simulated subject."""
        if name in self.config.recipes:
            return getattr(self.config.recipes[name], "count", None)
        dataset = self.config.datasets[name]
        return dataset.simulate.subjects * dataset.prepare.items_each if dataset.simulate else None

    def recipe_inputs(self, recipe: str) -> list[str]:
        """Weights and manifests that a recipe reads, and which lesions are accepted."""
        entry = self.config.recipes[recipe]
        weights = [f"{self.model_folder(ref)}/weights.safetensors" for ref in models_of(entry)]
        inputs = [*weights, *(self.manifest(name) for name in data_of(entry))]
        table = self.curation(recipe)
        return inputs if table is None else [*inputs, table]

    def curation(self, recipe: str) -> str | None:
        """Table of the lesions that a recipe may insert: the user's, or what is proposed; None of others."""
        entry = self.config.recipes[recipe]
        if not isinstance(entry, ExtractAndInsertRecipe):
            return None
        return entry.curation or f"{self.data_folder(entry.lesions)}/curation.csv"

    def extracted(self, study: str) -> list[str]:
        """Recipes of a study that cut lesions out, which a person is shown."""
        recipes = sorted(self.config.study_data(study) & self.config.recipes.keys())
        return [name for name in recipes if isinstance(self.config.recipes[name], ExtractLesionsRecipe)]

    def arm_manifests(self, evaluation: str, arm: str) -> list[str]:
        """Manifests of the test set, of the training sets of one arm, and of what else its job reads."""
        entry = self.config.evaluations[evaluation]
        assert isinstance(entry, ArmsEvaluation)
        names = [entry.test, *data_of(entry.arms[arm]), *entry.also_read(arm)]
        return [self.manifest(name) for name in dict.fromkeys(names)]

    def set_manifests(self, evaluation: str) -> list[str]:
        """Manifests of the datasets that an evaluation of whole datasets reads."""
        return [self.manifest(name) for name in data_of(self.config.evaluations[evaluation])]

    def encoder_folder(self, real: str, encoder: str) -> str:
        """Folder of an encoder fitted on the training split of a real dataset."""
        return f"{self.root}/encoders/{real}/{encoder}"

    def encoder_weights(self, encoder: str) -> list[str]:
        """The user's file of weights that an encoder reads, where it is one of the published networks."""
        entry = self.config.encoders[encoder]
        return [entry.weights] if isinstance(entry, PretrainedEncoder) else []

    def training_weights(self, generator: str) -> list[str]:
        """The user's file of weights that a generator's losses look at images with, where there is one."""
        options = self.config.generators[generator].options
        weights = options.perceptual.weights if isinstance(options, AOTGANOptions) else None
        return [] if weights is None else [weights]

    def choosing_encoder(self, generator: str) -> list[str]:
        """The fitted encoder by whose features a generator's weights are chosen, where there is one."""
        entry = self.config.generators[generator]
        if entry.choosing_encoder is None:
            return []
        return [f"{self.encoder_folder(entry.data, entry.choosing_encoder)}/encoder.json"]

    def choosing_weights(self, generator: str) -> list[str]:
        """Weights of :meth:`choosing_encoder`: those that were fitted, then the user's file."""
        fitted = [
            str(PurePosixPath(path).parent / "weights.safetensors")
            for path in self.choosing_encoder(generator)
        ]
        encoder = self.config.generators[generator].choosing_encoder
        return fitted if encoder is None else [*fitted, *self.encoder_weights(encoder)]

    def features(self, real: str, encoder: str, data: str) -> str:
        """Table of the features of a dataset, by an encoder fitted on the training split of ``real``."""
        return f"{self.root}/features/{real}/{encoder}/{data}.parquet"

    def set_features(self, evaluation: str) -> list[str]:
        """Tables of features that an evaluation of whole datasets reads."""
        entry = self.config.evaluations[evaluation]
        if not isinstance(entry, SetEvaluation):
            return []
        encoders = self.config.encoders_of(evaluation)
        return [self.features(entry.real, encoder, name) for encoder in encoders for name in entry.compared]

    def set_encoders(self, evaluation: str) -> list[str]:
        """Encoders that an evaluation of whole datasets applies itself.

        Privacy does to copies that it injects, fidelity to the few images that are drawn beside on its maps.
        """
        entry = self.config.evaluations[evaluation]
        if not isinstance(entry, SetEvaluation) or not entry.encodes:
            return []
        encoders = self.config.encoders_of(evaluation)
        return [f"{self.encoder_folder(entry.real, encoder)}/encoder.json" for encoder in encoders]

    def set_encoder_weights(self, evaluation: str) -> list[str]:
        """Weights of :meth:`set_encoders`: those that were fitted, then the user's files."""
        folders = [str(PurePosixPath(file).parent) for file in self.set_encoders(evaluation)]
        fitted = [f"{folder}/weights.safetensors" for folder in folders]
        names = [PurePosixPath(folder).name for folder in folders]
        return [*fitted, *dict.fromkeys(file for name in names for file in self.encoder_weights(name))]

    def set_discriminators(self, evaluation: str) -> list[str]:
        """Discriminators with which an evaluation of privacy attacks: those of the recipe it judges."""
        entry = self.config.evaluations[evaluation]
        if not isinstance(entry, PrivacyEvaluation) or entry.synthetic not in self.config.recipes:
            return []
        models = models_of(self.config.recipes[entry.synthetic])
        return [f"{self.model_folder(ref)}/discriminator.safetensors" for ref in models]

    def readers_page(self, evaluation: str) -> dict[str, str]:
        """The page that readers get, its key, and how both were made."""
        base = f"{self.root}/evaluations/{evaluation}"
        return {
            "page": f"{base}/for_readers/observer.html",
            "key": f"{base}/key.csv",
            "made": f"{base}/made.json",
        }

    def answers(self, evaluation: str) -> list[str]:
        """Files that readers of an evaluation sent back: those named, and those that a pattern finds."""
        entry = self.config.evaluations[evaluation]
        if not isinstance(entry, ObserverEvaluation):
            return []
        found = [glob(name, recursive=True) if has_magic(name) else [name] for name in entry.answers]
        return sorted({path for paths in found for path in paths})

    def reader_files(self, evaluation: str) -> list[str]:
        """What an evaluation by readers is analysed from: key, how it was made, answers."""
        if not isinstance(self.config.evaluations[evaluation], ObserverEvaluation):
            return []
        made = self.readers_page(evaluation)
        return [made["key"], made["made"], *self.answers(evaluation)]

    def has_second_observer(self, evaluation: str) -> bool:
        """Whether the test set of an evaluation was also drawn by a second observer."""
        entry = self.config.evaluations[evaluation]
        return (
            isinstance(entry, SegmentationEvaluation)
            and OBSERVER_ARM in self.source(entry.test).mask_channels
        )

    def evaluation_folders(self, evaluation: str) -> list[str]:
        """Folders with a `metrics.parquet` and `details/` that one evaluation ends in."""
        entry = self.config.evaluations[evaluation]
        base = f"{self.root}/evaluations/{evaluation}"
        if not isinstance(entry, ArmsEvaluation):
            return [base]
        folders = [f"{base}/{arm}/seed-{seed}" for arm in entry.arms for seed in entry.seeds]
        return [*folders, f"{base}/{OBSERVER_ARM}"] if self.has_second_observer(evaluation) else folders

    def report(self, study: str) -> str:
        """The page of a study."""
        return self.report_file(study, "report.html")

    def report_file(self, study: str, name: str) -> str:
        """One file of a study's report."""
        return f"{self.root}/studies/{study}/{name}"

    @property
    def overview(self) -> str:
        """The page of all studies."""
        return f"{self.root}/overview/index.html"

    def prints(self, study: str) -> list[str]:
        """What is made of a study's report for print: its PDFs, and its tables and numbers for LaTeX."""
        pdfs = [f"{template}.pdf" for template in self.config.studies[study].print.templates]
        return [self.report_file(study, name) for name in (*pdfs, "latex")]

    def report_plan(self, study: str) -> dict[str, Any]:
        """What a study's report shows, as plain data: folders by name, and its drawing's nodes and edges."""
        data = sorted(self.config.study_data(study))
        tables = {name: self.curation(name) for name in data if name in self.config.recipes}
        models: dict[str, list[str]] = {}
        for name, seed in sorted(self.config.study_models(study)):
            models.setdefault(name, []).append(self.model_folder(ModelRef(generator=name, seed=seed)))
        return {
            "evaluations": {
                name: self.evaluation_folders(name) for name in self.config.studies[study].evaluations
            },
            "datasets": {name: self.data_folder(name) for name in data},
            "models": models,
            "curations": {name: table for name, table in tables.items() if table is not None},
            "benchmarks": [f"{self.root}/{FOLDER}/{job}.tsv" for job in self.study_jobs(study)],
            "nodes": self._nodes(study),
            "edges": sorted(self._edges(study)),
        }

    def study_jobs(self, study: str) -> list[str]:
        """Jobs behind a study's report that Snakemake measures, each as its benchmark file is named."""
        config, data = self.config, sorted(self.config.study_data(study))
        jobs = [f"simulate_raw/{name}" for name in data if self._kind(name) == "simulated"]
        for name in data:
            prepare, gather = ("synthesise_shard", "gather_synthetic")
            if name in config.datasets:
                prepare, gather = ("prepare_shard", "gather_dataset")
                jobs += [f"fit_normaliser/{name}"] * config.datasets[name].fits_normaliser
            jobs += [f"{prepare}/{name}/{Path(stem).name}" for stem in self.shards(name)]
            jobs.append(f"{gather}/{name}")
        jobs += [f"show_lesions/{name}" for name in self.extracted(study)]
        jobs += [f"train_generator/{name}/seed-{seed}" for name, seed in sorted(config.study_models(study))]
        tables = {table for name in config.studies[study].evaluations for table in self.set_features(name)}
        tables |= {self.features(real, encoder, real) for real, encoder in config.study_encoders(study)}
        for table in sorted(tables):  # fitting an encoder extracts the features of its own dataset
            real, encoder, name = Path(table).with_suffix("").parts[-3:]
            own = name == real
            jobs.append(
                f"fit_encoder/{encoder}/{real}" if own else f"extract_features/{encoder}/{real}/{name}"
            )
        for name in config.studies[study].evaluations:
            folders = [Path(folder) for folder in self.evaluation_folders(name)]
            if isinstance(config.evaluations[name], ObserverEvaluation):
                jobs.append(f"make_readers_page/{name}")
            if not isinstance(config.evaluations[name], ArmsEvaluation):
                jobs.append(f"evaluate_set/{name}")
                continue
            arms = [folder for folder in folders if folder.name != OBSERVER_ARM]
            jobs += [f"evaluate_arm/{name}/{folder.parent.name}/{folder.name}" for folder in arms]
            jobs += [f"evaluate_observer/{name}"] * (len(folders) - len(arms))
        return jobs

    def report_inputs(self, study: str) -> dict[str, list[str]]:
        """Files that a study's report depends on, by kind.

        What a person decides by is made of all extracted lesions, whichever table says what is inserted.
        """
        plan = self.report_plan(study)
        shown = [
            f"{self.data_folder(name)}/{file}"
            for name in self.extracted(study)
            for file in ("curation.csv", "contact-sheet.png")
        ]
        return {
            "metrics": [f"{f}/metrics.parquet" for folders in plan["evaluations"].values() for f in folders],
            "manifests": [f"{folder}/manifest.parquet" for folder in plan["datasets"].values()],
            "infos": [f"{folder}/dataset.json" for folder in plan["datasets"].values()],
            "details": [
                f"{f}/details"
                for folders in plan["evaluations"].values()
                for f in folders
                if not f.endswith(f"/{OBSERVER_ARM}")
            ],
            "models": [
                f"{f}/{file}"
                for folders in plan["models"].values()
                for f in folders
                for file in ("model.json", "history.parquet")
            ],
            "lesions": list(dict.fromkeys([*plan["curations"].values(), *shown])),
        }

    def _kind(self, name: str) -> str:
        """Kind of a node; images that somebody's generator made are drawn as those of a recipe are."""
        dataset = self.config.datasets.get(name)
        if dataset is None or dataset.made_from:
            return "recipe"
        return "simulated" if dataset.simulate else "dataset"

    def _nodes(self, study: str) -> list[tuple[str, str]]:
        """(id, kind) of all that a study is made of; an id is ``kind:name``."""
        named = [(self._kind(name), name) for name in sorted(self.config.study_data(study))]
        named += [
            ("generator", name) for name in sorted({name for name, _ in self.config.study_models(study)})
        ]
        named += [("evaluation", name) for name in self.config.studies[study].evaluations]
        return [(f"{kind}:{name}", kind) for kind, name in [*named, ("study", study)]]

    def _edges(self, study: str) -> Iterator[tuple[str, str]]:
        """(what is used, what uses it) between the nodes of a study."""

        def data_id(name: str) -> str:
            return f"{self._kind(name)}:{name}"

        for node, kind in self._nodes(study):
            name = node.partition(":")[2]
            if kind == "generator":
                yield data_id(self.config.generators[name].data), node
            elif kind == "recipe":
                recipe = self.config.recipes.get(name) or self.config.datasets[name]
                yield from ((f"generator:{ref.generator}", node) for ref in models_of(recipe))
                yield from ((data_id(used), node) for used in data_of(recipe))
            elif kind in ("dataset", "simulated"):  # whose normaliser one takes
                yield from ((data_id(used), node) for used in data_of(self.config.datasets[name]))
            elif kind == "evaluation":
                yield node, f"study:{study}"
                yield from ((data_id(used), node) for used in data_of(self.config.evaluations[name]))

    def check_layouts(self) -> None:
        """Check the raw data, curated tables and files of weights that the studies to be run need.

        Raises:
            LayoutError: names the missing piece.
        """
        encoders = {encoder for study in self.config.run for _, encoder in self.config.study_encoders(study)}
        for encoder in sorted(encoders):
            for path in self.encoder_weights(encoder):
                if not os.path.isfile(path):
                    raise LayoutError(
                        f"encoders.{encoder}.weights: no file {path}; download it (docs/encoders.md says "
                        "from where) and name it, or leave the encoder out of the evaluations"
                    )
        models = {generator for study in self.config.run for generator, _ in self.config.study_models(study)}
        for generator in sorted(models):
            for path in self.training_weights(generator):
                if not os.path.isfile(path):
                    raise LayoutError(
                        f"generators.{generator}.options.perceptual.weights: no file {path}; download it "
                        "(docs/inpainting.md says from where) and name it, or say `network: randconv`"
                    )
        judged = {name for study in self.config.run for name in self.config.studies[study].evaluations}
        for evaluation in sorted(judged):
            for path in self.answers(evaluation):
                if not os.path.isfile(path):
                    raise LayoutError(
                        f"evaluations.{evaluation}.answers: no file {path}; put it there, or name the "
                        "answers by a pattern such as `resources/answers/*.csv`, which may find none yet"
                    )
        needed = {name for study in self.config.run for name in self.config.study_data(study)}
        for name in sorted(needed & self.config.recipes.keys()):
            recipe = self.config.recipes[name]
            if not isinstance(recipe, ExtractAndInsertRecipe) or recipe.curation is None:
                continue
            if not os.path.isfile(recipe.curation):
                raise LayoutError(
                    f"recipes.{name}.curation: no file {recipe.curation}; leave the key out, run, copy "
                    f"{self.data_folder(recipe.lesions)}/curation.csv to it and edit its column `accept`"
                )
        for name in sorted(needed & self.config.datasets.keys()):
            if not self.config.datasets[name].simulate:
                self.check_raw(name)

    def check_raw(self, dataset: str) -> None:
        """Check the real raw data of a dataset, with its test labels where studies score on them.

        Raises:
            LayoutError: names the missing piece.
        """
        source, entry = self.source(dataset), self.config.datasets[dataset]
        judged = {name for study in self.config.run for name in self.config.studies[study].evaluations}
        found = (self.config.evaluations[name] for name in judged)
        scored = any(isinstance(one, SegmentationEvaluation) and one.test == dataset for one in found)
        # Without the source's own split, items without a label can be left out and others tested on.
        if scored and (entry.split.by == "source" or not entry.prepare.require_mask):
            source.check_test_labels()
        else:
            source.check_layout()
